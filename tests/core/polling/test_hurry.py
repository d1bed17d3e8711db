"""When bells make a shared poller poll."""

from __future__ import annotations

import pytest

from remote_tasks_provider.core.polling.hurry import Hurry

NEVER = float("inf")


@pytest.fixture
def hurry() -> Hurry:
    return Hurry()


class TestPolls:
    def test_poller_without_a_bell_is_not_hurried(self, hurry: Hurry) -> None:
        assert hurry.next_at == NEVER
        assert not hurry.begin(100)

    def test_bell_asks_for_a_poll_at_once_and_two_later(self, hurry: Hurry) -> None:
        hurry.hear(100, has_rung=True)
        asked = []
        while (moment := hurry.next_at) != NEVER:
            asked.append(moment)
            assert hurry.begin(moment)

        assert asked == [100, 105, 120]

    def test_change_leaves_the_last_poll_only(self, hurry: Hurry) -> None:
        hurry.hear(100, has_rung=True)
        hurry.begin(100)
        hurry.show_change()

        assert hurry.next_at == 120

    def test_bell_during_a_cycle_that_shows_a_change_keeps_its_polls(self, hurry: Hurry) -> None:
        hurry.hear(100, has_rung=True)
        hurry.begin(100)
        hurry.hear(100.5, has_rung=True)
        hurry.show_change()

        assert hurry.next_at == 100.5

    def test_many_bells_are_one_poll(self, hurry: Hurry) -> None:
        for moment in (100, 100.2, 100.4):
            hurry.hear(moment, has_rung=True)
        hurry.begin(101)

        assert hurry.next_at == 105.4

    def test_note_that_was_read_first_asks_for_one_poll(self, hurry: Hurry) -> None:
        hurry.hear(100, has_rung=False)

        assert hurry.next_at == 100
        assert hurry.begin(100)
        assert hurry.next_at == NEVER

    def test_ordinary_cycle_spends_no_later_poll(self, hurry: Hurry) -> None:
        hurry.hear(100, has_rung=True)
        hurry.begin(100)

        assert not hurry.begin(103)
        assert hurry.next_at == 105


class TestStretching:
    def test_interval_is_as_it_was_before_a_bell(self, hurry: Hurry) -> None:
        hurry.hear(100, has_rung=False)

        assert hurry.stretched(100, 300) == 0

    def test_interval_is_stretched_while_bells_come_and_no_longer(self, hurry: Hurry) -> None:
        hurry.hear(100, has_rung=True)

        assert hurry.stretched(699, 300) == 300
        assert hurry.stretched(700, 300) == 0

    def test_interval_is_not_stretched_where_it_is_switched_off(self, hurry: Hurry) -> None:
        hurry.hear(100, has_rung=True)

        assert hurry.stretched(100, 0) == 0


class TestMissedBells:
    @pytest.mark.parametrize(
        ("joined_at", "first_poll_in", "missed"),
        [
            (103, 57, True),  # polled 3 s before, at the moment of the bell
            (112, 57, True),  # polled a little after the bell: clocks differ
            (114, 57, False),  # polled well after it
            (140, 20, True),  # polled 40 s before, at the moment of the bell
            (1000, 90, True),  # a pause that the service asked for does not tell when
        ],
    )
    def test_bell_is_missed_if_it_rang_after_the_last_poll(
        self, hurry: Hurry, joined_at: float, first_poll_in: float, missed: bool
    ) -> None:
        hurry.hear(100, has_rung=True)

        assert hurry.may_have_missed(joined_at, first_poll_in, 60) is missed

    def test_bell_that_never_rang_is_not_missed(self, hurry: Hurry) -> None:
        assert not hurry.may_have_missed(100, 0, 60)
        assert not hurry.may_have_missed(100, 90, 60)
