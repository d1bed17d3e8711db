"""Every answer of the sandbox to a call of the provider is one that its vendor has published.

Where the vendor's service is known to answer differently from what it publishes, the sandbox does so too; the
exceptions stand here, one by one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from remote_tasks_provider.core.http.connection import ConnectionConfig, ConnectionFields
from remote_tasks_provider.core.http.operation import Request
from remote_tasks_provider.core.http.transport import RequestsTransport
from remote_tasks_provider.manus.api import v1, v2
from remote_tasks_provider.manus.api.filters import task_filter
from remote_tasks_provider.manus.api.options import TaskOptions
from remote_tasks_provider.manus.service import MANUS
from remote_tasks_sandbox import Sandbox, SandboxServer
from tests.conftest import MANUS_KEY
from tests.contract.manus_operations import SPECS, Ids, calls
from tests.specs.published import published

#: 64-bit integers come as strings in v1: printed answers in Manus's own API workshop, November 2025.
STRINGS = [(name, "type") for name in ("created_at", "updated_at")]
#: Times of a file come as Unix seconds in a string there, not as ISO 8601: the same answers.
UNIX = [(name, "format") for name in ("created_at", "upload_expires_at")]
OBSERVED: dict[tuple[str, str], set[tuple[str, str]]] = {
    ("GET", "/v1/tasks/{task_id}"): set(STRINGS),
    ("GET", "/v1/tasks"): {(f"data.*.{name}", why) for name, why in STRINGS},
    ("POST", "/v1/projects"): {("created_at", "type")},
    ("GET", "/v1/projects"): {("data.*.created_at", "type")},
    ("POST", "/v1/files"): set(UNIX),
    ("GET", "/v1/files/{file_id}"): {("created_at", "format")},
}


@pytest.fixture
def ids(sandbox: Sandbox) -> Ids:
    """An account with one of each thing."""
    manus = sandbox.manus
    project = manus.add_project("Sums")
    upload = manus.uploads.open("a.csv")
    upload.content = b"1,2"
    manus.add_task("t3", ["completed"], project_id=project, files=["a.md"], credit_usage=3)
    manus.add_task("t2", [("waiting", None)], waiting={"type": "gmailSendAction", "event_id": "evt_1"})
    facts = {"prompt": "2+2?", "answer": "4", "credit_usage": 22, "website": True}
    manus.add_task("t1", ["completed"], project_id=project, **facts)
    return Ids(file=upload.id, project=project)


class Account:
    """Sends requests over a real socket and tells what of the answers is not as published."""

    def __init__(self, server: SandboxServer) -> None:
        self._transports = {
            version: RequestsTransport(_config(server.manus_url, version)) for version in SPECS
        }

    def faults(self, version: str, request: Request, status: int = 200) -> set[tuple[str, str]]:
        answer = self._transports[version].send(request)
        assert answer.status == status, answer.body
        spec = published(SPECS[version][1])
        return set(spec.faults(request.method, request.path, status, json.loads(answer.body)))

    def send(self, version: str, operation: Any) -> Any:
        return operation.parse(self._transports[version].send(operation.request))

    def close(self) -> None:
        for transport in self._transports.values():
            transport.close()


def _config(url: str, version: str) -> ConnectionConfig:
    extra = {"api_version": version, "read_timeout": 5}
    return MANUS.config(ConnectionFields("my_conn", host=url, password=MANUS_KEY, extra=extra))


@pytest.fixture
def account(server: SandboxServer) -> Iterator[Account]:
    found = Account(server)
    yield found
    found.close()


@pytest.mark.parametrize(
    ("version", "name"), [(version, name) for version in SPECS for name, _ in calls(version)]
)
def test_answer_is_as_published_except_for_observed_differences(
    version: str, name: str, account: Account, ids: Ids
) -> None:
    operation = dict(calls(version, ids))[name]
    method, path = operation.name.split(" ")[:2]

    faults = account.faults(version, operation.request)
    assert faults <= OBSERVED.get((method, path), set())
    assert account.send(version, v1.get_task("t3") if version == "v1" else v2.get_task("t3"))


def test_observed_differences_are_shown_by_the_sandbox(account: Account, ids: Ids) -> None:
    seen: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for _, operation in calls("v1", ids):
        method, path = operation.name.split(" ")
        seen.setdefault((method, path), set()).update(account.faults("v1", operation.request))

    assert {key: found for key, found in seen.items() if found} == OBSERVED


@pytest.mark.parametrize(
    "facts",
    [
        {"script": [("running", None)]},
        {"script": [("pending", None)], "question": "Which day?"},
        {"script": [("waiting", None)], "waiting": {"type": "deployAction", "event_id": "e"}},
        {"script": ["failed"], "error": "No idea."},
        {"script": ["completed"], "structured": {"success": False}, "files": ["a.png", "b.pdf"]},
        {"script": ["completed"], "stopped_by_user": True},
        {"script": ["completed"], "background_jobs": 60.0, "progress": ["Reading."]},
    ],
    ids=str,
)
def test_task_states_are_as_published(
    facts: dict[str, Any], account: Account, ids: Ids, sandbox: Sandbox
) -> None:
    sandbox.manus.add_task("t9", **facts)

    assert account.faults("v1", v1.get_task("t9").request) == set(STRINGS)
    assert account.faults("v2", v2.get_task("t9").request) == set()
    for order in ("asc", "desc"):
        assert account.faults("v2", v2.list_messages("t9", order=order).request) == set()
    assert account.faults("v2", v2.list_tasks(task_filter()).request) == set()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (v2.get_task("missing").request, 404),
        (v2.list_messages("missing").request, 404),
        (v2.stop_task("missing").request, 404),
        (v2.get_file("missing").request, 404),
        (v2.create_task(TaskOptions("x", project_id="missing")).request, 404),
        (v2.confirm_action("t1", "evt_9", {}).request, 400),
        (Request("GET", "/v2/task.list", query=(("limit", "0"),)), 400),
        (Request("POST", "/v2/task.create", json={}), 400),
    ],
    ids=str,
)
def test_refusal_is_as_published(request_: Request, status: int, account: Account, ids: Ids) -> None:
    assert account.faults("v2", request_, status) == set()


def test_refusal_of_a_file_is_as_published_with_v1(account: Account, ids: Ids) -> None:
    assert account.faults("v1", v1.get_file("missing").request, 404) == set()


@pytest.mark.parametrize("name", [name for name, _ in calls("v2")])
def test_answers_without_empty_fields_are_read(
    name: str, account: Account, ids: Ids, sandbox: Sandbox
) -> None:
    """As v1 writes them: integers as strings, and nothing that is empty, zero or false."""
    sandbox.settings.update({"manus_v2_as_proto3": True})

    account.send("v2", dict(calls("v2", ids))[name])


def test_empty_account_without_empty_fields_is_read(account: Account, sandbox: Sandbox) -> None:
    sandbox.settings.update({"manus_v2_as_proto3": True, "manus_credits": 0})

    assert account.send("v2", v2.list_tasks(task_filter())).items == []
    assert account.send("v2", v2.list_projects()) == []
    assert account.send("v2", v2.available_credits()) == 0
