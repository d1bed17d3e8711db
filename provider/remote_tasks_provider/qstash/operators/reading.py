"""Operators that read QStash deliveries and branch on their outcome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from remote_tasks_provider.bases.branching import RemoteTaskBranchOperator
from remote_tasks_provider.bases.exceptions import request_exception
from remote_tasks_provider.bases.listing import RemoteListOperator
from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.qstash.hooks import QStashHook
from remote_tasks_provider.qstash.service import QSTASH_TASK
from remote_tasks_provider.qstash.triggers import QStashTaskTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["QStashGetTaskOperator", "QStashListMessageTasksOperator", "QStashTaskBranchOperator"]

_COLOR = "#dff3ea"


class QStashGetTaskOperator(BaseOperator):
    """Reads one QStash task and returns it as a JSON object.

    Fails without a retry where asking again cannot help; a 404 is retried.

    :param remote_task_id: the QStash task's id. Templated.
    :param qstash_conn_id: the Airflow connection. Templated.
    """

    template_fields: Sequence[str] = ("remote_task_id", "qstash_conn_id")
    ui_color = _COLOR

    def __init__(
        self, *, remote_task_id: str, qstash_conn_id: str = QStashHook.default_conn_name, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.remote_task_id = remote_task_id
        self.qstash_conn_id = qstash_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Read the task."""
        hook = QStashHook(self.qstash_conn_id)
        try:
            task = hook.get_task(self.remote_task_id)
        except RemoteTaskError as error:
            raise request_exception(error) from error
        finally:
            hook.close()
        self.log.info("QStash task %s is %s.", task.task_id, task.state)
        return task.to_json()


class QStashListMessageTasksOperator(RemoteListOperator):
    """Lists a message's tasks, one per destination, newest first.

    Returns like :class:`~remote_tasks_provider.manus.operators.ManusListTasksOperator`.

    :param message_id: the message's id.
    :param limit: tasks at most; default 100 to XCom, all to a file.
    :param output_path: a file to write as JSON Lines, any URL that ``ObjectStoragePath`` knows.
    :param qstash_conn_id: the Airflow connection.

    All are templated.
    """

    template_fields: Sequence[str] = ("message_id", "limit", "output_path", "qstash_conn_id")
    ui_color = _COLOR

    def __init__(
        self, *, message_id: str, qstash_conn_id: str = QStashHook.default_conn_name, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.message_id = message_id
        self.qstash_conn_id = qstash_conn_id

    def items(self, limit: int | None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the message's tasks."""
        hook = QStashHook(self.qstash_conn_id)
        try:
            for task in hook.iter_message_tasks(self.message_id, limit=limit):
                yield task.task_id, task.to_json()
        finally:
            hook.close()


class QStashTaskBranchOperator(RemoteTaskBranchOperator):
    """Waits for a QStash delivery, then runs the branch of its outcome and skips the others.

    The task's record (see :class:`~remote_tasks_provider.qstash.sensors.QStashTaskSensor`) is left in XCom
    under the key ``remote_task``.

    :param remote_task_id: the QStash task's id. Templated.
    :param completed: task or task group id, or several, to run on delivery; ``None`` skips everything
        downstream.
    :param failed: what to run on failure; ``None`` fails this operator without a retry.
    :param cancelled: likewise.
    :param deferrable: wait in the triggerer; default ``[operators] default_deferrable``.
    :param poll_interval: seconds between polls, or a ``timedelta``.
    :param timeout: seconds (or a ``timedelta``) from the first attempt's start until the operator gives up
        and fails; default ``[sensors] default_timeout``.
    :param max_poll_failures: consecutive polls that may fail.
    :param not_found_grace: seconds for which a 404 must stand to be believed.
    :param qstash_conn_id: the Airflow connection. Templated.
    """

    template_fields: Sequence[str] = ("remote_task_id", "completed", "failed", "cancelled", "qstash_conn_id")
    remote_task_type = QSTASH_TASK
    trigger_class = QStashTaskTrigger
    hook_class = QStashHook
    ui_color = _COLOR

    def __init__(
        self,
        *,
        remote_task_id: str,
        qstash_conn_id: str = QStashHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(remote_task_id=remote_task_id, conn_id=qstash_conn_id, **kwargs)
