"""Ask an agent that speaks A2A, answer what it asks, branch on the outcome, and collect its files.

The agent is asked once, however often Airflow retries. When it wants to know something, the question appears
under *Required Actions* in Airflow's UI, and a person's answer continues the task.

**Look at:** ``ask``, which is *deferred* while the agent works, and the badge *Required Action* of the run,
half a minute after you press *Trigger*. Write an answer. Another half minute later ``collect`` has saved the
agent's file, the log of ``publish`` has its path, and ``explain`` is skipped.

Needs: Airflow 3.1.3 or newer; the connection ``a2a_default``.
"""

from __future__ import annotations

from typing import Any

# On Airflow 3 alone: from airflow.sdk import DAG, Param, task
from airflow.providers.common.compat.sdk import DAG, Param, task

from remote_tasks_provider.a2a.operators import A2ADownloadArtifactsOperator, A2ATaskOperator

with DAG(
    dag_id="example_ask_an_a2a_agent",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["example", "a2a"],
    params={
        "wish": Param(
            "Write a short guide to Bern. Ask me who it is for.", type="string", format="multiline"
        ),
        "folder": Param("file:///tmp/a2a", type="string"),
    },
) as dag:
    # [START ask_an_a2a_agent]
    ask = A2ATaskOperator(
        task_id="ask",
        message="{{ params.wish }}",
        on_waiting="human",
        response_timeout=24 * 60 * 60,
        deferrable=True,
        poll_interval=30,
        timeout=2 * 60 * 60,
        raise_on_failure=False,
        retries=2,
    )

    @task.branch
    def decide(result: dict[str, Any]) -> str:
        return "collect" if result["state"] == "completed" else "explain"

    collect = A2ADownloadArtifactsOperator(
        task_id="collect",
        remote_task_id="{{ ti.xcom_pull(task_ids='ask', key='id') }}",
        output_path="{{ params.folder }}/{{ run_id }}",
        retries=2,
    )
    # [END ask_an_a2a_agent]

    @task
    def publish(result: dict[str, Any], saved: list[dict[str, Any]]) -> None:
        print(f"{result['text']} {[file['path'] for file in saved]}")

    @task
    def explain(result: dict[str, Any]) -> None:
        print(f"The agent's task {result['id']} is {result['state']}: {result['error']}")

    decide(ask.output) >> [collect, explain(ask.output)]
    publish(ask.output, collect.output)
