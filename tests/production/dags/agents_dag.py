"""Messages to an agent that speaks A2A, mapped over those of the run; see tests/production."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from remote_tasks_provider.a2a.operators import A2ATaskOperator

AGAIN = {"retries": 3, "retry_delay": timedelta(seconds=1)}


@task(**AGAIN)
def messages(**context: Any) -> list[str]:
    conf = context["dag_run"].conf
    return [f"hold; say {conf['name']} {number}" for number in range(conf["count"])]


with DAG("agents", schedule=None, catchup=False):
    A2ATaskOperator.partial(
        task_id="ask",
        a2a_conn_id="{{ dag_run.conf['conn_id'] }}",
        deferrable=True,
        poll_interval=2,
        **AGAIN,
    ).expand(message=messages())
