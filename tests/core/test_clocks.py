"""The clock of a wait, and the spread of its pauses."""

from __future__ import annotations

from itertools import repeat

from remote_tasks_provider.core.clocks import Clocks, rounds, steady


class TestSteady:
    def test_clock_shows_the_time_of_day_and_goes_on(self) -> None:
        monotonic = [50.0]
        clock = steady(lambda: 1_700_000_000.0, lambda: monotonic[0])
        assert clock() == 1_700_000_000.0
        monotonic[0] = 57.5

        assert clock() == 1_700_000_007.5

    def test_clock_does_not_jump_with_the_time_of_day(self) -> None:
        wall = [1_700_000_000.0]
        clock = steady(lambda: wall[0], lambda: 50.0)
        wall[0] += 3600

        assert clock() == 1_700_000_000.0


class TestClocks:
    def test_spread_keeps_nearly_all_of_a_pause(self) -> None:
        assert all(0.9 <= Clocks().spread() <= 1.0 for _ in range(100))


class SlowTime:
    """Time that passes while a question is asked, and in pauses."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class TestRounds:
    def test_last_round_begins_at_the_end(self) -> None:
        time = SlowTime()

        assert list(rounds(12.0, repeat(5.0), time)) == [12.0, 7.0, 2.0, 0.0]
        assert time.slept == [5.0, 5.0, 2.0]

    def test_round_that_outlasts_the_end_is_followed_by_another(self) -> None:
        time = SlowTime()
        began = []
        for _ in rounds(12.0, repeat(5.0), time):
            began.append(time.now)
            time.now += 100.0 if len(began) == 1 else 1.0

        assert began == [0.0, 100.0]

    def test_end_that_has_passed_leaves_one_round(self) -> None:
        assert list(rounds(-1.0, repeat(5.0), SlowTime())) == [0.0]

    def test_pauses_that_are_used_up_end_the_rounds(self) -> None:
        assert list(rounds(100.0, [5.0, 10.0], SlowTime())) == [100.0, 95.0]
