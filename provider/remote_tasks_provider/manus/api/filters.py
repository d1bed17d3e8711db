"""Which tasks to list, in which order: one set of filters for both versions of the API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from remote_tasks_provider.core import validation
from remote_tasks_provider.core.states import TaskState

__all__ = ["STATUSES", "TaskFilter", "task_filter"]

STATUSES = {
    "pending": TaskState.WAITING,
    "waiting": TaskState.WAITING,
    "running": TaskState.RUNNING,
    "completed": TaskState.COMPLETED,
    "failed": TaskState.FAILED,
}
"""The words to filter by: those of API v1, and ``waiting``, which is what v1's ``pending`` means."""

MAX_PAGE_SIZE = 1000


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks to list, in which order; times are Unix seconds. Made by :func:`task_filter`."""

    status: tuple[str, ...] = ()
    query: str | None = None
    created_after: int | None = None
    created_before: int | None = None
    project_id: str | None = None
    order: str = "desc"
    order_by: str = "created_at"
    after: str | None = None
    page_size: int = 100

    @property
    def states(self) -> frozenset[TaskState]:
        """The states that :attr:`status` names."""
        return frozenset(STATUSES[word] for word in self.status)


def task_filter(*, limit: int | None = None, **filters: Any) -> TaskFilter:
    """Return a checked :class:`TaskFilter`.

    :param limit: how many tasks the caller asks for; no page is larger.
    :param filters: as the user gives them, by the names of its fields.
    """
    given = TaskFilter(**filters)
    size = validation.whole_number(given.page_size, "page_size", least=1, most=MAX_PAGE_SIZE)
    return TaskFilter(
        status=tuple(validation.choices(given.status, "status", STATUSES)),
        query=validation.text(given.query, "query") if given.query else None,
        created_after=validation.unix_seconds(given.created_after, "created_after"),
        created_before=validation.unix_seconds(given.created_before, "created_before"),
        project_id=(
            validation.object_id(given.project_id, "project_id") if given.project_id is not None else None
        ),
        order=validation.choice(given.order, "order", ("asc", "desc")),
        order_by=validation.choice(given.order_by, "order_by", ("created_at", "updated_at")),
        after=validation.object_id(given.after, "after") if given.after is not None else None,
        page_size=min(size, limit) if limit else size,
    )
