"""QStash's task endpoints (API v1), one function each: what is sent, and how the response is read. No I/O.

Upstash has withdrawn v1 in favour of v2, which has messages only; these operations serve accounts and proxies
that still support them.
"""

from __future__ import annotations

from remote_tasks_provider.core import validation
from remote_tasks_provider.core.http.operation import Operation, Page, Request, path
from remote_tasks_provider.core.http.parsing import Items, Reader
from remote_tasks_provider.qstash.api.operations import CursorPage, paged
from remote_tasks_provider.qstash.models import QStashTask

__all__ = ["get_task", "list_message_tasks"]


class _TaskPage(CursorPage):
    tasks: Items[QStashTask] | None

    def entries(self) -> list[QStashTask]:
        return self.tasks or []


_read_task = Reader(QStashTask)
_read_page = Reader(_TaskPage)


def get_task(remote_task_id: str) -> Operation[QStashTask]:
    """``GET /v1/tasks/{taskId}``."""
    task_id = validation.object_id(remote_task_id, "remote_task_id")
    return Operation(
        name="GET /v1/tasks/{taskId}",
        request=Request("GET", path("/v1/tasks/{task_id}", task_id=task_id)),
        expects="a QStash task",
        parse=_read_task,
    )


def list_message_tasks(message_id: str, cursor: str | None = None) -> Operation[Page[QStashTask]]:
    """``GET /v1/messages/{messageId}/tasks``: one task per destination, newest first, 100 a page."""
    message = validation.object_id(message_id, "message_id")
    return paged(
        "GET /v1/messages/{messageId}/tasks",
        Request("GET", path("/v1/messages/{message_id}/tasks", message_id=message)),
        "a list of QStash tasks",
        _read_page,
        cursor=cursor,
    )
