"""Manus API v2, one function per endpoint: what is sent, and how the response is read. No I/O.

https://open.manus.ai/docs/v2/introduction. The operations that cost credits (create, send, confirm) carry no
key by which Manus would recognise a repeat, so they are not idempotent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import InvalidArgumentError
from remote_tasks_provider.core.http.operation import Idempotency, Operation, Page, Request, Response
from remote_tasks_provider.manus.api.filters import TaskFilter
from remote_tasks_provider.manus.api.options import TaskOptions, check_files, given, with_extra
from remote_tasks_provider.manus.api.schemas import check_schema
from remote_tasks_provider.manus.api.v2_envelope import (
    read_created,
    read_credits,
    read_events,
    read_object,
    read_objects,
    read_publication,
    read_task,
    read_tasks,
    read_usage,
    read_website,
)
from remote_tasks_provider.manus.api.v2_models import ManusEvent, ManusTaskV2, ManusUsage
from remote_tasks_provider.manus.models import ManusTaskSummary
from remote_tasks_provider.manus.results import ManusTaskRef
from remote_tasks_provider.manus.websites import PUBLISHED_TO, ManusPublication, ManusWebsite

__all__ = [
    "available_credits",
    "confirm_action",
    "create_project",
    "create_task",
    "create_upload",
    "delete_file",
    "delete_task",
    "get_file",
    "get_task",
    "get_website",
    "list_messages",
    "list_projects",
    "list_tasks",
    "list_website_checkpoints",
    "publish_website",
    "send_message",
    "stop_task",
    "update_task",
]

T = TypeVar("T")

MAX_PAGE_SIZE = 100
_MAX_MESSAGES = 200
# Options of the task's first message; the others are the task's own. All have the same names in the body.
_MESSAGE_OPTIONS = ("enable_skills", "force_skills", "task_references")


def _get(
    operation: str, query: Sequence[tuple[str, str]], expects: str, parse: Callable[..., T]
) -> Operation[T]:
    named = _named("task_id", "website_id", among=[name for name, _ in query])
    request = Request("GET", f"/v2/{operation}", query=tuple(query))
    return Operation(f"GET /v2/{operation}{named}", request, expects, parse)


def _post(
    operation: str,
    body: Mapping[str, Any],
    expects: str,
    parse: Callable[..., T],
    idempotency: Idempotency = Idempotency.IDEMPOTENT,
) -> Operation[T]:
    named = _named("task_id", "file_id", "website_id", among=body)
    request = Request("POST", f"/v2/{operation}", json=given(body))
    return Operation(f"POST /v2/{operation}{named}", request, expects, parse, idempotency)


def _named(*ids: str, among: Collection[str]) -> str:
    """Return the first of the ids that is sent, as operations are named."""
    return next((f" {{{name}}}" for name in ids if name in among), "")


def _task_id(value: Any) -> str:
    return validation.object_id(value, "remote_task_id")


def get_task(remote_task_id: str) -> Operation[ManusTaskV2]:
    """``GET /v2/task.detail``: one task, without its conversation and the text of its error."""
    query = [("task_id", _task_id(remote_task_id))]
    return _get("task.detail", query, "a Manus task", lambda response: read_task(response).task)


def list_tasks(filters: TaskFilter) -> Operation[Page[ManusTaskV2]]:
    """``GET /v2/task.list``; filters that v2 does not have are applied to the pages that come.

    With the newest first, paging stops where all that follow are older than ``created_after``.
    """
    if filters.order_by != "created_at":
        raise InvalidArgumentError(
            f"order_by is {filters.order_by!r}: API v2 lists by created_at only; set the connection's "
            "api_version to v1 to list by updated_at"
        )
    return _list_tasks(filters, None, skipping=filters.after is not None)


def list_summaries(filters: TaskFilter) -> Operation[Page[ManusTaskSummary]]:
    """Return :func:`list_tasks`: a v2 task carries no conversation that could be left out."""
    return list_tasks(filters)  # type: ignore[return-value]  # a page of tasks is a page of summaries


def _list_tasks(filters: TaskFilter, cursor: str | None, *, skipping: bool) -> Operation[Page[ManusTaskV2]]:
    def read(response: Response) -> Page[ManusTaskV2]:
        page = read_tasks(response)
        if page.data is None and page.ok is None:
            raise ValueError("neither 'data' nor 'ok' is there")
        tasks, still_skipping = _after(page.data or [], filters.after if skipping else None)
        following = page.cursor
        if still_skipping and following is None:
            raise InvalidArgumentError(
                f"after is {filters.after!r}, and the list does not show that task: is the id right, and is "
                "the task one of this account?"
            )
        if page.data and _is_past(filters, page.data[-1]):
            following = None
        return Page(
            [task for task in tasks if _matches(filters, task)],
            following,
            _list_tasks(filters, following, skipping=still_skipping) if following else None,
        )

    # Where most of a page is filtered out, small pages would mean many requests.
    is_filtered = filters.status or filters.query or filters.created_before is not None or skipping
    size = MAX_PAGE_SIZE if is_filtered else min(filters.page_size, MAX_PAGE_SIZE)
    query = [("limit", str(size)), ("order", filters.order)]
    if filters.project_id is not None:
        query += [("scope", "project"), ("project_id", filters.project_id)]
    if cursor is not None:
        query.append(("cursor", cursor))
    return _get("task.list", query, "a list of Manus tasks", read)


def _after(tasks: Sequence[ManusTaskV2], task_id: str | None) -> tuple[Sequence[ManusTaskV2], bool]:
    """Return the tasks after ``task_id``, and whether ``task_id`` is on a later page."""
    if task_id is None:
        return tasks, False
    for index, task in enumerate(tasks):
        if task.id == task_id:
            return tasks[index + 1 :], False
    return [], True


def _matches(filters: TaskFilter, task: ManusTaskV2) -> bool:
    created_at = task.created_at.timestamp() if task.created_at else None
    if filters.status and task.state not in filters.states:
        return False
    if filters.query and filters.query.casefold() not in (task.title or "").casefold():
        return False
    if filters.created_after is not None and (created_at is None or created_at <= filters.created_after):
        return False
    return filters.created_before is None or (created_at is not None and created_at < filters.created_before)


def _is_past(filters: TaskFilter, last: ManusTaskV2) -> bool:
    """Whether all tasks after ``last`` lie outside the times of the filter."""
    if last.created_at is None:
        return False
    created_at = last.created_at.timestamp()
    if filters.order == "desc":
        return filters.created_after is not None and created_at <= filters.created_after
    return filters.created_before is not None and created_at >= filters.created_before


def list_messages(
    remote_task_id: str,
    *,
    order: str = "asc",
    page_size: int = _MAX_MESSAGES,
    cursor: str | None = None,
    slides_format: str | None = None,
) -> Operation[Page[ManusEvent]]:
    """``GET /v2/task.listMessages``: a task's events.

    :param slides_format: ``pptx`` for slides as files of that format; as they are, in HTML, otherwise.
    """

    def read(response: Response) -> Page[ManusEvent]:
        page = read_events(response)
        if page.messages is None and page.ok is None:
            raise ValueError("neither 'messages' nor 'ok' is there")
        following = page.cursor
        more = (
            list_messages(
                remote_task_id,
                order=order,
                page_size=page_size,
                cursor=following,
                slides_format=slides_format,
            )
            if following
            else None
        )
        return Page(page.messages or [], following, more)

    query = [("task_id", _task_id(remote_task_id)), ("order", order), ("limit", str(page_size))]
    query += [("cursor", cursor)] if cursor else []
    query += [("slides_format", slides_format)] if slides_format else []
    return _get("task.listMessages", query, "events", read)


def create_task(options: TaskOptions) -> Operation[ManusTaskRef]:
    """``POST /v2/task.create``. It costs credits, and a repeat would cost them again."""
    body = {field.name: getattr(options, field.name) for field in fields(options)}
    content = _content(body.pop("prompt"), body.pop("files"))
    extra, connectors = body.pop("extra_body"), body.pop("connectors")
    message = {name: body.pop(name) for name in _MESSAGE_OPTIONS}
    # An empty list means none; without one the account's own are used.
    message["connectors"] = None if connectors is None else list(connectors)
    body = with_extra({"message": given({"content": content, **message}), **body}, extra)
    return _post("task.create", body, "a created task", _ref, Idempotency.NOT_IDEMPOTENT)


def _ref(response: Response) -> ManusTaskRef:
    return read_created(response).ref


def _content(text: str, files: Iterable[Mapping[str, str]]) -> Any:
    parts = [{"type": "file", **file} for file in files]
    return [{"type": "text", "text": text}, *parts] if parts else text


def send_message(
    remote_task_id: str,
    content: str,
    *,
    files: Sequence[Mapping[str, str]] = (),
    agent_profile: str | None = None,
    structured_output_schema: Mapping[str, Any] | None = None,
    extra_body: Mapping[str, Any] | None = None,
) -> Operation[None]:
    """``POST /v2/task.sendMessage``: answers a question, or continues a finished task."""
    schema = structured_output_schema
    if schema is not None:
        schema = check_schema(schema, "structured_output_schema")
    body = {
        "task_id": _task_id(remote_task_id),
        "message": {"content": _content(content, check_files(files))},
        "agent_profile": agent_profile,
        "structured_output_schema": schema,
    }
    body = with_extra(body, extra_body)
    return _post("task.sendMessage", body, "an acknowledgement", _acknowledged, Idempotency.NOT_IDEMPOTENT)


def confirm_action(remote_task_id: str, event_id: str, answer: Mapping[str, Any] | None) -> Operation[bool]:
    """``POST /v2/task.confirmAction``; returns whether Manus accepted the answer."""
    body = {
        "task_id": _task_id(remote_task_id),
        "event_id": validation.object_id(event_id, "event_id"),
        "input": dict(answer) if answer is not None else None,
    }

    def read(response: Response) -> bool:
        return read_object(response).confirmed is not False

    return _post("task.confirmAction", body, "a confirmation", read, Idempotency.NOT_IDEMPOTENT)


def stop_task(remote_task_id: str) -> Operation[None]:
    """``POST /v2/task.stop``: asks the agent to stop. Background jobs may run for a while."""
    return _post("task.stop", {"task_id": _task_id(remote_task_id)}, "an acknowledgement", _acknowledged)


def delete_task(remote_task_id: str) -> Operation[None]:
    """``POST /v2/task.delete``: permanently. Stop a running task first."""
    return _post("task.delete", {"task_id": _task_id(remote_task_id)}, "an acknowledgement", _acknowledged)


def update_task(
    remote_task_id: str, *, title: str | None, share_visibility: str | None, visible: bool | None
) -> Operation[ManusTaskRef]:
    """``POST /v2/task.update``."""
    body = {
        "task_id": _task_id(remote_task_id),
        "title": title,
        "share_visibility": share_visibility,
        "enable_visible_in_task_list": visible,
    }
    return _post("task.update", body, "an updated task", _ref)


def create_project(name: str, instruction: str | None) -> Operation[dict[str, Any]]:
    """``POST /v2/project.create``."""
    body = {"name": name, "instruction": instruction}
    not_idempotent = Idempotency.NOT_IDEMPOTENT
    return _post("project.create", body, "a project", lambda one: read_object(one).project, not_idempotent)


def list_projects() -> Operation[list[dict[str, Any]]]:
    """``GET /v2/project.list``: all of them, there are no pages."""
    return _get("project.list", (), "projects", lambda answer: read_objects(answer).data or [])


def create_upload(filename: str) -> Operation[tuple[str, str]]:
    """``POST /v2/file.upload``: returns a file's id, and the signed URL to upload its bytes to."""
    return _post("file.upload", {"filename": filename}, "a URL to upload to", _upload)


def _upload(response: Response) -> tuple[str, str]:
    answer = read_object(response)
    file_id = answer.file.get("id")
    if not file_id or not isinstance(file_id, str) or not answer.upload_url:
        raise ValueError("'file.id' or 'upload_url' is missing")
    return file_id, answer.upload_url


def get_file(file_id: str) -> Operation[dict[str, Any]]:
    """``GET /v2/file.detail``."""
    query = [("file_id", validation.object_id(file_id, "file_id"))]
    return _get("file.detail", query, "a file", lambda answer: read_object(answer).file)


def delete_file(file_id: str) -> Operation[None]:
    """``POST /v2/file.delete``."""
    body = {"file_id": validation.object_id(file_id, "file_id")}
    return _post("file.delete", body, "an acknowledgement", _acknowledged)


def list_connectors() -> Operation[list[dict[str, Any]]]:
    """``GET /v2/connector.list``: all of them, there are no pages."""
    return _get("connector.list", (), "connectors", lambda answer: read_objects(answer).data or [])


def list_skills(project_id: str | None = None) -> Operation[list[dict[str, Any]]]:
    """``GET /v2/skill.list``: all of them, there are no pages."""
    query = [] if project_id is None else [("project_id", validation.object_id(project_id, "project_id"))]
    return _get("skill.list", query, "skills", lambda answer: read_objects(answer).data or [])


def list_usage(*, page_size: int = MAX_PAGE_SIZE, cursor: str | None = None) -> Operation[Page[ManusUsage]]:
    """``GET /v2/usage.list``: changes of the account's credits, newest first."""

    def read(response: Response) -> Page[ManusUsage]:
        page = read_usage(response)
        if page.data is None and page.ok is None:
            raise ValueError("neither 'data' nor 'ok' is there")
        following = page.cursor
        more = list_usage(page_size=page_size, cursor=following) if following else None
        return Page(page.data or [], following, more)

    query = [("limit", str(page_size)), *([("cursor", cursor)] if cursor else [])]
    return _get("usage.list", query, "changes of credits", read)


def available_credits() -> Operation[int | None]:
    """``GET /v2/usage.availableCredits``: the credits that the account can spend."""

    def read(response: Response) -> int | None:
        answer = read_credits(response)
        if answer.data is None and answer.ok is None:
            raise ValueError("neither 'data' nor 'ok' is there")
        # A protobuf server leaves out a zero.
        return answer.data.total_credits or 0 if answer.data else None

    return _get("usage.availableCredits", (), "credits", read)


def publish_website(
    remote_task_id: str | None = None, *, website_id: str | None = None, visibility: str | None = None
) -> Operation[ManusPublication]:
    """``POST /v2/website.publish``: publishes the latest version of a website."""
    body = dict(_website(remote_task_id, website_id))
    if visibility is not None:
        body["visibility"] = validation.choice(visibility, "visibility", PUBLISHED_TO)
    return _post("website.publish", body, "a publication", read_publication, Idempotency.NOT_IDEMPOTENT)


def get_website(
    remote_task_id: str | None = None, *, website_id: str | None = None
) -> Operation[ManusWebsite]:
    """``GET /v2/website.status``: a website, and how far its publication is."""
    return _get("website.status", _website(remote_task_id, website_id), "a website", read_website)


def list_website_checkpoints(
    remote_task_id: str | None = None, *, website_id: str | None = None
) -> Operation[list[dict[str, Any]]]:
    """``GET /v2/website.listCheckpoints``: all versions, the newest first; there are no pages."""
    where = _website(remote_task_id, website_id)
    return _get("website.listCheckpoints", where, "versions", lambda answer: read_objects(answer).data or [])


def _website(remote_task_id: str | None, website_id: str | None) -> list[tuple[str, str]]:
    """Return the parameter that names a website; ``remote_task_id`` that of its task, which has no other."""
    if (remote_task_id is None) == (website_id is None):
        raise InvalidArgumentError("give either remote_task_id or website_id")
    if website_id is None:
        return [("task_id", _task_id(remote_task_id))]
    return [("website_id", validation.object_id(website_id, "website_id"))]


def _acknowledged(response: Response) -> None:
    read_object(response)
