"""Submit a task to the Manus agent, wait without a worker, and branch on the result.

The task is submitted once, however often Airflow retries. It is stopped when it costs more than
``max_credits``.

**Look at:** ``ask``, which is *deferred* while the agent works; its *Manus task* button; its XComs ``id``,
``state`` and ``return_value``. Then the log of ``publish`` has the answer, and ``explain`` is skipped.

Needs: the connection ``manus_default``.
"""

from __future__ import annotations

from typing import Any

# On Airflow 3 alone: from airflow.sdk import DAG, Param, task
from airflow.providers.common.compat.sdk import DAG, Param, task

from remote_tasks_provider.manus.operators import ManusTaskOperator

with DAG(
    dag_id="example_ask_and_branch",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["example", "manus"],
    params={"topic": Param("the weather on Mars", type="string", format="multiline")},
) as dag:
    # [START ask_and_branch]
    ask = ManusTaskOperator(
        task_id="ask",
        prompt="Summarise what is known about {{ params.topic }} in 100 words.",
        deferrable=True,
        poll_interval=30,
        timeout=2 * 60 * 60,
        max_credits=500,
        raise_on_failure=False,
        retries=2,
    )

    @task.branch
    def decide(result: dict[str, Any]) -> str:
        return "publish" if result["state"] == "completed" else "explain"

    # [END ask_and_branch]

    @task
    def publish(result: dict[str, Any]) -> None:
        print(f"{result['text']}\n({result['credit_usage']} credits, {result['url']})")

    @task
    def explain(result: dict[str, Any]) -> None:
        print(f"{result['title']} {result['state']}: {result['error']}")

    decide(ask.output) >> [publish(ask.output), explain(ask.output)]
