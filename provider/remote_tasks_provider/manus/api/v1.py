"""Manus API v1, one function per endpoint: what is sent, and how the response is read. No I/O.

https://open.manus.ai/docs/v1/get-tasks
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import Field

from remote_tasks_provider.core import validation
from remote_tasks_provider.core.http.operation import Idempotency, Operation, Page, Request, Response, path
from remote_tasks_provider.core.http.parsing import Items, JsonObject, Reader, RemoteModel
from remote_tasks_provider.manus.api.filters import TaskFilter
from remote_tasks_provider.manus.api.options import TaskOptions, given, with_extra
from remote_tasks_provider.manus.api.v1_pages import TaskPage, TaskPages, read_summaries
from remote_tasks_provider.manus.models import ManusTask, ManusTaskSummary
from remote_tasks_provider.manus.results import CreatedTask, ManusTaskRef

__all__ = [
    "KEY_HEADER",
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

# A filter and its name in the query.
_FILTERS = {
    "query": "query",
    "created_after": "createdAfter",
    "created_before": "createdBefore",
    "project_id": "project_id",
    "order": "order",
    "order_by": "orderBy",
    "after": "after",
    "page_size": "limit",
}

TaskT = TypeVar("TaskT", bound=ManusTaskSummary)

MAX_PAGE_SIZE = 1000
# https://open.manus.ai/docs/v1/get-tasks; v2 has another.
KEY_HEADER = "API_KEY"
"""The header that carries the key."""
_TASK = "/v1/tasks/{task_id}"
_FILE = "/v1/files/{file_id}"


class _Upload(RemoteModel):
    id: str = Field(min_length=1)
    upload_url: str = Field(min_length=1, repr=False)


class _Projects(RemoteModel):
    data: Items[JsonObject] | None = None


_read_task = Reader(ManusTask)
_read_created = Reader(CreatedTask)
_read_upload = Reader(_Upload)
_read_object = Reader(JsonObject)
_read_projects = Reader(_Projects)


def _operation(
    method: str,
    template: str,
    expects: str,
    parse: Callable[[Response], Any],
    *,
    query: Sequence[tuple[str, str]] = (),
    json: Mapping[str, Any] | None = None,
    idempotency: Idempotency = Idempotency.IDEMPOTENT,
    **ids: str,
) -> Operation[Any]:
    """Return an operation on ``/v1/…``; its ids are checked, and unset fields of the body are left out."""
    body = None if json is None else given(json)
    for name, value in ids.items():
        validation.object_id(value, "remote_task_id" if name == "task_id" else name)
    request = Request(method, path(template, **ids), query=tuple(query), json=body, key_header=KEY_HEADER)
    return Operation(f"{method} {template}", request, expects, parse, idempotency)


def get_task(remote_task_id: str, *, slides_format: str | None = None) -> Operation[ManusTask]:
    """``GET /v1/tasks/{task_id}``: one task with its whole conversation.

    :param slides_format: ``pptx`` for slides as files of that format; as they are, in HTML, otherwise.
    """
    query = (("convert", "true"),) if slides_format == "pptx" else ()
    return _operation("GET", _TASK, "a Manus task", _read_task, task_id=remote_task_id, query=query)


def list_tasks(filters: TaskFilter) -> Operation[Page[ManusTask]]:
    """``GET /v1/tasks``: tasks, each with its whole conversation, so a page can be heavy.

    The conversation is parsed when it is asked for.

    All of the account's tasks are listed, also those created in the Manus app.
    """
    return _list(filters, TaskPages())


def list_summaries(filters: TaskFilter) -> Operation[Page[ManusTaskSummary]]:
    """``GET /v1/tasks`` again, without reading the conversations."""
    return _list(filters, read_summaries)


def _list(filters: TaskFilter, read_page: Callable[[Response], TaskPage[TaskT]]) -> Operation[Page[TaskT]]:
    def read(response: Response) -> Page[TaskT]:
        page = read_page(response)
        if page.data is None and page.object != "list":
            raise ValueError("neither 'data' nor 'object': 'list' is there")
        tasks = page.data or []
        cursor = (page.last_id or (tasks[-1].id if tasks else None)) if page.has_more else None
        if page.has_more and cursor is None:
            raise ValueError("'has_more' is true but there is no 'last_id' for the next page")
        following: Operation[Page[TaskT]] | None = (
            _list(replace(filters, after=cursor), read_page) if cursor else None
        )
        return Page(tasks, cursor, following, len(response.body))

    words = dict.fromkeys("pending" if word == "waiting" else word for word in filters.status)
    named = [(name, getattr(filters, field)) for field, name in _FILTERS.items()]
    others = [(name, str(value)) for name, value in named if value is not None]
    query = [*(("status", word) for word in words), *others]
    return _operation("GET", "/v1/tasks", "a list of Manus tasks", read, query=query)


def create_task(options: TaskOptions) -> Operation[ManusTaskRef]:
    """``POST /v1/tasks``. It costs credits, and a repeat would cost them again.

    https://open.manus.ai/docs/v1/create-task. What this version does not support is left out;
    :meth:`~remote_tasks_provider.manus.api.versions.ManusApi.check_options` refuses it.
    """
    body = {
        "hideInTaskList": options.hide_in_task_list,
        "createShareableLink": _is_public(options.share_visibility),
    }
    return _post_task(options, body)


def continue_task(remote_task_id: str, options: TaskOptions) -> Operation[ManusTaskRef]:
    """``POST /v1/tasks`` with the id of a task: sends it another message."""
    return _post_task(options, {"taskId": validation.object_id(remote_task_id, "remote_task_id")})


def _attachment(file: Mapping[str, str]) -> dict[str, str]:
    names = {"file_id": "file_id", "file_url": "url", "file_data": "fileData", "filename": "filename"}
    # Only a link may have a type there; Manus knows that of an uploaded file.
    names |= {"mime_type": "mimeType"} if "file_url" in file else {}
    return {names[name]: value for name, value in file.items() if name in names}


def _post_task(options: TaskOptions, more: Mapping[str, Any]) -> Operation[ManusTaskRef]:
    body = {
        "prompt": options.prompt,
        "agentProfile": options.agent_profile,
        "attachments": tuple(_attachment(file) for file in options.files),
        "connectors": None if options.connectors is None else list(options.connectors),
        "projectId": options.project_id,
        "locale": options.locale,
        "interactiveMode": options.interactive_mode,
        **more,
    }
    body = with_extra(body, options.extra_body)
    not_idempotent = Idempotency.NOT_IDEMPOTENT
    return _operation("POST", "/v1/tasks", "a created task", _ref, json=body, idempotency=not_idempotent)


def _ref(response: Response) -> ManusTaskRef:
    created: CreatedTask = _read_created(response)
    return created.ref


def _is_public(share_visibility: str | None) -> bool | None:
    return None if share_visibility is None else share_visibility == "public"


def update_task(
    remote_task_id: str, *, title: str | None, share_visibility: str | None, visible: bool | None
) -> Operation[ManusTaskRef]:
    """``PUT /v1/tasks/{task_id}``."""
    shared = _is_public(share_visibility)
    body = {"title": title, "enableShared": shared, "enableVisibleInTaskList": visible}
    return _operation("PUT", _TASK, "an updated task", _ref, json=body, task_id=remote_task_id)


def delete_task(remote_task_id: str) -> Operation[None]:
    """``DELETE /v1/tasks/{task_id}``: permanently."""
    return _operation("DELETE", _TASK, "an acknowledgement", _read_object, task_id=remote_task_id)


def create_project(name: str, instruction: str | None) -> Operation[dict[str, Any]]:
    """``POST /v1/projects``."""
    body = {"name": name, "instruction": instruction}
    not_idempotent = Idempotency.NOT_IDEMPOTENT
    return _operation(
        "POST", "/v1/projects", "a project", _read_object, json=body, idempotency=not_idempotent
    )


def list_projects() -> Operation[list[dict[str, Any]]]:
    """``GET /v1/projects``; at most 1,000."""

    def read(response: Response) -> list[dict[str, Any]]:
        projects: _Projects = _read_projects(response)
        return projects.data or []

    return _operation("GET", "/v1/projects", "projects", read, query=[("limit", "1000")])


def create_upload(filename: str) -> Operation[tuple[str, str]]:
    """``POST /v1/files``: returns a file's id, and the signed URL to upload its bytes to."""

    def read(response: Response) -> tuple[str, str]:
        upload: _Upload = _read_upload(response)
        return upload.id, upload.upload_url

    return _operation("POST", "/v1/files", "a URL to upload to", read, json={"filename": filename})


def get_file(file_id: str) -> Operation[dict[str, Any]]:
    """``GET /v1/files/{file_id}``."""
    return _operation("GET", _FILE, "a file", _read_object, file_id=file_id)


def delete_file(file_id: str) -> Operation[None]:
    """``DELETE /v1/files/{file_id}``."""
    return _operation("DELETE", _FILE, "an acknowledgement", _read_object, file_id=file_id)
