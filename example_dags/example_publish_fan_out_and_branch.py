"""Publish many QStash messages with one request, wait for all of them together, and branch on the outcome.

With ``raise_on_failure=False`` the sensor succeeds whatever the outcome, and XCom has it for the branch.

**Look at:** ``wait``, one task that waits for all messages; ``done``, which follows. Add
``https://example.com/gone`` to ``urls``, and ``explain`` follows instead: its log has the reason and the id
in the dead letter queue.

Needs: the connection ``qstash_default``, and URLs that QStash can reach.
"""

from __future__ import annotations

from typing import Any

# On Airflow 3 alone: from airflow.sdk import DAG, Param, task
from airflow.providers.common.compat.sdk import DAG, Param, task

from remote_tasks_provider.qstash.operators import QStashPublishBatchOperator
from remote_tasks_provider.qstash.sensors import QStashMessageSensor

with DAG(
    dag_id="example_publish_fan_out_and_branch",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["example", "qstash"],
    params={"urls": Param(["https://example.com/shops/1", "https://example.com/shops/2"], type="array")},
) as dag:

    @task
    def messages(params: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"destination": url, "body": {"action": "refresh"}, "retries": 1} for url in params["urls"]]

    # [START fan_out_and_branch]
    publish = QStashPublishBatchOperator(task_id="publish", messages=messages())

    @task
    def ids(published: list[dict[str, Any]]) -> list[str]:
        return [message["message_id"] for message in published]

    wait = QStashMessageSensor(
        task_id="wait",
        message_id=ids(publish.output),
        deferrable=True,
        raise_on_failure=False,
        poke_interval=30,
        retries=2,
        timeout=2 * 60 * 60,
    )

    @task.branch
    def decide(outcomes: list[dict[str, Any]]) -> str:
        return "done" if all(outcome["state"] == "completed" for outcome in outcomes) else "explain"

    # [END fan_out_and_branch]

    @task
    def done(outcomes: list[dict[str, Any]]) -> None:
        print(f"{len(outcomes)} messages were delivered.")

    @task
    def explain(outcomes: list[dict[str, Any]]) -> None:
        for outcome in outcomes:
            if outcome["state"] != "completed":
                print(f"{outcome['url']} {outcome['state']}: {outcome['error']} ({outcome['dlq_id']})")

    decide(wait.output) >> [done(wait.output), explain(wait.output)]
