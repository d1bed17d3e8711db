"""Wait for a Manus task and branch in one operator, which uses no worker while it waits.

**Look at:** ``decide``, which is *deferred* until the task has failed. Then ``explain`` runs, and the two
other branches are skipped. With ``manus_task`` set to ``demo-asks``, ``ask_a_colleague`` runs.

Needs: the connection ``manus_default``, and a task to wait for (the sandbox has ``demo-fails``).
"""

from __future__ import annotations

from typing import Any

# On Airflow 3 alone: from airflow.sdk import DAG, Param, task
from airflow.providers.common.compat.sdk import DAG, Param, task

from remote_tasks_provider.manus.operators import ManusTaskBranchOperator

with DAG(
    dag_id="example_branch_operator",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["example", "manus"],
    params={"manus_task": Param("demo-fails", type="string")},
) as dag:
    # [START branch_operator]
    decide = ManusTaskBranchOperator(
        task_id="decide",
        remote_task_id="{{ params.manus_task }}",
        completed="publish",
        failed="explain",
        waiting="ask_a_colleague",
        deferrable=True,
        poll_interval=30,
        retries=2,
        timeout=2 * 60 * 60,
    )
    # [END branch_operator]

    @task
    def publish() -> None:
        print("The agent has finished.")

    # The branch operator pushes the task's record to XCom, under the key remote_task.
    @task
    def explain(record: dict[str, Any]) -> None:
        print(f"The agent failed: {record['error']}")

    @task
    def ask_a_colleague(record: dict[str, Any]) -> None:
        print(f"The agent waits for an answer at {record['url']}")

    record = decide.output["remote_task"]
    decide >> [publish(), explain(record), ask_a_colleague(record)]
