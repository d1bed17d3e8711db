"""Sensors that wait for Manus tasks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from remote_tasks_provider.bases.sensors import RemoteTaskSensor
from remote_tasks_provider.manus.connected import ManusTaskWait
from remote_tasks_provider.manus.links import ManusTaskLink

__all__ = ["ManusTaskSensor"]


class ManusTaskSensor(ManusTaskWait, RemoteTaskSensor):
    """Waits until Manus tasks have completed or failed.

    Returns one JSON object for one id, or a list of them in input order for several::

        {"id": …, "state": "completed", "status": …, "url": …, "title": …, "error": …, "created_at": …,
         "updated_at": …, "credit_usage": …, "model": …}

    ``poke``, ``reschedule`` and ``deferrable`` give the same result for the same history.

    .. code-block:: python

        wait = ManusTaskSensor(
            task_id="wait", remote_task_id="{{ params.manus_task }}", deferrable=True, timeout=2 * 60 * 60
        )

    With ``timeout=7200`` a task whose first attempt starts at 09:00 is waited for until 11:00, deferred or
    not, restarts of the triggerer included; there is a last poll at 11:00.

    :param remote_task_id: the Manus task's id, or a list of ids, all of which must finish. Templated.
    :param manus_conn_id: the Airflow connection. Templated.
    :param not_found_grace: seconds for which a 404 must stand to be believed; a fresh task answers 404 for a
        while.
    """

    template_fields: Sequence[str] = ("remote_task_id", "manus_conn_id", "on_waiting")
    operator_extra_links = (ManusTaskLink(),)

    def __init__(self, *, remote_task_id: str | Iterable[str], **kwargs: Any) -> None:
        super().__init__(remote_task_id=remote_task_id, **kwargs)
