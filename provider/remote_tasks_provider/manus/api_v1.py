"""Manus API v1, one function per endpoint: what is sent, and how the answer is read. No I/O.

https://open.manus.ai/docs/v1/get-tasks
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from remote_tasks_provider.core import inputs
from remote_tasks_provider.core.messages import Call, Page, Request, Response, path
from remote_tasks_provider.core.reading import LenientStr, Reader, RemoteModel
from remote_tasks_provider.manus.models import ManusTask, ManusTaskSummary

__all__ = ["STATUSES", "TaskFilter", "get_task", "list_summaries", "list_tasks", "task_filter"]

TaskT = TypeVar("TaskT", bound=ManusTaskSummary)

STATUSES = ("pending", "running", "completed", "failed")
"""The status words that the list endpoint filters by."""

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

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Return the query of the request; ``status`` repeats, as Manus wants it."""
        named = {
            "query": self.query,
            "createdAfter": self.created_after,
            "createdBefore": self.created_before,
            "project_id": self.project_id,
            "order": self.order,
            "orderBy": self.order_by,
            "after": self.after,
            "limit": self.page_size,
        }
        given = [(name, str(value)) for name, value in named.items() if value is not None]
        return (*(("status", word) for word in self.status), *given)


def task_filter(
    *,
    status: str | Iterable[str] | None = None,
    query: str | None = None,
    created_after: Any = None,
    created_before: Any = None,
    project_id: str | None = None,
    order: str = "desc",
    order_by: str = "created_at",
    after: str | None = None,
    page_size: int = 100,
    limit: int | None = None,
) -> TaskFilter:
    """Return a checked :class:`TaskFilter`.

    :param limit: how many tasks the caller wants at all; pages are not made larger than that.
    :raises ValueError: naming the parameter that is out of range.
    """
    size = inputs.whole_number(page_size, "page_size", least=1, most=MAX_PAGE_SIZE)
    return TaskFilter(
        status=tuple(inputs.choices(status, "status", STATUSES)),
        query=query or None,
        created_after=inputs.unix_seconds(created_after, "created_after"),
        created_before=inputs.unix_seconds(created_before, "created_before"),
        project_id=inputs.object_id(project_id, "project_id") if project_id is not None else None,
        order=inputs.choice(order, "order", ("asc", "desc")),
        order_by=inputs.choice(order_by, "order_by", ("created_at", "updated_at")),
        after=inputs.object_id(after, "after") if after is not None else None,
        page_size=min(size, limit) if limit else size,
    )


class _Page(RemoteModel, Generic[TaskT]):
    object: LenientStr = None
    data: list[TaskT] | None = None
    last_id: LenientStr = None
    has_more: bool | None = None


_read_task = Reader(ManusTask)
_read_tasks = Reader(_Page[ManusTask])
_read_summaries = Reader(_Page[ManusTaskSummary])


def get_task(remote_task_id: str) -> Call[ManusTask]:
    """``GET /v1/tasks/{task_id}``: one task with its whole conversation.

    :raises ValueError: when the id cannot be one.
    """
    task_id = inputs.object_id(remote_task_id, "remote_task_id")
    return Call(
        endpoint="GET /v1/tasks/{task_id}",
        request=Request("GET", path("/v1/tasks/{task_id}", task_id=task_id)),
        expects="a Manus task",
        parse=_read_task,
    )


def list_tasks(wanted: TaskFilter) -> Call[Page[ManusTask]]:
    """``GET /v1/tasks``: tasks, each with its whole conversation, so a page can be heavy.

    The account's tasks are listed whoever made them, those made in the Manus app included.
    """
    return _list(wanted, _read_tasks)


def list_summaries(wanted: TaskFilter) -> Call[Page[ManusTaskSummary]]:
    """``GET /v1/tasks`` again, its conversations skipped while reading."""
    return _list(wanted, _read_summaries)


def _list(wanted: TaskFilter, read_page: Reader) -> Call[Page[TaskT]]:
    def read(response: Response) -> Page[TaskT]:
        page: _Page[TaskT] = read_page(response)
        if page.data is None and page.object != "list":
            raise ValueError("neither 'data' nor 'object': 'list' is there")
        tasks = page.data or []
        cursor = (page.last_id or (tasks[-1].id if tasks else None)) if page.has_more else None
        if page.has_more and cursor is None:
            raise ValueError("'has_more' is true but there is no 'last_id' to go on from")
        following: Call[Page[TaskT]] | None = (
            _list(replace(wanted, after=cursor), read_page) if cursor else None
        )
        return Page(tasks, cursor, following)

    return Call(
        endpoint="GET /v1/tasks",
        request=Request("GET", "/v1/tasks", query=wanted.pairs()),
        expects="a list of Manus tasks",
        parse=read,
    )
