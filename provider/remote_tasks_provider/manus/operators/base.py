"""What the operators share that do something with one task."""

from __future__ import annotations

from collections.abc import Sequence

from remote_tasks_provider.bases.requests import OneTaskOperator
from remote_tasks_provider.manus.connected import ManusConnected
from remote_tasks_provider.manus.links import ManusTaskLink

__all__ = ["ManusTaskRequest"]


class ManusTaskRequest(ManusConnected, OneTaskOperator):
    """An operator that does something with one task."""

    template_fields: Sequence[str] = ("remote_task_id", "manus_conn_id")
    operator_extra_links = (ManusTaskLink(),)
