"""Wait for a Manus task, and branch on its outcome with ``@task.branch``.

With ``raise_on_failure=False`` the sensor succeeds whatever the outcome, and XCom has it for the branch.

**Look at:** ``wait``, which is *deferred* until the task has finished; then ``publish`` runs and ``explain``
is skipped. With ``manus_task`` set to ``demo-fails``, it is the other way round.

Needs: the connection ``manus_default``, and a task to wait for (the sandbox has ``demo-completes``).
"""

from __future__ import annotations

from typing import Any

# On Airflow 3 alone: from airflow.sdk import DAG, Param, task
from airflow.providers.common.compat.sdk import DAG, Param, task

from remote_tasks_provider.manus.sensors import ManusTaskSensor

with DAG(
    dag_id="example_wait_and_branch",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["example", "manus"],
    params={"manus_task": Param("demo-completes", type="string")},
) as dag:
    # [START wait_and_branch]
    wait = ManusTaskSensor(
        task_id="wait",
        remote_task_id="{{ params.manus_task }}",
        deferrable=True,
        raise_on_failure=False,
        poke_interval=30,
        retries=2,
        timeout=2 * 60 * 60,
    )

    @task.branch
    def decide(outcome: dict[str, Any]) -> str:
        return "publish" if outcome["state"] == "completed" else "explain"

    # [END wait_and_branch]

    @task
    def publish(outcome: dict[str, Any]) -> None:
        print(f"{outcome['title']} has finished: {outcome['url']}")

    @task
    def explain(outcome: dict[str, Any]) -> None:
        print(f"{outcome['title']} {outcome['state']}: {outcome['error']}")

    decide(wait.output) >> [publish(wait.output), explain(wait.output)]
