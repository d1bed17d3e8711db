"""The last row of the kill matrix: another Airflow on the same accounts, with the same DAG and run id."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dev.airflow.client import FINISHED, eventually
from dev.kills.matrix import Outcome
from dev.kills.scenarios import INTO_THE_WAIT, Scenario, dag_of

if TYPE_CHECKING:
    from dev.airflow.standalone import StandaloneAirflow
    from remote_tasks_sandbox import Sandbox

#: Seconds for each step, also on a busy machine.
WITHIN = 120.0


def run_second(airflow: StandaloneAirflow, sandbox: Sandbox, first: Scenario) -> Outcome | str:
    """Submit the task of the first Airflow's scenario again, end it there, and say what became of both.

    :param sandbox: the remote side, where the first Airflow's task is at work.
    """
    client, dag_id = airflow.client, dag_of(first.name)
    run_id = client.trigger(dag_id, run_id=first.deployment.runs[dag_id])

    def polled() -> bool | None:
        details = [one for one in sandbox.requests if one.path.endswith("task.detail")]
        return True if details else None

    def ended() -> bool | None:
        return True if client.task_instance(dag_id, run_id, first.name).state in FINISHED else None

    try:
        eventually(
            polled, within=WITHIN, what=f"{first.name} is polled in the second Airflow", give_up=lambda: None
        )
        time.sleep(INTO_THE_WAIT)
        client.mark(dag_id, run_id, first.name, "failed")
        eventually(ended, within=WITHIN, what=f"{first.name} is marked failed")
        eventually(lambda: first.is_stopped or None, within=WITHIN, what="the second remote task is stopped")
    except TimeoutError as error:
        log = client.log(dag_id, run_id, first.name)
        return f"{error}; remote tasks {first.remote_statuses}, messages {first.messages}\n{log}"
    if (first.remote_statuses, first.messages) == (["running", "stopped"], 2):
        return Outcome.OWN
    return f"remote tasks {first.remote_statuses}, messages {first.messages}"
