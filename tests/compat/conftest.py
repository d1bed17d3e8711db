"""A sandbox with finished and unfinished tasks, and connections to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dev.airflow.connections import sandbox_connections
from remote_tasks_sandbox import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def server() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        manus, qstash = server.sandbox.manus, server.sandbox.qstash
        manus.add_task("done", [("completed", None)], "A finished task")
        manus.add_task("broken", [("failed", None)], "A failed task", error="The page was gone.")
        manus.add_task("endless", [("running", None)], "A task without an end")
        qstash.add_task("tsk_done", "msg_1", [("delivered", None)])
        qstash.add_task("tsk_broken", "msg_1", [("failed", None)], error="HTTP status 500")
        yield server


@pytest.fixture(autouse=True)
def airflow_connections(server: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    found = sandbox_connections(server)
    for name, value in found.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", value)
    return found
