"""When a shared poller polls, and for whom; with the time passed in."""

from __future__ import annotations

import pytest

from remote_tasks_provider.core.polling.schedule import Due, Schedule


def _cycle(schedule: Schedule, waits: list[Due]) -> tuple[float, list[Due]]:
    """Have the next cycle; return when it was and whom it polled, who are then due an interval later."""
    now = schedule.next_at(waits)
    until = schedule.begin(waits, now)
    polled = [wait for wait in waits if wait.at <= until]
    for wait in polled:
        wait.at, wait.is_urgent = now + wait.interval * schedule.spread, False
    return now, polled


class TestRegular:
    def test_first_cycle_comes_when_the_first_wait_asks(self) -> None:
        assert Schedule().next_at([Due(107.0, 30.0), Due(103.0, 60.0)]) == 103.0

    def test_cycle_needs_a_wait(self) -> None:
        assert Schedule().next_at([]) == float("inf")
        assert Schedule().begin([], 100.0) == 100.0

    def test_waits_that_drift_are_gathered(self) -> None:
        schedule = Schedule()
        waits = [Due(100.0 + number, 30.0) for number in range(30)]
        cycles = [_cycle(schedule, waits) for _ in range(5)]

        assert [at for at, _ in cycles] == [100.0, 130.0, 160.0, 190.0, 220.0]
        assert [len(polled) for _, polled in cycles] == [30] * 5

    def test_patient_wait_is_polled_with_the_impatient_one(self) -> None:
        schedule = Schedule()
        quick, slow = Due(100.0, 10.0), Due(100.0, 25.0)
        cycles = [_cycle(schedule, [quick, slow]) for _ in range(5)]

        assert [at for at, _ in cycles] == [100.0, 110.0, 120.0, 130.0, 140.0]
        # At 120 its poll would be due at 125, before the next cycle.
        assert [slow in polled for _, polled in cycles] == [True, False, True, False, True]

    def test_wait_is_never_polled_later_than_it_asked(self) -> None:
        schedule = Schedule()
        waits = [Due(100.0, 10.0), Due(103.0, 25.0), Due(109.0, 60.0)]
        for _ in range(50):
            asked = {id(wait): wait.at for wait in waits}
            at, polled = _cycle(schedule, waits)
            assert all(at <= asked[id(wait)] for wait in polled)

    def test_spread_shortens_the_distance_of_all(self) -> None:
        schedule = Schedule()
        schedule.spread = 0.9
        waits = [Due(100.0, 30.0), Due(100.0, 30.0)]

        assert [_cycle(schedule, waits) for _ in range(3)] == [(at, waits) for at in (100.0, 127.0, 154.0)]


class TestUrgent:
    def test_urgent_wait_does_not_wait_for_the_regular_cycle(self) -> None:
        schedule = Schedule()
        calm = Due(100.0, 60.0)
        _cycle(schedule, [calm])
        urgent = Due(120.0, 60.0, is_urgent=True)

        assert _cycle(schedule, [calm, urgent]) == (120.0, [urgent])
        assert calm.at == 160.0

    def test_urgent_cycle_does_not_move_the_regular_one(self) -> None:
        schedule = Schedule()
        calm = Due(100.0, 60.0)
        _cycle(schedule, [calm])
        urgent = Due(120.0, 1000.0, is_urgent=True)
        _cycle(schedule, [calm, urgent])

        assert _cycle(schedule, [calm, urgent])[0] == 160.0

    def test_calm_wait_that_is_due_early_waits_for_the_regular_cycle(self) -> None:
        schedule = Schedule()
        first, second = Due(100.0, 60.0), Due(170.0, 60.0)
        _cycle(schedule, [first])
        second.at = 110.0

        assert _cycle(schedule, [first, second]) == (160.0, [first, second])

    def test_urgent_cycle_takes_along_nothing_that_is_due_later(self) -> None:
        schedule = Schedule()
        calm = Due(100.0, 60.0)
        _cycle(schedule, [calm])
        calm.at = 121.0

        assert _cycle(schedule, [calm, Due(120.0, 60.0, is_urgent=True)])[1] != [calm]

    def test_urgent_cycle_is_no_regular_one_although_a_calm_wait_is_overdue(self) -> None:
        schedule = Schedule()
        calm, overdue = Due(100.0, 60.0), Due(170.0, 60.0)
        _cycle(schedule, [calm])
        overdue.at = 110.0
        urgent = Due(120.0, 60.0, is_urgent=True)

        assert _cycle(schedule, [calm, overdue, urgent]) == (120.0, [overdue, urgent])

    def test_urgent_cycles_keep_a_distance(self) -> None:
        schedule = Schedule()
        _cycle(schedule, [Due(100.0, 8.0)])

        assert schedule.next_at([Due(100.0, 8.0, is_urgent=True)]) == 101.0


class TestNewcomers:
    def test_first_wait_is_polled_at_once(self) -> None:
        assert Schedule().first_poll(100.0, 30.0) == 100.0

    @pytest.mark.parametrize(("interval", "at"), [(8.0, 102.0), (600.0, 105.0)])
    def test_newcomers_soon_after_a_cycle_are_gathered(self, interval: float, at: float) -> None:
        schedule = Schedule()
        _cycle(schedule, [Due(100.0, 30.0)])

        assert schedule.first_poll(100.5, interval) == at
        assert schedule.first_poll(107.0, interval) == 107.0


class TestBackOff:
    def test_cycle_does_not_come_before_the_end_of_the_back_off(self) -> None:
        schedule = Schedule()
        schedule.back_off(500.0)
        schedule.back_off(300.0)

        assert schedule.next_at([Due(100.0, 10.0)]) == 500.0
        assert schedule.next_at([Due(100.0, 10.0, is_urgent=True)]) == 500.0
        assert schedule.next_at([Due(600.0, 10.0)]) == 600.0
