"""Both vendors and both transports as parameters, so that each test here runs for all four pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pytest

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
from tests.core.connections import Over

PATIENT = {"connect_timeout": 2, "read_timeout": 5, "max_attempts": 3}


@dataclass
class Vendor:
    """A vendor whose sandbox holds the task ``t1``, completed.

    :param auth_header: the one header that carries the key.
    """

    name: Literal["manus", "qstash"]
    task_type: TaskType
    get_task: Callable[[str], Operation[Any]]
    snapshot: Callable[[Any], TaskSnapshot]
    url: str
    key: str
    auth_header: str
    sandbox: Sandbox

    @property
    def get(self) -> Operation[Any]:
        """Ask for the one task."""
        return self.get_task("t1")

    @property
    def list(self) -> Operation[Any]:
        """Ask for the first page of what holds the task."""
        if self.name == "manus":
            return manus_v1.list_tasks(task_filter(page_size=2))
        return qstash_v1.list_message_tasks("msg_1")

    def config(self, url: str | None = None, key: str | None = None, **extras: Any) -> ConnectionConfig:
        """Make a connection's endpoint; to the sandbox unless told otherwise."""
        fields = ConnectionFields(
            "my_conn", host=url or self.url, password=key or self.key, extra=PATIENT | extras
        )
        return self.task_type.service.config(fields)

    def tells(self, task: Any) -> bool:
        """Whether this is the one task."""
        found = self.snapshot(task)
        return (found.id, found.state) == ("t1", "completed")

    def add_task(self, task_id: str) -> None:
        """Add another completed task beside the one."""
        getattr(self.sandbox, self.name).add_task(task_id, script=["completed"])


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
    )


@pytest.fixture(params=["manus", "qstash"])
def vendor(request: pytest.FixtureRequest, server: SandboxServer, sandbox: Sandbox) -> Vendor:
    found = _vendor(request.param, server, sandbox)
    found.add_task("t1")
    return found


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
