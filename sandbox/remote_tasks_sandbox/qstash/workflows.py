"""Upstash Workflow over HTTP: trigger, logs, cancel, notify, and the dead letter queue of runs.

https://upstash.com/docs/workflow. What a run does is left to ``workflow_runs``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from http.client import responses
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from remote_tasks_sandbox.calls import Answer, Call, Refused, json_answer
from remote_tasks_sandbox.faults import Plan
from remote_tasks_sandbox.qstash.account import QStashAccount
from remote_tasks_sandbox.qstash.message import milliseconds
from remote_tasks_sandbox.qstash.options import PLANS, read_again, read_options
from remote_tasks_sandbox.qstash.parsing import check_url, json_body, whole
from remote_tasks_sandbox.qstash.v2_messages import Handler, destination_of, publish_headers
from remote_tasks_sandbox.qstash.wire import CALLER_IP, header_lists, option_fields, present, shown_body
from remote_tasks_sandbox.qstash.workflow_runs import TERMINAL, WorkflowRun
from remote_tasks_sandbox.tasks import random_id
from remote_tasks_sandbox.vendor import Context

__all__ = ["MESSAGE_DLQ_FILTERS", "WorkflowDlqOperations", "WorkflowOperations"]

_STATES = TERMINAL | {"RUN_STARTED"}
_MOST_RUNS = 10
_MOST_FAILED = 100
_MOST_RESUMED = 50
_MOST_CANCELLED = 100
_UNSPLIT = frozenset({"workflowUrl", "url", "path"})
_PAGING = frozenset({"count", "cursor", "groupBy", "trimBody", "qstash_token"})
#: What each filter compares its values with; the time is that of the sandbox.
_FACTS: dict[str, Callable[[WorkflowRun, float], set[str | None]]] = {
    "workflowRunId": lambda run, _: {run.id},
    "workflowRunIds": lambda run, _: {run.id},
    "workflowUrl": lambda run, _: {run.url},
    "url": lambda run, _: {run.url},
    "host": lambda run, _: {urlsplit(run.url).netloc, urlsplit(run.url).hostname},
    "path": lambda run, _: {urlsplit(run.url).path},
    "workflowCreatedAt": lambda run, _: {str(run.created_ms)},
    "label": lambda run, _: set(run.labels),
    "flowControlKey": lambda run, _: {run.options.flow.key if run.options.flow else None},
    "messageId": lambda run, _: {run.message_id},
    "callerIp": lambda _run, _now: {CALLER_IP},
    "state": lambda run, now: {run.state(now)},
    "dlqIds": lambda run, now: {run.dlq_id(now)},
    "responseStatus": lambda run, _: {str(run.plan.response_status)},
    "failureFunctionState": lambda _run, _now: set(),  # No failure function is ever called.
    "source": lambda _run, _now: {"workflow"},
}
_DATES = frozenset({"fromDate", "toDate"})
_COMMON = _DATES | {"workflowUrl", "label", "flowControlKey", "callerIp"}
_LOG_FILTERS = _COMMON | {
    *("workflowRunId", "workflowCreatedAt", "state", "workflowRuns"),
    *("messageId", "host", "path"),
}
_CANCEL_FILTERS = _COMMON | {"workflowRunIds", "workflowUrlExactMatch", "host", "path"}
_DLQ_FILTERS = _COMMON | {"workflowRunId", "workflowCreatedAt", "failureFunctionState", "dlqIds"}
#: Those that ``GET /v2/dlq?source=workflow`` knows, by which the vendor's client lists failed runs.
MESSAGE_DLQ_FILTERS = _DLQ_FILTERS | {"source", "url", "responseStatus"}


class WorkflowOperations:
    """What can be done with workflow runs, by method and path."""

    def __init__(self, context: Context, account: QStashAccount) -> None:
        self._context = context
        self._runs = account.workflows
        self.operations: Mapping[str, tuple[str, Handler]] = {
            "POST /v2/trigger/{destination}": ("qstash.publish", self._trigger),
            "GET /v2/workflows/logs": ("qstash.workflows", self._logs),
            "GET /v2/workflows/events": ("qstash.workflows", self._logs),
            "DELETE /v2/workflows/runs": ("qstash.workflows", self._cancel_many),
            "DELETE /v2/workflows/runs/{workflowRunId}": ("qstash.workflows", self._cancel),
            "GET /v2/waiters/{eventId}": ("qstash.workflows", self._waiters),
            "POST /v2/notify/{eventId}": ("qstash.workflows", self._notify),
            "POST /v2/notify/{workflowRunId}/{eventId}": ("qstash.workflows", self._notify_run),
        }

    @property
    def _now(self) -> float:
        return self._context.clock.now()

    # ------------------------------------------------------------------------------------------- trigger

    def _trigger(self, call: Call, plan: Plan) -> Answer:
        url = check_url("destination", destination_of(call, 2))
        headers, now = publish_headers(call), self._now
        options = read_options(url, headers, call.body, PLANS[self._context.settings.qstash_plan], now)
        return json_answer(
            _reference(self._runs.trigger(url, headers.get("upstash-workflow-runid"), options))
        )

    # ---------------------------------------------------------------------------------------------- logs

    def _logs(self, call: Call, plan: Plan) -> Answer:
        group = "".join(call.values("groupBy")[:1]) or "workflowRunId"
        if group != "workflowRunId":
            raise Refused(501, f"groupBy={group} is not emulated")
        filters = _filters(call, _LOG_FILTERS)
        _check_states(filters)
        settings, now = self._context.settings, self._now - self._context.settings.qstash_log_lag
        oldest = now - settings.qstash_log_retention
        pairs = [pair for value in filters.get("workflowRuns", []) for pair in value.split(",")]
        found = (
            run
            for run in sorted(self._runs.all(), key=lambda one: one.number, reverse=True)
            if run.added_at <= now
            and (not run.is_over(now) or run.timeline.since(now) >= oldest)
            and (f"{run.id}@{run.created_ms}" in pairs if pairs else _fits(run, filters, now))
            and not (plan.shaping and plan.unlisted(run.id, run.added_at, self._now))
        )
        runs, cursor = _page(call, found, _MOST_RUNS, plan, settings.cursor_end)
        return json_answer(cursor | {"runs": [_run_wire(run, now) for run in runs]})

    # -------------------------------------------------------------------------------------------- cancel

    def _cancel(self, call: Call, plan: Plan) -> Answer:
        run = self._runs.find(call.segments[3])
        hidden = run is not None and plan.hides(run.id, run.added_at, self._now)
        if run is None or hidden or not self._runs.cancel(run):
            raise Refused(404, f"workflow run {call.segments[3]} not found")
        return Answer(200, b"OK", content_type="text/plain; charset=utf-8")

    def _cancel_many(self, call: Call, plan: Plan) -> Answer:
        filters = _filters(call, _CANCEL_FILTERS)
        if "workflowRunIds" in filters:
            filters = {"workflowRunIds": filters["workflowRunIds"]}
        is_exact = filters.pop("workflowUrlExactMatch", ["false"]) == ["true"]
        prefixes = tuple(filters.pop("workflowUrl", [""])) if not is_exact else ("",)
        count = "".join(call.values("count")[:1])
        most = whole("count", count, least=1) if count else _MOST_CANCELLED
        meant = (
            run
            for run in self._runs.all()
            if not run.is_over(self._now) and run.url.startswith(prefixes) and _fits(run, filters, self._now)
        )
        return json_answer({"cancelled": sum(map(self._runs.cancel, list(islice(meant, most))))})

    # -------------------------------------------------------------------------------------------- events

    def _waiters(self, call: Call, plan: Plan) -> Answer:
        return json_answer([_waiter(run) for run in self._runs.waiting(_event(call.segments[2]))])

    def _notify(self, call: Call, plan: Plan) -> Answer:
        event = _event(call.segments[2])
        return json_answer([self._told(run, event, call.body) for run in self._runs.waiting(event)], 201)

    def _notify_run(self, call: Call, plan: Plan) -> Answer:
        run_id, event = call.segments[2], _event(call.segments[3])
        found = next((run for run in self._runs.waiting(event) if run.id == run_id), None)
        # It is said to be kept until the run waits. The official client warns that it never arrives.
        answer = {"workflowRunId": run_id} if found is None else self._told(found, event, call.body)
        return json_answer(answer, 201)

    def _told(self, run: WorkflowRun, event: str, data: bytes) -> dict[str, Any]:
        self._runs.notify(run, event, data)
        return {"waiter": _waiter(run), "messageId": random_id(63, "msg_"), **_reference(run)}


class WorkflowDlqOperations:
    """What can be done with runs that have failed, by method and path."""

    def __init__(self, context: Context, account: QStashAccount) -> None:
        self._context = context
        self._runs = account.workflows
        self.operations: Mapping[str, tuple[str, Handler]] = {
            "GET /v2/workflows/dlq": ("qstash.dlq", self.listed),
            "DELETE /v2/workflows/dlq": ("qstash.dlq", self._delete_many),
            "POST /v2/workflows/dlq/resume": ("qstash.dlq", self._resume_many),
            "POST /v2/workflows/dlq/restart": ("qstash.dlq", self._resume_many),
            "GET /v2/workflows/dlq/{dlqId}": ("qstash.dlq", self._get),
            "DELETE /v2/workflows/dlq/{dlqId}": ("qstash.dlq", self._delete),
            "POST /v2/workflows/dlq/resume/{dlqId}": ("qstash.dlq", self._resume),
            "POST /v2/workflows/dlq/restart/{dlqId}": ("qstash.dlq", self._resume),
        }

    @property
    def _now(self) -> float:
        return self._context.clock.now()

    def listed(self, call: Call, plan: Plan, names: frozenset[str] = _DLQ_FILTERS) -> Answer:
        """Answer with the failed runs.

        :param names: the filters that are known
        """
        found = (
            run
            for run in self._failed(_filters(call, names))
            if not (plan.shaping and plan.unlisted(run.id, run.added_at, self._now))
        )
        runs, cursor = _page(call, found, _MOST_FAILED, plan, self._context.settings.cursor_end)
        return json_answer(cursor | {"messages": [_dlq_wire(run, self._now) for run in runs]})

    def _failed(self, filters: Mapping[str, list[str]]) -> list[WorkflowRun]:
        """Return the runs in the queue, the newest first."""
        now, since = self._now, self._now - self._context.settings.qstash_dlq_retention
        found = [
            run
            for run in self._runs.all()
            if run.dlq_id(now)
            and not run.has_left_dlq
            and run.timeline.since(now) >= since
            and _fits(run, filters, now)
        ]
        return sorted(found, key=lambda run: run.number, reverse=True)

    def _in_dlq(self, dlq_id: str) -> WorkflowRun:
        found = self._failed({"dlqIds": [dlq_id]})
        if not found:
            raise Refused(404, f"message {dlq_id} not found in the DLQ")
        return found[0]

    def _get(self, call: Call, plan: Plan) -> Answer:
        return json_answer(_dlq_wire(self._in_dlq(call.segments[3]), self._now))

    def _delete(self, call: Call, plan: Plan) -> Answer:
        self._in_dlq(call.segments[3]).has_left_dlq = True
        return Answer(200, b"")

    def _delete_many(self, call: Call, plan: Plan) -> Answer:
        found, cursor = self._chosen(call, _MOST_FAILED)
        for run in found:
            run.has_left_dlq = True
        return json_answer({"deleted": len(found), "cursor": cursor})

    def _resume(self, call: Call, plan: Plan) -> Answer:
        return json_answer(_reference(self._second_life(call, self._in_dlq(call.segments[4]))))

    def _resume_many(self, call: Call, plan: Plan) -> Answer:
        ids = _filters(call, _DLQ_FILTERS).get("dlqIds", [])
        if len(self._failed({"dlqIds": ids})) < len(set(ids)):
            raise Refused(404, "some DLQ messages were not found")
        found, cursor = self._chosen(call, _MOST_RESUMED)
        begun = [_reference(self._second_life(call, run)) for run in found]
        return json_answer({"cursor": cursor, "workflowRuns": begun})

    def _chosen(self, call: Call, most: int) -> tuple[list[WorkflowRun], str]:
        """Return the runs that a bulk operation is for, and the cursor to those that it leaves.

        :param most: how many there are at most, also where more are asked for
        """
        filters = _filters(call, _DLQ_FILTERS)
        if "dlqIds" in filters:
            filters = {"dlqIds": filters["dlqIds"]}
        count = "".join(call.values("count")[:1])
        size = min(whole("count", count, least=1), most) if count else most
        found = self._failed(filters)
        cursor = _cursor(found[size - 1]) if len(found) > size else ""
        return found[:size], cursor

    def _second_life(self, call: Call, run: WorkflowRun) -> WorkflowRun:
        """Begin the run that resumes or restarts one that has failed, which leaves the queue."""
        asked = {name: value for name, value in call.headers.items() if name.startswith("upstash-")}
        limits = PLANS[self._context.settings.qstash_plan]
        options = read_again(run.options, asked, limits, self._now)
        begun = self._runs.trigger(run.url, asked.get("upstash-workflow-runid"), options, resumes=True)
        run.has_left_dlq = True
        return begun


def _page(
    call: Call, runs: Iterable[WorkflowRun], most: int, plan: Plan, end: Any
) -> tuple[list[WorkflowRun], dict[str, Any]]:
    """Return the runs of a page, which are given newest first, and the cursor to the next one.

    :param end: the setting ``cursor_end``
    """
    wanted = "".join(call.values("count")[:1])
    size = whole("count", wanted, least=1, most=most) if wanted else most
    cursor = "".join(call.values("cursor")[:1])
    before = _place(cursor) if cursor and not plan.repeats_cursor else None
    later = (run for run in runs if before is None or run.number < before)
    found = list(islice(later, size + 1))
    if len(found) > size or plan.repeats_cursor:
        last = found[:size][-1] if found else None
        return found[:size], {"cursor": _cursor(last) if last else "1-0"}
    return found, {} if end == "absent" else {"cursor": end}


def _filters(call: Call, names: frozenset[str]) -> dict[str, list[str]]:
    """Return the filters of a query and of a JSON body, each with its alternatives; refuse an unknown one."""
    sent = [(name, value) for name, value in call.query if name not in _PAGING]
    if call.method == "DELETE":
        body: Any = json_body(call, optional=True)
        if not isinstance(body, dict):
            raise Refused(400, "invalid request body: it must be an object")
        sent += [(name, str(one)) for name, value in body.items() for one in _several(value)]
    found: dict[str, list[str]] = {}
    for name, value in sent:
        if name not in names:
            raise Refused(400, f"invalid filter: {name!r} is not known here")
        found.setdefault(name, []).extend([value] if name in _UNSPLIT else value.split(","))
    return {name: [one.strip() for one in values] for name, values in found.items()}


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _check_states(filters: Mapping[str, list[str]]) -> None:
    for word in filters.get("state", []):
        if word not in _STATES:
            raise Refused(400, f"invalid state: {word!r}")


def _fits(run: WorkflowRun, filters: Mapping[str, list[str]], now: float) -> bool:
    since = whole("fromDate", filters["fromDate"][0]) if "fromDate" in filters else 0
    until = whole("toDate", filters["toDate"][0]) if "toDate" in filters else 2**62
    return since <= run.created_ms <= until and all(
        _FACTS[name](run, now) & set(values) for name, values in filters.items() if name not in _DATES
    )


def _cursor(run: WorkflowRun) -> str:
    return f"{run.created_ms}-{run.number}"


def _place(cursor: str) -> int:
    _, dash, number = cursor.partition("-")
    if not (dash and number.isascii() and number.isdecimal()):
        raise Refused(400, "invalid cursor")
    return int(number)


def _event(event_id: str) -> str:
    if not all(letter.isalnum() or letter in "-_." for letter in event_id):
        raise Refused(400, f"invalid event id: {event_id!r}")
    return event_id


def _reference(run: WorkflowRun) -> dict[str, Any]:
    return {"workflowRunId": run.id, "workflowCreatedAt": run.created_ms}


def _waiter(run: WorkflowRun) -> dict[str, Any]:
    headers = {"upstash-workflow-runid": run.id, "upstash-workflow-url": run.url}
    return {"url": run.url, "headers": header_lists(headers), "deadline": int(run.added_at) + 7 * 86400}


def _run_wire(run: WorkflowRun, now: float) -> dict[str, Any]:
    """Return a run as the logs show it."""
    state, over = run.state(now), run.is_over(now)
    return {
        "workflowRunId": run.id,
        "workflowUrl": run.url,
        "workflowState": state,
        "workflowRunCreatedAt": run.created_ms,
        "steps": _steps(run, now),
        **present(
            {
                "workflowRunCompletedAt": milliseconds(run.timeline.since(now)) if over else None,
                "workflowRunResponse": run.plan.response if state == "RUN_SUCCESS" else None,
                "workflowRunCallerIp": CALLER_IP,
                "dlqId": run.dlq_id(now),
                **_marks(run),
            }
        ),
    }


def _steps(run: WorkflowRun, now: float) -> list[dict[str, Any]]:
    known = {"messageId": run.message_id, "retries": run.options.max_retries}
    begun = known | {
        "stepName": "init",
        "stepType": "Initial",
        "callType": "step",
        "concurrent": 1,
        "state": "STEP_SUCCESS",
        "createdAt": run.created_ms,
        "headers": option_fields(run.options)["header"],
        "out": shown_body(run.options).decode(errors="replace"),
    }
    found = [{"steps": [begun], "type": "sequential"}]
    event = run.awaits(now)
    if event is not None:
        waits = {"stepName": "wait", "stepType": "Wait", "state": "STEP_PROGRESS", "waitEventId": event}
        found.append({"steps": [known | waits], "type": "next"})
    if run.state(now) == "RUN_FAILED":
        status = run.plan.response_status
        error = {
            "error": f"{status} {responses.get(status, '')}".strip(),
            "status": status,
            "body": run.plan.response_body,
            "headers": {},
            "time": milliseconds(run.timeline.since(now)),
        }
        found.append({"steps": [known | {"state": "STEP_FAILED", "errors": [error]}], "type": "next"})
    return found


def _marks(run: WorkflowRun) -> dict[str, Any]:
    fields = option_fields(run.options)
    return {name: fields[name] for name in ("label", "labels", "flowControlKey")}


def _dlq_wire(run: WorkflowRun, now: float) -> dict[str, Any]:
    fields = option_fields(run.options)
    return {
        "dlqId": run.dlq_id(now),
        "messageId": run.message_id,
        "url": run.url,
        "method": "POST",
        "header": fields["header"],
        "workflowRunId": run.id,
        "workflowUrl": run.url,
        "workflowCreatedAt": run.created_ms,
        "createdAt": run.created_ms,
        "notBefore": run.created_ms,
        "maxRetries": run.options.max_retries,
        "body": shown_body(run.options).decode(errors="replace"),
        "callerIP": CALLER_IP,
        "responseStatus": run.plan.response_status,
        "responseHeader": {},
        "responseBody": run.plan.response_body,
        **present({"failureCallback": fields["failureCallback"], **_marks(run)}),
    }
