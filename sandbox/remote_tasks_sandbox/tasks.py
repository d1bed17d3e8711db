"""The tasks of an emulated account, of any vendor: one store, in order of creation.

What a test may set on a task are the fields of the vendor's subclass of :class:`Task`.
"""

from __future__ import annotations

import inspect
import secrets
import string
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from heapq import nlargest
from itertools import count
from operator import attrgetter
from typing import Any, Generic, TypeVar

from remote_tasks_sandbox.progression import Timeline
from remote_tasks_sandbox.vendor import Context, ControlCall, Handler

__all__ = ["Key", "Task", "TaskStore", "random_id"]

#: The place of a task in the order of creation.
Key = tuple[int, int, str]

_ALPHABET = string.ascii_letters + string.digits


def random_id(length: int, prefix: str = "") -> str:
    """Return an id of so many letters and digits."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(length))


@dataclass(eq=False, kw_only=True)
class Task:
    """One task.

    :param created_at: when it was created, in the vendor's unit
    :param added_at: when it was added to the sandbox, unix seconds
    :param error: text shown once it has failed
    :param extra: fields laid over the task on the wire, as they are
    """

    id: str
    number: int
    created_at: int
    added_at: float
    timeline: Timeline
    error: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    reads: int = field(default=0, init=False)
    last_read_at: float | None = field(default=None, init=False)

    @property
    def group(self) -> str:
        """Return the name under which the task is listed together with others."""
        return ""

    @property
    def key(self) -> Key:
        """Return the place in the order of creation."""
        return self.created_at, self.number, self.id

    def note_read(self, now: float) -> None:
        """Count that a client was shown this task."""
        self.reads += 1
        self.last_read_at = now
        self.timeline.note_read(now)

    def describe(self, now: float) -> dict[str, Any]:
        """Return the task as the control plane shows it."""
        return {
            "id": self.id,
            "status": self.timeline.word(now),
            "since": self.timeline.since(now),
            "changes_at": self.timeline.next_change(now),
            "changes_after_reads": self.timeline.reads_left(),
            "reads": self.reads,
            "last_read_at": self.last_read_at,
            "created_at": self.created_at,
        }


T = TypeVar("T", bound=Task)

#: Fields of a task that the store sets.
_OWN = frozenset({"id", "number", "created_at", "added_at", "timeline"})


class TaskStore(Generic[T]):
    """All tasks of an account; thread safe. A vendor's subclass has ``add_task``.

    Methods that name a task raise ``KeyError`` when there is none.

    :param context: the clock and the lock of the sandbox
    :param task_type: the class of its tasks
    """

    #: Adds a task and returns its id; what can be given by position differs by vendor.
    add_task: Callable[..., str]

    def __init__(self, context: Context, task_type: type[T]) -> None:
        self._context = context
        self._clock = context.clock
        self._lock = context.lock
        self._task_type = task_type
        self._tasks: dict[str, T] = {}
        #: For each group its tasks by creation.
        self._order: dict[str, list[Key]] = {}
        self._numbers = count()

    @property
    def options(self) -> list[str]:
        """Return the names of everything that ``add_task`` takes."""
        named = [name for name in inspect.signature(self.add_task).parameters if name != "options"]
        own = (item.name for item in fields(self._task_type) if item.init and item.name not in _OWN)
        return [*named, *own]

    def _check_options(self, options: Mapping[str, Any]) -> None:
        if unknown := sorted(set(options) - set(self.options)):
            raise ValueError(f"unknown fields {unknown}; known are {sorted(self.options)}")

    def _check_id(self, task_id: str) -> str:
        if not task_id or task_id in self._tasks:
            raise ValueError(f"the id {task_id!r} is empty or in use")
        return task_id

    def _insert(self, task: T) -> None:
        self._tasks[task.id] = task
        insort(self._order.setdefault(task.group, []), task.key)

    def set_status(self, task_id: str, status: str, *, error: str | None = None) -> None:
        """Give a task a status from now on, for ever."""
        self.set_script(task_id, [(status, None)], error=error)

    def set_script(self, task_id: str, script: Iterable[Any], *, error: str | None = None) -> None:
        """Let a task follow a new script from now on."""
        with self._lock:
            task = self._tasks[task_id]
            task.timeline.run(script, self._clock.now())
            task.error = error or task.error

    def delete_task(self, task_id: str) -> None:
        """Remove a task; its group stays, even without tasks."""
        with self._lock:
            task = self._tasks.pop(task_id)
            order = self._order[task.group]
            del order[bisect_left(order, task.key)]

    def get(self, task_id: str) -> T | None:
        """Return a task without counting it as read."""
        return self._tasks.get(task_id)

    def newest(self, limit: int | None = None) -> list[T]:
        """Return the newest tasks, newest first, without counting them as read; ``None`` for all."""
        with self._lock:
            most = len(self._tasks) if limit is None else limit
            return nlargest(most, self._tasks.values(), key=attrgetter("key"))

    def __len__(self) -> int:
        return len(self._tasks)

    def clear(self) -> None:
        """Remove all tasks."""
        with self._lock:
            self._tasks.clear()
            self._order.clear()

    def control(self) -> dict[str, Handler]:
        """Return the routes of the control plane to add, show, change and delete tasks."""
        return {
            "POST tasks": self._add_by_control,
            "GET tasks/": self._show_by_control,
            "POST tasks/": self._change_by_control,
            "DELETE tasks/": self._delete_by_control,
        }

    def _add_by_control(self, call: ControlCall) -> Any:
        items = call.objects()
        for item in items:
            self._check_options(item)
        return 201, {"ids": [self.add_task(**item) for item in items]}

    def _show_by_control(self, call: ControlCall) -> Any:
        return self._tasks[call.id].describe(self._clock.now())

    def _change_by_control(self, call: ControlCall) -> Any:
        body = call.object()
        if set(body) - {"status", "script", "error"} or ("status" in body) == ("script" in body):
            raise ValueError(
                'a task is changed with {"status": word} or {"script": steps}, and "error" if you like'
            )
        script = body["script"] if "script" in body else [(body["status"], None)]
        self.set_script(call.id, script, error=body.get("error"))
        return self._show_by_control(call)

    def _delete_by_control(self, call: ControlCall) -> Any:
        self.delete_task(call.id)
        return {"deleted": call.id}
