"""What a shared poller tells of itself: its waits, its polls, and when the last one was good."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from remote_tasks_provider.core.polling.tracker import PollTracker
from remote_tasks_provider.core.states import TaskState

__all__ = ["REPORT_EVERY", "PollMetrics", "PollReport", "PollerName"]

# Seconds between two reports at most, also while a poller rests: its figures must not stand still then.
REPORT_EVERY = 15.0


@dataclass(frozen=True)
class PollerName:
    """Which poller it is.

    :param service: ``Manus``.
    :param task_type: what it waits for: ``Manus task``.
    :param connection: the id of the Airflow connection.
    """

    service: str
    task_type: str
    connection: str


class PollMetrics(Protocol):
    """Counts what pollers do; see ``docs/how-to/metrics.md``."""

    def polled(self, poller: PollerName, *, calls: int, saved: int) -> None:
        """Count one poll cycle.

        :param saved: how many more ``calls`` it would have taken to ask for each task by itself.
        """

    def waiting(
        self, poller: PollerName, *, states: Mapping[TaskState, int], oldest: float, unanswered: float
    ) -> None:
        """Tell where the waits stand.

        :param states: how many tasks are in each state that is not terminal.
        :param oldest: seconds since the oldest wait began; 0 without any.
        :param unanswered: seconds since the last good answer to a poll, or since the poller began.
        """

    def finished(self, poller: PollerName, *, outcome: str, seconds: float) -> None:
        """Count one finished wait."""

    def heard(self, poller: PollerName) -> None:
        """Count one bell."""


class PollReport:
    """Tells the metrics of one poller.

    :param now: monotonic seconds.
    """

    def __init__(self, metrics: PollMetrics, poller: PollerName, now: float) -> None:
        self._metrics = metrics
        self._poller = poller
        self._good_at = now
        self._told_at = float("-inf")

    def polled(self, now: float, *, calls: int, covered: int, is_good: bool) -> None:
        """Count a poll cycle.

        :param covered: how many tasks it has told about.
        :param is_good: whether the service has answered.
        """
        if is_good:
            self._good_at = now
        self._metrics.polled(self._poller, calls=max(0, calls), saved=max(0, covered - calls))
        self._told_at = float("-inf")

    def waiting(self, trackers: Iterable[PollTracker], now: float, time: float) -> None:
        """Tell where the waits stand, unless that was told a moment ago.

        :param time: Unix seconds.
        """
        if now - self._told_at < REPORT_EVERY:
            return
        self._told_at = now
        states = {state: 0 for state in TaskState if not state.is_terminal}
        oldest = 0.0
        for tracker in trackers:
            oldest = max(oldest, time - tracker.policy.started_at)
            for state, count in Counter(tracker.unfinished_states).items():
                states[state] += count
        self._metrics.waiting(self._poller, states=states, oldest=oldest, unanswered=now - self._good_at)

    def emptied(self, now: float) -> None:
        """Tell that no wait is left."""
        self._told_at = float("-inf")
        self._good_at = now
        self.waiting((), now, 0.0)

    def finished(self, outcome: str, seconds: float) -> None:
        """Count a finished wait."""
        self._metrics.finished(self._poller, outcome=outcome, seconds=seconds)

    def heard(self) -> None:
        """Count one bell."""
        self._metrics.heard(self._poller)
