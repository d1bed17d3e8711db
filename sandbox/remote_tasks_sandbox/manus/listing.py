"""Which tasks a list of the emulated Manus account shows, and in which order."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from remote_tasks_sandbox.manus.task import ManusTask, v1_word
from remote_tasks_sandbox.tasks import Key

__all__ = ["ListQuery", "in_order"]


@dataclass(frozen=True)
class ListQuery:
    """The filters of a task list, checked: those of ``GET /v1/tasks``, and v2's cursor.

    :param after: id of the last task of the page before (v1)
    :param after_key: place of the last task of the page before; the task need not be there any more (v2)
    """

    after: str | None = None
    after_key: Key | None = None
    limit: int = 100
    ascending: bool = False
    by_update: bool = False
    text: str = ""
    statuses: frozenset[str] = frozenset()
    created_after: int | None = None
    created_before: int | None = None
    project_id: str | None = None
    standard_only: bool = False

    def admits(self, task: ManusTask, now: float) -> bool:
        """Whether the task passes every filter; both time bounds are exclusive."""
        if self.created_after is not None and task.created_at <= self.created_after:
            return False
        if self.created_before is not None and task.created_at >= self.created_before:
            return False
        if self.project_id is not None and task.project_id != self.project_id:
            return False
        if self.standard_only and task.project_id:
            return False
        if self.statuses and v1_word(task.timeline.word(now)) not in self.statuses:
            return False
        return (
            not self.text or self.text.casefold() in f"{task.title}\n{task.prompt}\n{task.answer}".casefold()
        )


def in_order(
    tasks: Mapping[str, ManusTask], order: Sequence[Key], query: ListQuery, now: float
) -> Iterator[ManusTask]:
    """Return the tasks from the query's cursor on, in its order, unfiltered.

    :param order: all tasks by creation
    :raises KeyError: when ``query.after`` names no task
    """
    if query.by_update:
        order = sorted((task.updated_at(now), task.number, task.id) for task in tasks.values())
    low, high = 0, len(order)
    if not query.by_update:
        # Only a short cut past tasks that ``admits`` would refuse one by one.
        if query.created_after is not None:
            low = bisect_right(order, (query.created_after, math.inf, ""))
        if query.created_before is not None:
            high = bisect_left(order, (query.created_before, -1, ""))
    last = _cursor(tasks, query, now)
    if last is not None:
        if query.ascending:
            low = max(low, bisect_right(order, last))
        else:
            high = min(high, bisect_left(order, last))
    places = range(low, high) if query.ascending else range(high - 1, low - 1, -1)
    return (tasks[order[place][2]] for place in places)


def _cursor(tasks: Mapping[str, ManusTask], query: ListQuery, now: float) -> Key | None:
    if query.after is None:
        return query.after_key
    last = tasks[query.after]
    return (last.updated_at(now), last.number, last.id) if query.by_update else last.key
