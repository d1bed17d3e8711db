"""What every operator and sensor of A2A has: the connection."""

from __future__ import annotations

from typing import Any

from remote_tasks_provider.a2a.hooks import A2AHook
from remote_tasks_provider.a2a.service import A2A_TASK
from remote_tasks_provider.a2a.triggers import A2ATaskTrigger
from remote_tasks_provider.bases.arguments import CheckedOperator
from remote_tasks_provider.bases.waiting import WaitingOperator

__all__ = ["A2AConnected", "A2ATaskWait"]


class A2AConnected(CheckedOperator):
    """An operator or a sensor that uses a connection to an agent; to be named before any other base.

    :param a2a_conn_id: the Airflow connection. Templated.
    """

    hook_class = A2AHook
    ui_color = "#e3ecf7"

    def __init__(self, *, a2a_conn_id: str = A2AHook.default_conn_name, **kwargs: Any) -> None:
        # First: as soon as a sensor's own constructor is over, Airflow asks it how it begins.
        self.a2a_conn_id = a2a_conn_id
        super().__init__(**kwargs)


class A2ATaskWait(A2AConnected, WaitingOperator):
    """One that waits for A2A tasks."""

    remote_task_type = A2A_TASK
    trigger_class = A2ATaskTrigger
