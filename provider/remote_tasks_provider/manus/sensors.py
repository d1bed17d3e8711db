"""Sensors that wait for Manus tasks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from remote_tasks_provider.bases.sensors import RemoteTaskSensor
from remote_tasks_provider.core.polling.policy import OnWaiting
from remote_tasks_provider.manus.hooks import ManusHook
from remote_tasks_provider.manus.links import ManusTaskLink
from remote_tasks_provider.manus.service import MANUS_TASK
from remote_tasks_provider.manus.triggers import ManusTaskTrigger

__all__ = ["ManusTaskSensor"]


class ManusTaskSensor(RemoteTaskSensor):
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
    :param deferrable: wait in the triggerer and use no worker meanwhile; default ``[operators]
        default_deferrable``.
    :param raise_on_failure: fail without a retry when a task failed; otherwise succeed, and let the next task
        branch on ``state``.
    :param on_waiting: when the agent waits for a person's answer: ``wait`` on, ``return`` (succeed, with
        state ``waiting``) or ``fail``. Templated.
    :param poke_interval: seconds between polls.
    :param timeout: seconds from the first attempt's start until the sensor gives up; the Manus task is left
        alone.
    :param soft_fail: skip instead of failing on ``timeout``; a failed Manus task still fails the sensor.
    :param max_poll_failures: consecutive polls that may fail (each repeats its request first); then the last
        error is raised and Airflow's ``retries`` apply.
    :param start_from_trigger: with ``deferrable``: start in the triggerer, without a worker (Airflow 3.3 or
        newer; on others, for mapped tasks and for the output of another task the wait starts on a worker).
    :param end_from_trigger: with ``deferrable``: end in the triggerer, without a worker (Airflow 3.3 or
        newer). Task listeners and callbacks that need a worker do not see such a task end.
    :param not_found_grace: seconds for which a 404 must stand to be believed; a fresh task answers 404 for a
        while.
    """

    template_fields: Sequence[str] = ("remote_task_id", "manus_conn_id", "on_waiting")
    operator_extra_links = (ManusTaskLink(),)
    remote_task_type = MANUS_TASK
    trigger_class = ManusTaskTrigger
    hook_class = ManusHook
    ui_color = "#e8e4f5"

    def __init__(
        self,
        *,
        remote_task_id: str | Iterable[str],
        manus_conn_id: str = ManusHook.default_conn_name,
        deferrable: bool | None = None,
        raise_on_failure: bool = True,
        on_waiting: OnWaiting = "wait",
        poke_interval: float = 30.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            remote_task_id=remote_task_id,
            deferrable=deferrable,
            raise_on_failure=raise_on_failure,
            on_waiting=on_waiting,
            poke_interval=poke_interval,
            conn_id=manus_conn_id,
            **kwargs,
        )
