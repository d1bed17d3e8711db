"""Waits for tasks whose texts no database stores; see tests/system/test_postgresql.py."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

from remote_tasks_provider.manus.operators import ManusGetTaskOperator, ManusTaskOperator
from remote_tasks_provider.manus.sensors import ManusTaskSensor

with DAG("odd_text", schedule=None, catchup=False):
    ManusTaskSensor(
        task_id="fails_softly",
        remote_task_id="breaks",
        raise_on_failure=False,
        deferrable=True,
        poke_interval=3,
        timeout=300,
    )
    ManusTaskSensor(task_id="fails", remote_task_id="breaks", deferrable=True, poke_interval=3, timeout=300)
    ManusTaskSensor(
        task_id="no_worker",
        remote_task_id="breaks",
        deferrable=True,
        start_from_trigger=True,
        end_from_trigger=True,
        raise_on_failure=False,
        poke_interval=3,
        timeout=300,
    )
    ManusGetTaskOperator(task_id="reads", remote_task_id="breaks", include_output=True)
    ManusTaskOperator(
        task_id="asks",
        prompt="Ask",
        manus_conn_id="manus_v2",
        on_waiting="human",
        response_timeout=300,
        deferrable=True,
        # Airflow's scheduler may take a deferral that ends within some seconds for the end of the task.
        poll_interval=15,
        timeout=300,
    )
