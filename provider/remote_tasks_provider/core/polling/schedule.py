"""When a shared poller polls, and for which waits: pure, in seconds of a monotonic clock.

Waits that join at different moments would drift through the interval, and every drifting handful would cost
requests. So the poller gathers them: a regular cycle comes at most as often as the most impatient wait asks,
and polls along what would be due before the next one. Only what cannot wait for it gets a cycle of its own:
a deadline, the end of a grace, the first poll of a wait that has just begun, and a bell, which polls for all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from remote_tasks_provider.core.polling.hurry import APART, Hurry
from remote_tasks_provider.core.polling.policy import SHORTEST_PAUSE

__all__ = ["GATHERING", "Due", "Schedule"]

GATHERING = 0.25
"""A triggerer that starts brings its waits one after the other. Their first poll waits so many seconds."""
# A wait that has just begun is polled when this part of its interval has passed since the last cycle, and at
# most so many seconds: others may follow it.
_NEWCOMERS = 0.25
_LONGEST_NEWCOMERS = 5.0


@dataclass(slots=True)
class Due:
    """When one wait wants its next poll.

    :param at: at the latest.
    :param interval: what it wants between two polls.
    :param is_urgent: whether it cannot wait for the next regular cycle.
    """

    at: float
    interval: float
    is_urgent: bool = False


class Schedule:
    """The cycles of one poller."""

    def __init__(self) -> None:
        self._regular_at = float("-inf")
        self._cycle_at = float("-inf")
        self._not_before = float("-inf")
        self.hurry = Hurry()
        """What bells ask for."""
        self.spread = 1.0
        """The part of an interval that is kept; drawn once a cycle for all waits."""

    @property
    def has_begun(self) -> bool:
        """Whether there was a cycle."""
        return self._cycle_at > float("-inf")

    def back_off(self, until: float) -> None:
        """Have no cycle before ``until``: the service asked for it."""
        self._not_before = max(self._not_before, until)

    def first_poll(self, now: float, interval: float) -> float:
        """Return when a wait that has just begun gets its first poll."""
        return max(now, self._cycle_at + min(interval * _NEWCOMERS, _LONGEST_NEWCOMERS))

    def next_at(self, waits: Iterable[Due]) -> float:
        """Return when the next cycle is."""
        shortest = calm = urgent = float("inf")
        for wait in waits:
            shortest = min(shortest, wait.interval)
            if wait.is_urgent:
                urgent = min(urgent, wait.at)
            else:
                calm = min(calm, wait.at)
        calm = max(calm, self._regular_at + shortest * self.spread)
        urgent = max(urgent, self._cycle_at + SHORTEST_PAUSE)
        hurried = max(self.hurry.next_at, self._cycle_at + APART)
        return max(min(calm, urgent, hurried), self._not_before)

    def begin(self, waits: Iterable[Due], now: float) -> float:
        """Begin a cycle; return until when a wait must want its next poll to be polled in it."""
        calm = [wait for wait in waits if not wait.is_urgent]
        self._cycle_at = now
        if self.hurry.begin(now):
            self._regular_at = now
            return float("inf")
        shortest = min((wait.interval for wait in calm), default=0.0)
        is_regular = any(wait.at <= now for wait in calm)
        if not is_regular or now < self._regular_at + shortest * self.spread:
            return now
        self._regular_at = now
        return now + shortest * self.spread
