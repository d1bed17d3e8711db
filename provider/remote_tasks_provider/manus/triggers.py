"""Triggers of Manus waits. A deferred task stores this path: it must keep importing."""

from __future__ import annotations

from remote_tasks_provider.bases.triggers import RemoteTaskTrigger
from remote_tasks_provider.manus.service import MANUS_TASK

__all__ = ["ManusTaskTrigger"]


class ManusTaskTrigger(RemoteTaskTrigger):
    """Waits for Manus tasks.

    :class:`~remote_tasks_provider.bases.triggers.RemoteTaskTrigger` has the parameters.
    """

    remote_task_type = MANUS_TASK
