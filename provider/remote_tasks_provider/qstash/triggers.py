"""Triggers of QStash waits. A deferred task stores these paths: they must keep importing."""

from __future__ import annotations

from typing import Any

from remote_tasks_provider.bases.event_triggers import RemoteEventTrigger
from remote_tasks_provider.bases.triggers import RemoteTaskTrigger
from remote_tasks_provider.qstash.events import QSTASH_DEAD_LETTERS
from remote_tasks_provider.qstash.service import QSTASH_MESSAGE, QSTASH_TASK, QSTASH_WORKFLOW

__all__ = [
    "QStashDeadLetterEventTrigger",
    "QStashMessageTrigger",
    "QStashTaskTrigger",
    "QStashWorkflowTrigger",
]


class QStashTaskTrigger(RemoteTaskTrigger):
    """Waits for QStash tasks.

    :class:`~remote_tasks_provider.bases.triggers.RemoteTaskTrigger` has the parameters.
    """

    remote_task_type = QSTASH_TASK


class QStashMessageTrigger(RemoteTaskTrigger):
    """Waits for the outcome of QStash messages, according to the logs.

    :param conn_id: the Airflow connection; a read-only token is enough.
    :param message_ids: the messages to wait for; a template where the wait begins in the triggerer.
    :param rules: all else that :class:`~remote_tasks_provider.bases.triggers.RemoteTaskTrigger` takes.
    """

    remote_task_type = QSTASH_MESSAGE

    def __init__(
        self, conn_id: str, message_ids: list[str] | str, poll_interval: float = 15.0, **rules: Any
    ) -> None:
        super().__init__(conn_id, message_ids, poll_interval, **rules)

    @property
    def message_ids(self) -> list[str] | str:
        """The messages to wait for."""
        return self.remote_task_ids


class QStashWorkflowTrigger(RemoteTaskTrigger):
    """Waits for runs of Upstash workflows, according to the logs.

    :param conn_id: the Airflow connection; a read-only token is enough.
    :param workflow_run_ids: the runs to wait for; a template where the wait begins in the triggerer.
    :param rules: all else that :class:`~remote_tasks_provider.bases.triggers.RemoteTaskTrigger` takes.
    """

    remote_task_type = QSTASH_WORKFLOW

    def __init__(
        self, conn_id: str, workflow_run_ids: list[str] | str, poll_interval: float = 15.0, **rules: Any
    ) -> None:
        super().__init__(conn_id, workflow_run_ids, poll_interval, **rules)

    @property
    def workflow_run_ids(self) -> list[str] | str:
        """The runs to wait for."""
        return self.remote_task_ids


class QStashDeadLetterEventTrigger(RemoteEventTrigger):
    """Fires for each message that comes into the dead letter queue; for an ``AssetWatcher``.

    The event's payload has ``dlq_id``, ``message_id``, ``url`` and what else identifies the message, and
    nothing of its body. Each listing reads the whole queue, up to 5,000 messages.
    :class:`~remote_tasks_provider.bases.event_triggers.RemoteEventTrigger` has the parameters.
    """

    remote_events = QSTASH_DEAD_LETTERS
