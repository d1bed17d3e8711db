"""A wait that is over before the scheduler has noticed the end of the process that began it.

The scheduler's executor is slowed, so it hears of that end only when the task is about to resume. Airflow
then takes it for the end of the task's second process, and fails the task: to see it, set the option to 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.airflow.connections import sandbox_connections
from dev.airflow.standalone import StandaloneAirflow
from remote_tasks_sandbox import SandboxServer

HERE = Path(__file__).parent
DAG_ID = "short_wait"
OPTION = "AIRFLOW__REMOTE_TASKS__SHORTEST_DEFERRAL"


@pytest.fixture(scope="module")
def airflow() -> Iterator[tuple[StandaloneAirflow, SandboxServer]]:
    with (
        SandboxServer() as server,
        StandaloneAirflow(
            HERE / "dags",
            connections=sandbox_connections(server),
            environment={"PYTHONPATH": str(HERE / "slow_executor")},
            config={OPTION: "10"},
        ) as found,
    ):
        found.client.wait_for_dag(DAG_ID)
        yield found, server


def state_after(airflow: StandaloneAirflow, server: SandboxServer, remote_task_id: str) -> str:
    """Let a remote task finish as soon as it is waited for; return the state of the Airflow task."""
    manus = server.sandbox.manus
    manus.add_task(remote_task_id, [("running", None)])
    run_id = airflow.client.trigger(DAG_ID, conf={"remote_task_id": remote_task_id})
    airflow.client.wait_for_task(DAG_ID, run_id, "wait", ["deferred"], within=60)
    manus.set_script(remote_task_id, [("completed", None)])
    airflow.client.wait_for_run(DAG_ID, run_id, within=120)
    return airflow.client.task_instance(DAG_ID, run_id, "wait").state


def test_deferral_that_is_kept_long_enough_does_not_lose_to_the_scheduler(airflow: Any) -> None:
    found, server = airflow

    assert state_after(found, server, "kept") == "success"
