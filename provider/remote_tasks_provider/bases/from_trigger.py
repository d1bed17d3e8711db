"""Waits that begin or end in the triggerer, so that no worker process is started for them.

``start_from_trigger`` needs Airflow 3.3, which renders the trigger's templates; ``end_from_trigger`` saves
the worker that would only have fetched the result. The trigger then needs to know of its sensor what a worker
would know; that is
:class:`SensorSettings`, a plain JSON object in the trigger's arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import XCom
from airflow.triggers.base import TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent
from asgiref.sync import sync_to_async

from remote_tasks_provider.bases.exceptions import Verdict, verdict
from remote_tasks_provider.bases.links import LINK_KEY
from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.polling.policy import OnWaiting
from remote_tasks_provider.core.polling.result import WaitResult

__all__ = ["TRIGGERER_GRACE", "End", "SensorSettings"]

TRIGGERER_GRACE = timedelta(minutes=5)
"""The trigger ends a wait at its deadline. Airflow's own timeout of a deferral comes this much later, for the
case that no triggerer was there to do it."""


@dataclass(frozen=True, slots=True)
class SensorSettings:
    """What a trigger must know of its sensor to begin or end a wait without a worker.

    :param what: names one remote task in messages.
    :param timeout: seconds from the start until the sensor gives up.
    :param execution_timeout: seconds until Airflow ends the attempt, if it does.
    :param has_retries: whether Airflow would retry the task.
    :param single: whether the result is one record instead of a list.
    :param ends: whether to end the task in the triggerer.
    """

    what: str
    timeout: float
    execution_timeout: float | None
    has_retries: bool
    single: bool
    ends: bool
    raise_on_failure: bool
    soft_fail: bool
    never_fail: bool

    def to_json(self) -> dict[str, Any]:
        """Return the rules as a JSON object."""
        return asdict(self)

    @property
    def deferral_timeout(self) -> timedelta:
        """Airflow's timeout of a deferral that begins in the triggerer."""
        return timedelta(seconds=self.timeout) + TRIGGERER_GRACE

    def started_at(self, timeout_after: datetime | None, now: float) -> float:
        """Return when a wait that began in the triggerer began, also after a restart.

        Airflow keeps only when the deferral times out; the start is that less :attr:`deferral_timeout`, or
        less ``execution_timeout`` where that is shorter.
        """
        if timeout_after is None:
            return now
        lengths = [self.deferral_timeout.total_seconds(), self.execution_timeout]
        return timeout_after.timestamp() - min(length for length in lengths if length is not None)

    def end(self, report: WaitResult, ids: Sequence[str], on_waiting: OnWaiting) -> End:
        """Return what ends the task in the triggerer, or resumes it where only a worker can end it.

        Airflow retries a task that fails in the triggerer if it has retries left. So where a retry cannot
        help but there are retries, a worker is needed to fail the task for good.
        """
        error = report.failure(self.what, raise_on_failure=self.raise_on_failure, on_waiting=on_waiting)
        records = report.in_order(ids)
        xcoms: dict[str, Any] = {LINK_KEY: report.first_url} if report.first_url else {}
        if error is None:
            xcoms["return_value"] = records[0] if self.single else records
            return End(TaskSuccessEvent(), xcoms)
        found = verdict(error, report.timed_out, soft_fail=self.soft_fail, never_fail=self.never_fail)
        if found is Verdict.SKIP:
            return End(TaskSkippedEvent(), xcoms, error)
        if found.is_final and self.has_retries:
            return End(TriggerEvent(report.to_event()), {})
        return End(TaskFailedEvent(), {**xcoms, "remote_task_error": str(error)}, error)


@dataclass(frozen=True, slots=True)
class End:
    """How a wait ends in the triggerer.

    :param xcoms: what a worker would have left in XCom.
    :param error: what a worker would have raised.
    """

    event: TriggerEvent
    xcoms: Mapping[str, Any]
    error: RemoteTaskError | None = None

    async def announce(self, task_instance: Any, log: Any) -> None:
        """Write the XComs and the log that a worker would have written.

        Not through the event: Airflow 3.3.2 would encode an event's XComs twice, and past any XCom backend.
        """
        if isinstance(self.event, TaskFailedEvent):
            log.error("%s: %s", type(self.error).__name__, self.error)
        elif self.error is not None:
            log.info("Skipping: %s", self.error)
        for key, value in self.xcoms.items():
            # In a thread, as it waits for the triggerer's supervisor.
            await sync_to_async(XCom.set)(
                key=key,
                value=value,
                dag_id=task_instance.dag_id,
                task_id=task_instance.task_id,
                run_id=task_instance.run_id,
                map_index=task_instance.map_index,
            )
