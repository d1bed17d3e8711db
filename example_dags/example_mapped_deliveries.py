"""Wait for each delivery of a QStash message with its own deferred sensor, by dynamic task mapping.

**Look at:** the three instances of ``wait`` [3]; the XCom of ``report``, with the outcome of each delivery.

Needs: the connection ``qstash_default``, and a message (the sandbox has ``msg_demo``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# On Airflow 3 alone: from airflow.sdk import DAG, Param, task
from airflow.providers.common.compat.sdk import DAG, Param, task

from remote_tasks_provider.qstash.operators import QStashListMessageTasksOperator
from remote_tasks_provider.qstash.sensors import QStashTaskSensor

with DAG(
    dag_id="example_mapped_deliveries",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["example", "qstash"],
    params={"message": Param("msg_demo", type="string")},
) as dag:
    # [START mapped]
    deliveries = QStashListMessageTasksOperator(task_id="deliveries", message_id="{{ params.message }}")

    @task
    def ids(found: list[dict[str, Any]]) -> list[str]:
        return [delivery["task_id"] for delivery in found]

    wait = QStashTaskSensor.partial(
        task_id="wait",
        deferrable=True,
        raise_on_failure=False,
        poke_interval=30,
        timeout=2 * 60 * 60,
        retries=2,
    ).expand(remote_task_id=ids(deliveries.output))
    # [END mapped]

    @task
    def report(outcomes: Iterable[dict[str, Any]]) -> dict[str, str]:
        return {outcome["id"]: outcome["state"] for outcome in outcomes}

    report(wait.output)
