"""What a poll result means now: the rules of a wait, once, for poke, reschedule and deferrable mode.

Nothing here sleeps, reads a clock or does I/O. ``now`` is passed in (Unix seconds, as it must survive a
restart in another process), and the answer is how long to pause, or that the wait is over.

The rules:

* A wait ends when each of its tasks is finished, or at its deadline. There is always a last poll *at* the
  deadline.
* A task is finished when its state is terminal; when it waits for a person and ``on_waiting`` is not
  ``wait``; or when its trouble cannot heal: an error where no retry helps, ``max_poll_failures`` consecutive
  failures, or a 404 that has stood for ``not_found_grace`` seconds.
* A running task that has cost more than ``max_credits`` ends the wait, too.
* A 429 is no failure. The next poll comes when the service asked for it.
* An unknown status word is reported once, and the wait continues.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from remote_tasks_provider.core.errors import NotFoundError, RateLimitedError, RemoteTaskError
from remote_tasks_provider.core.polling.policy import PollPolicy
from remote_tasks_provider.core.polling.result import WaitResult
from remote_tasks_provider.core.polling.strategy import PollResults
from remote_tasks_provider.core.states import TaskSnapshot, TaskState

__all__ = ["PollTracker"]

# However short the interval that was asked for, a service is not polled more often than this.
_SHORTEST_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class _Progress:
    """What is known of one task of a wait.

    :param error: set when the wait gave the task up: why.
    :param failures: consecutive failures.
    :param missing_since: when the first 404 of those that stand came.
    """

    snapshot: TaskSnapshot | None = None
    error: Mapping[str, Any] | None = None
    failures: int = 0
    missing_since: float | None = None

    @property
    def is_clean(self) -> bool:
        """Whether nothing is lost if only the service remembers this task."""
        return self.failures == 0 and self.missing_since is None

    @property
    def is_finished(self) -> bool:
        """Whether no poll can change it. A task that waits for a person is not finished: it may resume."""
        return self.error is not None or (self.snapshot is not None and self.snapshot.state.is_terminal)

    @property
    def state(self) -> str:
        """Where the task stands, for the log."""
        if self.error is not None:
            return "given up"
        if self.missing_since is not None:
            return "not visible"
        return self.snapshot.state.value if self.snapshot else "not seen"


_NOT_POLLED = _Progress()


class PollTracker:
    """The state of one wait for one or many tasks.

    :param ids: the tasks, in the caller's order; duplicates are polled once.
    :param checkpoint: what :meth:`checkpoint` returned in an earlier part of the same wait.
    """

    __slots__ = ("_ids", "_reported_words", "_tasks", "_warnings", "policy")

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
            task_id: _Progress(**known[task_id]) if task_id in known else _NOT_POLLED for task_id in self._ids
        }
        self._reported_words: frozenset[str] = frozenset()
        self._warnings: tuple[str, ...] = ()

    @property
    def ids(self) -> list[str]:
        """The tasks as the caller gave them."""
        return list(self._ids)

    @property
    def first_url(self) -> str | None:
        """The page of the first task that has one."""
        snapshots = (progress.snapshot for progress in self._tasks.values())
        return next((snapshot.url for snapshot in snapshots if snapshot and snapshot.url), None)

    @property
    def unread_ids(self) -> list[str]:
        """The tasks that no poll has read yet, and that were not given up."""
        return [
            task_id
            for task_id, progress in self._tasks.items()
            if progress.snapshot is None and progress.error is None
        ]

    @property
    def unfinished_ids(self) -> list[str]:
        """The tasks to poll next."""
        return [task_id for task_id, progress in self._tasks.items() if not progress.is_finished]

    def checkpoint(self) -> dict[str, dict[str, Any]]:
        """Return what another process needs to resume the wait, beside the ids and the policy.

        Only what a poll would not tell it; mostly nothing.
        """
        return {
            task_id: {"failures": progress.failures, "missing_since": progress.missing_since}
            for task_id, progress in self._tasks.items()
            if not progress.is_clean
        }

    # ------------------------------------------------------------------------------------- poll results

    def update(self, results: PollResults, now: float) -> int:
        """Take in the results of a poll; return how many unfinished tasks they cover."""
        covered = 0
        for task_id in self.unfinished_ids:
            result = results.get(task_id)
            if result is None:
                continue
            covered += 1
            if isinstance(result, TaskSnapshot):
                self.record_snapshot(task_id, result)
            elif isinstance(result, RemoteTaskError):
                self.record_error(task_id, result, now)
            elif not self._tasks[task_id].is_clean:
                self._tasks[task_id] = _Progress(snapshot=self._tasks[task_id].snapshot)
        return covered

    def record_snapshot(self, task_id: str, snapshot: TaskSnapshot) -> None:
        """Take in a successful poll of ``task_id``, the id that was asked for."""
        if snapshot.state is TaskState.UNKNOWN and snapshot.status not in self._reported_words:
            self._reported_words |= {snapshot.status}
            self._warn(
                f"Task {task_id} has status {snapshot.status!r}, which this provider does not know; "
                "the wait continues as if it were running."
            )
        self._tasks[task_id] = _Progress(snapshot=snapshot)

    def record_error(self, task_id: str, error: RemoteTaskError, now: float) -> None:
        """Take in a poll of ``task_id`` that failed with ``error``."""
        before = self._tasks[task_id]
        if isinstance(error, NotFoundError):
            # The earlier of both: the clock may have been set back.
            missing_since = now if before.missing_since is None else min(before.missing_since, now)
            progress = replace(before, missing_since=missing_since)
            gives_up = now - missing_since >= self.policy.not_found_grace
        elif isinstance(error, RateLimitedError):
            progress, gives_up = before, False
        else:
            progress = replace(before, failures=before.failures + 1, missing_since=None)
            gives_up = not error.retry_helps or progress.failures >= self.policy.max_poll_failures
        if gives_up:
            progress = replace(progress, error=error.to_json())
        # A 404 that stands is reported once; the summaries then say that the task is not visible.
        if gives_up or not isinstance(error, NotFoundError) or before.missing_since is None:
            self._warn(self._about_failure(task_id, progress, error))
        self._tasks[task_id] = progress

    def _about_failure(self, task_id: str, progress: _Progress, error: RemoteTaskError) -> str:
        if progress.error is not None:
            return f"Task {task_id}: giving up: {error}"
        if isinstance(error, NotFoundError):
            grace = f"{self.policy.not_found_grace:g} s"
            return f"Task {task_id} is not visible (yet); believed after {grace}: {error}"
        most = self.policy.max_poll_failures
        count = f" ({progress.failures} of {most} consecutive failures)" if progress.failures else ""
        return f"Task {task_id}: the poll failed{count}: {error}"

    # ------------------------------------------------------------------------------------ what comes next

    def pause(self, now: float, spread: float = 1.0, back_off: float = 0.0) -> float | None:
        """Return the seconds until the next poll, or ``None`` when the wait is over.

        :param spread: the part of the interval to keep, so that many waits do not poll together.
        :param back_off: seconds for which the service asked to be left alone; never shortened by ``spread``.
            The rate limiter keeps them. A deadline is never missed for them.
        """
        if self.policy.timed_out(now) or not self._is_open:
            return None
        wanted = self.policy.poll_interval
        if self.policy.max_poll_interval is not None:
            wanted = max(wanted, min(now - self.policy.started_at, self.policy.max_poll_interval))
        pauses = [max(wanted * spread, back_off, _SHORTEST_PAUSE)]
        if (left := self.policy.seconds_left(now)) is not None:
            pauses.append(left)
        pauses += [
            max(progress.missing_since + self.policy.not_found_grace - now, _SHORTEST_PAUSE)
            for progress in self._tasks.values()
            if progress.missing_since is not None and progress.error is None
        ]
        return min(pauses)

    @property
    def _is_open(self) -> bool:
        return any(self._is_awaited(progress) for progress in self._tasks.values())

    def _is_awaited(self, progress: _Progress) -> bool:
        if progress.is_finished:
            return False
        snapshot = progress.snapshot
        if snapshot is None or not progress.is_clean:
            return True
        if self.policy.max_credits is not None and (snapshot.credit_usage or 0) > self.policy.max_credits:
            return False
        return not (snapshot.state is TaskState.WAITING and self.policy.on_waiting != "wait")

    def result(self, now: float) -> WaitResult:
        """Return how the wait ended; call it when :meth:`pause` gave ``None``."""
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
            timed_out=self.policy.timed_out(now) if self._is_open else None,
            waited=max(0.0, now - self.policy.started_at),
        )

    # ---------------------------------------------------------------------------------------------- log

    def _warn(self, text: str) -> None:
        self._warnings = (*self._warnings, text)

    def take_warnings(self) -> list[str]:
        """Return what happened since the last call that the log should warn of."""
        warnings, self._warnings = self._warnings, ()
        return list(warnings)

    def summary(self, now: float, pause: float) -> str:
        """Return one line for the log: ``task X is running for 2 m, next poll in 30 s``."""
        waited, next_poll = _span(now - self.policy.started_at), _span(pause)
        if len(self._tasks) == 1:
            ((task_id, progress),) = self._tasks.items()
            url = progress.snapshot.url if progress.snapshot else None
            place = f" ({url})" if url and progress.state == TaskState.WAITING else ""
            return f"task {task_id} is {progress.state} for {waited}{place}, next poll in {next_poll}"
        return f"{len(self._tasks)} tasks after {waited}: {self.state}; next poll in {next_poll}"

    @property
    def state(self) -> str:
        """Where the wait stands, for the log: one task's state, or how many tasks are in which."""
        if len(self._tasks) == 1:
            return next(iter(self._tasks.values())).state
        counts = Counter(progress.state for progress in self._tasks.values())
        return ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))


def _span(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m" + (f" {whole % 60} s" if whole % 60 and whole < 600 else "")
    return f"{whole // 3600} h {whole % 3600 // 60} m"
