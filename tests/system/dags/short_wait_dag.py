"""A wait that is soon over; see tests/system/test_short_deferrals.py."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

from remote_tasks_provider.manus.sensors import ManusTaskSensor

with DAG("short_wait", schedule=None, catchup=False):
    # Several, as it is a race.
    for number in range(4):
        ManusTaskSensor(
            task_id=f"wait_{number}",
            remote_task_id=f"short-{number}",
            deferrable=True,
            poke_interval=1,
            timeout=300,
        )
