"""Sensors that wait for the tasks of A2A agents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from remote_tasks_provider.a2a.connected import A2ATaskWait
from remote_tasks_provider.bases.sensors import RemoteTaskSensor

__all__ = ["A2ATaskSensor"]


class A2ATaskSensor(A2ATaskWait, RemoteTaskSensor):
    """Waits until tasks of an A2A agent have completed, failed, or were rejected or canceled.

    Returns one JSON object for one id, or a list of them in input order for several::

        {"id": …, "state": "completed", "status": "TASK_STATE_COMPLETED", "error": …, "context_id": …,
         "updated_at": …, "url": null, "title": null, "created_at": null, "credit_usage": null}

    All waits on a connection poll together: where the agent lists tasks, one request covers what has changed
    of all of them. An agent that restarts may forget a task, or never resume it: give a ``timeout``.

    :param remote_task_id: the task's id, or a list of ids, all of which must finish. Templated.
    :param a2a_conn_id: the Airflow connection, of the user who has begun the tasks. Templated.
    :param not_found_grace: seconds for which a 404 must stand to be believed: replicas may disagree.
    """

    template_fields: Sequence[str] = ("remote_task_id", "a2a_conn_id", "on_waiting")

    def __init__(self, *, remote_task_id: str | Iterable[str], **kwargs: Any) -> None:
        super().__init__(remote_task_id=remote_task_id, **kwargs)
