"""The v1 tasks of the emulated QStash account, their messages, and the form of a task on the wire.

All times of a task are unix milliseconds, as on the wire; only the clock counts seconds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from remote_tasks_sandbox.progression import Script, Timeline
from remote_tasks_sandbox.qstash.message import milliseconds
from remote_tasks_sandbox.tasks import Task, TaskStore, random_id
from remote_tasks_sandbox.vendor import Context

__all__ = ["QStashTask", "QStashTasks"]

DEFAULT_SCRIPT: Script = (("active", 2.0), ("delivered", None))

_FAILED_ATTEMPT = frozenset({"error", "retry", "retrying"})
_FAILED = _FAILED_ATTEMPT | {"failed"}
_DONE = frozenset({"delivered", "completed"})
_WAITING = _FAILED_ATTEMPT | {"created", "planned", "pending"}


@dataclass(eq=False, kw_only=True)
class QStashTask(Task):
    """One delivery of a message to one destination.

    :param retried: failed attempts before the script begins
    :param completed_at: unix milliseconds, shown in every state; default when it was delivered
    :param next_process_at: unix milliseconds; default when the script continues
    :param deadline: unix milliseconds, shown by the single-task call only
    """

    message_id: str
    url: str = "https://example.com/hook"
    max_retry: int = 3
    retried: int = 0
    completed_at: int | None = None
    next_process_at: int | None = None
    deadline: int | None = None

    def __post_init__(self) -> None:
        self.error = self.error or "HTTP status 500"

    @property
    def group(self) -> str:
        """Return the message: its tasks are listed together."""
        return self.message_id

    def describe(self, now: float) -> dict[str, Any]:
        """Return the task as the control plane shows it."""
        return super().describe(now) | {"message_id": self.message_id, "url": self.url}

    def wire(self, now: float) -> dict[str, Any]:
        """Return the task with integers throughout, as lists show it.

        ``error`` and ``lastErrorAt`` outlive a later success, and ``lastErrorAt`` is 0 when no attempt
        failed.
        """
        visited = self.timeline.visited(self.timeline.index(now))
        words = [word.lower() for _, word in visited]
        failures = [start for (start, _), word in zip(visited, words, strict=True) if word in _FAILED]
        # "error" followed by "retrying" is one failed attempt, not two.
        pairs = zip(["", *words[:-1]], words, strict=True)
        failed_attempts = sum(
            word in _FAILED_ATTEMPT and before not in _FAILED_ATTEMPT for before, word in pairs
        )
        completed_at = self.completed_at
        if completed_at is None and words[-1] in _DONE:
            completed_at = milliseconds(visited[-1][0])
        next_at = self.next_process_at
        upcoming = self.timeline.next_change(now)
        if next_at is None and words[-1] in _WAITING and upcoming is not None:
            next_at = milliseconds(upcoming)
        full = {
            "taskId": self.id,
            "messageId": self.message_id,
            "state": visited[-1][1],
            "url": self.url,
            "maxRetry": self.max_retry,
            "retried": min(self.retried + failed_attempts, max(self.max_retry, self.retried)),
            "lastErrorAt": milliseconds(failures[-1]) if failures else 0,
            "error": self.error if failures else "",
            "completedAt": completed_at,
            "nextProcessAt": next_at,
        }
        return {name: value for name, value in full.items() if value is not None} | dict(self.extra)


class QStashTasks(TaskStore[QStashTask]):
    """All v1 tasks of the account."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, QStashTask)

    def add_task(
        self,
        task_id: str | None = None,
        message_id: str = "msg_1",
        script: Iterable[Any] = DEFAULT_SCRIPT,
        *,
        created_at: int | None = None,
        advance_after_reads: int | None = None,
        **options: Any,
    ) -> str:
        """Add a task to a message, which comes into being with its first task.

        :param task_id: its id; ``tsk_`` and 28 letters and digits by default
        :param script: states with seconds, counted from now; any word is allowed
        :param created_at: unix milliseconds, moved on to the next that is free in the message; default now
        :param advance_after_reads: go by reads instead of by time
        :param options: fields of :class:`QStashTask`
        """
        if not message_id:
            raise ValueError("the message id is empty")
        with self._lock:
            now = self._clock.now()
            task = QStashTask(
                id=self._check_id(random_id(28, "tsk_") if task_id is None else task_id),
                number=next(self._numbers),
                message_id=message_id,
                created_at=self._free_millisecond(message_id, now, created_at),
                added_at=now,
                timeline=Timeline(script, now=now, advance_after_reads=advance_after_reads),
                **options,
            )
            self._insert(task)
            return task.id

    def _free_millisecond(self, message_id: str, now: float, created_at: int | None) -> int:
        """Return when a task is created; no two of a message share a millisecond, since the cursor is one."""
        order = self._order.get(message_id, [])
        latest = order[-1][0] if order else 0
        if created_at is None:
            # Many tasks made at once would all want the same millisecond; counting on keeps this cheap.
            return max(milliseconds(now), latest + 1)
        wanted = int(created_at)
        for taken, _, _ in islice(order, bisect_left(order, (wanted, -1, "")), None):
            if taken != wanted:
                break
            wanted += 1
        return wanted

    def of_message(self, message_id: str, before_ms: int | None) -> Iterator[QStashTask] | None:
        """Return a message's tasks, newest first; the caller holds the lock.

        :param before_ms: only tasks created before this millisecond
        :returns: ``None`` when the message is unknown
        """
        order = self._order.get(message_id)
        if order is None:
            return None
        high = len(order) if before_ms is None else bisect_left(order, (before_ms, -1, ""))
        return (self._tasks[order[place][2]] for place in range(high - 1, -1, -1))
