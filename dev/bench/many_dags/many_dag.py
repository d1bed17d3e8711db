"""The same remote tasks awaited by as many sensors as there are tasks, and by one; no worker is used."""

from __future__ import annotations

import os

from airflow.providers.common.compat.sdk import DAG

from remote_tasks_provider.manus.sensors import ManusTaskSensor

WAITS = int(os.environ["BENCH_WAITS"])
HOW = {
    "manus_conn_id": "bench_manus",
    "poke_interval": float(os.environ["BENCH_INTERVAL"]),
    "timeout": 600,
    "deferrable": True,
    "start_from_trigger": True,
    "end_from_trigger": True,
}

with DAG("warm_up", schedule=None, catchup=False):
    ManusTaskSensor(task_id="wait", remote_task_id="warm_up-0", **HOW)

with DAG("many_sensors", schedule=None, catchup=False, max_active_tasks=WAITS) as many:
    for number in range(WAITS):
        ManusTaskSensor(task_id=f"wait_{number}", remote_task_id=f"many_sensors-{number}", **HOW)

with DAG("one_sensor", schedule=None, catchup=False) as one:
    ManusTaskSensor(task_id="wait", remote_task_id=[f"one_sensor-{number}" for number in range(WAITS)], **HOW)
