"""How a wait polls, and when it gives up. Every deadline of a wait is derived here and nowhere else.

Limits become moments (Unix seconds), so that a deferral, a restart or another process changes none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from remote_tasks_provider.core import validation

__all__ = [
    "LAST_POLL",
    "ON_WAITING",
    "SHORTEST_PAUSE",
    "TRIGGERER_GRACE",
    "OnWaiting",
    "PollPolicy",
    "TimedOut",
    "WaitLimits",
]

OnWaiting = Literal["wait", "return", "fail"]
ON_WAITING: tuple[OnWaiting, ...] = ("wait", "return", "fail")

TimedOut = Literal["timeout", "execution_timeout"]

LAST_POLL = 5.0
"""Seconds that the poll at a deadline may take. Then the wait ends with what is known."""
TRIGGERER_GRACE = 300.0
"""Seconds by which Airflow's own timeout of a deferral comes later than the deadline. The trigger ends a wait
at its deadline; Airflow's timeout is for the case that no triggerer was there to do it."""

SHORTEST_PAUSE = 1.0
"""Seconds; however short the interval that was asked for, a service is not polled more often than this."""


@dataclass(frozen=True, slots=True)
class WaitLimits:
    """How long a wait may take; seconds.

    :param timeout: from the start of the first attempt.
    :param execution_timeout: Airflow's, from the start of the attempt; ``None`` for no limit.
    """

    timeout: float
    execution_timeout: float | None = None

    @property
    def shorter(self) -> TimedOut:
        """The limit that ends a wait whose first attempt waits without a pause."""
        limit = self.execution_timeout
        return "timeout" if limit is None or limit >= self.timeout else "execution_timeout"

    def deadlines(self, started_at: float, attempt_started_at: float) -> dict[str, Any]:
        """Return the ``deadline`` and the ``execution_deadline`` of a wait."""
        limit = self.execution_timeout
        return {
            "deadline": started_at + self.timeout,
            "execution_deadline": None if limit is None else attempt_started_at + limit,
        }

    @property
    def deferral(self) -> float:
        """Airflow's timeout of a deferral that begins in the triggerer."""
        return self.timeout + TRIGGERER_GRACE

    def started_at(self, timeout_after: float) -> float:
        """Return when a wait that began in the triggerer began.

        :param timeout_after: when Airflow times the deferral out: the start plus :attr:`deferral`, or plus
            ``execution_timeout`` where that is shorter. Airflow keeps nothing else of the start.
        """
        lengths = (self.deferral, self.execution_timeout)
        return timeout_after - min(length for length in lengths if length is not None)


_SECONDS = partial(validation.seconds, zero=True)
_CHECKS: Mapping[str, validation.Check] = {
    "poll_interval": _SECONDS,
    "outage_tolerance": _SECONDS,
    "not_found_grace": _SECONDS,
    "waiting_timeout": validation.optional(_SECONDS),
    "max_poll_interval": validation.optional(_SECONDS),
    "max_credits": validation.optional(partial(validation.whole_number, least=1)),
}


@dataclass(frozen=True, slots=True)
class PollPolicy:
    """How to poll. Plain JSON values under the names of the trigger's arguments, which carry them.

    :class:`~remote_tasks_provider.bases.triggers.RemoteTaskTrigger` describes them. Moments are Unix seconds;
    :class:`WaitLimits` makes the deadlines, ``None`` for never.

    :param waiting_timeout: seconds for which a task may wait for a person where ``on_waiting`` is ``wait``;
        ``None`` for any time.
    :param in_detail: whether the wait must know how a task finished where that takes an operation of its own;
        not where the operator reads the result on a worker anyway.
    """

    started_at: float
    poll_interval: float
    deadline: float | None = None
    execution_deadline: float | None = None
    on_waiting: OnWaiting = "wait"
    outage_tolerance: float = 900.0
    not_found_grace: float = 90.0
    max_poll_interval: float | None = None
    max_credits: int | None = None
    in_detail: bool = True
    waiting_timeout: float | None = None

    def __post_init__(self) -> None:
        validation.choice(self.on_waiting, "on_waiting", ON_WAITING)
        for name, check in _CHECKS.items():
            object.__setattr__(self, name, check(getattr(self, name), name))

    def timed_out(self, now: float) -> TimedOut | None:
        """Return the deadline that has passed, if one has."""
        if self.deadline is not None and now >= self.deadline:
            return "timeout"
        if self.execution_deadline is not None and now >= self.execution_deadline:
            return "execution_timeout"
        return None

    def seconds_left(self, now: float) -> float | None:
        """Return the seconds until the next deadline, at least 0; ``None`` when there is no deadline."""
        ends = [end for end in (self.deadline, self.execution_deadline) if end is not None]
        return max(0.0, min(ends) - now) if ends else None

    def interval(self, now: float) -> float:
        """Return the seconds that the wait wants between two polls now."""
        wanted = self.poll_interval
        if self.max_poll_interval is not None:
            wanted = max(wanted, min(now - self.started_at, self.max_poll_interval))
        return max(wanted, SHORTEST_PAUSE)

    def deferral_timeout(self, now: float) -> float | None:
        """Return the seconds after which Airflow times a deferral out; ``None`` for never."""
        left = self.seconds_left(now)
        return None if left is None else left + TRIGGERER_GRACE
