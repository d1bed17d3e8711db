"""Upstash Workflow: what is sent, and how the response is read. No I/O.

https://upstash.com/docs/workflow. It lives on QStash's host, with QStash's token. A run has an id of the
caller's choice. Until a run with that id has finished, Upstash refuses another one
(https://upstash.com/docs/workflow/howto/singleton); once it has finished, a repeat would begin a second one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import InvalidArgumentError, InvalidRequestError, NotFoundError
from remote_tasks_provider.core.http.operation import Idempotency, Operation, Page, Request, Response, path
from remote_tasks_provider.core.http.parsing import (
    Items,
    LenientBool,
    LenientInt,
    LenientStr,
    Moment,
    OrEmpty,
    Reader,
    RemoteModel,
)
from remote_tasks_provider.qstash.api.filters import RUN_FILTERS, Filters, filters_of, narrowing
from remote_tasks_provider.qstash.api.operations import CursorPage, acknowledged, paged
from remote_tasks_provider.qstash.api.options import encode_body
from remote_tasks_provider.qstash.api.workflow_models import (
    NotifiedRun,
    QStashWorkflowDlqMessage,
    QStashWorkflowRun,
    TriggeredRun,
)
from remote_tasks_provider.qstash.api.workflow_options import WorkflowOptions

__all__ = [
    "MOST_CANCELLED",
    "MOST_RUNS",
    "cancel_run",
    "cancel_runs",
    "exists_already",
    "get_dlq_message",
    "get_run",
    "list_dlq",
    "list_runs",
    "list_waiters",
    "notify",
    "read_runs",
    "resume",
    "trigger",
]

MOST_RUNS = 10
"""Runs on a page of the logs."""
MOST_CANCELLED = 100
"""Runs that one request cancels at most."""
_DLQ_PAGE = 100

_GROUPED = ("groupBy", "workflowRunId")


class _RunPage(CursorPage):
    runs: Items[QStashWorkflowRun] | None = None

    def entries(self) -> list[QStashWorkflowRun]:
        if self.runs is None:
            raise ValueError("'runs' is missing")
        return self.runs


class _DlqPage(CursorPage):
    messages: Items[QStashWorkflowDlqMessage] | None = None

    def entries(self) -> list[QStashWorkflowDlqMessage]:
        if self.messages is None:
            raise ValueError("'messages' is missing")
        return self.messages


class _Begun(RemoteModel):
    workflow_run_id: LenientStr = Field(default=None, alias="workflowRunId")
    created_at: Moment = Field(default=None, alias="workflowCreatedAt")
    deduplicated: LenientBool = None


class _Cancelled(RemoteModel):
    cancelled: LenientInt = None


class _Notified(RemoteModel):
    workflow_run_id: LenientStr = Field(default=None, alias="workflowRunId")
    message_id: LenientStr = Field(default=None, alias="messageId")
    error: LenientStr = None


class _Waiter(RemoteModel):
    headers: Annotated[dict[str, Annotated[list[str], OrEmpty(list)]], OrEmpty(dict)] = Field(
        default_factory=dict
    )

    @property
    def run_id(self) -> str | None:
        """The run that waits."""
        named = {name.casefold(): values for name, values in self.headers.items()}
        return next(iter(named.get("upstash-workflow-runid", [])), None)


_read_runs, _read_dlq = Reader(_RunPage), Reader(_DlqPage)
_read_dlq_message = Reader(QStashWorkflowDlqMessage)
_read_begun, _read_cancelled = Reader(_Begun), Reader(_Cancelled)
_read_waiters = Reader(Items[_Waiter])
_read_notified = Reader(list[_Notified] | _Notified)


def trigger(
    options: WorkflowOptions, run_id: str | None = None, labels: Sequence[str] = ()
) -> Operation[TriggeredRun]:
    """``POST /v2/trigger/{workflowUrl}``: begins a run.

    The URL is in the path as it is, as for a message.

    :param run_id: the id of the run.
    :param labels: labels beside those of the options.
    """
    message = options.message
    headers = options.sent_headers(run_id, labels)
    request = Request("POST", f"/v2/trigger/{message.target}", content=message.content, headers=headers)
    return Operation(
        "POST /v2/trigger",
        request,
        "a workflow run",
        lambda response: _begun(_read_begun(response), run_id),
        # Until the run has finished a repeat is refused, but a short run may have finished by then.
        Idempotency.NOT_IDEMPOTENT,
    )


def exists_already(error: InvalidRequestError) -> bool:
    """Whether a trigger was refused because an unfinished run has its id."""
    return error.status_code == 400 and "already exists" in error.message


def list_runs(
    filters: Filters, *, page_size: int = MOST_RUNS, cursor: str | None = None
) -> Operation[Page[QStashWorkflowRun]]:
    """``GET /v2/workflows/logs``: runs with their steps, the newest first."""
    query = (_GROUPED, *filters, ("count", str(page_size)))
    request = Request("GET", "/v2/workflows/logs", query=query)
    name = "GET /v2/workflows/logs"
    return paged(name, request, "workflow runs", _read_runs, cursor=cursor, is_private=True)


def get_run(workflow_run_id: str) -> Operation[QStashWorkflowRun]:
    """``GET /v2/workflows/logs``: the newest run with this id.

    :raises NotFoundError: (when it is read) if the logs have none.
    """
    run_id = validation.object_id(workflow_run_id, "workflow_run_id")
    query = (_GROUPED, *filters_of({"workflow_run_ids": run_id}, RUN_FILTERS), ("count", str(MOST_RUNS)))

    def parse(response: Response) -> QStashWorkflowRun:
        page: _RunPage = _read_runs(response)
        found = [run for run in page.entries() if run.workflow_run_id == run_id]
        if not found:
            raise _not_found(run_id)
        return max(found, key=lambda run: run.created_ms or 0)

    return Operation(
        "GET /v2/workflows/logs?workflowRunId={workflowRunId}",
        Request("GET", "/v2/workflows/logs", query=query),
        "a workflow run",
        parse,
        is_private=True,
    )


def read_runs(created: Sequence[tuple[str, int]]) -> Operation[Sequence[QStashWorkflowRun]]:
    """``GET /v2/workflows/logs``: up to ten runs with one request.

    :param created: the id of each run, and when it was created, in Unix milliseconds.
    """
    pairs = ",".join(f"{run_id}@{at}" for run_id, at in created)
    query = (_GROUPED, ("workflowRuns", pairs), ("count", str(MOST_RUNS)))
    return Operation(
        "GET /v2/workflows/logs",
        Request("GET", "/v2/workflows/logs", query=query),
        "workflow runs",
        lambda response: _read_runs(response).entries(),
        is_private=True,
    )


def cancel_run(workflow_run_id: str) -> Operation[None]:
    """``DELETE /v2/workflows/runs/{workflowRunId}``: one run. Without an id it would be all runs."""
    run_id = validation.object_id(workflow_run_id, "workflow_run_id")
    place = path("/v2/workflows/runs/{run_id}", run_id=run_id)
    return acknowledged("DELETE /v2/workflows/runs/{workflowRunId}", Request("DELETE", place))


def cancel_runs(filters: Filters) -> Operation[int | None]:
    """``DELETE /v2/workflows/runs``: runs that match, 100 at most; ``None`` where Upstash gives no count.

    Needs a filter. A URL would be a prefix; it is made exact.
    """
    given = tuple(narrowing(filters))
    names = {name for name, _ in given}
    if "workflowRunIds" in names and len(names) > 1:
        raise InvalidArgumentError(
            "workflow_run_ids is given with other filters, which Upstash would ignore: give one or the other"
        )
    exact = (("workflowUrlExactMatch", "true"),) if "workflowUrl" in names else ()
    query = (*given, *exact, ("count", str(MOST_CANCELLED)))
    return Operation(
        "DELETE /v2/workflows/runs",
        Request("DELETE", "/v2/workflows/runs", query=query),
        "a count",
        lambda response: _read_cancelled(response).cancelled,
    )


def list_dlq(filters: Filters, *, page_size: int = _DLQ_PAGE) -> Operation[Page[QStashWorkflowDlqMessage]]:
    """``GET /v2/workflows/dlq``: runs that have failed for good."""
    request = Request("GET", "/v2/workflows/dlq", query=(*filters, ("count", str(page_size))))
    return paged("GET /v2/workflows/dlq", request, "failed workflow runs", _read_dlq, is_private=True)


def get_dlq_message(dlq_id: str) -> Operation[QStashWorkflowDlqMessage]:
    """``GET /v2/workflows/dlq/{dlqId}``: one that was resumed or restarted answers 404."""
    place = path("/v2/workflows/dlq/{dlq_id}", dlq_id=validation.object_id(dlq_id, "dlq_id"))
    name = "GET /v2/workflows/dlq/{dlqId}"
    return Operation(name, Request("GET", place), "a failed workflow run", _read_dlq_message, is_private=True)


def resume(
    dlq_id: str, headers: Sequence[tuple[str, str]] = (), *, restart: bool = False
) -> Operation[TriggeredRun]:
    """``POST /v2/workflows/dlq/resume/{dlqId}``: resumes a run where it has failed, as a new run.

    :param headers: from :func:`.workflow_options.resume_headers`.
    :param restart: begin again instead, with the same input: ``…/restart/{dlqId}``.
    """
    verb = "restart" if restart else "resume"
    checked = validation.object_id(dlq_id, "dlq_id")
    place = path(f"/v2/workflows/dlq/{verb}/{{dlq_id}}", dlq_id=checked)
    return Operation(
        f"POST /v2/workflows/dlq/{verb}/{{dlqId}}",
        Request("POST", place, headers=tuple(headers)),
        "a workflow run",
        lambda response: _begun(_read_begun(response), None),
        Idempotency.NOT_IDEMPOTENT,
    )


def list_waiters(event_id: str) -> Operation[list[str]]:
    """``GET /v2/waiters/{eventId}``: the ids of the runs that wait for an event."""
    request = Request("GET", path("/v2/waiters/{event}", event=_event_id(event_id)))
    return Operation(
        "GET /v2/waiters/{eventId}",
        request,
        "the runs that wait",
        lambda response: [one.run_id for one in _read_waiters(response) if one.run_id],
        is_private=True,
    )


def notify(event_id: str, event_data: Any = None, run_id: str | None = None) -> Operation[list[NotifiedRun]]:
    """``POST /v2/notify/{eventId}``: resumes the runs that wait for an event; returns them.

    :param run_id: only this run: ``POST /v2/notify/{workflowRunId}/{eventId}``.
    """
    event = _event_id(event_id)
    content, content_type = encode_body(event_data, "event_data")
    headers = (("Content-Type", content_type),) if content_type else ()
    name, place = "POST /v2/notify/{eventId}", path("/v2/notify/{event}", event=event)
    if run_id is not None:
        name = "POST /v2/notify/{workflowRunId}/{eventId}"
        checked = validation.object_id(run_id, "workflow_run_id")
        place = path("/v2/notify/{run_id}/{event}", run_id=checked, event=event)
    return Operation(
        name,
        Request("POST", place, content=content, headers=headers),
        "the runs that were notified",
        lambda response: _notified(_read_notified(response)),
        # A run may wait for the same event again.
        Idempotency.NOT_IDEMPOTENT,
    )


def _begun(answer: _Begun, run_id: str | None) -> TriggeredRun:
    # One that is not begun, as there is a run with its id, is answered without an id.
    found = answer.workflow_run_id or (run_id if answer.deduplicated else None)
    if not found:
        raise ValueError("'workflowRunId' is missing")
    return TriggeredRun(found, answer.created_at, bool(answer.deduplicated))


def _notified(answer: Any) -> list[NotifiedRun]:
    several = answer if isinstance(answer, list) else [answer]
    # Of a run that does not wait, no message is sent.
    told = [one for one in several if one.message_id or one.error]
    return [NotifiedRun(one.workflow_run_id, one.message_id, one.error) for one in told]


def _event_id(value: Any) -> str:
    checked = validation.object_id(value, "event_id")
    if not all(one.isascii() and (one.isalnum() or one in "-_.") for one in checked):
        raise InvalidArgumentError(
            f"event_id is {value!r}; Upstash takes letters, digits, '-', '_' and '.' only"
        )
    return checked


def _not_found(run_id: str) -> NotFoundError:
    return NotFoundError(
        f"the logs have no workflow run {run_id}",
        status_code=404,
        endpoint="QStash GET /v2/workflows/logs",
        hint="Logs lag behind, and are kept for some days, by plan. Is the id right, with its wfr_, and does "
        "the run belong to the region of the connection's host?",
    )
