"""The small agent of the conformance kit and the model answers as the official servers do."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
import requests

from remote_tasks_provider.core.http.operation import Request
from remote_tasks_sandbox.clock import Clock
from tests.a2a.conftest import Wire
from tests.conformance.agent import FakeAgent

_NEW = {"A2A-Version": "1.0"}

Ask = Callable[..., tuple[int, Any]]


def _fake(agent: FakeAgent) -> Ask:
    def ask(method: str, path: str, body: Any, headers: dict[str, str]) -> tuple[int, Any]:
        place, _, query = path.partition("?")
        pairs = tuple(
            (name, value) for name, _, value in (one.partition("=") for one in query.split("&") if one)
        )
        request = Request(method, place, pairs, body, headers=tuple(headers.items()))
        return agent.answer(request, "https://agent.example.com")

    return ask


def _real(wire: Wire) -> Ask:
    def ask(method: str, path: str, body: Any, headers: dict[str, str]) -> tuple[int, Any]:
        found = requests.request(method, f"{wire.agent.url}{path}", json=body, headers=headers, timeout=10)
        return found.status_code, found.json()

    return ask


def _rpc(ask: Ask, method: str, params: Any, headers: dict[str, str]) -> tuple[int, Any]:
    return ask("POST", "/rpc", {"jsonrpc": "2.0", "id": "1", "method": method, "params": params}, headers)


def _reasons(body: Any) -> list[str]:
    error = body.get("error") or {}
    found = error.get("details") or error.get("data") or []
    return [
        f"{error.get('code')}",
        *(one["reason"] for one in found if isinstance(one, dict) and "reason" in one),
    ]


def _shape(value: Any) -> Any:
    """Return the names and the words of an answer, without what is another in each."""
    if isinstance(value, dict):
        absent = (None, "", [], {})
        return {
            name: _shape(one)
            for name, one in value.items()
            if one not in absent
            and name not in ("messageId", "timestamp", "metadata", "artifacts", "message")
        }
    if isinstance(value, (list, tuple)):
        return [_shape(one) for one in value]
    # The real one gets to work meanwhile.
    form = r"^(task\d+|[0-9a-f-]{36}|TASK_STATE_SUBMITTED|TASK_STATE_WORKING|submitted|working)$"
    return re.sub(form, "", value) if isinstance(value, str) else value


def _history_1_0(ask: Ask, *, over_rest: bool) -> list[Any]:
    """Let a task begin, be read, listed and cancelled; and what is refused."""
    context_id = str(uuid4())
    message = {
        "messageId": "m",
        "role": "ROLE_USER",
        "parts": [{"text": "hold"}],
        "contextId": context_id,
    }
    params = {"message": message, "configuration": {"returnImmediately": True}}
    listing = {"contextId": context_id, "historyLength": 0, "pageSize": 100}
    if over_rest:
        query = "&".join(f"{name}={value}" for name, value in listing.items())
        begun = ask("POST", "/rest/message:send", params, _NEW)
        task_id = begun[1]["task"]["id"]
        return [
            _shape(begun),
            _shape(ask("GET", f"/rest/tasks?{query}", None, _NEW)),
            _shape(ask("POST", f"/rest/tasks/{task_id}:cancel", {}, _NEW)),
            [_shape(ask("GET", f"/rest/tasks/{task_id}?historyLength=0", None, _NEW))],
            _reasons(ask("POST", f"/rest/tasks/{task_id}:cancel", {}, _NEW)[1]),
            _reasons(ask("GET", "/rest/tasks/nobody", None, _NEW)[1]),
        ]
    begun = _rpc(ask, "SendMessage", params, _NEW)
    task_id = begun[1]["result"]["task"]["id"]
    return [
        _shape(begun),
        _shape(_rpc(ask, "ListTasks", listing, _NEW)),
        _shape(_rpc(ask, "CancelTask", {"id": task_id}, _NEW)),
        [_shape(_rpc(ask, "GetTask", {"id": task_id, "historyLength": 0}, _NEW))],
        _reasons(_rpc(ask, "CancelTask", {"id": task_id}, _NEW)[1]),
        _reasons(_rpc(ask, "GetTask", {"id": "nobody"}, _NEW)[1]),
        _reasons(_rpc(ask, "NoSuchMethod", {}, _NEW)[1]),
    ]


def _history_0_3(ask: Ask) -> list[Any]:
    part, context_id = {"kind": "text", "text": "hold"}, str(uuid4())
    message = {"kind": "message", "messageId": "m", "role": "user", "parts": [part], "contextId": context_id}
    begun = _rpc(ask, "message/send", {"message": message, "configuration": {"blocking": False}}, {})
    task_id = begun[1]["result"]["id"]
    return [
        {name: one for name, one in _shape(begun[1]["result"]).items() if name != "history"},
        _shape(_rpc(ask, "tasks/cancel", {"id": task_id}, {})[1]["result"]["status"]),
        _reasons(_rpc(ask, "tasks/cancel", {"id": task_id}, {})[1])[:1],
        _reasons(_rpc(ask, "tasks/get", {"id": "nobody"}, {})[1])[:1],
        _reasons(_rpc(ask, "tasks/list", {}, {})[1])[:1],
    ]


@pytest.fixture
def fake() -> Ask:
    return _fake(FakeAgent(Clock(), "https://agent.example.com"))


@pytest.mark.parametrize("over_rest", [True, False], ids=["REST", "JSON-RPC"])
def test_fake_agent_answers_as_the_server_of_1_0(rest: Wire, fake: Ask, over_rest: bool) -> None:
    assert _history_1_0(fake, over_rest=over_rest) == _history_1_0(_real(rest), over_rest=over_rest)


def test_fake_agent_answers_as_the_server_of_0_3(make_wire: Callable[..., Wire], fake: Ask) -> None:
    assert _history_0_3(fake) == _history_0_3(_real(make_wire("0.3")))
