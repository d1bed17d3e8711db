"""Every request that the provider can build is one that its vendor has published."""

from __future__ import annotations

import inspect
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from remote_tasks_provider.core.http.connection import ConnectionFields
from remote_tasks_provider.core.http.operation import Operation, Request
from remote_tasks_provider.manus.api import v1, v2
from remote_tasks_provider.manus.service import MANUS
from tests.contract.manus_operations import SPECS, built_by, calls
from tests.specs.published import Refusal, published

OAUTH = {"Authorization": "Bearer token"}


def _headers(request: Request) -> dict[str, str]:
    name, value = MANUS.config(ConnectionFields("my_conn", password="sk-key")).auth_for(request)
    return {name: value}


def _check(version: str, request: Request, headers: dict[str, str] | None = None) -> None:
    published(SPECS[version][1]).check_request(request, _headers(request) if headers is None else headers)


def _public_functions(module: ModuleType) -> set[str]:
    return {
        name
        for name, one in inspect.getmembers(module, inspect.isfunction)
        if one.__module__ == module.__name__ and not name.startswith("_")
    }


CALLS = [
    pytest.param(version, operation, id=f"{version}-{name}")
    for version in SPECS
    for name, operation in calls(version)
]


class TestEveryRequest:
    @pytest.mark.parametrize(("version", "operation"), CALLS)
    def test_request_is_as_published(self, version: str, operation: Operation[Any]) -> None:
        _check(version, operation.request)

    @pytest.mark.parametrize("version", SPECS)
    def test_operations_are_all_tried_here(self, version: str) -> None:
        assert set(built_by(version)) == _public_functions(SPECS[version][0])

    @pytest.mark.parametrize(("version", "operation"), CALLS)
    def test_operation_is_named_in_its_errors(self, version: str, operation: Operation[Any]) -> None:
        method, path = operation.name.split(" ")[:2]

        assert method == operation.request.method
        assert published(SPECS[version][1]).operation(method, path)

    def test_oauth_token_replaces_the_key_with_v2(self) -> None:
        _check("v2", v2.get_task("t1").request, OAUTH)

    @pytest.mark.parametrize("version", SPECS)
    @pytest.mark.parametrize("task_id", ["a/b", "ü", "a b", "a?b=c#d", "..a", "🙂"])
    def test_request_keeps_to_its_operation_with_any_id(self, version: str, task_id: str) -> None:
        _check(version, SPECS[version][0].get_task(task_id).request)


CREATE_V1 = Request(
    "POST", "/v1/tasks", json={"prompt": "x", "agentProfile": "manus-1.6"}, key_header="API_KEY"
)
CREATE_V2 = Request("POST", "/v2/task.create", json={"message": {"content": "x"}})


def _with(request: Request, **fields: Any) -> Request:
    return replace(request, json=request.json | fields)


class TestValidator:
    @pytest.mark.parametrize(
        ("version", "request_"),
        [
            ("v1", Request("GET", "/v1/jobs")),
            ("v1", Request("PATCH", "/v1/tasks/t1")),
            ("v1", Request("GET", "/v1/tasks", query=(("limit", "many"),))),
            ("v1", Request("GET", "/v1/tasks", query=(("created_after", "1"),))),
            ("v1", Request("POST", "/v1/tasks", json={"prompt": "x"})),
            ("v1", Request("POST", "/v1/tasks")),
            ("v1", Request("DELETE", "/v1/tasks/t1", json={})),
            ("v1", _with(CREATE_V1, agentProfile="manus-9")),
            ("v1", _with(CREATE_V1, title="x")),
            ("v1", _with(CREATE_V1, prompt=5)),
            ("v1", _with(CREATE_V1, attachments=[{"file_id": "f1"}])),
            ("v1", _with(CREATE_V1, attachments=[{"file_id": "f1", "filename": "a", "mimeType": "b"}])),
            ("v2", Request("GET", "/v2/task.create")),
            ("v2", Request("GET", "/v2/task.show", query=(("task_id", "t1"),))),
            ("v2", Request("GET", "/v2/task.detail")),
            ("v2", Request("GET", "/v2/task.detail", query=(("id", "t1"), ("task_id", "t1")))),
            ("v2", Request("GET", "/v2/task.list", query=(("order", "up"),))),
            ("v2", Request("GET", "/v2/task.list", query=(("status", "running"),))),
            ("v2", Request("POST", "/v2/task.create", json={})),
            ("v2", _with(CREATE_V2, prompt="x")),
            ("v2", _with(CREATE_V2, share_visibility="friends")),
            ("v2", _with(CREATE_V2, interactive_mode="yes")),
            ("v2", _with(CREATE_V2, message={"content": "x", "conectors": []})),
            ("v2", _with(CREATE_V2, message={"content": [{"type": "text"}]})),
            ("v2", _with(CREATE_V2, message={"content": "x", "task_references": ["t"] * 21})),
        ],
        ids=str,
    )
    def test_validator_refuses_unpublished_requests(self, version: str, request_: Request) -> None:
        with pytest.raises(Refusal):
            _check(version, request_)

    @pytest.mark.parametrize(("version", "request_"), [("v1", CREATE_V1), ("v2", CREATE_V2)])
    def test_validator_accepts_published_requests(self, version: str, request_: Request) -> None:
        _check(version, request_)

    def test_validator_refuses_v1_without_its_key(self) -> None:
        with pytest.raises(Refusal):
            _check("v1", v1.get_task("t1").request, OAUTH)
