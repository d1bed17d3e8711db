"""Waits of every kind, for the test of a real Airflow; see tests/system/test_waits.py."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

from remote_tasks_provider.manus.sensors import ManusTaskSensor
from remote_tasks_provider.qstash.sensors import QStashTaskSensor

with DAG("waits", schedule=None, catchup=False):
    ManusTaskSensor(task_id="ends", remote_task_id="ends", deferrable=True, poke_interval=3, timeout=300)
    ManusTaskSensor(task_id="endless", remote_task_id="endless", deferrable=True, poke_interval=3, timeout=45)
    ManusTaskSensor(
        task_id="skipped",
        remote_task_id="endless",
        deferrable=True,
        poke_interval=3,
        timeout=20,
        soft_fail=True,
    )
    # Not after 5 s: Airflow 3.3.2's scheduler then takes, now and then, the end of the first process for that
    # of the second, and fails the sensor, whichever it is (PythonSensor too).
    ManusTaskSensor(
        task_id="rescheduled", remote_task_id="ends", mode="reschedule", poke_interval=20, timeout=300
    )
    ManusTaskSensor.partial(task_id="mapped", deferrable=True, poke_interval=3, timeout=300).expand(
        remote_task_id=["ends", "done"]
    )
    ManusTaskSensor(
        task_id="several", remote_task_id=["done", "ends"], deferrable=True, poke_interval=3, timeout=300
    )
    ManusTaskSensor(
        task_id="wrong_key",
        remote_task_id="ends",
        manus_conn_id="manus_wrong_key",
        deferrable=True,
        retries=3,
    )
    ManusTaskSensor(
        task_id="no_worker",
        remote_task_id="{{ 'by_' ~ 'itself' }}",
        deferrable=True,
        start_from_trigger=True,
        end_from_trigger=True,
        poke_interval=3,
        timeout=300,
    )
    ManusTaskSensor(
        task_id="no_worker_fails",
        remote_task_id="breaks",
        deferrable=True,
        start_from_trigger=True,
        end_from_trigger=True,
        poke_interval=3,
        timeout=300,
    )
    ManusTaskSensor(
        task_id="no_worker_fails_for_good",
        remote_task_id="breaks",
        deferrable=True,
        start_from_trigger=True,
        end_from_trigger=True,
        retries=3,
        poke_interval=3,
        timeout=300,
    )
    QStashTaskSensor(task_id="delivery", remote_task_id="tsk", deferrable=True, poke_interval=3, timeout=300)
