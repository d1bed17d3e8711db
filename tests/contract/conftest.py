"""The vendors, an A2A agent over each wire form, and both transports as parameters of the tests here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest

from remote_tasks_provider.a2a import models as a2a_models
from remote_tasks_provider.a2a.api import operations as a2a_operations
from remote_tasks_provider.a2a.api.filters import TaskFilter
from remote_tasks_provider.a2a.api.interfaces import AGENTS, Agent, Interface
from remote_tasks_provider.a2a.models import A2AAgentCard
from remote_tasks_provider.a2a.service import A2A_TASK
from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.http.connection import ConnectionConfig, ConnectionFields
from remote_tasks_provider.core.http.operation import Operation
from remote_tasks_provider.core.service import TaskType
from remote_tasks_provider.core.states import TaskSnapshot
from remote_tasks_provider.manus import models as manus_models
from remote_tasks_provider.manus.api import v1 as manus_v1
from remote_tasks_provider.manus.api.filters import task_filter
from remote_tasks_provider.manus.service import MANUS_TASK
from remote_tasks_provider.qstash import models as qstash_models
from remote_tasks_provider.qstash.api import v1 as qstash_v1
from remote_tasks_provider.qstash.service import QSTASH_TASK
from remote_tasks_sandbox import Sandbox, SandboxServer
from tests.conftest import MANUS_KEY, QSTASH_TOKEN
from tests.contract.agents import TOKEN, AgentVendor
from tests.core.connections import Over

PATIENT = {"connect_timeout": 2, "read_timeout": 5, "max_attempts": 3}


_WIRES: dict[str, Interface] = {
    "A2A 1.0 REST": Interface("1.0", "rest", "/rest"),
    "A2A 1.0 JSON-RPC": Interface("1.0", "jsonrpc", "/rpc"),
    "A2A 0.3 JSON-RPC": Interface("0.3", "jsonrpc", "/rpc"),
}
LISTING = ("manus", "qstash", *(name for name, wire in _WIRES.items() if wire.version == "1.0"))
"""Those that can list tasks."""


@dataclass
class Vendor:
    """A vendor whose sandbox holds the task ``t1``, completed.

    :param auth_header: the one header that carries the key.
    :param asks: how messages name the operation that asks for the task.
    :param place: where that goes, below the vendor's URL.
    :param wire: how an agent is spoken to, its URL below the vendor's.
    """

    name: Literal["manus", "qstash", "a2a"]
    task_type: TaskType
    get_task: Callable[[str], Operation[Any]]
    snapshot: Callable[[Any], TaskSnapshot]
    url: str
    key: str
    auth_header: str
    sandbox: Sandbox
    asks: str = "GET /v1/tasks/{task_id}"
    place: str = "/v1/tasks/t1"
    wire: Interface | None = None

    @property
    def get(self) -> Operation[Any]:
        """Ask for the one task."""
        return self.get_task("t1")

    @property
    def list(self) -> Operation[Any]:
        """Ask for the first page of what holds the task."""
        if self.name == "manus":
            return manus_v1.list_tasks(task_filter(page_size=2))
        if self.name == "a2a":
            return a2a_operations.list_tasks(TaskFilter(page_size=2))
        return qstash_v1.list_message_tasks("msg_1")

    def config(self, url: str | None = None, key: str | None = None, **extras: Any) -> ConnectionConfig:
        """Make a connection's endpoint; to the sandbox unless told otherwise."""
        fields = ConnectionFields(
            "my_conn", host=url or self.url, password=key or self.key, extra=PATIENT | extras
        )
        found = self.task_type.service.config(fields)
        if self.wire is not None:
            # What a card and the first calls show is not what is tested here.
            interface = replace(self.wire, url=f"{found.base_url}{self.wire.url}")
            lists = interface.version == "1.0"
            AGENTS.note(found, Agent(A2AAgentCard(name="Agent"), interface, lists))
        return found

    def tells(self, task: Any) -> bool:
        """Whether this is the one task."""
        found = self.snapshot(task)
        return (found.id, found.state) == ("t1", "completed")

    def add_task(self, task_id: str) -> None:
        """Add another completed task beside the one."""
        getattr(self.sandbox, self.name).add_task(task_id, script=["completed"])


def _agent(wire: Interface, server: SandboxServer, sandbox: Sandbox) -> Vendor:
    is_rest = wire.binding == "rest"
    ask = "GET /tasks" if is_rest else "GetTask" if wire.version == "1.0" else "tasks/get"
    return Vendor(
        "a2a",
        A2A_TASK,
        a2a_operations.get_task,
        a2a_models.snapshot,
        server.a2a_url,
        TOKEN,
        "authorization",
        sandbox,
        f"{ask}{'/' if is_rest else ' '}{{task_id}}",
        "/rest/tasks/t1" if is_rest else "/rpc",
        wire,
    )


def _vendor(name: str, server: SandboxServer, sandbox: Sandbox) -> Vendor:
    if name == "manus":
        return Vendor(
            "manus",
            MANUS_TASK,
            manus_v1.get_task,
            manus_models.snapshot,
            server.manus_url,
            MANUS_KEY,
            "api_key",
            sandbox,
        )
    return Vendor(
        "qstash",
        QSTASH_TASK,
        qstash_v1.get_task,
        qstash_models.snapshot,
        server.qstash_url,
        QSTASH_TOKEN,
        "authorization",
        sandbox,
        "GET /v1/tasks/{taskId}",
    )


@pytest.fixture(params=["manus", "qstash", *_WIRES])
def vendor(request: pytest.FixtureRequest, server: SandboxServer, sandbox: Sandbox) -> Iterator[Vendor]:
    wire = _WIRES.get(request.param)
    if wire is not None:
        sandbox.vendors["a2a"] = agent = AgentVendor(sandbox)
        vars(sandbox)["a2a"] = agent.account
    found = _vendor(request.param, server, sandbox) if wire is None else _agent(wire, server, sandbox)
    found.add_task("t1")
    yield found
    if wire is not None:
        del sandbox.vendors["a2a"], sandbox.a2a


@pytest.fixture(params=["requests", "httpx"])
def over(request: pytest.FixtureRequest) -> Over:
    return Over(request.param)


@pytest.fixture
def on_both(sandbox: Sandbox) -> Callable[[Callable[[Over], Any]], Any]:
    """Do something over each transport; check that results and requests are equal; return the result."""

    def do(what: Callable[[Over], Any]) -> Any:
        results, asked = [], []
        for library in ("requests", "httpx"):
            before = len(sandbox.requests)
            try:
                results.append(what(Over(library)))  # type: ignore[arg-type]
            except RemoteTaskError as error:
                results.append((type(error), str(error)))
            records = sandbox.requests[before:]
            asked.append([(record.method, record.path, record.query, record.auth) for record in records])
        assert results[0] == results[1]
        assert asked[0] == asked[1]
        return results[0]

    return do
