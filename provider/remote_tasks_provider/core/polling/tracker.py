"""What a poll result means now: the rules of a wait, once, for poke, reschedule and deferrable mode.

Nothing here sleeps, reads a clock or does I/O: ``now`` is passed in (Unix seconds, as it must survive a
restart in another process), and the answer is how long to pause or that the wait is over.

The rules:

* A wait ends when each of its tasks has ended, or at its deadline. There is always a last look *at* the
  deadline.
* A task ends when its state is terminal; when it waits for a person and ``on_waiting`` is not ``wait``; or
  when what its looks met cannot heal: an error where no retry helps, ``max_failures`` failed looks in a row,
  or a 404 that has stood for ``not_found_grace`` seconds.
* A task that has cost more than ``max_credits`` while it is at work ends the wait, too.
* A 429 is no failure. The next look comes when the service asked for it.
* An unknown status word is reported once and waited through.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from remote_tasks_provider.core.errors import ApiError, NotFoundError, RateLimitedError, RemoteTaskError
from remote_tasks_provider.core.polling.policy import PollPolicy
from remote_tasks_provider.core.polling.result import TimedOut, WaitResult
from remote_tasks_provider.core.polling.strategy import PollResults
from remote_tasks_provider.core.states import TaskSnapshot, TaskState

__all__ = ["PollTracker"]

# However short the interval that was asked for, a service is not asked more often than this.
_SHORTEST_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class _Progress:
    """What is known of one task of a wait."""

    snapshot: TaskSnapshot | None = None
    error: Mapping[str, Any] | None = None
    """Set when the task cannot be known any more: the reason."""
    failures: int = 0
    missing_since: float | None = None

    @property
    def is_settled(self) -> bool:
        """Whether nothing is lost if only the vendor remembers this task."""
        return self.failures == 0 and self.missing_since is None


_NOTHING = _Progress()


class PollTracker:
    """The state of one wait for one or many tasks.

    :param ids: the tasks, in the caller's order; duplicates are looked at once.
    :param memory: what :meth:`memory` of an earlier part of the same wait returned.
    """

    __slots__ = ("_ids", "_longest_rest", "_not_before", "_notes", "_reported_words", "_tasks", "policy")

    def __init__(
        self,
        ids: Iterable[str],
        policy: PollPolicy,
        checkpoint: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        known = checkpoint or {}
        self.policy = policy
        self._ids = tuple(ids)
        self._tasks = {
            task_id: _Progress(**known[task_id]) if task_id in known else _NOTHING for task_id in self._ids
        }
        self._not_before = 0.0
        self._longest_rest = 0.0
        self._reported_words: frozenset[str] = frozenset()
        self._notes: tuple[str, ...] = ()

    @property
    def ids(self) -> list[str]:
        """The tasks as the caller gave them."""
        return list(self._ids)

    @property
    def first_url(self) -> str | None:
        """The page of the first task that has one."""
        seen = (progress.snapshot for progress in self._tasks.values())
        return next((snapshot.url for snapshot in seen if snapshot and snapshot.url), None)

    @property
    def open_ids(self) -> list[str]:
        """The tasks to look at next. One that waits for a person stays open: it may go on."""
        return [task_id for task_id, progress in self._tasks.items() if not _is_final(progress)]

    @property
    def is_settled(self) -> bool:
        """Whether the wait can be resumed from nothing but its ids and its start."""
        return all(progress.is_settled for progress in self._tasks.values())

    def take(self, results: PollResults, now: float) -> int:
        """Take in what a look found; return how many of the open tasks it covered."""
        covered = 0
        for task_id in self.open_ids:
            result = results.get(task_id)
            if result is None:
                continue
            covered += 1
            if isinstance(result, TaskSnapshot):
                self.saw(task_id, result)
            elif isinstance(result, RemoteTaskError):
                self.failed(task_id, result, now)
            elif not self._tasks[task_id].is_settled:
                self._tasks[task_id] = _Progress(snapshot=self._tasks[task_id].snapshot)
        return covered

    def saw(self, task_id: str, snapshot: TaskSnapshot) -> None:
        """Take in a good look at ``task_id``, the id that was asked for."""
        if snapshot.state is TaskState.UNKNOWN and snapshot.status not in self._reported_words:
            self._reported_words |= {snapshot.status}
            self._note(
                f"Task {task_id} has status {snapshot.status!r}, which this provider does not know; "
                "waiting on as if it were running."
            )
        self._tasks[task_id] = _Progress(snapshot=snapshot)

    def failed(self, task_id: str, error: RemoteTaskError, now: float) -> None:
        """Take in a look at ``task_id`` that ended in ``error``."""
        progress = self._tasks[task_id]
        if isinstance(error, ApiError) and error.retry_after:
            self._not_before = max(self._not_before, now + error.retry_after)
            self._longest_rest = max(self._longest_rest, error.retry_after)
        if isinstance(error, NotFoundError):
            # The earlier of both: the clock may have been set back.
            missing_since = now if progress.missing_since is None else min(progress.missing_since, now)
            progress = replace(progress, missing_since=missing_since)
            over = now - missing_since >= self.policy.not_found_grace
        elif isinstance(error, RateLimitedError):
            over = False
        else:
            progress = replace(progress, failures=progress.failures + 1, missing_since=None)
            over = not error.retry_helps or progress.failures >= self.policy.max_failures
        if over:
            progress = replace(progress, error=error.to_json())
        # A 404 that stands is told once; the summaries go on to say that the task is not visible.
        if over or not isinstance(error, NotFoundError) or self._tasks[task_id].missing_since is None:
            self._note(self._about_failure(task_id, progress, error))
        self._tasks[task_id] = progress

    def _about_failure(self, task_id: str, progress: _Progress, error: RemoteTaskError) -> str:
        if progress.error is not None:
            return f"Task {task_id}: giving up: {error}"
        if isinstance(error, NotFoundError):
            grace = f"{self.policy.not_found_grace:g} s"
            return f"Task {task_id} is not visible (yet); believed after {grace}: {error}"
        count = f" ({progress.failures} of {self.policy.max_failures} in a row)" if progress.failures else ""
        return f"Task {task_id}: a look failed{count}: {error}"

    def pause(self, now: float, spread: float = 1.0) -> float | None:
        """Return the seconds until the next look, or ``None`` when the wait is over.

        :param spread: the part of the interval to keep, so that many waits do not look together. A rest that
            the service asked for is never shortened, and a deadline never missed.
        """
        if self._timed_out(now) or not any(self._is_going(progress) for progress in self._tasks.values()):
            return None
        wanted = self.policy.interval
        if self.policy.max_interval is not None:
            wanted = max(wanted, min(now - self.policy.started_at, self.policy.max_interval))
        # A clock that was set back must not make a short rest a long one.
        rest = min(self._not_before - now, self._longest_rest)
        wanted = max(wanted * spread, rest, _SHORTEST_PAUSE)
        ends = [
            end - now for end in (self.policy.deadline, self.policy.execution_deadline) if end is not None
        ]
        graces = [
            progress.missing_since + self.policy.not_found_grace - now
            for progress in self._tasks.values()
            if progress.missing_since is not None and progress.error is None
        ]
        return max(0.0, min([wanted, *ends, *(max(grace, _SHORTEST_PAUSE) for grace in graces)]))

    def _is_going(self, progress: _Progress) -> bool:
        if _is_final(progress):
            return False
        snapshot = progress.snapshot
        if snapshot is None or not progress.is_settled:
            return True
        if self.policy.max_credits is not None and (snapshot.credit_usage or 0) > self.policy.max_credits:
            return False
        return not (snapshot.state is TaskState.WAITING and self.policy.on_waiting != "wait")

    def _timed_out(self, now: float) -> TimedOut | None:
        if self.policy.deadline is not None and now >= self.policy.deadline:
            return "timeout"
        if self.policy.execution_deadline is not None and now >= self.policy.execution_deadline:
            return "execution_timeout"
        return None

    def checkpoint(self) -> dict[str, dict[str, Any]]:
        """Return what another process needs to go on; only what it could not learn by looking."""
        return {
            task_id: {"failures": progress.failures, "missing_since": progress.missing_since}
            for task_id, progress in self._tasks.items()
            if not progress.is_settled
        }

    def report(self, now: float) -> WaitResult:
        """Return how the wait ended; call it when :meth:`pause` gave ``None``."""
        still_going = any(self._is_going(progress) for progress in self._tasks.values())
        return WaitResult(
            records={
                task_id: progress.snapshot.to_record() if progress.snapshot else None
                for task_id, progress in self._tasks.items()
            },
            errors={
                task_id: dict(progress.error)
                for task_id, progress in self._tasks.items()
                if progress.error is not None
            },
            timed_out=self._timed_out(now) if still_going else None,
            waited=max(0.0, now - self.policy.started_at),
        )

    def _note(self, text: str) -> None:
        self._notes = (*self._notes, text)

    def take_notes(self) -> list[str]:
        """Return what happened since the last call that a reader of the log should be warned of."""
        notes, self._notes = self._notes, ()
        return list(notes)

    def summary(self, now: float, pause: float) -> str:
        """Return one line for the log: ``task X is running for 2 m, next look in 30 s``."""
        waited, next_look = _span(now - self.policy.started_at), _span(pause)
        if len(self._tasks) == 1:
            ((task_id, progress),) = self._tasks.items()
            url = progress.snapshot.url if progress.snapshot else None
            place = f" ({url})" if url and _state(progress) == TaskState.WAITING else ""
            return f"task {task_id} is {_state(progress)} for {waited}{place}, next look in {next_look}"
        return f"{len(self._tasks)} tasks after {waited}: {self.state}; next look in {next_look}"

    @property
    def state(self) -> str:
        """Where the wait stands, for the log: one task's state, or how many tasks are in which."""
        if len(self._tasks) == 1:
            return _state(next(iter(self._tasks.values())))
        counts = Counter(map(_state, self._tasks.values()))
        return ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))


def _is_final(progress: _Progress) -> bool:
    return progress.error is not None or (
        progress.snapshot is not None and progress.snapshot.state.is_terminal
    )


def _state(progress: _Progress) -> str:
    if progress.error is not None:
        return "lost"
    if progress.missing_since is not None:
        return "not visible"
    return progress.snapshot.state.value if progress.snapshot else "not seen"


def _span(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m" + (f" {whole % 60} s" if whole % 60 and whole < 600 else "")
    return f"{whole // 3600} h {whole % 3600 // 60} m"
