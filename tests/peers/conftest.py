"""The provider against A2A servers of other makers; run by ``make test-clients``, not by ``make test``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.execution_time import task_runner

from dev.a2a.peers import Agent
from remote_tasks_provider.a2a.hooks import A2AHook
from remote_tasks_provider.a2a.operators import A2ATaskOperator
from remote_tasks_sandbox import Sandbox
from tests.a2a.conftest import Wire
from tests.conftest import IMPATIENT
from tests.manus.airflow_task import AirflowTask, Desk


@pytest.fixture
def connect(set_connection: Callable[..., str]) -> Callable[..., Wire]:
    """Connect to an agent; extras choose the wire form."""

    def make(agent: Agent, **extras: Any) -> Wire:
        agent.control("reset")
        extra = {**IMPATIENT, **extras}
        return Wire(
            "", agent, A2AHook(set_connection("a2a_default", conn_type="a2a", host=agent.url, extra=extra))
        )

    return make


@pytest.fixture
def attempt(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Ask the agent in a task of Airflow; who is asked there gives the answers. Return the result."""

    def run(message: str, *answers: Any, **options: Any) -> Any:
        task = AirflowTask(sandbox)
        task.run_id = f"{task.id}"
        task.desk = Desk(*answers)
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", task.desk, raising=False)
        arguments = {"poll_interval": 0.2, "timeout": 60, "deferrable": True} | options
        return task.attempt(lambda: A2ATaskOperator(task_id="ask", message=message, **arguments))

    return run
