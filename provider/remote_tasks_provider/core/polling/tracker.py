"""What a poll result means now: the rules of a wait, once, for poke, reschedule and deferrable mode.

Nothing here sleeps, reads a clock or does I/O. ``now`` is passed in (Unix seconds, as it must survive a
restart in another process), and the answer is how long to pause, or that the wait is over.

The rules:

* A wait ends when each of its tasks is finished, or at its deadline. There is always a last poll *at* the
  deadline.
* A task is finished when its state is terminal; when it waits for a person and ``on_waiting`` is not
  ``wait``; or when its trouble has lasted for too long (:mod:`.progress`).
* Trouble is charged to a wait only for its own polls, those that were due.
* A task that waits for a person is given up after ``waiting_timeout``. The service says since when it waits,
  so that every mode agrees.
* A running task that has cost more than ``max_credits`` ends the wait, too.
* The next poll comes when the service asked for it, but a deadline is not missed for that.
* An unknown status word is reported once, and the wait continues.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from remote_tasks_provider.core.errors import NotFoundError, RemoteTaskError, TaskNeedsInputError
from remote_tasks_provider.core.log import in_brackets
from remote_tasks_provider.core.polling.policy import SHORTEST_PAUSE, PollPolicy
from remote_tasks_provider.core.polling.progress import Progress, read_checkpoint, write_checkpoint
from remote_tasks_provider.core.polling.result import WaitResult
from remote_tasks_provider.core.polling.strategy import PollResults
from remote_tasks_provider.core.states import TaskSnapshot, TaskState

__all__ = ["PollTracker"]

# An outage meets every task of a wait; so many of them are named.
_MOST_WARNINGS = 10

# Of several tasks, which one's state says most about the wait.
_BY_NEED = (
    TaskState.WAITING,
    TaskState.UNKNOWN,
    TaskState.RUNNING,
    TaskState.PENDING,
    TaskState.FAILED,
    TaskState.CANCELLED,
    TaskState.COMPLETED,
)


class PollTracker:
    """The state of one wait for one or many tasks.

    :param ids: the tasks, in the caller's order; duplicates are polled once.
    :param checkpoint: what :meth:`checkpoint` returned in an earlier part of the same wait.
    :param label: names one task in the log: ``Manus task``.
    """

    __slots__ = (
        "_answered_at",
        "_asked",
        "_ids",
        "_label",
        "_reported_words",
        "_tasks",
        "_warnings",
        "policy",
    )

    def __init__(
        self,
        ids: Iterable[str],
        policy: PollPolicy,
        checkpoint: Any = None,
        *,
        label: str = "Task",
    ) -> None:
        self.policy = policy
        self._label = label
        self._ids = tuple(ids)
        self._tasks = read_checkpoint(self._ids, checkpoint)
        self._reported_words: frozenset[str] = frozenset()
        self._warnings: list[str] | None = None
        self._asked: dict[str, float] = {}
        self._answered_at: float | None = None

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

    @property
    def unfinished_states(self) -> list[TaskState]:
        """The state of each of those, as it was last seen; ``unknown`` before that."""
        found = (progress for progress in self._tasks.values() if not progress.is_finished)
        return [one.snapshot.state if one.snapshot else TaskState.UNKNOWN for one in found]

    @property
    def seen(self) -> dict[str, Any] | None:
        """What the service last said, for somebody who looks at the wait from outside; ``None`` if nothing.

        ``state`` is that of the task that most needs to be looked at, ``credits`` what all have cost so far
        (``None`` where the service does not say), ``at`` when it was said, Unix seconds.
        """
        found = [one.snapshot for one in self._tasks.values() if one.snapshot]
        if self._answered_at is None or not found:
            return None
        states = {one.state for one in found}
        costs = [one.credit_usage for one in found if one.credit_usage is not None]
        return {
            "state": next(state.value for state in _BY_NEED if state in states),
            "credits": sum(costs) if costs else None,
            "at": self._answered_at,
        }

    def checkpoint(self) -> list[dict[str, Any]]:
        """Return what another process needs to resume the wait, beside the ids and the policy.

        Only what a poll would not tell it; mostly nothing.
        """
        return write_checkpoint(self._tasks)

    # ------------------------------------------------------------------------------------- poll results

    def update(self, results: PollResults, now: float, *, is_due: bool = True) -> int:
        """Take in results of a poll; return how many unfinished tasks they cover.

        :param is_due: whether the poll was this wait's own; errors of others' polls are not charged to it.
        """
        covered = 0
        for task_id, result in results.items():
            before = self._tasks.get(task_id)
            if before is None or before.is_finished:
                continue
            if isinstance(result, RemoteTaskError):
                if is_due:
                    covered += 1
                    self.record_error(task_id, result, now)
                continue
            covered += 1
            self._answered_at = now
            if isinstance(result, TaskSnapshot):
                self.record_snapshot(task_id, result)
            elif before.last is not None or not before.is_clean:
                self._tasks[task_id] = Progress(snapshot=before.snapshot)
            self._note_question(task_id, now)
        return covered

    def _note_question(self, task_id: str, now: float) -> None:
        """Warn when a task begins to wait for a person; give it up when it has waited for too long."""
        limit, snapshot = self.policy.waiting_timeout, self._tasks[task_id].snapshot
        if limit is None or self.policy.on_waiting != "wait" or snapshot is None:
            return
        if snapshot.state is not TaskState.WAITING:
            self._asked.pop(task_id, None)
            return
        is_new = task_id not in self._asked
        seen_at = self._asked.setdefault(task_id, now)
        since = max(
            snapshot.updated_at.timestamp() if snapshot.updated_at else seen_at, self.policy.started_at
        )
        place = in_brackets(snapshot.url)
        if now - since >= limit:
            error = TaskNeedsInputError(
                f"{self._label} {task_id} waits for an answer{place} since {_shown(since)}, longer than "
                f"waiting_timeout ({limit:g} s). Answer it there, then clear the Airflow task: it resumes "
                "the wait."
            )
            self._tasks[task_id] = Progress(snapshot=snapshot, error=error.to_json())
            self._warn(f"Giving up: {error}")
        elif is_new:
            self._warn(
                f"{self._label} {task_id} waits for a person{place}. The wait continues; without an answer "
                f"it is given up at {_shown(since + limit)}."
            )

    def record_snapshot(self, task_id: str, snapshot: TaskSnapshot) -> None:
        """Take in a successful poll of ``task_id``, the id that was asked for."""
        if snapshot.state is TaskState.UNKNOWN and snapshot.status not in self._reported_words:
            self._reported_words |= {snapshot.status}
            self._warn(
                f"{self._label} {task_id} has status {snapshot.status!r}, which this provider does not know; "
                "the wait continues as if it were running."
            )
        self._tasks[task_id] = Progress(snapshot=snapshot)

    def record_error(self, task_id: str, error: RemoteTaskError, now: float) -> None:
        """Take in a poll of ``task_id`` that failed with ``error``."""
        before = self._tasks[task_id]
        progress = self._tasks[task_id] = before.after(error, now, self.policy)
        # Trouble that stands is reported once; the summaries then say where the task stands.
        if progress.error is not None or progress.last != before.last:
            self._warn(self._about_failure(task_id, progress, error))

    def _about_failure(self, task_id: str, progress: Progress, error: RemoteTaskError) -> str:
        name = f"{self._label} {task_id}"
        if progress.error is not None:
            return f"{name}: giving up: {error}"
        if isinstance(error, NotFoundError):
            return f"{name} is not visible (yet); believed after {self._grace}: {error}"
        if progress.doubt is not None:
            return f"{name}: the poll failed; believed after {self._grace}: {error}"
        if progress.trouble_since is None:
            return f"{name}: not polled, which is no failure: {error}"
        tolerance = f"{self.policy.outage_tolerance:g} s"
        return f"{name}: the poll failed; tolerated for {tolerance} without a good answer: {error}"

    @property
    def _grace(self) -> str:
        return f"{self.policy.not_found_grace:g} s"

    # ------------------------------------------------------------------------------------ what comes next

    def interval(self, now: float, stretched: float = 0.0) -> float:
        """Return the seconds that the wait wants between two polls now.

        :param stretched: the least of them where bells come. Not for a wait that only polls can end in time:
            while a task is in trouble, was not seen, or waits for a person, and where ``max_credits`` is set.
        """
        wanted = self.policy.interval(now)
        if stretched <= wanted or self.policy.max_credits is not None:
            return wanted
        awaited = [one for one in self._tasks.values() if self._is_awaited(one)]
        return stretched if all(one.is_answered and not one.is_asking for one in awaited) else wanted

    def pause(
        self, now: float, spread: float = 1.0, back_off: float = 0.0, stretched: float = 0.0
    ) -> float | None:
        """Return the seconds until the next poll, or ``None`` when the wait is over.

        :param spread: the part of the interval to keep, so that many waits do not poll together.
        :param back_off: seconds for which the service asked to be left alone; never shortened by ``spread``.
            The rate limiter keeps them. A deadline is never missed for them, nor is a poll of tasks that
            were answered: one operation may be refused while the others continue.
        :param stretched: see :meth:`interval`.
        """
        if self.policy.timed_out(now) or not self._is_open:
            return None
        is_answered = any(one.is_answered for one in self._tasks.values() if self._is_awaited(one))
        interval = self.interval(now, stretched)
        pauses = [max(interval * spread, 0.0 if is_answered else back_off, SHORTEST_PAUSE)]
        if (left := self.policy.seconds_left(now)) is not None:
            pauses.append(left)
        pauses += [
            max(decided_at - now, back_off, SHORTEST_PAUSE)
            for progress in self._tasks.values()
            if (decided_at := progress.decided_at(self.policy)) is not None
        ]
        return min(pauses)

    @property
    def is_over(self) -> bool:
        """Whether every task is finished, so that no further poll is needed."""
        return not self._is_open

    @property
    def _is_open(self) -> bool:
        return any(self._is_awaited(progress) for progress in self._tasks.values())

    def _is_awaited(self, progress: Progress) -> bool:
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
        self._warnings = self._warnings or []
        self._warnings.append(text)

    def take_warnings(self) -> list[str]:
        """Return what happened since the last call that the log should warn of."""
        warnings, self._warnings = self._warnings or [], None
        more = len(warnings) - _MOST_WARNINGS
        return [*warnings[:_MOST_WARNINGS], f"and {more} more like these"] if more > 0 else warnings

    def summary(self, now: float, pause: float) -> str:
        """Return one line for the log: ``Manus task X is running for 2 m, next poll in 30 s``."""
        waited, next_poll = _span(now - self.policy.started_at), _span(pause)
        if len(self._tasks) == 1:
            ((task_id, progress),) = self._tasks.items()
            url = progress.snapshot.url if progress.snapshot else None
            place = in_brackets(url if progress.state == TaskState.WAITING else None)
            return (
                f"{self._label} {task_id} is {progress.state} for {waited}{place}, next poll in {next_poll}"
            )
        return f"{len(self._tasks)} {self._label}s after {waited}: {self.state}; next poll in {next_poll}"

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


def _shown(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(sep=" ", timespec="minutes")
