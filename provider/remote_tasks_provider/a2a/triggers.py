"""Triggers of A2A waits. A deferred task stores these paths: they must keep importing."""

from __future__ import annotations

from remote_tasks_provider.a2a.events import A2A_EVENTS
from remote_tasks_provider.a2a.service import A2A_TASK
from remote_tasks_provider.bases.event_triggers import RemoteEventTrigger
from remote_tasks_provider.bases.triggers import RemoteTaskTrigger

__all__ = ["A2ATaskEventTrigger", "A2ATaskTrigger"]


class A2ATaskTrigger(RemoteTaskTrigger):
    """Waits for the tasks of an A2A agent.

    :class:`~remote_tasks_provider.bases.triggers.RemoteTaskTrigger` has the parameters.
    """

    remote_task_type = A2A_TASK


class A2ATaskEventTrigger(RemoteEventTrigger):
    """Fires for each task of an A2A agent that has finished, whoever began it; for an ``AssetWatcher``.

    The event's payload is the task's record, as :class:`~remote_tasks_provider.a2a.sensors.A2ATaskSensor`
    returns it. The agent has to list its tasks, and to say when they changed: tasks without a time are left
    out. :class:`~remote_tasks_provider.bases.event_triggers.RemoteEventTrigger` has the parameters.
    """

    remote_events = A2A_EVENTS
