"""Our waits for `make bench`: begun and ended in the triggerer, without any worker."""

from __future__ import annotations

import os

from airflow.providers.common.compat.sdk import DAG

from remote_tasks_provider.manus.sensors import ManusTaskSensor

WAITS = int(os.environ["BENCH_WAITS"])


def wait(number: int) -> None:
    """Add one wait to the current DAG."""
    ManusTaskSensor(
        task_id=f"wait_{number}",
        remote_task_id=f"ours_without_worker-{number}",
        manus_conn_id="bench_manus",
        poke_interval=float(os.environ["BENCH_INTERVAL"]),
        timeout=600,
        deferrable=True,
        start_from_trigger=True,
        end_from_trigger=True,
    )


with DAG("bench_ours_without_worker", schedule=None, catchup=False, max_active_tasks=WAITS) as dag:
    for number in range(1, WAITS + 1):
        wait(number)

with DAG("bench_ours_without_worker_warm_up", schedule=None, catchup=False) as dag:
    wait(0)
