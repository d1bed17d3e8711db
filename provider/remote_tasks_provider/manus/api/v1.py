"""Manus API v1, one function per endpoint: what is sent, and how the response is read. No I/O.

https://open.manus.ai/docs/v1/get-tasks
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Generic, TypeVar

from pydantic import Field

from remote_tasks_provider.core import validation
from remote_tasks_provider.core.http.operation import Idempotency, Operation, Page, Request, Response, path
from remote_tasks_provider.core.http.parsing import LenientStr, Reader, RemoteModel
from remote_tasks_provider.manus.api.filters import TaskFilter
from remote_tasks_provider.manus.api.options import TaskOptions
from remote_tasks_provider.manus.models import ManusTask, ManusTaskSummary
from remote_tasks_provider.manus.results import ManusTaskRef

__all__ = [
    "continue_task",
    "create_project",
    "create_task",
    "create_upload",
    "delete_file",
    "delete_task",
    "get_file",
    "get_task",
    "list_projects",
    "list_summaries",
    "list_tasks",
    "update_task",
]

TaskT = TypeVar("TaskT", bound=ManusTaskSummary)

MAX_PAGE_SIZE = 1000


class _Created(RemoteModel):
    task_id: str = Field(min_length=1)
    task_title: LenientStr = None
    task_url: LenientStr = None


class _Upload(RemoteModel):
    id: str = Field(min_length=1)
    upload_url: str = Field(min_length=1, repr=False)


class _Page(RemoteModel, Generic[TaskT]):
    object: LenientStr = None
    data: list[TaskT] | None = None
    last_id: LenientStr = None
    has_more: bool | None = None


_read_task = Reader(ManusTask)
_read_created = Reader(_Created)
_read_upload = Reader(_Upload)
_read_object = Reader(dict[str, Any])
_read_tasks = Reader(_Page[ManusTask])
_read_summaries = Reader(_Page[ManusTaskSummary])


def get_task(remote_task_id: str) -> Operation[ManusTask]:
    """``GET /v1/tasks/{task_id}``: one task with its whole conversation.

    :raises ValueError: when the id cannot be one.
    """
    task_id = validation.object_id(remote_task_id, "remote_task_id")
    return Operation(
        name="GET /v1/tasks/{task_id}",
        request=Request("GET", path("/v1/tasks/{task_id}", task_id=task_id)),
        expects="a Manus task",
        parse=_read_task,
    )


def list_tasks(filters: TaskFilter) -> Operation[Page[ManusTask]]:
    """``GET /v1/tasks``: tasks, each with its whole conversation, so a page can be heavy.

    All of the account's tasks are listed, also those created in the Manus app.
    """
    return _list(filters, _read_tasks)


def list_summaries(filters: TaskFilter) -> Operation[Page[ManusTaskSummary]]:
    """``GET /v1/tasks`` again, without reading the conversations."""
    return _list(filters, _read_summaries)


def _list(filters: TaskFilter, read_page: Reader) -> Operation[Page[TaskT]]:
    def read(response: Response) -> Page[TaskT]:
        page: _Page[TaskT] = read_page(response)
        if page.data is None and page.object != "list":
            raise ValueError("neither 'data' nor 'object': 'list' is there")
        tasks = page.data or []
        cursor = (page.last_id or (tasks[-1].id if tasks else None)) if page.has_more else None
        if page.has_more and cursor is None:
            raise ValueError("'has_more' is true but there is no 'last_id' for the next page")
        following: Operation[Page[TaskT]] | None = (
            _list(replace(filters, after=cursor), read_page) if cursor else None
        )
        return Page(tasks, cursor, following)

    return Operation(
        name="GET /v1/tasks",
        request=Request("GET", "/v1/tasks", query=_pairs(filters)),
        expects="a list of Manus tasks",
        parse=read,
    )


def _pairs(filters: TaskFilter) -> tuple[tuple[str, str], ...]:
    """Return the query of a list; ``status`` repeats."""
    named = {
        "query": filters.query,
        "createdAfter": filters.created_after,
        "createdBefore": filters.created_before,
        "project_id": filters.project_id,
        "order": filters.order,
        "orderBy": filters.order_by,
        "after": filters.after,
        "limit": filters.page_size,
    }
    words = dict.fromkeys("pending" if word == "waiting" else word for word in filters.status)
    given = [(name, str(value)) for name, value in named.items() if value is not None]
    return (*(("status", word) for word in words), *given)


def create_task(options: TaskOptions) -> Operation[ManusTaskRef]:
    """``POST /v1/tasks``. It costs credits, and a repeat would cost them again.

    https://open.manus.ai/docs/v1/create-task. What this version does not support is left out;
    :meth:`~remote_tasks_provider.manus.api.versions.ManusApi.check_options` refuses it.
    """
    body = _task_body(options) | {
        "hideInTaskList": options.hide_in_task_list,
        "createShareableLink": _is_public(options.share_visibility),
    }
    return _post_task(body)


def continue_task(remote_task_id: str, options: TaskOptions) -> Operation[ManusTaskRef]:
    """``POST /v1/tasks`` with the id of a task: sends it another message."""
    task_id = validation.object_id(remote_task_id, "remote_task_id")
    return _post_task(_task_body(options) | {"taskId": task_id})


def _task_body(options: TaskOptions) -> dict[str, Any]:
    return {
        "prompt": options.prompt,
        "agentProfile": options.agent_profile,
        "attachments": [_attachment(file) for file in options.files],
        "connectors": list(options.connectors),
        "projectId": options.project_id,
        "locale": options.locale,
        "interactiveMode": options.interactive_mode,
    }


def _attachment(file: Mapping[str, str]) -> dict[str, str]:
    names = {"file_id": "file_id", "file_url": "url", "file_data": "fileData", "filename": "filename"}
    # Only a link may have a type there; Manus knows that of an uploaded file.
    names |= {"mime_type": "mimeType"} if "file_url" in file else {}
    return {names[name]: value for name, value in file.items() if name in names}


def _post_task(body: Mapping[str, Any]) -> Operation[ManusTaskRef]:
    def read(response: Response) -> ManusTaskRef:
        created: _Created = _read_created(response)
        return ManusTaskRef(created.task_id, created.task_url, created.task_title)

    return Operation(
        name="POST /v1/tasks",
        request=Request("POST", "/v1/tasks", json=_given(body)),
        expects="a created task",
        parse=read,
        idempotency=Idempotency.NOT_IDEMPOTENT,
    )


def _given(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value not in (None, (), [])}


def _is_public(share_visibility: str | None) -> bool | None:
    return None if share_visibility is None else share_visibility == "public"


def update_task(
    remote_task_id: str, *, title: str | None, share_visibility: str | None, visible: bool | None
) -> Operation[ManusTaskRef]:
    """``PUT /v1/tasks/{task_id}``."""

    def read(response: Response) -> ManusTaskRef:
        created: _Created = _read_created(response)
        return ManusTaskRef(created.task_id, created.task_url, created.task_title)

    body = {
        "title": title,
        "enableShared": _is_public(share_visibility),
        "enableVisibleInTaskList": visible,
    }
    return _task_operation("PUT", remote_task_id, "an updated task", read, _given(body))


def delete_task(remote_task_id: str) -> Operation[None]:
    """``DELETE /v1/tasks/{task_id}``: permanently."""
    return _task_operation("DELETE", remote_task_id, "an acknowledgement", _acknowledged)


def _task_operation(
    method: str, remote_task_id: str, expects: str, parse: Any, body: Any = None
) -> Operation[Any]:
    task_id = validation.object_id(remote_task_id, "remote_task_id")
    return Operation(
        name=f"{method} /v1/tasks/{{task_id}}",
        request=Request(method, path("/v1/tasks/{task_id}", task_id=task_id), json=body),
        expects=expects,
        parse=parse,
    )


def create_project(name: str, instruction: str | None) -> Operation[dict[str, Any]]:
    """``POST /v1/projects``."""
    body = _given({"name": name, "instruction": instruction})
    return Operation(
        "POST /v1/projects", Request("POST", "/v1/projects", json=body), "a project", _read_object
    )


def list_projects() -> Operation[list[dict[str, Any]]]:
    """``GET /v1/projects``; at most 1,000."""

    def read(response: Response) -> list[dict[str, Any]]:
        return list(_read_object(response).get("data") or [])

    return Operation(
        "GET /v1/projects", Request("GET", "/v1/projects", query=(("limit", "1000"),)), "projects", read
    )


def create_upload(filename: str) -> Operation[tuple[str, str]]:
    """``POST /v1/files``: returns a file's id, and the signed URL to upload its bytes to."""

    def read(response: Response) -> tuple[str, str]:
        upload: _Upload = _read_upload(response)
        return upload.id, upload.upload_url

    request = Request("POST", "/v1/files", json={"filename": filename})
    return Operation("POST /v1/files", request, "a URL to upload to", read)


def get_file(file_id: str) -> Operation[dict[str, Any]]:
    """``GET /v1/files/{file_id}``."""
    return _file_operation("GET", file_id, "a file", _read_object)


def delete_file(file_id: str) -> Operation[None]:
    """``DELETE /v1/files/{file_id}``."""
    return _file_operation("DELETE", file_id, "an acknowledgement", _acknowledged)


def _file_operation(method: str, file_id: str, expects: str, parse: Any) -> Operation[Any]:
    place = path("/v1/files/{file_id}", file_id=validation.object_id(file_id, "file_id"))
    return Operation(f"{method} /v1/files/{{file_id}}", Request(method, place), expects, parse)


def probe() -> Operation[Any]:
    """Return a cheap read that proves host and key."""
    return list_tasks(TaskFilter(page_size=1))


def _acknowledged(response: Response) -> None:
    _read_object(response)
