"""Every request of API v2 that the provider can build is one that QStash has published, but for a short list.

The schema is https://upstash.com/docs/qstash (openapi). What it lacks, and where it is known from, stands in
``BEYOND``; whatever else differs is a mistake of ours.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from types import ModuleType
from typing import Any

import pytest
import yaml
from openapi_schema_validator import OAS31Validator

from remote_tasks_provider.core.http.operation import Operation, Request
from remote_tasks_provider.core.polling.strategy import PollRequest
from remote_tasks_provider.qstash.api import settings, v2
from remote_tasks_provider.qstash.api.filters import DLQ_FILTERS, LOG_FILTERS, MESSAGE_FILTERS, filters_of
from remote_tasks_provider.qstash.api.options import PublishOptions
from remote_tasks_provider.qstash.polling import QStashMessagePollStrategy
from tests.specs import published

HOOK = "https://example.com/hook?a=b"

#: What is sent and not in the schema → who knows it.
PAUSED = "body: Additional properties are not allowed ('paused' was unexpected)"
BEYOND = {
    ("GET /v2/logs", "messageIds"): "both official clients send it (LogFilter.message_ids; JS messageIds)",
    ("GET /v2/logs", "state several times"): "all pages: several values of a filter are alternatives",
    ("GET /v2/logs", "state=FAILED"): "the schema's own table of states, which its list of values forgets",
    ("GET /v2/logs", "state=CANCELED"): "the spelling of both official clients (LogState.CANCELED)",
    ("GET /v2/logs", "url several times"): "all pages: several values of a filter are alternatives",
    ("GET /v2/dlq", "dlqIds"): "the official JS client, and the schema for DELETE and retry",
    ("GET /v2/dlq", "messageId several times"): "all pages: several values of a filter are alternatives",
    ("POST /v2/schedules", "Upstash-Queue-Name"): "the official JS client (schedules.create)",
    ("POST /v2/batch", "Content-Type"): "its body is JSON",
    ("POST /v2/queues", PAUSED): "the official JS client (queue.upsert)",
    ("GET /v2/flowControl", "search"): "the reference's text; the schema names no parameter",
    ("POST /v2/flowControl/{flowControlKey}/unpin", "parallelism=true"): "a boolean in a query is a word",
    ("POST /v2/flowControl/{flowControlKey}/unpin", "rate=true"): "a boolean in a query is a word",
    **{
        ("GET /v2/logs", name): "a filter of the official JS client's types"
        for name in ("callerIp", "flowControlKey", "host", "path")
    },
    ("GET /v2/dlq", "flowControlKey"): "a filter of the official JS client's types",
}

SPEC: dict[str, Any] = yaml.safe_load(
    (published._FOLDER / "qstash-v2.openapi.yaml").read_text()  # the file beside that module
)


def _inlined(node: Any) -> Any:
    if isinstance(node, list):
        return [_inlined(one) for one in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        section, name = node["$ref"].split("/")[-2:]
        return _inlined(SPEC["components"][section][name])
    return {name: _inlined(one) for name, one in node.items()}


def _segments(path: str) -> list[str]:
    """Split a path; a destination, which may hold slashes, is one part."""
    for prefix, parts in (("/v2/publish/", 2), ("/v2/schedules/", 2), ("/v2/enqueue/", 3)):
        if path.startswith(prefix) and "://" in path:
            return path.split("/", parts + 1)[1:]
    return path.split("/")[1:]


def published_operation(method: str, path: str) -> tuple[str, dict[str, Any]]:
    """Return an operation's name and description.

    :raises AssertionError: if there is none
    """
    given = _segments(path)
    for template, item in SPEC["paths"].items():
        wanted = template.split("/")[1:]
        if method.lower() in item and len(wanted) == len(given):
            pairs = zip(wanted, given, strict=True)
            if all(one == other or (one.startswith("{") and other) for one, other in pairs):
                return f"{method} {template}", _inlined(item[method.lower()])
    raise AssertionError(f"there is no {method} {path}")


def _fits(schema: Mapping[str, Any], text: str) -> bool:
    value: Any = int(text) if schema.get("type") == "integer" and text.lstrip("-").isdigit() else text
    return OAS31Validator(dict(schema)).is_valid(value)


def _in_query(described: Mapping[str, Any], query: Iterator[tuple[str, str]]) -> Iterator[str]:
    known = {one["name"]: one["schema"] for one in described.get("parameters", []) if one["in"] == "query"}
    given: dict[str, list[str]] = {}
    for name, value in query:
        given.setdefault(name, []).append(value)
    for name, values in given.items():
        if name not in known:
            yield name
            continue
        is_list = known[name].get("type") == "array"
        if len(values) > 1 and not is_list:
            yield f"{name} several times"
        schema = known[name]["items"] if is_list else known[name]
        yield from (f"{name}={value}" for value in values if not _fits(schema, value))


def _in_headers(described: Mapping[str, Any], headers: Any) -> Iterator[str]:
    known = {one["name"]: one["schema"] for one in described.get("parameters", []) if one["in"] == "header"}
    for name, value in headers:
        schema = next((one for pattern, one in known.items() if fnmatchcase(name, pattern)), None)
        if schema is None:
            yield name
        elif not _fits(schema, value):
            yield f"{name}={value}"
    needed = {
        one["name"]
        for one in described.get("parameters", [])
        if one["in"] == "header" and one.get("required")
    }
    yield from (f"no {name}" for name in needed - {name for name, _ in headers})


def _closed(schema: Any) -> Any:
    """Return a copy that allows no field that is not named."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    extra = {"additionalProperties": False} if "properties" in schema else {}
    return {**extra, **{name: _closed(one) for name, one in schema.items()}}


def _in_body(described: Mapping[str, Any], request: Request) -> Iterator[str]:
    body = json.dumps(request.json).encode() if request.json is not None else request.content
    if not body:
        if described.get("requestBody", {}).get("required"):
            yield "no body"
        return
    allowed = described.get("requestBody", {}).get("content")
    if not allowed:
        yield "a body"
        return
    kind = dict(request.headers).get("Content-Type", "application/json").partition(";")[0]
    if kind not in allowed:
        yield f"a body of {kind}"
    elif kind == "application/json":
        faults = OAS31Validator(_closed(allowed[kind]["schema"])).iter_errors(json.loads(body))
        yield from (f"body: {fault.message}" for fault in faults)


def differences(request: Request) -> set[str]:
    """Return what of a request is not as published."""
    _, described = published_operation(request.method, request.path)
    return {
        *_in_query(described, iter(request.query)),
        *_in_headers(described, request.headers),
        *_in_body(described, request),
    }


# ------------------------------------------------------------------------------------------------- calls


def order(body: Any = None, **options: Any) -> PublishOptions:
    return PublishOptions(HOOK, body, plan="payg", **options)


FULL: dict[str, Any] = {
    "method": "PUT",
    "headers": {"Authorization": "Bearer x", "X-Number": 5},
    "retries": 5,
    "retry_delay": "1000 * (1 + retried)",
    "timeout": "2m",
    "callback": "https://example.com/done",
    "callback_options": {"method": "PUT", "retries": 1, "timeout": "5s", "headers": {"X-A": "b"}},
    "failure_callback": "https://example.com/failed",
    "labels": ["a", "b"],
    "redact": "body, header[Authorization]",
}
FLOW = {"key": "k", "parallelism": 2, "rate": 10, "period": "1m"}
LOGS = {
    "message_ids": ["m1", "m2"],
    "state": ["failed", "canceled"],
    "url": ["https://a", "https://b"],
    "url_group": "g",
    "schedule_id": "s",
    "queue": "q",
    "labels": ["a", "b"],
    "caller_ip": "10.0.0.1",
    "flow_control_key": ["user:1"],
    "host": "h",
    "path": "/p",
    "from_date": 1_780_000_000,
    "to_date": 1_780_000_001,
}
DLQ_MESSAGES = {name: value for name, value in LOGS.items() if name not in ("state", "host", "path")} | {
    "dlq_ids": ["1-0", "2-0"],
    "response_status": [500, 502],
}
MESSAGES = {name: value for name, value in LOGS.items() if name != "state"}


def _following(operation: Operation[Any], answer: Mapping[str, Any]) -> Operation[Any]:
    """Return the operation for the next page."""
    from remote_tasks_provider.core.http.operation import Response

    page = operation.parse(Response(200, {}, json.dumps(answer).encode()))
    return page.next  # type: ignore[no-any-return]


def _polled() -> list[Operation[Any]]:
    """Return what one poll requests for few messages, and for many."""
    found: list[Operation[Any]] = []
    for count in (2, 50):
        plan = QStashMessagePollStrategy().plan(PollRequest([f"m{number}" for number in range(count)]))
        step = next(plan)
        assert isinstance(step, list)
        found += step
    return found


def _of_messages() -> dict[str, list[Operation[Any]]]:
    log_filters = filters_of(LOGS, LOG_FILTERS)
    dlq_messages = filters_of(DLQ_MESSAGES, DLQ_FILTERS)
    listing = v2.list_logs(log_filters, cursor="1-2")
    dlq = v2.list_dlq_messages(dlq_messages)
    keyed = {"deduplication_id": "a-1"}
    return {
        "list_logs": [v2.list_logs(()), listing, *_polled()],
        "list_created": [v2.list_created(1_780_000_000, 1_780_000_060)],
        "list_dlq_messages": [dlq, _following(dlq, {"messages": [], "cursor": "5-1"})],
        "publish": [
            v2.publish(order()),
            v2.publish(order({"a": 1}, delay=60, flow_control=FLOW, **keyed, **FULL)),
            v2.publish(order("text", not_before=1, content_based_deduplication=True)),
            v2.publish(order(b"\xff")),
            v2.publish(PublishOptions("group", plan="free")),
            v2.publish(order({"a": 1}, queue="q", **keyed, **FULL)),
        ],
        "publish_batch": [v2.publish_batch([order(), order("x", queue="q", **keyed, **FULL)])],
        "get_dlq_message": [v2.get_dlq_message("1-0")],
        "get_message": [v2.get_message("m1")],
        "cancel_by_ids": [v2.cancel_by_ids(["m1", "m2"])],
        "cancel_message": [v2.cancel_message("m1")],
        "cancel_messages": [v2.cancel_messages(filters_of(MESSAGES, MESSAGE_FILTERS))],
        "delete_dlq_message": [v2.delete_dlq_message("1-0")],
        "delete_dlq_messages": [v2.delete_dlq_messages(["1-0", "2-0"])],
        "retry_dlq_message": [v2.retry_dlq_message("1-0")],
        "retry_dlq_messages": [v2.retry_dlq_messages(["1-0", "2-0"])],
    }


def _of_settings() -> dict[str, list[Operation[Any]]]:
    endpoints = ["https://a", {"url": "https://b", "name": "b"}]
    return {
        "create_schedule": [
            settings.create_schedule(order(), "0 4 * * *"),
            settings.create_schedule(order("x", delay=5, **FULL), "CRON_TZ=Europe/Zurich 0 4 * * *", "n"),
            settings.create_schedule(order("x", queue="q"), "0 4 * * *"),
        ],
        "upsert_queue": [settings.upsert_queue("q", 3), settings.upsert_queue("q", 3, paused=True)],
        "list_flow_control": [settings.list_flow_control(), settings.list_flow_control("user")],
        "pin_flow_control": [
            settings.pin_flow_control("user:1", parallelism=3),
            settings.pin_flow_control("a/b", rate=5, period=60),
        ],
        "unpin_flow_control": [settings.unpin_flow_control("user:1")],
        "reset_flow_control_rate": [settings.reset_flow_control_rate("user:1")],
        "signing_keys": [settings.signing_keys()],
        "get_global_parallelism": [settings.get_global_parallelism()],
        "change_endpoints": [
            settings.change_endpoints(method, "g", endpoints) for method in ("POST", "DELETE")
        ],
    }


def _of_resource(resource: settings.NamedResource[Any]) -> dict[str, list[Operation[Any]]]:
    """Return every operation on a resource: all public methods but ``all`` take its name."""
    methods = [name for name, _ in inspect.getmembers(resource, inspect.ismethod) if name[0] != "_"]
    # act() is what the others are made of.
    return {
        name: [getattr(resource, name)(*(() if name == "all" else ("name",)))]
        for name in methods
        if name != "act"
    }


MODULES: dict[str, tuple[ModuleType, dict[str, list[Operation[Any]]]]] = {
    "messages": (v2, _of_messages()),
    "settings": (settings, _of_settings()),
}
#: Functions that build no call.
HELPERS: set[str] = set()
RESOURCES = {
    "schedules": _of_resource(settings.SCHEDULES),
    "queues": _of_resource(settings.QUEUES),
    "url_groups": _of_resource(settings.URL_GROUPS),
    "flow_control": {
        name: found for name, found in _of_resource(settings.FLOW_CONTROL).items() if name != "delete"
    },
}
BUILT = {**{module: built for module, (_, built) in MODULES.items()}, **RESOURCES}
CALLS = [
    pytest.param(operation, id=f"{group}-{name}-{number}")
    for group, built in BUILT.items()
    for name, found in built.items()
    for number, operation in enumerate(found)
]


class TestEveryRequest:
    @pytest.mark.parametrize("operation", CALLS)
    def test_request_is_as_published_or_known_to_differ(self, operation: Operation[Any]) -> None:
        known = {what for config, what in BEYOND if config == operation.name}

        assert differences(operation.request) <= known

    @pytest.mark.parametrize("module", MODULES)
    def test_operations_are_all_tried_here(self, module: str) -> None:
        source, built = MODULES[module]
        public = {
            name
            for name, one in inspect.getmembers(source, inspect.isfunction)
            if one.__module__ == source.__name__ and not name.startswith("_")
        }

        assert set(built) == public - HELPERS

    @pytest.mark.parametrize("operation", CALLS)
    def test_operation_is_named_in_its_errors(self, operation: Operation[Any]) -> None:
        name, _ = published_operation(operation.request.method, operation.request.path)

        assert name.startswith(operation.name)

    def test_known_differences_are_all_sent(self) -> None:
        calls = [operation for built in BUILT.values() for found in built.values() for operation in found]

        assert {
            (operation.name, what) for operation in calls for what in differences(operation.request)
        } == set(BEYOND)

    @pytest.mark.parametrize("one", ["a/b", "ü", "a b", "a?b=c#d", "..a", "messages", "🙂"])
    def test_request_keeps_to_its_operation_with_any_id(self, one: str) -> None:
        for operation in (
            v2.cancel_message(one),
            v2.delete_dlq_message(one),
            v2.retry_dlq_message(one),
        ):
            assert published_operation(operation.request.method, operation.request.path)[0] == operation.name

    def test_batch_elements_carry_the_headers_of_a_publish(self) -> None:
        _, described = published_operation("POST", "/v2/publish/x")
        elements = json.loads(v2.publish_batch([order("x", delay=5, **FULL)]).request.content or b"")

        assert not set(_in_headers(described, list(elements[0]["headers"].items())))


class TestDifferences:
    """It can fail."""

    @pytest.mark.parametrize(
        ("request_", "difference"),
        [
            (Request("GET", "/v2/logs", query=(("message_ids", "a"),)), "message_ids"),
            (Request("GET", "/v2/logs", query=(("state", "DONE"),)), "state=DONE"),
            (Request("GET", "/v2/logs", query=(("count", "101"),)), "count=101"),
            (Request("GET", "/v2/logs", query=(("count", "many"),)), "count=many"),
            (Request("DELETE", "/v2/messages", query=(("state", "CREATED"),)), "state"),
            (Request("DELETE", "/v2/dlq", query=(("messageIds", "a"),)), "messageIds"),
            (Request("POST", "/v2/publish/x", headers=(("Upstash-Dealy", "5s"),)), "Upstash-Dealy"),
            (Request("POST", "/v2/publish/x", headers=(("Upstash-Retries", "x"),)), "Upstash-Retries=x"),
            (Request("POST", "/v2/publish/x", headers=(("Upstash-Method", "HEAD"),)), "Upstash-Method=HEAD"),
            (Request("POST", "/v2/enqueue/q/x", headers=(("Upstash-Delay", "5s"),)), "Upstash-Delay"),
            (Request("POST", "/v2/schedules/x"), "no Upstash-Cron"),
            (Request("POST", "/v2/batch"), "no body"),
            (Request("GET", "/v2/logs", json={}), "a body"),
        ],
        ids=str,
    )
    def test_differences_are_named(self, request_: Request, difference: str) -> None:
        assert difference in differences(request_)

    @pytest.mark.parametrize(
        "body", [[{"url": HOOK}], {"destination": HOOK}, [{"destination": HOOK, "que": "q"}]], ids=str
    )
    def test_differences_in_bodies_are_found(self, body: Any) -> None:
        assert any(one.startswith("body: ") for one in differences(Request("POST", "/v2/batch", json=body)))

    @pytest.mark.parametrize(("method", "path"), [("GET", "/v2/publish/x"), ("DELETE", "/v2/messages/")])
    def test_unpublished_operation_is_reported(self, method: str, path: str) -> None:
        with pytest.raises(AssertionError, match="there is no"):
            published_operation(method, path)
