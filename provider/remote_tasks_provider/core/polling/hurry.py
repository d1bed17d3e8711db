"""When bells make a shared poller poll: pure, in seconds of a monotonic clock.

A bell lets every wait be polled at once, and again a little later, since services show late what their
webhooks tell early. While bells come, what they tell need not be polled for, so the regular interval is
stretched. It is never switched off: a bell may be lost, and for some ends there is none.
"""

from __future__ import annotations

__all__ = ["APART", "Hurry"]

APART = 2.0
"""Seconds that lie at least between a cycle and one that a bell asks for, however many bells ring."""
# Seconds after a bell at which is polled again: the first only if nothing had changed.
_SOON = 5.0
_LATER = 20.0
# Bells have stopped when none came for so many stretched intervals.
_UNTIL_STOPPED = 2.0
# Seconds that may have passed unnoticed between a worker's poll and the moment its wait joins.
_SLACK = 10.0


class Hurry:
    """What the bells of one connection ask of its poller."""

    def __init__(self) -> None:
        self._rang_at = float("-inf")
        self._heard_at: float | None = None
        self._began_at = float("-inf")
        self._polls: list[float] = []

    def hear(self, now: float, *, has_rung: bool) -> None:
        """Plan the polls after a bell.

        :param has_rung: ``False`` where only nobody knows whether it has rung unheard: then one poll tells.
        """
        self._heard_at = now
        if has_rung:
            self._rang_at = now
            self._polls = [now, now + _SOON, now + _LATER]
        else:
            self._polls = [now, *self._polls]

    @property
    def next_at(self) -> float:
        """When a bell wants the next cycle, at the latest."""
        return min(self._polls, default=float("inf"))

    def begin(self, now: float) -> bool:
        """Begin a cycle; return whether a bell asked for it, so that it polls for every wait."""
        self._began_at = now
        before = len(self._polls)
        self._polls = [moment for moment in self._polls if moment > now]
        return len(self._polls) < before

    def show_change(self) -> None:
        """Note that the cycle has shown a change: what comes late is left to the last poll.

        A bell that came during the cycle still has its own polls.
        """
        if self._heard_at is None or self._heard_at <= self._began_at:
            self._polls = self._polls[-1:]

    def stretched(self, now: float, interval: float) -> float:
        """Return the least seconds between a wait's regular polls: ``interval`` while bells come, or 0."""
        return interval if now - self._rang_at < _UNTIL_STOPPED * interval else 0.0

    def may_have_missed(self, now: float, first_poll_in: float, interval: float) -> bool:
        """Whether a bell was heard after the last poll of a wait that joins now.

        :param first_poll_in: seconds until the wait wants its next poll.
        :param interval: seconds between its polls.
        """
        if self._heard_at is None:
            return False
        # A longer pause was asked for by the service, and does not tell when the last poll was.
        since = interval - first_poll_in if first_poll_in <= interval else float("inf")
        return now - self._heard_at <= since + _SLACK
