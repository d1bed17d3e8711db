"""What A2A's operators share: the connection, and the task that most of them are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from remote_tasks_provider.a2a.hooks import A2AHook
from remote_tasks_provider.bases.requests import RequestOperator
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.validation import Check

__all__ = ["COLOR", "A2AOperator", "OneTaskOperator"]

COLOR = "#e3ecf7"


class A2AOperator(RequestOperator):
    """An operator that sends requests and does not wait for tasks.

    :param a2a_conn_id: the Airflow connection. Templated.
    """

    hook_class = A2AHook
    ui_color = COLOR

    def __init__(self, *, a2a_conn_id: str = A2AHook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.a2a_conn_id = a2a_conn_id


class OneTaskOperator(A2AOperator):
    """An operator that does something with one task.

    :param remote_task_id: the task's id. Templated.
    """

    template_fields: Sequence[str] = ("remote_task_id", "a2a_conn_id")
    checks: ClassVar[Mapping[str, Check]] = {"remote_task_id": validation.object_id}

    def __init__(self, *, remote_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.remote_task_id = remote_task_id
