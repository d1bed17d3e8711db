"""Our waits for `make bench`: in the triggerer, begun and ended by workers."""

from __future__ import annotations

import os

from airflow.providers.common.compat.sdk import DAG

from remote_tasks_provider.manus.sensors import ManusTaskSensor

WAITS = int(os.environ["BENCH_WAITS"])


def wait(number: int) -> None:
    """Add one wait to the current DAG."""
    ManusTaskSensor(
        task_id=f"wait_{number}",
        remote_task_id=f"ours-{number}",
        manus_conn_id="bench_manus",
        poke_interval=float(os.environ["BENCH_INTERVAL"]),
        timeout=600,
        deferrable=True,
    )


with DAG("bench_ours", schedule=None, catchup=False, max_active_tasks=WAITS) as dag:
    for number in range(1, WAITS + 1):
        wait(number)

with DAG("bench_ours_warm_up", schedule=None, catchup=False) as dag:
    wait(0)
