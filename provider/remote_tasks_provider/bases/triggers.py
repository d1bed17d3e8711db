"""The base of every trigger: waits in the triggerer, where a thousand waits cost no worker.

It only reads, but for cancelling the remote tasks when a user ends the Airflow task. Its arguments are JSON,
name the connection and never hold a key, because Airflow stores them. They also hold the deadlines and the
worker's checkpoint, so that a wait survives a restart of the triggerer.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from datetime import datetime
from typing import Any, ClassVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from remote_tasks_provider.bases.bell_reader import bells
from remote_tasks_provider.bases.compat import TRIGGERS_GET_ON_KILL, is_over, task_state
from remote_tasks_provider.bases.connection import read_connection_async
from remote_tasks_provider.bases.from_trigger import SensorSettings, TaskEnd, environment, release
from remote_tasks_provider.bases.metrics import METRICS
from remote_tasks_provider.bases.reports import reported
from remote_tasks_provider.bases.shortest_deferral import shortest_deferral
from remote_tasks_provider.bases.supervisor import ask, in_thread
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.cancel_queue import request_cancel
from remote_tasks_provider.core.cancellation import one_attempt
from remote_tasks_provider.core.clocks import Clocks
from remote_tasks_provider.core.event_loops import PerLoop
from remote_tasks_provider.core.http.client import AsyncClient
from remote_tasks_provider.core.http.connection import ConnectionConfig
from remote_tasks_provider.core.http.rate_limit import limiter_for
from remote_tasks_provider.core.http.response import MAX_RETRY_AFTER
from remote_tasks_provider.core.http.transport import HttpxTransport
from remote_tasks_provider.core.polling.drivers import AsyncLink
from remote_tasks_provider.core.polling.policy import OnWaiting, PollPolicy
from remote_tasks_provider.core.polling.result import WaitResult
from remote_tasks_provider.core.polling.shared import join
from remote_tasks_provider.core.polling.tracker import PollTracker
from remote_tasks_provider.core.service import Service, TaskType

__all__ = ["RemoteTaskTrigger", "connect"]

# Less than Airflow gives a trigger to clean up in ([triggerer] on_kill_timeout, 30 s).
_LONGEST_CANCELLATION = 20.0
# Tasks that one line of the log names at most.
_NAMED = 20

# A task that does nothing. Who ends a loop cancels all of its tasks before any of them runs.
_IDLERS = PerLoop(lambda: asyncio.get_running_loop().create_task(asyncio.Event().wait()))

# One for all, as Airflow's own costs three objects a trigger. The triggerer tells the tasks apart by context.
log = logging.getLogger(__name__)


class RemoteTaskTrigger(BaseTrigger):
    """Fires once: when every task is finished or given up, or the deadline has passed.

    The event's payload is what :meth:`remote_tasks_provider.core.polling.result.WaitResult.to_event` returns.

    :param conn_id: the Airflow connection.
    :param remote_task_ids: the tasks to wait for; a template where the wait begins in the triggerer.
    :param poll_interval: seconds between polls.
    :param started_at: when the wait began, Unix seconds; default now.
    :param deadline: when to give up, Unix seconds; default never.
    :param execution_deadline: when Airflow's ``execution_timeout`` ends the attempt, likewise.
    :param on_waiting: ``wait`` for a task that waits for a person, or ``return`` or ``fail``.
    :param max_poll_failures: of earlier versions, which counted; not used.
    :param not_found_grace: seconds for which a 404, a 401, a 403, a redirect, a refused request or an
        unusable connection must stand to be believed.
    :param max_poll_interval: when set, pauses grow with the time waited, up to this many seconds.
    :param max_credits: what a task may cost; a running one that has cost more ends the wait.
    :param first_poll_at: when to poll first, Unix seconds; default at once.
    :param checkpoint: what the worker's poll has learnt; see
        :meth:`remote_tasks_provider.core.polling.tracker.PollTracker.checkpoint`.
    :param cancel_on_kill: cancel the tasks when a user marks the deferred Airflow task as failed or
        successful. A task that was cleared is left alone: its next attempt re-attaches to the remote tasks.
    :param sensor: what a wait that begins or ends in the triggerer must know of its sensor; see
        :class:`~remote_tasks_provider.bases.from_trigger.SensorSettings`.
    :param outage_tolerance: seconds without a good answer after which to give up.
    :param in_detail: whether to learn how a task finished where that takes a request of its own.
    :param back_off_until: until when the service asked a worker to be left alone, Unix seconds.
    :param waiting_timeout: seconds for which a task may wait for a person where ``on_waiting`` is ``wait``;
        default any time.
    :param seen: what the worker's poll saw, for the Remote Tasks page alone; see
        :attr:`remote_tasks_provider.core.polling.tracker.PollTracker.seen`.
    """

    remote_task_type: ClassVar[TaskType]
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
        max_poll_failures: int | None = None,
        not_found_grace: float = 90.0,
        max_poll_interval: float | None = None,
        max_credits: int | None = None,
        first_poll_at: float | None = None,
        checkpoint: Any = None,
        cancel_on_kill: bool = False,
        sensor: Mapping[str, Any] | None = None,
        outage_tolerance: float = 900.0,
        in_detail: bool = True,
        back_off_until: float | None = None,
        waiting_timeout: float | None = None,
        seen: Mapping[str, Any] | None = None,
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
        self.max_credits = max_credits
        self.first_poll_at = first_poll_at
        self.checkpoint = checkpoint
        self.cancel_on_kill = cancel_on_kill
        self.sensor = sensor
        self.outage_tolerance = outage_tolerance
        self.in_detail = in_detail
        self.back_off_until = back_off_until
        self.waiting_timeout = waiting_timeout
        self.seen = seen

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and every constructor argument; derived, so that none can be forgotten."""
        names = list(inspect.signature(RemoteTaskTrigger.__init__).parameters)[1:]
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        renamed = {"remote_task_ids": self.remote_task_type.ids_param}
        return path, {renamed.get(name, name): getattr(self, name) for name in names}

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Render what a sensor would have rendered; called where the wait begins in the triggerer.

        Airflow calls it too for a mapped sensor that has ``start_from_trigger``, whose wait a worker began.
        """
        if self.started_at is None:
            native = bool(self.sensor and self.sensor.get("native"))
            jinja = jinja_env or environment(self.get_template_env(), native=native)
            self.render_template_as_native_obj = native
            for name in ("conn_id", "remote_task_ids", "on_waiting"):
                setattr(self, name, self.render_template(getattr(self, name), context, jinja))
            if self.sensor:
                self.sensor = {**self.sensor, "single": isinstance(self.remote_task_ids, str)}
        release(context, self.task_instance, log)

    # ----------------------------------------------------------------------------------------- the wait

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then yield the one event."""
        ids = validation.object_ids(self.remote_task_ids, self.remote_task_type.id_param)
        settings = SensorSettings(**self.sensor) if self.sensor else None
        policy = self._policy(settings)
        tracker = PollTracker(ids, policy, self.checkpoint, label=self.remote_task_type.label)
        idler = None if TRIGGERS_GET_ON_KILL else _IDLERS.get()
        began = self.clocks.monotonic()
        try:
            with reported(getattr(self, "trigger_id", None), tracker):
                result = await self._join(tracker, policy)
            end = self._end(settings, result, ids)
            if type(end.event) is TriggerEvent:
                await self._outlast_the_first_process(began)
        except asyncio.CancelledError:
            # Not where the triggerer ends: then the wait continues elsewhere, and Airflow could not be asked.
            if idler is not None and not idler.cancelling():
                await self.on_kill()
            raise
        await end.write(self.task_instance, log)
        yield end.event

    async def _join(self, tracker: PollTracker, policy: PollPolicy) -> WaitResult:
        longest = max(policy.poll_interval, policy.max_poll_interval or 0.0)
        return await join(
            tracker,
            task_type=self.remote_task_type,
            conn_id=self.conn_id,
            link=self._link,
            clocks=self.clocks,
            metrics=METRICS,
            first_poll_in=self._seconds_until(self.first_poll_at, longest),
            back_off=self._seconds_until(self.back_off_until, MAX_RETRY_AFTER),
            log=log,
            bells=bells(),
        )

    def _end(self, settings: SensorSettings | None, result: WaitResult, ids: Sequence[str]) -> TaskEnd:
        """Return what ends the task in the triggerer, or resumes it on a worker."""
        # dag.test() runs a trigger that belongs to no task instance, and resumes the task whatever the event
        # says.
        if settings is None or not settings.ends_in_triggerer or self.task_instance is None:
            return TaskEnd(TriggerEvent(result.to_event()), {})
        page = result.first_url if self.remote_task_type.has_page else None
        return settings.task_end(result, ids, self.on_waiting, page)

    async def _outlast_the_first_process(self, began: float) -> None:
        """Let a deferral last until the scheduler has noticed that the process before it is over.

        :param began: when this trigger began, which is not before the deferral.
        """
        # No process was before a wait that began here, and dag.test() has no scheduler.
        if self.started_at is None or self.task_instance is None:
            return
        left = shortest_deferral() - (self.clocks.monotonic() - began)
        if left > 0:
            log.info("The wait is over; Airflow resumes this task in %.0f s.", left)
            await self.clocks.sleep(left)

    def _policy(self, settings: SensorSettings | None) -> PollPolicy:
        given = {field.name: getattr(self, field.name) for field in fields(PollPolicy)}
        if self.started_at is None:
            now = self.clocks.wall()
            given |= {"started_at": now} if settings is None else settings.begin(self.timeout_after, now)
        return PollPolicy(**given)

    def _seconds_until(self, moment: float | None, longest: float) -> float:
        """Return the seconds until a moment that the worker has set, by its own clock, which may be ahead."""
        return 0.0 if moment is None else min(moment - self.clocks.wall(), longest)

    def _link(self) -> AsyncLink:
        service = self.remote_task_type.service
        return AsyncLink(lambda: read_connection_async(service, self.conn_id), self._connect)

    async def _connect(self, config: ConnectionConfig) -> AsyncClient:
        return await connect(self.remote_task_type.service, config, self.clocks)

    async def _connect_once(self) -> AsyncClient:
        """Return a client that repeats no request: the queue does, and asks before whether it still may."""
        config = await read_connection_async(self.remote_task_type.service, self.conn_id)
        return await self._connect(one_attempt(config))

    # ------------------------------------------------------------------------------------------- a kill

    async def on_kill(self) -> None:
        """Cancel the remote tasks if a user has ended the Airflow task.

        Airflow calls it from 3.3 on, also for a task that was cleared, and then after the next attempt has
        begun: see :func:`~remote_tasks_provider.bases.compat.is_over`. Before 3.3 :meth:`run` calls it
        whenever the trigger is cancelled. It waits for as long as Airflow gives a trigger to clean up in; the
        queue continues after that, see :mod:`remote_tasks_provider.core.cancel_queue`.
        """
        if not self.cancel_on_kill or self.task_instance is None:
            return
        task_type = self.remote_task_type
        request, queue = request_cancel(
            validation.object_ids(self.remote_task_ids, task_type.id_param),
            task_type=task_type,
            conn_id=self.conn_id,
            connect=self._connect_once,
            clocks=self.clocks,
            confirm=self._why_killed,
            log=log,
        )
        await _wait_to_the_end(request.done, _LONGEST_CANCELLATION)
        if not request.done.is_set():
            left = request.left
            log.warning(
                "%s. The triggerer continues, and says what becomes of each in its own log: %s%s.",
                queue.outlook(request),
                ", ".join(left[:_NAMED]),
                f" and {len(left) - _NAMED} more" if len(left) > _NAMED else "",
            )

    async def _why_killed(self) -> str | None:
        """Return why to cancel the remote tasks, or ``None`` where they are another attempt's."""
        state = await ask(in_thread(task_state, self.task_instance))
        if is_over(state):
            return f"this task was marked {state}"
        label = self.remote_task_type.label
        log.info("The %ss are left as they are: this task is %s.", label, state or "of unknown state")
        return None


async def connect(service: Service, config: ConnectionConfig, clocks: Clocks) -> AsyncClient:
    """Return a client for the triggerer's event loop, under the account's rate limiter."""
    # Reading the certificate store takes tens of milliseconds, too long for the shared event loop.
    transport = await asyncio.to_thread(HttpxTransport, config)
    limiter = limiter_for(config.account, service.limits)
    return AsyncClient(config, transport, service.explain, limiter, clocks, METRICS)


async def _wait_to_the_end(event: asyncio.Event, seconds: float) -> None:
    """Wait for ``event``, also while it is cancelled; only the end of the event loop ends it earlier.

    Airflow cancels a trigger again every second until it has returned.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    waiter = loop.create_task(event.wait())
    while not waiter.done() and (left := until - loop.time()) > 0:
        with suppress(asyncio.CancelledError):
            await asyncio.wait([waiter], timeout=left)
    waiter.cancel()
