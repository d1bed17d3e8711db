"""Triggers of QStash waits. A deferred task stores this path: it must keep importing."""

from __future__ import annotations

from remote_tasks_provider.bases.trigger import RemoteTaskTrigger
from remote_tasks_provider.qstash.service import QSTASH

__all__ = ["QStashTaskTrigger"]


class QStashTaskTrigger(RemoteTaskTrigger):
    """Waits for QStash tasks.

    :class:`~remote_tasks_provider.bases.trigger.RemoteTaskTrigger` has the parameters.
    """

    service = QSTASH
