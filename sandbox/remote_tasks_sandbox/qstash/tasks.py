"""The emulated QStash account: tasks, the messages they belong to, and how a v1 task looks on the wire.

Which behaviour is documented, observed or assumed stands in ``docs/sandbox.md``. HTTP is left to
``qstash_api``. All times of this module's tasks are unix milliseconds, as on the wire; only the clock counts
seconds.
"""

from __future__ import annotations

import secrets
import string
from bisect import bisect_left, insort
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from remote_tasks_sandbox.progression import Script, Timeline

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator, Mapping

    from remote_tasks_sandbox.clock import Clock

__all__ = ["QStashTask", "QStashTasks"]

DEFAULT_SCRIPT: Script = (("active", 2.0), ("delivered", None))

_ALPHABET = string.ascii_letters + string.digits
_FAILED_ATTEMPT = frozenset({"error", "retry", "retrying"})
_FAILED = _FAILED_ATTEMPT | {"failed"}
_DONE = frozenset({"delivered", "completed"})
_WAITING = _FAILED_ATTEMPT | {"created", "planned", "pending"}


@dataclass(eq=False)
class QStashTask:
    """One delivery of a message to one destination."""

    id: str
    message_id: str
    created_ms: int
    added_at: float
    url: str
    error: str
    max_retry: int
    retried: int
    completed_at: int | None
    next_process_at: int | None
    deadline: int | None
    extra: Mapping[str, Any]
    timeline: Timeline
    reads: int = 0
    last_read_at: float | None = None

    def note_read(self, now: float) -> None:
        """Count that a client was shown this task."""
        self.reads += 1
        self.last_read_at = now
        self.timeline.note_read(now)

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
            completed_at = _milliseconds(visited[-1][0])
        next_at = self.next_process_at
        upcoming = self.timeline.next_change(now)
        if next_at is None and words[-1] in _WAITING and upcoming is not None:
            next_at = _milliseconds(upcoming)
        full = {
            "taskId": self.id,
            "messageId": self.message_id,
            "state": visited[-1][1],
            "url": self.url,
            "maxRetry": self.max_retry,
            "retried": min(self.retried + failed_attempts, max(self.max_retry, self.retried)),
            "lastErrorAt": _milliseconds(failures[-1]) if failures else 0,
            "error": self.error if failures else "",
            "completedAt": completed_at,
            "nextProcessAt": next_at,
        }
        return {name: value for name, value in full.items() if value is not None} | dict(self.extra)


@dataclass
class _Message:
    """The tasks of a message, by creation; no two share a millisecond, since the cursor is one."""

    order: list[tuple[int, str]] = field(default_factory=list)

    def free_millisecond(self, wanted: int) -> int:
        if not self.order or wanted > self.order[-1][0]:
            return wanted
        place = bisect_left(self.order, (wanted, ""))
        for taken, _ in islice(self.order, place, None):
            if taken != wanted:
                break
            wanted += 1
        return wanted


class QStashTasks:
    """All tasks of the account; thread safe.

    :param clock: what time it is
    :param lock: shared with the rest of the sandbox
    """

    def __init__(self, clock: Clock, lock: threading.RLock) -> None:
        self._clock = clock
        self._lock = lock
        self._tasks: dict[str, QStashTask] = {}
        self._messages: dict[str, _Message] = {}

    def add_task(
        self,
        task_id: str | None = None,
        message_id: str = "msg_1",
        script: Iterable[Any] = DEFAULT_SCRIPT,
        *,
        url: str = "https://example.com/hook",
        error: str | None = None,
        max_retry: int = 3,
        retried: int = 0,
        completed_at: int | None = None,
        next_process_at: int | None = None,
        deadline: int | None = None,
        created_at: int | None = None,
        advance_after_reads: int | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> str:
        """Add a task to a message, which comes into being with its first task.

        :param task_id: its id; ``tsk_`` and 28 letters and digits by default
        :param script: states with seconds, counted from now; any word is allowed
        :param error: text of a failed attempt, shown once one failed
        :param retried: failed attempts before the script begins
        :param completed_at: unix milliseconds, shown in every state; default when it was delivered
        :param next_process_at: unix milliseconds; default when the script goes on
        :param deadline: unix milliseconds, shown by the single-task call only
        :param created_at: unix milliseconds, moved on to the next that is free in the message; default now
        :param advance_after_reads: go by reads instead of by time
        :param extra: fields laid over the task on the wire, as they are
        :returns: the task's id
        :raises ValueError: for an id in use or a bad script
        """
        with self._lock:
            now = self._clock.now()
            chosen = _random_id() if task_id is None else task_id
            if not chosen or not message_id or chosen in self._tasks:
                raise ValueError(
                    f"the id {chosen!r} is empty or in use, or the message id {message_id!r} is empty"
                )
            timeline = Timeline(script, now=now, advance_after_reads=advance_after_reads)
            message = self._messages.setdefault(message_id, _Message())
            wanted = _milliseconds(now) if created_at is None else int(created_at)
            if created_at is None and message.order:
                # Many tasks made at once would all want the same millisecond; counting on keeps this cheap.
                wanted = max(wanted, message.order[-1][0] + 1)
            created_ms = message.free_millisecond(wanted)
            self._tasks[chosen] = QStashTask(
                id=chosen,
                message_id=message_id,
                created_ms=created_ms,
                added_at=now,
                url=url,
                error=error or "HTTP status 500",
                max_retry=max_retry,
                retried=retried,
                completed_at=completed_at,
                next_process_at=next_process_at,
                deadline=deadline,
                extra=dict(extra or {}),
                timeline=timeline,
            )
            insort(message.order, (created_ms, chosen))
            return chosen

    def set_status(self, task_id: str, status: str, *, error: str | None = None) -> None:
        """Give a task a state from now on, for ever.

        :raises KeyError: when there is no such task
        """
        self.set_script(task_id, [(status, None)], error=error)

    def set_script(self, task_id: str, script: Iterable[Any], *, error: str | None = None) -> None:
        """Let a task follow a new script from now on.

        :raises KeyError: when there is no such task
        :raises ValueError: for a bad script
        """
        with self._lock:
            task = self._tasks[task_id]
            task.timeline.run(script, self._clock.now())
            task.error = error or task.error

    def delete_task(self, task_id: str) -> None:
        """Remove a task; its message stays, even without tasks.

        :raises KeyError: when there is no such task
        """
        with self._lock:
            task = self._tasks.pop(task_id)
            order = self._messages[task.message_id].order
            del order[bisect_left(order, (task.created_ms, task.id))]

    def get(self, task_id: str) -> QStashTask | None:
        """Return a task without counting it as read."""
        return self._tasks.get(task_id)

    def newest(self, limit: int) -> list[QStashTask]:
        """Return the tasks added last, last first, without counting them as read."""
        with self._lock:
            return [self._tasks[task_id] for task_id in islice(reversed(self._tasks), limit)]

    def of_message(self, message_id: str, before_ms: int | None) -> Iterator[QStashTask] | None:
        """Return a message's tasks, newest first; the caller holds the lock.

        :param before_ms: only tasks created before this millisecond
        :returns: ``None`` when the message is unknown
        """
        message = self._messages.get(message_id)
        if message is None:
            return None
        high = len(message.order) if before_ms is None else bisect_left(message.order, (before_ms, ""))
        return (self._tasks[message.order[place][1]] for place in range(high - 1, -1, -1))

    def __len__(self) -> int:
        return len(self._tasks)

    def clear(self) -> None:
        """Remove all tasks and messages."""
        with self._lock:
            self._tasks.clear()
            self._messages.clear()


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _random_id() -> str:
    return "tsk_" + "".join(secrets.choice(_ALPHABET) for _ in range(28))
