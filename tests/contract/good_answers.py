"""One good answer to each operation that reads something, with every field that its models know.

And what becomes of it: everything that leaves the provider for an event, an XCom, a record, a form or a log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import BaseModel

from remote_tasks_provider.a2a.api import operations as a2a_operations
from remote_tasks_provider.a2a.api.filters import TaskFilter
from remote_tasks_provider.a2a.api.interfaces import AGENTS, Agent, Interface, get_card
from remote_tasks_provider.a2a.api.messages import outgoing
from remote_tasks_provider.a2a.models import A2AAgentCard, A2AMessage, A2ATask
from remote_tasks_provider.a2a.models import snapshot as a2a_snapshot
from remote_tasks_provider.a2a.results import result_of_message, result_of_task
from remote_tasks_provider.a2a.service import A2A
from remote_tasks_provider.bases.hitl_forms import form_of
from remote_tasks_provider.core.http.connection import ConnectionConfig, ConnectionFields
from remote_tasks_provider.core.http.operation import Operation, Page, Response
from remote_tasks_provider.core.http.response import read_response
from remote_tasks_provider.core.polling.result import WaitResult
from remote_tasks_provider.core.service import Service
from remote_tasks_provider.core.states import TaskSnapshot
from remote_tasks_provider.core.storable import storable_json
from remote_tasks_provider.manus.api import v1, v2
from remote_tasks_provider.manus.api.filters import task_filter
from remote_tasks_provider.manus.api.options import TaskOptions
from remote_tasks_provider.manus.api.v2_models import ManusEvent, ManusTaskV2, how_it_finished
from remote_tasks_provider.manus.hitl_forms import form_for
from remote_tasks_provider.manus.models import ManusTask, ManusTaskSummary, snapshot
from remote_tasks_provider.manus.results import CreatedTask, ManusResult, result_v1, result_v2
from remote_tasks_provider.manus.service import MANUS
from remote_tasks_provider.manus.websites import website_snapshot
from remote_tasks_provider.qstash import models as qstash_models
from remote_tasks_provider.qstash.api import settings as qstash_settings
from remote_tasks_provider.qstash.api import v1 as qstash_v1
from remote_tasks_provider.qstash.api import v2 as qstash_v2
from remote_tasks_provider.qstash.api import workflows as qstash_workflows
from remote_tasks_provider.qstash.api.options import PublishOptions
from remote_tasks_provider.qstash.api.v2_models import (
    DlqMessage,
    LogEntry,
    MessageOutcome,
    outcome_of,
    snapshot_of,
)
from remote_tasks_provider.qstash.api.workflow_models import (
    QStashWorkflowDlqMessage,
    QStashWorkflowRun,
    run_snapshot,
)
from remote_tasks_provider.qstash.api.workflow_options import WorkflowOptions
from remote_tasks_provider.qstash.service import QSTASH

__all__ = ["ANSWERS", "GoodAnswer"]

AT = 1_763_501_439
AT_MS = 1000 * AT
PAGE = "https://manus.im/app/t1"

V1_TASK: dict[str, Any] = {
    "id": "t1",
    "object": "task",
    "status": "completed",
    "created_at": str(AT),
    "updated_at": str(AT + 60),
    "error": "it broke",
    "incomplete_details": "out of credits",
    "model": "manus-1.6-agent",
    "metadata": {"task_title": "Prices", "task_url": PAGE, "more": [1, {"deep": True}]},
    "credit_usage": "22",
    "instructions": "Be brief.",
    "max_output_tokens": 1000,
    "locale": "de-CH",
    "output": [
        {
            "id": "m1",
            "status": "completed",
            "role": "assistant",
            "type": "message",
            "content": [
                {"type": "output_text", "text": "Done."},
                {
                    "type": "output_file",
                    "fileUrl": "https://f/a",
                    "fileName": "a.txt",
                    "mimeType": "text/plain",
                },
            ],
        },
        {"id": "m2", "role": "assistant", "content": [{"type": "output_text", "text": "Really."}]},
    ],
}
V2_TASK: dict[str, Any] = {
    **{name: V1_TASK[name] for name in V1_TASK if name not in ("model", "output")},
    "status": "stopped",
    "title": "Prices",
    "task_url": PAGE,
    "agent_profile": "manus-1.6",
    "task_type": "standalone",
    "share_visibility": "private",
    "has_running_background_jobs": False,
    "stopped_by_user": False,
    "output": V1_TASK["output"],
}
EVENT: dict[str, Any] = {
    "id": "e1",
    "type": "assistant_message",
    "timestamp": str(AT_MS),
    "user_message": {
        "content": "Hello",
        "attachments": [{"filename": "c", "url": "https://f/c", "content_type": "a/b"}],
    },
    "assistant_message": {
        "content": "Which one?",
        "delivery_kind": "result",
        "attachments": [
            {"filename": "a.txt", "url": "https://f/a", "content_type": "text/plain"},
            {"filename": "b.txt", "url": "https://f/b", "content_type": "text/plain"},
        ],
        "question_expectation": {"selection_mode": "single", "options": ["Thun", "Spiez"]},
    },
    "error_message": {"content": "it broke"},
    "status_update": {
        "agent_status": "waiting",
        "status_detail": {
            "waiting_for_event_id": "e1",
            "waiting_for_event_type": "gmailSendAction",
            "waiting_description": "May I?",
            "confirm_input_schema": {
                "type": "object",
                "properties": {
                    "accept": {"type": "boolean", "title": "Accept", "description": "Send it"},
                    "to": {"type": "string", "enum": ["a", "b"]},
                },
            },
        },
    },
    "structured_output_result": {"success": True, "value": {"rows": [{"price": 1.5}]}, "error": "none"},
}
CREATED = {"task_id": "t1", "task_title": "Prices", "task_url": PAGE}
QSTASH_TASK: dict[str, Any] = {
    "taskId": "t1",
    "messageId": "m1",
    "state": "failed",
    "url": "https://example.com/hook?key=1",
    "error": "HTTP status 410",
    "maxRetry": "3",
    "retried": 1,
    "completedAt": AT_MS,
    "lastErrorAt": AT_MS,
    "nextProcessAt": 0,
    "deadline": AT_MS,
}
MESSAGE: dict[str, Any] = {
    "messageId": "m1",
    "url": "https://example.com/hook?key=1",
    "topicName": "group",
    "endpointName": "first",
    "scheduleId": "s1",
    "queueName": "q1",
    "responseStatus": 500,
    "maxRetries": 3,
    "labels": ["a", "b"],
}
LOG_ENTRY = MESSAGE | {"state": "FAILED", "time": AT_MS, "error": "HTTP 500", "nextDeliveryTime": AT_MS}
DLQ_MESSAGE = MESSAGE | {
    "dlqId": "d1",
    "method": "POST",
    "createdAt": AT_MS,
    "responseBody": "out of memory",
    "responseBodyBase64": "b3V0IG9mIG1lbW9yeQ==",
}
PUBLISHED = {"messageId": "m1", "deduplicated": False, "url": "https://example.com/hook"}
SCHEDULE = {
    "scheduleId": "s1",
    "cron": "0 4 * * *",
    "destination": "https://example.com/hook",
    "method": "POST",
    "queueName": "q1",
    "retries": 3,
    "isPaused": False,
    "createdAt": AT_MS,
    "lastScheduleTime": AT_MS,
    "nextScheduleTime": AT_MS,
    "lastScheduleStates": {"m1": "SUCCESS"},
}
QUEUE = {"name": "q1", "parallelism": 1, "paused": False, "lag": 0, "createdAt": AT_MS, "updatedAt": AT_MS}
URL_GROUP = {
    "name": "g1",
    "endpoints": [{"name": "first", "url": "https://example.com/a"}, {"url": "https://example.com/b"}],
    "createdAt": AT_MS,
    "updatedAt": AT_MS,
}


def _event(task: TaskSnapshot) -> dict[str, Any]:
    record = task.to_record()
    result = WaitResult({task.id: record}, {}, None, 1.0)
    sentence = result.failure("Task", raise_on_failure=True, on_waiting="fail")
    return {"event": result.to_event(), "error": sentence.to_json() if sentence else None}


def _result(result: ManusResult) -> list[Any]:
    found: list[Any] = [result.to_json(), [file.name for file in result.files]]
    if result.question is not None:
        for rich in (True, False):
            question = form_for(result.question, result.title, result.url, rich=rich)
            found += [question.to_json(), form_of(question, result.url, defaults=None), question.code]
    return found


def _manus_task(task: ManusTask) -> list[Any]:
    waiting = task.model_copy(update={"status": "pending"})
    return [
        _event(snapshot(task)),
        task.to_json(include_output=True),
        [part.file_name for message in task.output for part in message.content],
        *_result(result_v1(task)),
        *_result(result_v1(waiting)),
    ]


def _manus_task_v2(task: ManusTaskV2) -> list[Any]:
    return [_event(snapshot(task)), task.to_json(include_output=True), _result(result_v2(task, []))]


def _manus_event(event: ManusEvent) -> list[Any]:
    found: list[Any] = [how_it_finished([event])]
    for status in ("waiting", "error"):
        # A message to the agent begins a turn, in which the other facts of the event would not count.
        events = [event.model_copy(update={"type": "assistant_message"})]
        task = ManusTaskV2(id="t1", status=status).with_events(events)
        found += [*_manus_task_v2(task), *_result(result_v2(task, events))]
    return found


def _log_entry(entry: LogEntry) -> list[Any]:
    outcome = outcome_of(entry.message_id, [entry])
    # The hook's users put an outcome into XCom as they like; its times are times.
    facts = {name: value for name, value in asdict(outcome).items() if not name.endswith("at")}
    return [entry.to_json(), _event(snapshot_of(outcome)), facts]


def _dlq_message(message: DlqMessage) -> list[Any]:
    outcome = MessageOutcome(message.message_id, qstash_models.TaskState.FAILED).with_dlq_message(message)
    return [message.to_json(), _event(snapshot_of(outcome))]


def _workflow_run(run: QStashWorkflowRun) -> list[Any]:
    return [run.to_json(), run.result, run.waits_for, _event(run_snapshot(run))]


def _same(value: Any) -> list[Any]:
    return [value]


def _to_json(value: Any) -> list[Any]:
    return [value.to_json()]


@dataclass(frozen=True)
class GoodAnswer:
    """A good answer.

    :param item: what is listed, or the whole answer
    :param outputs: everything that leaves the provider of one value that was read
    :param body: puts items around; ``None`` where the item is the whole answer
    :param models: whose fields ``item`` has
    :param keeps_places: whether an item that cannot be read has a place in the list all the same
    """

    service: Service
    operation: Operation[Any]
    item: Any
    outputs: Callable[[Any], list[Any]]
    body: Callable[[list[Any]], Any] | None = None
    models: tuple[type[BaseModel], ...] = ()
    keeps_places: bool = False
    config: ConnectionConfig = field(init=False)

    def __post_init__(self) -> None:
        host = "https://agent.example.com" if self.service is A2A else None
        fields = ConnectionFields("my_conn", host=host, password="sk-some-secret-key")
        object.__setattr__(self, "config", self.service.config(fields))

    def read(self, body: bytes, status: int = 200) -> Any:
        """Return what the operation makes of ``body``: a list of items, or a value."""
        answer = Response(status, {"content-type": "application/json"}, body)
        value = read_response(self.operation, answer, self.config, self.service.explain)
        return list(value.items) if isinstance(value, Page) else value

    def places(self) -> Iterator[tuple[str | int, ...]]:
        """Yield the path of each value in ``item``, and of one that no model knows."""
        yield from _places(self.item)
        if isinstance(self.item, dict):
            yield ("invented",)


def _places(node: Any, *above: str | int) -> Iterator[tuple[str | int, ...]]:
    yield above
    # The items of a list are alike.
    inner: Any = (
        node.items() if isinstance(node, dict) else enumerate(node[:1]) if isinstance(node, list) else ()
    )
    for name, value in inner:
        yield from _places(value, *above, name)


WORKFLOW_STEP: dict[str, Any] = {
    "stepName": "wait",
    "stepType": "Wait",
    "state": "STEP_PROGRESS",
    "waitEventId": "approved",
    "errors": [{"status": 503, "error": "it broke", "body": "no room", "headers": {"x": ["y"]}, "time": 1}],
    "out": "secret",
}
WORKFLOW_RUN: dict[str, Any] = {
    "workflowRunId": "wfr_1",
    "workflowUrl": "https://example.com/workflow?key=x",
    "workflowState": "RUN_FAILED",
    "workflowRunCreatedAt": AT_MS,
    "workflowRunCompletedAt": AT_MS + 5000,
    "workflowRunResponse": '{"rows": 3}',
    "failureFunction": {"failStatus": 503, "failResponse": "no room", "state": "CALLBACK_SUCCESS"},
    "steps": [{"type": "next", "steps": [WORKFLOW_STEP]}],
    "dlqId": "1-0",
    "label": "a,b",
    "flowControlKey": "k",
}
WORKFLOW_DLQ: dict[str, Any] = {
    "dlqId": "1-0",
    "workflowRunId": "wfr_1",
    "workflowUrl": "https://example.com/workflow",
    "workflowCreatedAt": AT_MS,
    "responseStatus": 503,
    "responseBody": "no room",
    "label": "a",
}

_TASKS = task_filter(page_size=3)
_ORDER = PublishOptions("https://example.com/hook", "x", "free", deduplication_id="d")


def _manus_list(items: list[Any]) -> Any:
    return {
        "object": "list",
        "ok": True,
        "data": items,
        "last_id": "t9",
        "has_more": False,
        "next_cursor": "c",
    }


A2A_TEXT: dict[str, Any] = {
    "messageId": "m1",
    "role": "ROLE_AGENT",
    "parts": [{"text": "Which?", "mediaType": "text/plain", "filename": "a.txt"}, {"data": {"n": 3}}],
    "contextId": "c1",
    "taskId": "t1",
}
A2A_WORK: dict[str, Any] = {
    "id": "t1",
    "contextId": "c1",
    "status": {"state": "TASK_STATE_FAILED", "message": A2A_TEXT, "timestamp": "2026-11-01T09:00:00.5Z"},
    "artifacts": [
        {
            "artifactId": "a1",
            "name": "Report",
            "description": "All of it",
            "parts": [{"raw": "aGk=", "filename": "a.txt", "mediaType": "text/plain"}],
        },
        {"artifactId": "a2", "parts": [{"url": "https://f/a?key=x"}, {"data": [1]}, {"text": "Done."}]},
    ],
    "history": [A2A_TEXT],
    "metadata": {"more": [1, {"deep": True}]},
}
A2A_OLD: dict[str, Any] = {
    **A2A_WORK,
    "kind": "task",
    "status": {"state": "input-required", "message": A2A_TEXT, "timestamp": "2026-11-01T09:00:00+00:00"},
    "artifacts": [
        {"artifactId": "a1", "parts": [{"kind": "file", "file": {"uri": "https://f/a", "name": "a"}}]}
    ],
}
A2A_CARD: dict[str, Any] = {
    "name": "Agent",
    "description": "Does all",
    "version": "1",
    "url": "https://a/rpc",
    "preferredTransport": "JSONRPC",
    "protocolVersion": "0.3.0",
    "supportedInterfaces": [
        {"url": "https://a/rest", "protocolBinding": "HTTP+JSON", "protocolVersion": "1.0", "tenant": "t"}
    ],
    "additionalInterfaces": [{"url": "https://a/rpc", "transport": "JSONRPC"}],
    "capabilities": {"streaming": True, "extensions": [{"uri": "https://e", "required": True}]},
    "skills": [{"id": "s"}],
}
_A2A_WIRES: dict[str, Interface] = {
    "1.0 REST": Interface("1.0", "rest", "https://agent.example.com/rest"),
    "1.0 JSON-RPC": Interface("1.0", "jsonrpc", "https://agent.example.com/rpc"),
    "0.3 JSON-RPC": Interface("0.3", "jsonrpc", "https://agent.example.com/rpc"),
}


def _over(wire: str, operation: Operation[Any]) -> Operation[Any]:
    """Return the request that an operation makes once its agent is known."""
    config = A2A.config(ConnectionFields("my_conn", host="https://agent.example.com", password=""))
    AGENTS.note(config, Agent(A2AAgentCard(name="Agent"), _A2A_WIRES[wire], lists=True))
    assert operation.steps is not None
    found = next(operation.steps(config))
    while found.steps is not None:
        found = next(found.steps(config))
    AGENTS.forget(config)
    return found


def _in(wire: str, result: Any) -> Any:
    return result if wire.endswith("REST") else {"jsonrpc": "2.0", "id": "1", "result": result}


def _a2a_task(task: A2ATask) -> list[Any]:
    shown = [task.to_json(), task.to_json(include_history=True), result_of_task(task).to_json()]
    return [*shown, _event(a2a_snapshot(task))]


def _a2a_sent(found: A2ATask | A2AMessage) -> list[Any]:
    return _a2a_task(found) if isinstance(found, A2ATask) else [result_of_message(found).to_json()]


def _a2a_page(wire: str) -> Callable[[list[Any]], Any]:
    return lambda items: _in(wire, {"tasks": items, "nextPageToken": "2", "pageSize": 3, "totalSize": 9})


_A2A_MESSAGE = outgoing("Hello")
A2A_ANSWERS: dict[str, GoodAnswer] = {
    "a2a card": GoodAnswer(
        A2A,
        get_card("https://agent.example.com/.well-known/agent-card.json"),
        A2A_CARD,
        lambda card: [storable_json(card.model_dump(mode="json")), card.required_extensions, card.streams],
        models=(A2AAgentCard,),
    ),
    **{
        f"a2a {wire}: task": GoodAnswer(
            A2A,
            _over(wire, a2a_operations.get_task("t1", history=True)),
            _in(wire, A2A_OLD if wire.startswith("0.3") else A2A_WORK),
            _a2a_task,
        )
        for wire in _A2A_WIRES
    },
    **{
        f"a2a {wire}: list": GoodAnswer(
            A2A,
            _over(wire, a2a_operations.list_tasks(TaskFilter(page_size=3))),
            A2A_WORK,
            _a2a_task,
            _a2a_page(wire),
        )
        for wire in ("1.0 REST", "1.0 JSON-RPC")
    },
    **{
        f"a2a {wire}: sent, {name}": GoodAnswer(
            A2A,
            _over(wire, a2a_operations.send_message(_A2A_MESSAGE)),
            _in(wire, found),
            _a2a_sent,
        )
        for wire, name, found in (
            ("1.0 REST", "task", {"task": A2A_WORK}),
            ("1.0 JSON-RPC", "message", {"message": A2A_TEXT}),
            ("0.3 JSON-RPC", "task", A2A_OLD),
            ("0.3 JSON-RPC", "message", {"kind": "message", **A2A_TEXT}),
        )
    },
}

ANSWERS: dict[str, GoodAnswer] = {
    **A2A_ANSWERS,
    "manus v1 list": GoodAnswer(
        MANUS, v1.list_tasks(_TASKS), V1_TASK, _manus_task, _manus_list, (ManusTask,)
    ),
    "manus v1 summaries": GoodAnswer(
        MANUS,
        v1.list_summaries(_TASKS),
        {name: value for name, value in V1_TASK.items() if name in ManusTaskSummary.model_fields},
        lambda task: [_event(snapshot(task)), task.to_json()],
        _manus_list,
        (ManusTaskSummary,),
    ),
    "manus v1 task": GoodAnswer(MANUS, v1.get_task("t1"), V1_TASK, _manus_task),
    "manus v1 created": GoodAnswer(
        MANUS,
        v1.create_task(TaskOptions("Hello")),
        CREATED,
        lambda ref: [asdict(ref)],
        models=(CreatedTask,),
    ),
    "manus v1 projects": GoodAnswer(
        MANUS, v1.list_projects(), {"id": "p1", "name": "Sums"}, _same, lambda items: {"data": items}
    ),
    "manus v1 project": GoodAnswer(MANUS, v1.create_project("x", None), {"id": "p1", "name": "Sums"}, _same),
    "manus v1 upload": GoodAnswer(
        MANUS, v1.create_upload("a"), {"id": "f1", "upload_url": "https://u"}, _same
    ),
    "manus v1 file": GoodAnswer(MANUS, v1.get_file("f1"), {"id": "f1", "status": "uploaded"}, _same),
    "manus v2 list": GoodAnswer(
        MANUS, v2.list_tasks(_TASKS), V2_TASK, _manus_task_v2, _manus_list, (ManusTaskV2,)
    ),
    "manus v2 task": GoodAnswer(
        MANUS, v2.get_task("t1"), {"ok": True, "task": V2_TASK, "error": None}, _manus_task_v2
    ),
    "manus v2 events": GoodAnswer(
        MANUS,
        v2.list_messages("t1"),
        EVENT,
        _manus_event,
        lambda items: {"ok": True, "messages": items, "has_more": False, "next_cursor": ""},
        (ManusEvent,),
    ),
    "manus v2 created": GoodAnswer(
        MANUS, v2.create_task(TaskOptions("Hello")), {"ok": True, **CREATED}, lambda ref: [asdict(ref)]
    ),
    "manus v2 projects": GoodAnswer(
        MANUS, v2.list_projects(), {"id": "p1"}, _same, lambda items: {"ok": True, "data": items}
    ),
    "manus v2 connectors": GoodAnswer(
        MANUS, v2.list_connectors(), {"id": "c1"}, _same, lambda items: {"ok": True, "data": items}
    ),
    "manus v2 skills": GoodAnswer(
        MANUS, v2.list_skills(), {"id": "s1"}, _same, lambda items: {"ok": True, "data": items}
    ),
    "manus v2 usage": GoodAnswer(
        MANUS,
        v2.list_usage(),
        {"task_id": "t1", "title": "Sums", "credits": "-5", "created_at": 1_780_000_000, "type": "cost"},
        lambda one: one.to_json(),
        lambda items: {"ok": True, "data": items, "has_more": False},
    ),
    "manus v2 website": GoodAnswer(
        MANUS,
        v2.get_website("t1"),
        {
            **{"ok": True, "website_id": "w1", "publish_status": "published", "site_urls": [PAGE]},
            **{"version_id": "v003", "status_updated_at": AT, "visibility": "public"},
        },
        lambda website: [website.to_json(), _event(website_snapshot(website))],
    ),
    "manus v2 publication": GoodAnswer(
        MANUS, v2.publish_website("t1"), {"ok": True, "website_id": "w1", "version_id": "v003"}, _to_json
    ),
    "manus v2 checkpoints": GoodAnswer(
        MANUS,
        v2.list_website_checkpoints("t1"),
        {"version_id": "v003", "message": "Built.", "status": "success", "created_at": AT},
        _same,
        lambda items: {"ok": True, "data": items, "published_version_id": "v003"},
    ),
    "manus v2 upload": GoodAnswer(
        MANUS, v2.create_upload("a"), {"ok": True, "file": {"id": "f1"}, "upload_url": "https://u"}, _same
    ),
    "manus v2 file": GoodAnswer(MANUS, v2.get_file("f1"), {"ok": True, "file": {"id": "f1"}}, _same),
    "manus v2 confirmation": GoodAnswer(
        MANUS, v2.confirm_action("t1", "e1", {}), {"ok": True, "confirmed": True}, _same
    ),
    "manus v2 credits": GoodAnswer(
        MANUS, v2.available_credits(), {"ok": True, "data": {"total_credits": "5"}}, _same
    ),
    "qstash tasks": GoodAnswer(
        QSTASH,
        qstash_v1.list_message_tasks("m1"),
        QSTASH_TASK,
        lambda task: [task.to_json(), _event(qstash_models.snapshot(task))],
        lambda items: {"tasks": items, "cursor": "5"},
        (qstash_models.QStashTask,),
    ),
    "qstash task": GoodAnswer(
        QSTASH,
        qstash_v1.get_task("t1"),
        QSTASH_TASK,
        lambda task: [task.to_json(), _event(qstash_models.snapshot(task))],
    ),
    "qstash logs": GoodAnswer(
        QSTASH,
        qstash_v2.list_logs(()),
        LOG_ENTRY,
        _log_entry,
        lambda items: {"events": items, "logs": None, "cursor": ""},
        (LogEntry,),
    ),
    "qstash dlq": GoodAnswer(
        QSTASH,
        qstash_v2.list_dlq_messages(()),
        DLQ_MESSAGE,
        _dlq_message,
        lambda items: {"messages": items, "cursor": ""},
        (DlqMessage,),
    ),
    "qstash published": GoodAnswer(
        QSTASH, qstash_v2.publish(_ORDER), PUBLISHED, lambda found: [one.to_json() for one in found]
    ),
    "qstash batch": GoodAnswer(
        QSTASH,
        qstash_v2.publish_batch([_ORDER] * 3),
        PUBLISHED | {"error": None},
        lambda found: [one.to_json() for one in found],
        lambda items: items,
        keeps_places=True,
    ),
    "qstash retried": GoodAnswer(
        QSTASH,
        qstash_v2.retry_dlq_messages(["1-0"]),
        PUBLISHED,
        _to_json,
        lambda items: {"responses": items, "cursor": ""},
    ),
    "qstash deleted": GoodAnswer(
        QSTASH, qstash_v2.delete_dlq_messages(["1-0"]), {"deleted": 5, "cursor": ""}, _same
    ),
    "qstash cancelled": GoodAnswer(
        QSTASH, qstash_v2.cancel_messages((("url", "x"),)), {"cancelled": 5}, _same
    ),
    **{
        f"qstash {name}s": GoodAnswer(QSTASH, resource.all(), item, _to_json, lambda items: items, (model,))
        for name, resource, item, model in (
            ("schedule", qstash_settings.SCHEDULES, SCHEDULE, qstash_settings.QStashSchedule),
            ("queue", qstash_settings.QUEUES, QUEUE, qstash_settings.QStashQueue),
            ("url group", qstash_settings.URL_GROUPS, URL_GROUP, qstash_settings.QStashUrlGroup),
        )
    },
    "qstash schedule": GoodAnswer(QSTASH, qstash_settings.SCHEDULES.get("s1"), SCHEDULE, _to_json),
    "qstash queue": GoodAnswer(QSTASH, qstash_settings.QUEUES.get("q1"), QUEUE, _to_json),
    "qstash url group": GoodAnswer(QSTASH, qstash_settings.URL_GROUPS.get("g1"), URL_GROUP, _to_json),
    "qstash schedule's id": GoodAnswer(
        QSTASH, qstash_settings.create_schedule(_ORDER, "0 4 * * *"), {"scheduleId": "s1"}, _same
    ),
    "qstash workflow runs": GoodAnswer(
        QSTASH,
        qstash_workflows.list_runs(()),
        WORKFLOW_RUN,
        _workflow_run,
        lambda items: {"cursor": "1-2", "runs": items},
        (QStashWorkflowRun,),
    ),
    "qstash workflow dlq": GoodAnswer(
        QSTASH,
        qstash_workflows.list_dlq(()),
        WORKFLOW_DLQ,
        _to_json,
        lambda items: {"cursor": "1-2", "messages": items},
        (QStashWorkflowDlqMessage,),
    ),
    "qstash triggered": GoodAnswer(
        QSTASH,
        qstash_workflows.trigger(WorkflowOptions("https://example.com/workflow"), "wfr_1"),
        {"workflowRunId": "wfr_1", "workflowCreatedAt": AT_MS, "deduplicated": False},
        lambda run: [run.workflow_run_id, run.deduplicated],
    ),
    "qstash notified": GoodAnswer(
        QSTASH,
        qstash_workflows.notify("approved"),
        [{"workflowRunId": "wfr_1", "messageId": "msg_1", "error": "no", "waiter": {}}],
        lambda found: [one.to_json() for one in found],
    ),
    "qstash waiters": GoodAnswer(
        QSTASH,
        qstash_workflows.list_waiters("approved"),
        [{"url": "https://example.com", "headers": {"Upstash-Workflow-Runid": ["wfr_1"]}}],
        _same,
    ),
    "qstash runs cancelled": GoodAnswer(
        QSTASH, qstash_workflows.cancel_runs((("label", "x"),)), {"cancelled": 5}, _same
    ),
}
