"""Triggers of Manus waits. A deferred task stores these paths: they must keep importing."""

from __future__ import annotations

from typing import Any

from remote_tasks_provider.bases.event_triggers import RemoteEventTrigger
from remote_tasks_provider.bases.triggers import RemoteTaskTrigger
from remote_tasks_provider.manus.events import MANUS_EVENTS
from remote_tasks_provider.manus.service import MANUS_TASK, MANUS_WEBSITE

__all__ = ["ManusTaskEventTrigger", "ManusTaskTrigger", "ManusWebsiteTrigger"]


class ManusTaskTrigger(RemoteTaskTrigger):
    """Waits for Manus tasks.

    :class:`~remote_tasks_provider.bases.triggers.RemoteTaskTrigger` has the parameters.
    """

    remote_task_type = MANUS_TASK


class ManusWebsiteTrigger(RemoteTaskTrigger):
    """Waits until websites are published, or cannot be.

    :param conn_id: the Airflow connection, with an API key.
    :param website_ids: the websites to wait for; a template where the wait begins in the triggerer.
    :param rules: all else that :class:`~remote_tasks_provider.bases.triggers.RemoteTaskTrigger` takes.
    """

    remote_task_type = MANUS_WEBSITE

    def __init__(
        self, conn_id: str, website_ids: list[str] | str, poll_interval: float = 10.0, **rules: Any
    ) -> None:
        super().__init__(conn_id, website_ids, poll_interval, **rules)

    @property
    def website_ids(self) -> list[str] | str:
        """The websites to wait for."""
        return self.remote_task_ids


class ManusTaskEventTrigger(RemoteEventTrigger):
    """Fires for each finished Manus task of the account, no matter who created it; for an ``AssetWatcher``.

    The event's payload is the task's record, as
    :class:`~remote_tasks_provider.manus.sensors.ManusTaskSensor` returns it. A task that runs again and
    finishes again fires again. So may one that is changed ten minutes or more after its end, as by a new
    title: Manus lists that as a change like any other.
    :class:`~remote_tasks_provider.bases.event_triggers.RemoteEventTrigger` has the parameters.
    """

    remote_events = MANUS_EVENTS
