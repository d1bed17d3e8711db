"""Sensors that wait for QStash messages, for workflow runs and, with API v1, for deliveries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from remote_tasks_provider.bases.sensors import RemoteTaskSensor
from remote_tasks_provider.qstash.connected import QStashConnected
from remote_tasks_provider.qstash.service import QSTASH_MESSAGE, QSTASH_TASK, QSTASH_WORKFLOW
from remote_tasks_provider.qstash.triggers import (
    QStashMessageTrigger,
    QStashTaskTrigger,
    QStashWorkflowTrigger,
)

__all__ = ["QStashMessageSensor", "QStashTaskSensor", "QStashWorkflowSensor"]


class QStashTaskSensor(QStashConnected, RemoteTaskSensor):
    """Waits until QStash tasks, the deliveries of a message, are delivered, failed or cancelled.

    Returns one JSON object for one id, or a list of them in input order for several::

        {"id": …, "state": "completed", "status": "delivered", "url": …, "error": …, "message_id": …,
         "retried": …, "max_retry": …, "title": null, "created_at": null, "updated_at": …,
         "credit_usage": null}

    ``url`` is the destination without its query. A failed attempt is not final: QStash repeats it, by
    default three times over about 33 minutes (https://upstash.com/docs/qstash/features/retry), so give
    ``timeout`` room.

    :param remote_task_id: the QStash task's id, or a list of ids, all of which must finish.
        Templated.
    :param qstash_conn_id: the Airflow connection. Templated.
    """

    template_fields: Sequence[str] = ("remote_task_id", "qstash_conn_id")
    remote_task_type = QSTASH_TASK
    trigger_class = QStashTaskTrigger

    def __init__(
        self,
        *,
        remote_task_id: str | Iterable[str],
        poke_interval: float | str | timedelta = 15.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(remote_task_id=remote_task_id, poke_interval=poke_interval, **kwargs)


class QStashMessageSensor(QStashConnected, RemoteTaskSensor):
    """Waits until QStash messages are delivered, failed or cancelled, according to the logs.

    Returns one JSON object for one id, or a list of them in input order for several, such as the messages of
    a URL group::

        {"id": …, "state": "completed", "status": "DELIVERED", "url": …, "error": …, "message_id": …,
         "dlq_id": …, "response_status": …, "title": null, "created_at": null, "updated_at": …,
         "credit_usage": null}

    A failed message has the id of its DLQ message, the destination's HTTP status, and in ``error`` the start
    of the destination's response without what looks like a secret. The record never has what was sent:
    headers and bodies.

    A failed attempt is not final: QStash repeats it, by default three times over about 33 minutes
    (https://upstash.com/docs/qstash/features/retry), so give ``timeout`` room. All waits on a connection poll
    together: one request covers a hundred messages. A read-only token is enough.

    :param message_id: the message's id, or a list of ids, all of which must finish. Templated.
    :param qstash_conn_id: the Airflow connection. Templated.
    :param not_found_grace: seconds for which the logs may have no entry of the message. They lag behind, and
        forget it after 3 to 14 days.
    """

    template_fields: Sequence[str] = ("message_id", "qstash_conn_id")
    remote_task_type = QSTASH_MESSAGE
    trigger_class = QStashMessageTrigger

    def __init__(
        self,
        *,
        message_id: str | Iterable[str],
        poke_interval: float | str | timedelta = 15.0,
        not_found_grace: float | str | timedelta = 300.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            remote_task_id=message_id,
            poke_interval=poke_interval,
            not_found_grace=not_found_grace,
            **kwargs,
        )


class QStashWorkflowSensor(QStashConnected, RemoteTaskSensor):
    """Waits until runs of Upstash workflows have succeeded, failed or were cancelled, according to the logs.

    Returns one JSON object for one id, or a list of them in input order for several::

        {"id": …, "state": "completed", "status": "RUN_SUCCESS", "url": …, "error": …,
         "workflow_run_id": …, "dlq_id": …, "response_status": …, "title": null, "created_at": …,
         "updated_at": …, "credit_usage": null}

    ``url`` is the workflow's endpoint without its query. A failed run has the id of its DLQ message, with
    which :class:`~remote_tasks_provider.qstash.operators.QStashResumeWorkflowOperator` resumes it, the
    endpoint's last HTTP status, and in ``error`` the start of its response without what looks like a secret.

    A failed step is not final: Upstash repeats it, by default three times over about 33 minutes
    (https://upstash.com/docs/workflow/features/retries), so give ``timeout`` room. All waits on a connection
    poll together: one request covers ten runs. A read-only token is enough.

    :param workflow_run_id: the run's id with its ``wfr_``, or a list of ids, all of which must finish. Of
        several runs with one id it is the newest. Templated.
    :param qstash_conn_id: the Airflow connection. Templated.
    :param not_found_grace: seconds for which the logs may not have the run. They lag behind.
    """

    template_fields: Sequence[str] = ("workflow_run_id", "qstash_conn_id")
    remote_task_type = QSTASH_WORKFLOW
    trigger_class = QStashWorkflowTrigger

    def __init__(
        self,
        *,
        workflow_run_id: str | Iterable[str],
        poke_interval: float | str | timedelta = 15.0,
        not_found_grace: float | str | timedelta = 300.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            remote_task_id=workflow_run_id,
            poke_interval=poke_interval,
            not_found_grace=not_found_grace,
            **kwargs,
        )
