"""Cancelling remote tasks: the rules, once for a worker, which blocks, and a triggerer, which must not.

A task that nobody cancels costs credits, so trouble is outlasted: a cancellation is repeated until the
service answers, or until there was nothing but trouble for as long as :class:`CancelRules` allow. Before each
request somebody confirms that the task is still to be cancelled: its Airflow task may have been cleared
meanwhile, and its next attempt re-attaches to it. :mod:`.cancel_worker` is the worker's driver,
:mod:`.cancel_queue` the triggerer's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any

from remote_tasks_provider.core.errors import (
    ApiError,
    AuthenticationError,
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    RemoteTaskError,
    ServerError,
    TransportError,
)
from remote_tasks_provider.core.http.connection import ConnectionConfig
from remote_tasks_provider.core.http.operation import Operation
from remote_tasks_provider.core.log import Log, in_brackets
from remote_tasks_provider.core.service import TaskType

__all__ = [
    "AFTER_A_TIMEOUT",
    "IN_THE_TRIGGERER",
    "WHILE_KILLED",
    "CancelBook",
    "CancelOutcome",
    "CancelRules",
    "Cancelled",
    "cancel_operation",
    "one_attempt",
    "unconfirmed",
    "unreachable",
]

# Requests at a time: one that hangs must not hold up the others.
_CONCURRENT_REQUESTS = 8
# The pause after the n-th failure is 2**(n-1) seconds, at most this many.
_LONGEST_PAUSE = 60.0
_LEAST_PAUSE = 0.05
# When the connection may have changed, it is read again, at most once in so many seconds.
_REREAD_AFTER = 30.0
# How often a batch is cancelled again of which the service counts some tasks, but not all.
_MOST_COUNTS = 3

_WORTH_REPEATING = (
    TransportError,
    RateLimitedError,
    ServerError,
    AuthenticationError,
    PermissionDeniedError,
    NotFoundError,
    InvalidResponseError,
)


@dataclass(frozen=True, slots=True)
class CancelRules:
    """How long a cancellation is tried.

    :param patience: seconds of nothing but trouble, of the whole service or of one task, after which to give
        up.
    :param not_found_grace: seconds for which a 404 must stand to be believed: a new task may not be visible
        yet.
    """

    patience: float
    not_found_grace: float


IN_THE_TRIGGERER = CancelRules(patience=3600.0, not_found_grace=90.0)
AFTER_A_TIMEOUT = CancelRules(patience=600.0, not_found_grace=30.0)
"""For a worker that has given up waiting: it has time, and other workers may use up the limit meanwhile."""
WHILE_KILLED = CancelRules(patience=20.0, not_found_grace=5.0)
"""For a worker that Airflow will end within seconds."""


class CancelOutcome(Enum):
    """What became of a task that was to be cancelled."""

    CANCELLED = auto()
    NOT_RUNNING = auto()
    """Cancelled now, or finished before: the service gives only a count."""
    NOT_FOUND = auto()
    LEFT = auto()
    """Airflow has said that it must not be cancelled any more, and why."""
    PENDING = auto()
    """Not cancelled yet; the request is repeated."""
    FAILED = auto()


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What became of one task.

    :param detail: the error's text, what the service counted, or what is to be known of a cancelled task.
    """

    outcome: CancelOutcome
    detail: str = ""

    @property
    def may_run(self) -> bool:
        """Whether the task may still run."""
        return self.outcome in (CancelOutcome.LEFT, CancelOutcome.PENDING, CancelOutcome.FAILED)

    def report(self, name: str, why: str, log: Log) -> None:
        """Say it in a log.

        :param name: what the task is called: ``Manus task a``.
        :param why: why it was to be cancelled: ``this task was marked failed``.
        """
        if self.outcome is CancelOutcome.CANCELLED:
            log.info("%s was cancelled%s: %s.", name, in_brackets(self.detail), why)
        elif self.outcome is CancelOutcome.NOT_RUNNING:
            log.info("%s does not run any more: it was cancelled, or had finished (%s).", name, self.detail)
        elif self.outcome is CancelOutcome.NOT_FOUND:
            log.info("%s was not found: it has finished, or no longer exists.", name)
        elif self.outcome is CancelOutcome.PENDING:
            log.warning("%s is not cancelled yet, another request follows: %s", name, self.detail)
        elif self.outcome is CancelOutcome.FAILED:
            log.warning("%s was not cancelled and may still run: %s", name, self.detail)


@dataclass(eq=False, slots=True)
class _Entry:
    """A task that is to be cancelled.

    :param failing_since: when a request first failed for a reason that may be this task's own.
    :param missing_since: since when the answers are 404.
    :param is_alone: whether it gets a request of its own: one that it shared has failed.
    :param counts: what the service counted of its batch, each time that it was neither nothing nor all.
    """

    asked_at: float
    not_before: float = float("-inf")
    failures: int = 0
    failing_since: float | None = None
    missing_since: float | None = None
    is_sent: bool = False
    is_alone: bool = False
    counts: list[str] = field(default_factory=list)

    def failed(self, now: float, *, is_missing: bool, rules: CancelRules) -> float:
        """Note a failure; return when to give up."""
        self.failures += 1
        if self.failing_since is None:
            self.failing_since = now
        if not is_missing:
            self.missing_since = None
        elif self.missing_since is None:
            self.missing_since = now
        until = self.failing_since + rules.patience
        return until if self.missing_since is None else min(until, self.missing_since + rules.not_found_grace)


class CancelBook:
    """Which tasks are to be cancelled, when to send the next request, and what an answer means. Pure.

    Times are seconds of a monotonic clock, and passed in. An error that every request would meet stops all of
    them for a while, then one request finds out whether it has passed. Any other error is one task's own.

    :param spread: the part of a pause that is kept.
    """

    def __init__(
        self, batch_size: int, rules: CancelRules, spread: Callable[[], float] = lambda: 1.0
    ) -> None:
        self.left: dict[str, _Entry] = {}
        """The tasks that are not settled, in the order in which their requests are sent."""
        self._batch_size = batch_size
        self._rules = rules
        self._spread = spread
        self._troubles = 0
        self._trouble_since = 0.0
        self._resumes_at = float("-inf")
        self._is_connection_doubted = False
        self._connected_at = float("-inf")

    def add(self, ids: Iterable[str], now: float) -> None:
        """Note tasks to cancel; one that is there already stays where it is."""
        for task_id in ids:
            self.left.setdefault(task_id, _Entry(now))

    def take(self, now: float, requests: int = 0) -> list[str]:
        """Return the tasks of the next request, to be settled by its answer; none if it must wait.

        :param requests: how many requests are under way.
        """
        if now < self._resumes_at or requests >= self._most_requests:
            return []
        due = (one for one in self.left.items() if not one[1].is_sent and one[1].not_before <= now)
        batch: dict[str, _Entry] = {}
        for task_id, entry in due:
            if not (batch and entry.is_alone):
                batch[task_id] = entry
                entry.is_sent = True
            if entry.is_alone or len(batch) == self._batch_size:
                break
        return list(batch)

    def pause(self, now: float, requests: int = 0) -> float | None:
        """Return the seconds after which :meth:`take` may have something; ``None``: after an answer."""
        idle = [entry.not_before for entry in self.left.values() if not entry.is_sent]
        if not idle or requests >= self._most_requests:
            return None
        return max(self._resumes_at - now, min(idle) - now, _LEAST_PAUSE)

    @property
    def _most_requests(self) -> int:
        return 1 if self._troubles else _CONCURRENT_REQUESTS

    def settle(self, ids: Sequence[str], answer: Any, now: float) -> dict[str, Cancelled]:
        """Return what an answer means for the tasks of its request, as far as there is news.

        :param answer: the operation's value: for a batch how many tasks it cancelled, and a
            :class:`Cancelled` where the service was asked what became of the task; or the error.
        """
        for task_id in ids:
            self.left[task_id].is_sent = False
        if not isinstance(answer, RemoteTaskError):
            self._troubles = 0
            return self._end(_counted({task_id: self.left[task_id] for task_id in ids}, answer))
        self._is_connection_doubted |= _may_come_of_the_connection(answer)
        if answer.concerns_service:
            return self._end(self._troubled(ids, answer, now))
        return self._end(self._failed(ids, answer, now))

    def leave(self, ids: Sequence[str]) -> dict[str, Cancelled]:
        """Settle tasks that need not be cancelled any more."""
        return self._end(dict.fromkeys(ids, Cancelled(CancelOutcome.LEFT)))

    def _end(self, news: dict[str, Cancelled]) -> dict[str, Cancelled]:
        for task_id, result in news.items():
            if result.outcome is not CancelOutcome.PENDING:
                del self.left[task_id]
        return news

    def _troubled(self, ids: Sequence[str], error: RemoteTaskError, now: float) -> dict[str, Cancelled]:
        """Stop all requests for a while; give up tasks that have met nothing but trouble for too long."""
        news: dict[str, Cancelled] = {}
        if not self._troubles:
            self._trouble_since = now
            news = dict.fromkeys(ids, Cancelled(CancelOutcome.PENDING, str(error)))
        # Of requests that fail together, the first counts.
        self._troubles += now >= self._resumes_at
        resumes_at = now + self._pause_after(self._troubles, error)
        for task_id, entry in self.left.items():
            until = max(entry.asked_at, self._trouble_since) + self._rules.patience
            if now < until:
                # The last request for a task is sent when its time is over.
                resumes_at = min(resumes_at, until)
            elif not entry.is_sent:
                news[task_id] = Cancelled(CancelOutcome.FAILED, str(error))
        self._resumes_at = max(self._resumes_at, resumes_at)
        return news

    def _failed(self, ids: Sequence[str], error: RemoteTaskError, now: float) -> dict[str, Cancelled]:
        """Schedule another request for each task alone, or give it up."""
        news: dict[str, Cancelled] = {}
        is_shared = len(ids) > 1
        for task_id in ids:
            entry = self.left[task_id]
            entry.is_alone = True
            is_missing = isinstance(error, NotFoundError) and not is_shared
            until = entry.failed(now, is_missing=is_missing, rules=self._rules)
            if not isinstance(error, _WORTH_REPEATING):
                until = now
            if now < until:
                entry.not_before = min(now + self._pause_after(entry.failures, error), until)
                if entry.failures == 1:
                    news[task_id] = Cancelled(CancelOutcome.PENDING, str(error))
            elif not is_shared:
                outcome = CancelOutcome.NOT_FOUND if is_missing else CancelOutcome.FAILED
                news[task_id] = Cancelled(outcome, str(error))
        return news

    def _pause_after(self, failures: int, error: RemoteTaskError) -> float:
        pause = min(_LONGEST_PAUSE, 2.0 ** min(failures - 1, 10)) * self._spread()
        asked = error.retry_after if isinstance(error, ApiError) else None
        return max(pause, asked or 0.0)

    # ------------------------------------------------------------------------------------ the connection

    def needs_connection(self, now: float) -> bool:
        """Whether to read the connection again before the next request: an error may come of it."""
        return self._is_connection_doubted and now - self._connected_at >= _REREAD_AFTER

    def connected(self, now: float, *, is_other: bool) -> None:
        """Note that the connection was read.

        :param is_other: whether it has changed, so that no failure means anything any more.
        """
        self._connected_at, self._is_connection_doubted = now, False
        if is_other:
            self._troubles, self._resumes_at = 0, float("-inf")
            for entry in self.left.values():
                entry.failures, entry.failing_since, entry.missing_since = 0, None, None
                entry.not_before = float("-inf")


def _counted(entries: Mapping[str, _Entry], answer: Any) -> dict[str, Cancelled]:
    """Return what a good answer says of a request's tasks.

    Of a batch it says how many were cancelled, but not which. So those are cancelled again of which some were
    counted, but not all: once nothing is left to cancel, none of them runs.
    """
    if isinstance(answer, Cancelled):
        return dict.fromkeys(entries, answer)
    if len(entries) == 1 or (isinstance(answer, int) and answer >= len(entries)):
        return dict.fromkeys(entries, Cancelled(CancelOutcome.CANCELLED))
    if not isinstance(answer, int):
        return dict.fromkeys(entries, Cancelled(CancelOutcome.NOT_RUNNING, "the service gives no count"))
    news = {}
    for task_id, entry in entries.items():
        if answer:
            entry.counts.append(f"{answer} of {len(entries)} were cancelled, the service does not say which")
        if not entry.counts:
            news[task_id] = Cancelled(CancelOutcome.NOT_FOUND)
        elif not answer or len(entry.counts) >= _MOST_COUNTS:
            news[task_id] = Cancelled(CancelOutcome.NOT_RUNNING, entry.counts[0])
    return news


def _may_come_of_the_connection(error: RemoteTaskError) -> bool:
    """Whether another key or another host may be what helps."""
    if isinstance(error, TransportError):
        return error.sent is False
    return isinstance(
        error, (AuthenticationError, PermissionDeniedError, NotFoundError, InvalidResponseError)
    )


# ----------------------------------------------------------------------------------- what both drivers do


def cancel_operation(task_type: TaskType, extras: Any, ids: Sequence[str]) -> Operation[Any]:
    """Return the operation that cancels the tasks.

    :raises RemoteTaskError: when the service has none, or its API version has none.
    """
    try:
        operation = task_type.cancel(extras, ids)
    except RemoteTaskError:
        raise
    except Exception as error:
        raise RemoteTaskError(_text(error)) from error
    if operation is None:
        raise RemoteTaskError(f"{task_type.service.name} has no operation that cancels it")
    return operation


def one_attempt(config: ConnectionConfig) -> ConnectionConfig:
    """Return the config of a client that repeats no request.

    The caller repeats it, and asks before whether the task is still to be cancelled.
    """
    return replace(config, extras=config.extras.model_copy(update={"max_attempts": 1}))


def unreachable(error: Exception) -> TransportError:
    """Return the error of a request for which there was no client."""
    return TransportError(f"the connection could not be read: {_text(error)}", sent=False)


def unconfirmed(error: Exception) -> TransportError:
    """Return the error of a request that was not sent: is it still wanted? Nobody could say."""
    return TransportError(f"it is not known whether it is still to be cancelled: {_text(error)}")


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
