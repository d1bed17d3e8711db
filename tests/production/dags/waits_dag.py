"""Waits for tasks that are there already, and for an agent; see tests/production."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from remote_tasks_provider.a2a.operators import A2ATaskOperator
from remote_tasks_provider.manus.sensors import ManusTaskSensor
from remote_tasks_provider.qstash.sensors import QStashMessageSensor

AGAIN = {"retries": 2, "retry_delay": timedelta(seconds=1)}
WAIT: dict[str, Any] = {"deferrable": True, "poke_interval": 5, "timeout": 3600, **AGAIN}
MANUS = {"manus_conn_id": "{{ dag_run.conf['conn_id'] }}"}
# Not `end_from_trigger`: Airflow refuses a DAG with it where a listener is installed, such as OpenLineage's.
FROM_TRIGGER = {"start_from_trigger": True}


@task(**AGAIN)
def ids(**context: Any) -> list[str]:
    conf = context["dag_run"].conf
    return [f"{conf['name']}-{number}" for number in range(conf["count"])]


with DAG("mapped_waits", schedule=None, catchup=False):
    ManusTaskSensor.partial(task_id="ask", **WAIT, **MANUS).expand(remote_task_id=ids())

with DAG("mixed", schedule=None, catchup=False):
    for one in range(10):
        ManusTaskSensor(
            task_id=f"v2_{one}",
            remote_task_id=f"mixed-{one}",
            **WAIT,
            **FROM_TRIGGER,
            manus_conn_id="{{ dag_run.conf['conn_id'] }}",
        )
        ManusTaskSensor(
            task_id=f"v1_{one}",
            remote_task_id=f"mixed-{one}",
            **WAIT,
            **FROM_TRIGGER,
            manus_conn_id="{{ dag_run.conf['v1_conn_id'] }}",
        )
        QStashMessageSensor(
            task_id=f"qstash_{one}",
            message_id=f"msg_mixed_{one}",
            **WAIT,
            **FROM_TRIGGER,
            qstash_conn_id="{{ dag_run.conf['qstash_conn_id'] }}",
        )
    A2ATaskOperator.partial(
        task_id="a2a",
        deferrable=True,
        poll_interval=5,
        a2a_conn_id="{{ dag_run.conf['agent_conn_id'] }}",
        **AGAIN,
    ).expand(message=[f"work 60; say {{{{ dag_run.conf['name'] }}}} {one}" for one in range(10)])
