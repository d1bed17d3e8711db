"""The clock of a wait, and the spread of its pauses."""

from __future__ import annotations

from remote_tasks_provider.core.clocks import Clocks, steady


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
