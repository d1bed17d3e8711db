"""What every operator and sensor of Manus has: the connection."""

from __future__ import annotations

from typing import Any

from remote_tasks_provider.bases.arguments import CheckedOperator
from remote_tasks_provider.bases.waiting import WaitingOperator
from remote_tasks_provider.manus.hooks import ManusHook
from remote_tasks_provider.manus.service import MANUS_TASK
from remote_tasks_provider.manus.triggers import ManusTaskTrigger

__all__ = ["ManusConnected", "ManusTaskWait"]


class ManusConnected(CheckedOperator):
    """An operator or a sensor that uses a connection to Manus; to be named before any other base.

    :param manus_conn_id: the Airflow connection. Templated.
    """

    hook_class = ManusHook
    ui_color = "#e8e4f5"

    def __init__(self, *, manus_conn_id: str = ManusHook.default_conn_name, **kwargs: Any) -> None:
        # First: as soon as a sensor's own constructor is over, Airflow asks it how it begins.
        self.manus_conn_id = manus_conn_id
        super().__init__(**kwargs)


class ManusTaskWait(ManusConnected, WaitingOperator):
    """One that waits for Manus tasks."""

    remote_task_type = MANUS_TASK
    trigger_class = ManusTaskTrigger
