"""Short ways to make the core's values, with defaults that no test should depend on."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import Phase, settings

from remote_tasks_provider.core.errors import ApiError, InvalidRequestError
from remote_tasks_provider.core.http.connection import ConnectionConfig, ConnectionExtras
from remote_tasks_provider.core.http.operation import Idempotency, Operation, Page, Request, Response
from remote_tasks_provider.core.polling.policy import PollPolicy
from remote_tasks_provider.core.states import TaskSnapshot, TaskState

SECRET = "sk-very-secret-key-1234567890"
START = 1_763_501_439.0

# The same examples on every run, and no limit of time: the machines that run this are of all kinds.
BOUNDED = settings(
    derandomize=True,
    max_examples=200,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    deadline=None,
    database=None,
)


def a_config(base_url: str = "https://api.example.com", **extras: Any) -> ConnectionConfig:
    return ConnectionConfig(
        service="Example",
        conn_id="example_default",
        base_url=base_url,
        auth=("API_KEY", SECRET),
        secret=SECRET,
        extras=ConnectionExtras(**extras),
    )


def a_response(status: int = 200, body: Any = b"{}", **headers: str) -> Response:
    """A ``dict`` or ``list`` becomes JSON; ``retry_after="3"`` becomes the header ``retry-after``."""
    named = {"content-type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, named, raw)


def a_call(
    parse: Any = lambda response: response.body,
    idempotency: Idempotency = Idempotency.IDEMPOTENT,
    **request: Any,
) -> Operation:
    made = Request(**({"method": "GET", "path": "/v1/things/7"} | request))
    return Operation(
        name="GET /v1/things/{id}", request=made, expects="a thing", parse=parse, idempotency=idempotency
    )


def a_page(*items: Any, cursor: str | None = None) -> Page[Any]:
    return Page(items, cursor, a_call() if cursor is not None else None)


def an_api_error(kind: type[ApiError] = InvalidRequestError, status: int = 400, **facts: Any) -> ApiError:
    return kind(facts.pop("message", "no"), status_code=status, **facts)


def a_snapshot(state: TaskState | str = TaskState.RUNNING, task_id: str = "t1", **facts: Any) -> TaskSnapshot:
    known = TaskState(state)
    return TaskSnapshot(id=task_id, state=known, status=facts.pop("status", known.value), **facts)


def a_policy(**facts: Any) -> PollPolicy:
    return PollPolicy(**({"started_at": START, "poll_interval": 30.0} | facts))
