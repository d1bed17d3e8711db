"""A thousand waits in twenty DAGs; see tests/production."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG
from airflow.sdk import get_parsing_context

from remote_tasks_provider.manus.sensors import ManusTaskSensor

# A process that runs a task makes its DAG alone: a thousand sensors take it longer than Airflow allows.
WANTED = get_parsing_context().dag_id

for number in range(20):
    if WANTED in (None, f"many_{number}"):
        with DAG(f"many_{number}", schedule=None, catchup=False):
            for one in range(50):
                ManusTaskSensor(
                    task_id=f"wait_{one}",
                    remote_task_id=f"many-{number}-{one}",
                    manus_conn_id="{{ dag_run.conf['conn_id'] }}",
                    deferrable=True,
                    start_from_trigger=True,
                    poke_interval=5,
                    timeout=3600,
                    retries=2,
                    retry_delay=timedelta(seconds=1),
                )
