"""The trigger every vendor's is made of: waits in the triggerer, where a thousand waits cost no worker.

It only reads, but for a stop when a user ends the task. Its arguments are JSON, name the connection and never
hold a key, because Airflow stores them. They also hold the deadline and what the worker had learnt, so that a
wait survives a restart of the triggerer.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from remote_tasks_provider.bases.compat import ENDED_STATES, TRIGGERS_GET_ON_KILL, task_state
from remote_tasks_provider.bases.connection import async_connection_config
from remote_tasks_provider.bases.from_trigger import SensorSettings
from remote_tasks_provider.bases.metrics import METRICS
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.clocks import Clocks
from remote_tasks_provider.core.errors import ConnectionConfigError, NotFoundError, RemoteTaskError
from remote_tasks_provider.core.http.client import AsyncClient
from remote_tasks_provider.core.http.rate_limit import RateLimiter
from remote_tasks_provider.core.http.transport import HttpxTransport
from remote_tasks_provider.core.polling.policy import OnWaiting, PollPolicy
from remote_tasks_provider.core.polling.result import WaitResult
from remote_tasks_provider.core.polling.shared import follow
from remote_tasks_provider.core.polling.tracker import PollTracker
from remote_tasks_provider.core.service import Service

__all__ = ["RemoteTaskTrigger"]

# Less than Airflow gives a trigger to clean up in ([triggerer] on_kill_timeout, 30 s).
_LONGEST_STOP = 20.0

# By event loop: a task that does nothing. Who ends a loop cancels all of its tasks before any of them runs.
_idlers: dict[asyncio.AbstractEventLoop, asyncio.Task[Any]] = {}

# One for all, as Airflow's own costs three objects a trigger. The triggerer tells the tasks apart by context.
log = logging.getLogger(__name__)


class RemoteTaskTrigger(BaseTrigger):
    """Fires once, when every task has ended, could not be followed, or the deadline has passed.

    The event's payload is what :meth:`remote_tasks_provider.core.polling.result.WaitResult.to_event` returns.

    :param conn_id: the Airflow connection.
    :param remote_task_ids: the tasks to wait for; a template where the wait begins in the triggerer.
    :param poll_interval: seconds between looks.
    :param started_at: when the wait began, Unix seconds; default now.
    :param deadline: when to give up, Unix seconds; default never.
    :param execution_deadline: when Airflow's ``execution_timeout`` ends the attempt, likewise.
    :param on_waiting: ``wait`` for a task that waits for a person, or ``return`` or ``fail``.
    :param max_poll_failures: failed looks in a row at which to give up.
    :param not_found_grace: seconds for which a 404 must stand to be believed.
    :param max_poll_interval: when set, pauses grow with the time waited, up to this many seconds.
    :param first_poll_at: when to look first, Unix seconds; default at once.
    :param checkpoint: what the worker's poll has learnt; see
        :meth:`remote_tasks_provider.core.polling.tracker.PollTracker.memory`.
    :param max_credits: what a task may cost; one that has cost more ends the wait.
    :param stop_on_kill: stop the tasks when a user marks the deferred Airflow task as failed or successful. A
        task that was cleared is left alone, as its next attempt goes on with it.
    :param sensor: what a wait that begins or ends in the triggerer must know of its sensor; see
        :class:`~remote_tasks_provider.bases.from_trigger.SensorSettings`.
    """

    service: ClassVar[Service]
    ids_field: ClassVar[str] = "remote_task_ids"
    """What the constructor's parameter with the tasks is called."""
    clocks: ClassVar[Clocks] = Clocks()
    timeout_after: datetime | None = None
    """When Airflow times the deferral out; set by its triggerer from 3.3 on."""

    def __init__(
        self,
        conn_id: str,
        remote_task_ids: list[str] | str,
        poll_interval: float,
        started_at: float | None = None,
        deadline: float | None = None,
        execution_deadline: float | None = None,
        on_waiting: OnWaiting = "wait",
        max_poll_failures: int = 5,
        not_found_grace: float = 90.0,
        max_poll_interval: float | None = None,
        first_poll_at: float | None = None,
        checkpoint: Mapping[str, Mapping[str, Any]] | None = None,
        max_credits: int | None = None,
        stop_on_kill: bool = False,
        sensor: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's, without annotations
        self.conn_id = conn_id
        # Checked by run(): an error that Airflow does not expect here would end the whole triggerer.
        self.remote_task_ids = remote_task_ids
        self.poll_interval = poll_interval
        self.started_at = started_at
        self.deadline = deadline
        self.execution_deadline = execution_deadline
        self.on_waiting = on_waiting
        self.max_poll_failures = max_poll_failures
        self.not_found_grace = not_found_grace
        self.max_poll_interval = max_poll_interval
        self.first_poll_at = first_poll_at
        self.checkpoint = checkpoint
        self.max_credits = max_credits
        self.stop_on_kill = stop_on_kill
        self.sensor = sensor

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and every constructor argument; derived, so that none can be forgotten."""
        names = list(inspect.signature(RemoteTaskTrigger.__init__).parameters)[1:]
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        renamed = {"remote_task_ids": self.ids_field}
        return path, {renamed.get(name, name): getattr(self, name) for name in names}

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Render what a sensor would have rendered; called where the wait begins in the triggerer."""
        environment = jinja_env or self.get_template_env()
        for name in ("conn_id", "remote_task_ids", "on_waiting"):
            setattr(self, name, self.render_template(getattr(self, name), context, environment))

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then yield the one event."""
        ids = validation.object_ids(self.remote_task_ids, "remote_task_id")
        rules = SensorSettings(**self.sensor) if self.sensor else None
        wait = PollTracker(ids, self._policy(rules), self.checkpoint)
        idler = None if TRIGGERS_GET_ON_KILL else _idler()
        try:
            report = await follow(
                wait,
                service=self.service,
                conn_id=self.conn_id,
                connect=self._connect,
                clocks=self.clocks,
                metrics=METRICS,
                first_poll_in=self._first_look_in(),
                log=log,
            )
        except (ConnectionConfigError, AirflowNotFoundException) as error:
            report = self._unusable(wait, error)
        except asyncio.CancelledError:
            # Not where the triggerer ends: then the wait goes on elsewhere, and nobody would answer.
            if idler is not None and not idler.cancelling():
                await self.on_kill()
            raise
        # dag.test() runs a trigger that belongs to no task instance, and resumes the task whatever the event
        # says.
        if rules is None or not rules.ends or self.task_instance is None:
            yield TriggerEvent(report.to_event())
            return
        end = rules.end(report, ids, self.on_waiting)
        await end.announce(self.task_instance, log)
        yield end.event

    async def on_kill(self) -> None:
        """Stop the remote tasks if a user has ended the Airflow task.

        Airflow calls it from 3.3 on, also for a task that was cleared, and then after the next attempt has
        begun. Before 3.3 it is called whenever the trigger is cancelled. So the task's own state is asked
        for: only one that has ended will not be gone on with.

        Airflow repeats the cancellation every second until the trigger has ended, and would so cut short
        what takes longer: it is seen through to its end.
        """
        if self.stop_on_kill and self.task_instance is not None:
            await _see_through(self._stop_if_ended())

    async def _stop_if_ended(self) -> None:
        try:
            async with asyncio.timeout(_LONGEST_STOP):
                state = await sync_to_async(task_state)(self.task_instance)
                if state in ENDED_STATES:
                    await self._stop_all()
                else:
                    log.info("The remote tasks go on: this task is %s.", state)
        except Exception as error:  # noqa: BLE001 - whatever it is, Airflow could do nothing about it
            log.warning(
                "The remote tasks were not stopped, and may still be running: %s: %s",
                type(error).__name__,
                error,
            )

    async def _stop_all(self) -> None:
        client = await self._connect(RateLimiter({}))
        try:
            for task_id in validation.object_ids(self.remote_task_ids, "remote_task_id"):
                await self._stop(client, task_id)
        finally:
            await client.aclose()

    async def _stop(self, client: AsyncClient, task_id: str) -> None:
        operation = self.service.stop(client.config.extras, task_id)
        if operation is None:
            log.warning("%s cannot stop task %s; it goes on.", self.service.name, task_id)
            return
        try:
            await client.send(operation)
        except NotFoundError:
            log.info("%s task %s is no longer there.", self.service.name, task_id)
        except RemoteTaskError as error:
            if error.concerns_service:
                raise
            log.warning(
                "%s task %s could not be stopped, and may still be running: %s",
                self.service.name,
                task_id,
                error,
            )
        else:
            log.info("%s task %s was stopped, as this task was ended.", self.service.name, task_id)

    def _policy(self, rules: SensorSettings | None) -> PollPolicy:
        now = self.clocks.wall()
        started_at, deadline, execution_deadline = self.started_at, self.deadline, self.execution_deadline
        if started_at is None:
            started_at = rules.started_at(self.timeout_after, now) if rules else now
            if rules is not None:
                deadline = started_at + rules.timeout
                if rules.execution_timeout is not None:
                    execution_deadline = started_at + rules.execution_timeout
        return PollPolicy(
            started_at=started_at,
            interval=self.poll_interval,
            deadline=deadline,
            execution_deadline=execution_deadline,
            on_waiting=self.on_waiting,
            max_failures=self.max_poll_failures,
            not_found_grace=self.not_found_grace,
            max_interval=self.max_poll_interval,
            max_credits=self.max_credits,
        )

    def _first_look_in(self) -> float:
        """Return the seconds until the first look; no more than a pause, if the worker's clock is ahead."""
        if self.first_poll_at is None:
            return 0.0
        return min(
            self.first_poll_at - self.clocks.wall(), max(self.poll_interval, self.max_poll_interval or 0.0)
        )

    async def _connect(self, rate_limiter: RateLimiter) -> AsyncClient:
        found = await async_connection_config(self.service, self.conn_id)
        # Reading the certificate store takes tens of milliseconds, too long for the shared event loop.
        transport = await asyncio.to_thread(HttpxTransport, found)
        return AsyncClient(found, transport, self.service.explain, rate_limiter, self.clocks)

    def _unusable(self, wait: PollTracker, error: Exception) -> WaitResult:
        reason = error if isinstance(error, RemoteTaskError) else ConnectionConfigError(str(error))
        return WaitResult(
            records=dict.fromkeys(wait.ids),
            errors={task_id: reason.to_json() for task_id in wait.ids},
            timed_out=None,
            waited=max(0.0, self.clocks.wall() - wait.policy.started_at),
        )


def _idler() -> asyncio.Task[Any]:
    loop = asyncio.get_running_loop()
    if loop not in _idlers:
        for ended in [one for one in _idlers if one.is_closed()]:
            del _idlers[ended]
        _idlers[loop] = loop.create_task(asyncio.Event().wait())
    return _idlers[loop]


async def _see_through(work: Coroutine[Any, Any, None]) -> None:
    """Wait for ``work`` to end, whoever cancels meanwhile; only the end of the event loop ends it."""
    task = asyncio.ensure_future(work)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(task)
