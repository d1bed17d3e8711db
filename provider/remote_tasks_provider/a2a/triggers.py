"""Triggers of A2A waits. A deferred task stores these paths: they must keep importing."""

from __future__ import annotations

from remote_tasks_provider.a2a.service import A2A_TASK
from remote_tasks_provider.bases.triggers import RemoteTaskTrigger

__all__ = ["A2ATaskTrigger"]


class A2ATaskTrigger(RemoteTaskTrigger):
    """Waits for the tasks of an A2A agent.

    :class:`~remote_tasks_provider.bases.triggers.RemoteTaskTrigger` has the parameters.
    """

    remote_task_type = A2A_TASK
