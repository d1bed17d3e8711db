"""Waits for a remote task in each mode that needs a scheduler, and branches on another one's outcome."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG, BaseOperator

from remote_tasks_provider.manus.operators import ManusTaskBranchOperator
from remote_tasks_provider.manus.sensors import ManusTaskSensor
from remote_tasks_provider.qstash.sensors import QStashTaskSensor


class Done(BaseOperator):
    """Does nothing; the empty operator lives elsewhere in every other version."""

    def execute(self, context: object) -> None:
        """Succeed."""


with DAG("compat", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
    wait = ManusTaskSensor(
        task_id="wait", remote_task_id="soon", deferrable=True, poke_interval=2, timeout=60
    )
    wait_qstash = QStashTaskSensor(
        task_id="wait_qstash", remote_task_id="tsk_soon", deferrable=True, poke_interval=2, timeout=60
    )
    branch = ManusTaskBranchOperator(
        task_id="branch",
        remote_task_id="{{ 'bro' ~ 'ken' }}",
        completed="celebrate",
        failed="apologise",
        deferrable=True,
        poll_interval=2,
    )
    wait >> wait_qstash >> branch >> [Done(task_id="celebrate"), Done(task_id="apologise")]
