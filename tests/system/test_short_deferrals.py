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
#: Seconds: beyond those by which the executor is late, what a busy scheduler needs for a pass.
KEPT = "40"


@pytest.fixture(scope="module")
def airflow() -> Iterator[tuple[StandaloneAirflow, SandboxServer]]:
    with (
        SandboxServer() as server,
        StandaloneAirflow(
            HERE / "dags",
            connections=sandbox_connections(server),
            environment={"PYTHONPATH": str(HERE / "slow_executor")},
            config={OPTION: KEPT},
        ) as found,
    ):
        found.client.wait_for_dag(DAG_ID)
        yield found, server


def test_deferral_that_is_kept_long_enough_does_not_lose_to_the_scheduler(airflow: Any) -> None:
    """Each remote task finishes as soon as it is waited for."""
    found, server = airflow
    client, manus = found.client, server.sandbox.manus
    numbers = range(4)
    for number in numbers:
        manus.add_task(f"short-{number}", [("running", None)])

    run_id = client.trigger(DAG_ID)
    for number in numbers:
        client.wait_for_task(DAG_ID, run_id, f"wait_{number}", ["deferred"])
        manus.set_script(f"short-{number}", [("completed", None)])
    client.wait_for_run(DAG_ID, run_id, within=180)

    states = {one.task_id: one.state for one in client.task_instances(DAG_ID, run_id)}
    assert states == {f"wait_{number}": "success" for number in numbers}
