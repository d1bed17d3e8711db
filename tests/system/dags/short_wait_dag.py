"""A wait that is soon over; see tests/system/test_short_deferrals.py."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

from remote_tasks_provider.manus.sensors import ManusTaskSensor

with DAG("short_wait", schedule=None, catchup=False):
    ManusTaskSensor(
        task_id="wait",
        remote_task_id="{{ dag_run.conf['remote_task_id'] }}",
        deferrable=True,
        poke_interval=1,
        timeout=300,
    )
