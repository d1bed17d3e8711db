"""Operators that read QStash deliveries, and that branch on the outcome of deliveries and messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from remote_tasks_provider.bases.branching import RemoteTaskBranchOperator
from remote_tasks_provider.bases.listing import RemoteListOperator
from remote_tasks_provider.bases.requests import OneTaskOperator
from remote_tasks_provider.core.states import in_words
from remote_tasks_provider.qstash.connected import QStashConnected
from remote_tasks_provider.qstash.hooks import QStashHook
from remote_tasks_provider.qstash.operators import checks as check
from remote_tasks_provider.qstash.service import QSTASH_MESSAGE, QSTASH_TASK
from remote_tasks_provider.qstash.triggers import QStashMessageTrigger, QStashTaskTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = [
    "QStashGetTaskOperator",
    "QStashListMessageTasksOperator",
    "QStashMessageBranchOperator",
    "QStashTaskBranchOperator",
]


class QStashGetTaskOperator(QStashConnected, OneTaskOperator):
    """Reads one QStash task and returns it as a JSON object.

    Fails without a retry where asking again cannot help; a 404 is retried.

    :param remote_task_id: the QStash task's id. Templated.
    """

    template_fields: Sequence[str] = ("remote_task_id", "qstash_conn_id")

    def act(self, hook: QStashHook, context: Context) -> dict[str, Any]:
        """Read the task."""
        task = hook.get_task(self.remote_task_id)
        return task.to_json()

    def summary(self, found: dict[str, Any]) -> str:
        """Return how the task stands."""
        return f"QStash task {self.remote_task_id} is {in_words(found['state'], found['status'])}."


class QStashListMessageTasksOperator(QStashConnected, RemoteListOperator):
    """Lists a message's tasks, one per destination, newest first.

    Returns like :class:`~remote_tasks_provider.manus.operators.ManusListTasksOperator`.

    :param message_id: the message's id. Templated.
    """

    checks = check.MESSAGE_ID
    template_fields: Sequence[str] = ("message_id", "limit", "output_path", "qstash_conn_id")

    def __init__(self, *, message_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.message_id = message_id

    def read(self, hook: QStashHook, limit: int | None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the message's tasks."""
        for task in hook.iter_message_tasks(self.message_id, limit=limit):
            yield task.task_id, task.to_json()


class QStashTaskBranchOperator(QStashConnected, RemoteTaskBranchOperator):
    """Waits for a QStash delivery, then runs the branch of its outcome and skips the others.

    The task's record (see :class:`~remote_tasks_provider.qstash.sensors.QStashTaskSensor`) is left in XCom
    under the key ``remote_task``.

    :param remote_task_id: the QStash task's id. Templated.
    :param qstash_conn_id: the Airflow connection. Templated.
    """

    template_fields = ("remote_task_id", *RemoteTaskBranchOperator.template_fields, "qstash_conn_id")
    remote_task_type = QSTASH_TASK
    trigger_class = QStashTaskTrigger


class QStashMessageBranchOperator(QStashConnected, RemoteTaskBranchOperator):
    """Waits for a QStash message, then runs the branch of its outcome and skips the others.

    The message's record (see :class:`~remote_tasks_provider.qstash.sensors.QStashMessageSensor`) is left in
    XCom under the key ``remote_task``.

    :param message_id: the message's id. Templated.
    :param not_found_grace: seconds for which the logs may have no entry of the message.
    :param qstash_conn_id: the Airflow connection. Templated.
    """

    template_fields = ("message_id", *RemoteTaskBranchOperator.template_fields, "qstash_conn_id")
    remote_task_type = QSTASH_MESSAGE
    trigger_class = QStashMessageTrigger

    def __init__(
        self,
        *,
        message_id: str,
        not_found_grace: float | str | timedelta = 300.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(remote_task_id=message_id, not_found_grace=not_found_grace, **kwargs)
