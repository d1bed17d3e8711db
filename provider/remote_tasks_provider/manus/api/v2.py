"""Manus API v2, one function per endpoint: what is sent, and how the answer is read. No I/O.

https://open.manus.ai/docs/v2/introduction. Everything comes in an envelope whose ``ok`` counts beside the
HTTP status. The endpoints that change something for money (create, send, confirm) have no key by which a
repeat would be recognised, so they are not repeated unless the first provably had no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Generic, TypeVar

from pydantic import ConfigDict, Field

from remote_tasks_provider.core import validation
from remote_tasks_provider.core.http.operation import Idempotency, Operation, Page, Refused, Request, Response
from remote_tasks_provider.core.http.parsing import (
    LenientBool,
    LenientInt,
    LenientStr,
    OrEmptyDict,
    OrNone,
    Reader,
    RemoteModel,
)
from remote_tasks_provider.manus.api.filters import TaskFilter
from remote_tasks_provider.manus.api.options import TaskOptions, check_files
from remote_tasks_provider.manus.api.schemas import check_schema
from remote_tasks_provider.manus.api.v2_models import ManusEvent, ManusTaskV2
from remote_tasks_provider.manus.models import ManusTaskSummary
from remote_tasks_provider.manus.results import ManusTaskRef

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
    "list_messages",
    "list_projects",
    "list_tasks",
    "send_message",
    "stop_task",
    "update_task",
]

T = TypeVar("T")
ItemT = TypeVar("ItemT")

MAX_PAGE_SIZE = 100
_MAX_MESSAGES = 200

# The words of https://open.manus.ai/docs/v2/introduction and the HTTP status that each deserves, should one
# come with a good status. The last ones are not documented: they are what other services of this kind call
# trouble of their own, after which a request may have been carried out all the same.
_STATUS_OF = {
    "invalid_argument": 400,
    "unauthenticated": 401,
    "permission_denied": 403,
    "not_found": 404,
    "rate_limited": 429,
    "resource_exhausted": 429,
    "internal": 500,
    "unknown": 500,
    "unavailable": 503,
    "deadline_exceeded": 504,
}


class _Fault(RemoteModel):
    code: LenientStr = None


class _Answer(RemoteModel):
    """What every answer has.

    :param code: of an error that came without the envelope, as those of OAuth do.
    """

    ok: LenientBool = None
    error: Annotated[_Fault | None, OrNone()] = None
    code: LenientStr = None


class _TaskAnswer(_Answer):
    task: ManusTaskV2


class _TaskPage(_Answer):
    data: list[ManusTaskV2] | None = None
    has_more: LenientBool = None
    next_cursor: LenientStr = None


class _EventPage(_Answer):
    messages: list[ManusEvent] | None = None
    has_more: LenientBool = None
    next_cursor: LenientStr = None


class _Created(_Answer):
    task_id: str = Field(min_length=1)
    task_title: LenientStr = None
    task_url: LenientStr = None


class _Object(_Answer):
    model_config = ConfigDict(extra="allow")

    data: Any = None
    project: Annotated[dict[str, Any], OrEmptyDict()] = Field(default_factory=dict)
    file: Annotated[dict[str, Any], OrEmptyDict()] = Field(default_factory=dict)
    upload_url: LenientStr = Field(default=None, repr=False)
    confirmed: LenientBool = None


class _Credits(RemoteModel):
    total_credits: LenientInt = None


class _CreditsAnswer(_Answer):
    data: Annotated[_Credits | None, OrNone()] = None


class _Read(Generic[T]):
    """Reads an answer of ``kind``, and tells an error that came with a good status."""

    def __init__(self, kind: type[T]) -> None:
        self._read = Reader(kind)
        self._read_envelope = Reader(_Answer)

    def __call__(self, response: Response) -> T:
        try:
            answer: T = self._read(response)
        except ValueError:
            # An error has none of the fields that a good answer must have.
            self._refuse(self._read_envelope(response))
            raise
        self._refuse(answer)
        return answer

    def _refuse(self, answer: Any) -> None:
        if answer.ok is False or (answer.ok is None and answer.code in _STATUS_OF):
            code = answer.error.code if answer.error else answer.code
            raise Refused(_STATUS_OF.get(code or "", 400))


_read_task = _Read(_TaskAnswer)
_read_tasks = _Read(_TaskPage)
_read_events = _Read(_EventPage)
_read_created = _Read(_Created)
_read_object = _Read(_Object)
_read_credits = _Read(_CreditsAnswer)


def _get(
    operation: str, query: Sequence[tuple[str, str]], expects: str, parse: Callable[..., T]
) -> Operation[T]:
    named = " {task_id}" if any(name == "task_id" for name, _ in query) else ""
    return Operation(
        name=f"GET /v2/{operation}{named}",
        request=Request("GET", f"/v2/{operation}", query=tuple(query)),
        expects=expects,
        parse=parse,
    )


def _post(
    operation: str,
    body: Mapping[str, Any],
    expects: str,
    parse: Callable[..., T],
    idempotency: Idempotency = Idempotency.IDEMPOTENT,
) -> Operation[T]:
    named = next((f" {{{name}}}" for name in ("task_id", "file_id") if name in body), "")
    return Operation(
        name=f"POST /v2/{operation}{named}",
        request=Request("POST", f"/v2/{operation}", json=_given(body)),
        expects=expects,
        parse=parse,
        idempotency=idempotency,
    )


def _given(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``body`` without what was not given; an empty list would not mean "none" to Manus."""
    return {name: value for name, value in body.items() if value not in (None, (), [])}


def _task_id(value: Any) -> str:
    return validation.object_id(value, "remote_task_id")


def get_task(remote_task_id: str) -> Operation[ManusTaskV2]:
    """``GET /v2/task.detail``: one task, without its conversation and the text of its error."""
    query = [("task_id", _task_id(remote_task_id))]
    return _get("task.detail", query, "a Manus task", lambda response: _read_task(response).task)


def list_tasks(wanted: TaskFilter) -> Operation[Page[ManusTaskV2]]:
    """``GET /v2/task.list``, the filters that v2 does not have applied to what comes.

    Newest first, paging stops where all the rest is older than is wanted.
    """
    if wanted.order_by != "created_at":
        raise ValueError(
            f"order_by is {wanted.order_by!r}: API v2 lists by created_at only; set the connection's "
            "api_version to v1 to list by updated_at"
        )
    return _list_tasks(wanted, None, skipping=wanted.after is not None)


def list_summaries(wanted: TaskFilter) -> Operation[Page[ManusTaskSummary]]:
    """Return :func:`list_tasks`: a v2 task carries no conversation that could be left out."""
    return list_tasks(wanted)  # type: ignore[return-value]  # a page of tasks is a page of summaries


def _list_tasks(wanted: TaskFilter, cursor: str | None, *, skipping: bool) -> Operation[Page[ManusTaskV2]]:
    def read(response: Response) -> Page[ManusTaskV2]:
        page = _read_tasks(response)
        if page.data is None and page.ok is None:
            raise ValueError("neither 'data' nor 'ok' is there")
        tasks, still_skipping = _after(page.data or [], wanted.after if skipping else None)
        following = _next_cursor(page.has_more, page.next_cursor)
        if page.data and _is_past(wanted, page.data[-1]):
            following = None
        return Page(
            [task for task in tasks if _is_wanted(wanted, task)],
            following,
            _list_tasks(wanted, following, skipping=still_skipping) if following else None,
        )

    # Where most of a page is filtered out, small pages would mean many calls.
    filters = wanted.status or wanted.query or wanted.created_before is not None or skipping
    size = MAX_PAGE_SIZE if filters else min(wanted.page_size, MAX_PAGE_SIZE)
    query = [("limit", str(size)), ("order", wanted.order)]
    if wanted.project_id is not None:
        query += [("scope", "project"), ("project_id", wanted.project_id)]
    if cursor is not None:
        query.append(("cursor", cursor))
    return _get("task.list", query, "a list of Manus tasks", read)


def _next_cursor(has_more: bool | None, cursor: str | None) -> str | None:
    if has_more and not cursor:
        raise ValueError("'has_more' is true but there is no 'next_cursor' to go on from")
    return cursor if has_more else None


def _after(tasks: Sequence[ManusTaskV2], task_id: str | None) -> tuple[Sequence[ManusTaskV2], bool]:
    """Return the tasks behind ``task_id``, and whether it is still to come."""
    if task_id is None:
        return tasks, False
    for index, task in enumerate(tasks):
        if task.id == task_id:
            return tasks[index + 1 :], False
    return [], True


def _is_wanted(wanted: TaskFilter, task: ManusTaskV2) -> bool:
    made = task.created_at.timestamp() if task.created_at else None
    if wanted.status and task.state not in wanted.states:
        return False
    if wanted.query and wanted.query.casefold() not in (task.title or "").casefold():
        return False
    if wanted.created_after is not None and (made is None or made <= wanted.created_after):
        return False
    return wanted.created_before is None or (made is not None and made < wanted.created_before)


def _is_past(wanted: TaskFilter, last: ManusTaskV2) -> bool:
    """Whether everything behind ``last`` lies outside the wanted times."""
    if last.created_at is None:
        return False
    made = last.created_at.timestamp()
    if wanted.order == "desc":
        return wanted.created_after is not None and made <= wanted.created_after
    return wanted.created_before is not None and made >= wanted.created_before


def list_messages(
    remote_task_id: str, *, order: str = "asc", page_size: int = _MAX_MESSAGES, cursor: str | None = None
) -> Operation[Page[ManusEvent]]:
    """``GET /v2/task.listMessages``: a task's events."""

    def read(response: Response) -> Page[ManusEvent]:
        page = _read_events(response)
        if page.messages is None and page.ok is None:
            raise ValueError("neither 'messages' nor 'ok' is there")
        following = _next_cursor(page.has_more, page.next_cursor)
        return Page(
            page.messages or [],
            following,
            list_messages(remote_task_id, order=order, page_size=page_size, cursor=following)
            if following
            else None,
        )

    query = [("task_id", _task_id(remote_task_id)), ("order", order), ("limit", str(page_size))]
    return _get("task.listMessages", [*query, *([("cursor", cursor)] if cursor else [])], "events", read)


def create_task(options: TaskOptions) -> Operation[ManusTaskRef]:
    """``POST /v2/task.create``. It costs credits, and a repeat would cost them again."""
    body = {
        "message": _given(
            {
                "content": _content(options.prompt, options.files),
                "connectors": list(options.connectors),
                "enable_skills": list(options.enable_skills),
                "force_skills": list(options.force_skills),
                "task_references": list(options.task_references),
            }
        ),
        "agent_profile": options.agent_profile,
        "project_id": options.project_id,
        "locale": options.locale,
        "title": options.title,
        "structured_output_schema": options.structured_output_schema,
        "interactive_mode": options.interactive_mode,
        "hide_in_task_list": options.hide_in_task_list,
        "share_visibility": options.share_visibility,
    }
    return _post("task.create", body, "a created task", _created, Idempotency.NOT_IDEMPOTENT)


def _created(response: Response) -> ManusTaskRef:
    made = _read_created(response)
    return ManusTaskRef(made.task_id, made.task_url, made.task_title)


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
) -> Operation[None]:
    """``POST /v2/task.sendMessage``: answers a question, or goes on with a task that has ended."""
    schema = structured_output_schema
    body = {
        "task_id": _task_id(remote_task_id),
        "message": {"content": _content(content, check_files(files))},
        "agent_profile": agent_profile,
        "structured_output_schema": (
            None if schema is None else check_schema(schema, "structured_output_schema")
        ),
    }
    return _post("task.sendMessage", body, "an acknowledgement", _nothing, Idempotency.NOT_IDEMPOTENT)


def confirm_action(remote_task_id: str, event_id: str, answer: Mapping[str, Any] | None) -> Operation[bool]:
    """``POST /v2/task.confirmAction``; gives whether Manus took the answer.

    :param answer: the input that the waiting event's schema asks for.
    """
    body = {
        "task_id": _task_id(remote_task_id),
        "event_id": validation.object_id(event_id, "event_id"),
        "input": dict(answer) if answer is not None else None,
    }
    return _post(
        "task.confirmAction",
        body,
        "a confirmation",
        lambda response: _read_object(response).confirmed is not False,
        Idempotency.NOT_IDEMPOTENT,
    )


def stop_task(remote_task_id: str) -> Operation[None]:
    """``POST /v2/task.stop``: asks the agent to stop. Background jobs may go on for a while."""
    return _post("task.stop", {"task_id": _task_id(remote_task_id)}, "an acknowledgement", _nothing)


def delete_task(remote_task_id: str) -> Operation[None]:
    """``POST /v2/task.delete``: for ever. A running task must be stopped first."""
    return _post("task.delete", {"task_id": _task_id(remote_task_id)}, "an acknowledgement", _nothing)


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
    return _post("task.update", body, "an updated task", _created)


def create_project(name: str, instruction: str | None) -> Operation[dict[str, Any]]:
    """``POST /v2/project.create``."""
    body = {"name": name, "instruction": instruction}
    return _post("project.create", body, "a project", lambda answer: _read_object(answer).project)


def list_projects() -> Operation[list[dict[str, Any]]]:
    """``GET /v2/project.list``: all of them, there are no pages."""
    return _get("project.list", (), "projects", lambda answer: list(_read_object(answer).data or []))


def create_upload(filename: str) -> Operation[tuple[str, str]]:
    """``POST /v2/file.upload``: gives a file's id, and the signed address to put its bytes to."""
    return _post("file.upload", {"filename": filename}, "an address to upload to", _upload)


def _upload(response: Response) -> tuple[str, str]:
    answer = _read_object(response)
    file_id = answer.file.get("id")
    if not file_id or not answer.upload_url:
        raise ValueError("'file.id' or 'upload_url' is missing")
    return str(file_id), answer.upload_url


def get_file(file_id: str) -> Operation[dict[str, Any]]:
    """``GET /v2/file.detail``."""
    query = [("file_id", validation.object_id(file_id, "file_id"))]
    return _get("file.detail", query, "a file", lambda answer: _read_object(answer).file)


def delete_file(file_id: str) -> Operation[None]:
    """``POST /v2/file.delete``."""
    return _post(
        "file.delete", {"file_id": validation.object_id(file_id, "file_id")}, "an acknowledgement", _nothing
    )


def available_credits() -> Operation[int | None]:
    """``GET /v2/usage.availableCredits``: the credits that can be spent."""

    def read(response: Response) -> int | None:
        answer = _read_credits(response)
        if answer.data is None and answer.ok is None:
            raise ValueError("neither 'data' nor 'ok' is there")
        # A protobuf server leaves a zero away.
        return answer.data.total_credits or 0 if answer.data else None

    return _get("usage.availableCredits", (), "credits", read)


def probe() -> Operation[Any]:
    """Return a cheap read that proves host and key."""
    return list_tasks(replace(TaskFilter(), page_size=1))


def _nothing(response: Response) -> None:
    _read_object(response)
