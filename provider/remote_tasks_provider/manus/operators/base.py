"""What Manus's operators share: the connection, and the task that most of them are about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from remote_tasks_provider.bases.requests import OneTaskOperator, RequestOperator
from remote_tasks_provider.manus.hooks import ManusHook
from remote_tasks_provider.manus.links import ManusTaskLink

__all__ = ["COLOR", "ManusOperator", "ManusTaskRequest"]

COLOR = "#e8e4f5"


class ManusOperator(RequestOperator):
    """An operator that sends requests and does not wait for tasks.

    :param manus_conn_id: the Airflow connection. Templated.
    """

    hook_class = ManusHook
    ui_color = COLOR

    def __init__(self, *, manus_conn_id: str = ManusHook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.manus_conn_id = manus_conn_id


class ManusTaskRequest(ManusOperator, OneTaskOperator):
    """An operator that does something with one task."""

    template_fields: Sequence[str] = ("remote_task_id", "manus_conn_id")
    operator_extra_links = (ManusTaskLink(),)
