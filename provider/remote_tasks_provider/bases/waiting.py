"""How an operator or sensor waits for remote tasks, once for poke, reschedule and deferrable mode.

The three differ in how the pause between two polls is spent: a worker sleeps, gives the task back to the
scheduler, or defers the wait to the triggerer. :mod:`remote_tasks_provider.core.polling` has the rules.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.providers.common.compat.sdk import BaseOperator, conf

from remote_tasks_provider.bases.arguments import CheckedOperator
from remote_tasks_provider.bases.compat import (
    RETRIES_RESUME,
    TRIGGER_FAILED,
    TRIGGER_TIMED_OUT,
    AirflowRescheduleException,
    TaskDeferralError,
    first_rescheduled_at,
    first_try_number,
)
from remote_tasks_provider.bases.exceptions import wait_exception
from remote_tasks_provider.bases.hooks import RemoteTaskHook
from remote_tasks_provider.bases.links import push_link
from remote_tasks_provider.bases.origin import Origin
from remote_tasks_provider.bases.triggers import RemoteTaskTrigger
from remote_tasks_provider.core.clocks import steady
from remote_tasks_provider.core.errors import RemoteTaskError, WaitTimeoutError, error_from_json
from remote_tasks_provider.core.log import counted
from remote_tasks_provider.core.polling.drivers import poll_until_done
from remote_tasks_provider.core.polling.policy import PollPolicy, TimedOut, WaitLimits
from remote_tasks_provider.core.polling.result import WaitResult
from remote_tasks_provider.core.polling.tracker import PollTracker
from remote_tasks_provider.core.service import TaskType

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["Mode", "Settlement", "WaitingOperator"]

Mode = Literal["poke", "reschedule", "deferrable"]
Settlement = Literal["deferred", "resumed", "undelivered", "delivered", "cancelled", "interrupted"]
"""What an operator has done about the result of its tasks: left the wait to a trigger; taken it back; not
been able to deliver the result; handed the result or the failure to Airflow; cancelled the tasks; been ended
before Airflow took what it had just noted."""

# An answer that a day did not bring is not on its way, and somebody should know.
_DAY = 86_400.0
_STARTED = "remote_wait_started"
_DEFERRED_IN = "remote_wait_attempt"


class WaitingOperator(CheckedOperator):
    """What sensors, branch operators and operators have in common: they wait for remote tasks of one type.

    Subclasses call :meth:`wait_for_tasks` and implement :meth:`finish`.

    :param deferrable: wait in the triggerer and use no worker meanwhile; default ``[operators]
        default_deferrable``.
    :param outage_tolerance: seconds without one good answer after which the wait gives up; then the last
        error is raised and Airflow's ``retries`` apply. A 429 does not count.
    :param not_found_grace: seconds for which a 404, a 401, a 403, a redirect, a refused request or an
        unusable connection must stand to be believed.
    :param waiting_timeout: seconds (or a ``timedelta``) for which a task may wait for a person where the wait
        continues meanwhile; then it fails without a retry. Default a day; ``None`` for as long as
        ``timeout``.
    """

    remote_task_type: ClassVar[TaskType]
    trigger_class: ClassVar[type[RemoteTaskTrigger]]
    timeout: float

    carried: Mapping[str, Any] = MappingProxyType({})
    """What the operator needs again after a deferral, in another process; a JSON object."""
    _attempt_began: float | None = None
    """When this attempt began, where Airflow gives the start of an earlier one."""
    _link_pushed: bool = False

    def __init__(
        self,
        *,
        deferrable: bool | None = None,
        outage_tolerance: float | str | timedelta = 900.0,
        not_found_grace: float | str | timedelta = 90.0,
        waiting_timeout: float | str | timedelta | None = _DAY,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if deferrable is None:
            deferrable = conf.getboolean("operators", "default_deferrable", fallback=False)
        self.deferrable = deferrable
        self.outage_tolerance: Any = outage_tolerance
        self.not_found_grace: Any = not_found_grace
        self.waiting_timeout: Any = waiting_timeout

    @cached_property
    def hook(self) -> Any:
        """The service's hook for this operator's connection."""
        return self.new_hook()

    def new_hook(self) -> RemoteTaskHook:
        """Return a hook with connections of its own."""
        hook: RemoteTaskHook = self.hook_class(getattr(self, self.hook_class.conn_name_attr))
        return hook

    # --------------------------------------------------------------------------- what subclasses decide

    def wait(self, context: Context) -> Any:
        """Wait for the tasks that :attr:`carried` names; for operators that wait more than once."""
        raise NotImplementedError

    def finish(self, context: Context, result: WaitResult) -> Any:
        """Return the operator's result, or raise."""
        raise NotImplementedError

    def awaited_ids(self) -> list[str]:
        """Return the ids of the tasks that :meth:`wait_for_tasks` was called with, after a deferral."""
        return list(self.carried.get("ids", ()))

    def wait_exception(self, error: RemoteTaskError, timed_out: Any) -> BaseException:
        """Return what to raise for a wait that ended in ``error``."""
        return wait_exception(error, timed_out)

    def trigger_arguments(self) -> dict[str, Any]:
        """Return arguments of the trigger beyond those of the wait, if there are more."""
        return {}

    # ----------------------------------------------------------------------------------------- the wait

    def wait_for_tasks(self, context: Context, ids: list[str], policy: PollPolicy, mode: Mode) -> Any:
        """Poll the tasks until they are finished; return what :meth:`finish` makes of it.

        The first poll is always the worker's: a task that is already finished never reaches the triggerer.
        """
        tracker = PollTracker(ids, policy, label=self.remote_task_type.label)

        def pause(seconds: float) -> None:
            if mode == "deferrable":
                self._defer(context, tracker, seconds)
            # A fresh process would not know since when there is trouble.
            if mode == "reschedule" and not tracker.checkpoint():
                raise AirflowRescheduleException(datetime.fromtimestamp(time.time() + seconds, UTC))
            time.sleep(seconds)

        def report(now: float, seconds: float | None) -> None:
            self._log_warnings(tracker)
            if seconds is not None:
                self.log.info("%s", tracker.summary(now, seconds))
            has_page = self.remote_task_type.has_page
            if has_page and not self._link_pushed and (url := tracker.first_url):
                push_link(context, url)
                self._link_pushed = True

        try:
            return self.finish(context, self._poll(tracker, sleep=pause, on_poll=report))
        finally:
            self.hook.close()

    def _poll(self, tracker: PollTracker, **how: Any) -> WaitResult:
        session, link = self.hook.polling(self.remote_task_type)
        clocks: Any = {"clock": steady(time.time, time.monotonic), "monotonic": time.monotonic}
        return poll_until_done(tracker, session, link, **clocks, **how)

    def _log_warnings(self, tracker: PollTracker) -> None:
        for warning in tracker.take_warnings():
            self.log.warning("%s", warning)

    def settle(self, context: Context, settlement: Settlement) -> None:
        """Note how far the wait and the delivery of the result are, where there is a record of the tasks."""

    def _defer(self, context: Context, tracker: PollTracker, pause: float) -> None:
        if RETRIES_RESUME:
            context["ti"].xcom_push(key=_DEFERRED_IN, value=context["ti"].try_number)
        now = time.time()
        timeout = tracker.policy.deferral_timeout(now)
        back_off = self.hook.backs_off_for
        arguments: dict[str, Any] = {
            "conn_id": self.hook.conn_id,
            self.remote_task_type.ids_param: tracker.ids,
            **asdict(tracker.policy),
            "first_poll_at": now + pause,
            "checkpoint": tracker.checkpoint() or None,
            "back_off_until": now + back_off if back_off else None,
            "seen": tracker.seen,
            **self.trigger_arguments(),
        }
        self.settle(context, "deferred")
        self.log.info("%s", _outlook(now + pause, pause))
        self.defer(
            trigger=self.trigger_class(**arguments),
            method_name="execute_complete",
            kwargs=dict(self.carried) or None,
            timeout=None if timeout is None else timedelta(seconds=timeout),
        )

    def execute_complete(self, context: Context, event: Any = None, **carried: Any) -> Any:
        """Finish after the trigger fired ``event``.

        :param carried: what :attr:`carried` was when the task was deferred.
        """
        self.carried = carried
        try:
            result = WaitResult.from_event(event, self.awaited_ids())
        except RemoteTaskError as error:
            raise wait_exception(error, None) from error
        if self.start_from_trigger and self.remote_task_type.has_page:
            push_link(context, result.first_url)
        if result.omitted:
            result = result.completed_with(self._read_again(result.omitted))
        return self.finish(context, result)

    def _read_again(self, ids: Iterable[str]) -> WaitResult:
        """Read the tasks that were too many for the trigger's event, as fast as the rate limit allows.

        Each is read once: one that was resumed meanwhile is not awaited again.

        :raises RemoteTaskError: when the service cannot be asked; a retry of the task waits again.
        """
        now = time.time()
        policy = PollPolicy(
            started_at=now,
            poll_interval=1.0,
            deadline=now + self.timeout,
            outage_tolerance=self.outage_tolerance,
            not_found_grace=self.not_found_grace,
        )
        label = self.remote_task_type.label
        tracker = PollTracker(ids, policy, label=label)
        again = counted(len(tracker.ids), label)
        self.log.info("Reading %s again, as the trigger's event could not hold them.", again)
        try:
            result = self._poll(
                tracker,
                sleep=time.sleep,
                on_poll=lambda _now, _pause: self._log_warnings(tracker),
                is_enough=lambda: not tracker.unread_ids,
            )
        finally:
            self.hook.close()
        if unread := tracker.unread_ids:
            raise RemoteTaskError(
                f"{counted(len(unread), label)} could not be read again within {self.timeout:g} s; a retry "
                "waits again."
            )
        for data in result.errors.values():
            if (error := error_from_json(data)).retry_helps:
                raise error
        return result

    # --------------------------------------------------------------------------------- after a deferral

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after a deferral, also when the trigger timed out or crashed.

        Skips the version of Airflow's sensors, which turns every failure into a skip under ``soft_fail``.
        """
        kwargs = dict(next_kwargs or {})
        self.settle(context, "resumed")
        if RETRIES_RESUME and self._is_retry(context):
            self.log.info(
                "This is a retry, which Airflow took for the rest of the attempt before: waiting again."
            )
            self._attempt_began = time.time()
            return self.execute(context)
        if next_method != TRIGGER_FAILED:
            return self.resume(next_method, kwargs, context)
        self.recover(context)
        if kwargs.get("error") in TRIGGER_TIMED_OUT:
            error = WaitTimeoutError(
                "Gave up waiting: the deadline has passed and no triggerer ended the wait. Is one running?"
            )
            raise self.gave_up(context, error, self.wait_limits.shorter) from error
        try:
            return BaseOperator.resume_execution(self, next_method, kwargs, context)
        except TaskDeferralError as error:
            if not (note := self.what_remains(context)):
                raise
            raise TaskDeferralError(f"{error}. {note}") from error

    def resume(self, next_method: str, kwargs: dict[str, Any], context: Context) -> Any:
        """Call the method that the deferral named."""
        return BaseOperator.resume_execution(self, next_method, kwargs, context)

    def recover(self, context: Context) -> None:
        """Learn again what was carried: Airflow resumes without it when a trigger has crashed."""

    def what_remains(self, context: Context) -> str:
        """Return what to say in the log about a remote task that is not finished when the wait is over."""
        return ""

    def gave_up(self, context: Context, error: WaitTimeoutError, timed_out: TimedOut) -> BaseException:
        """Return what to raise when a deadline has ended the wait."""
        return self.wait_exception(error, timed_out)

    def _is_retry(self, context: Context) -> bool:
        """Whether the deferral was that of an earlier attempt."""
        ti: Any = context.get("ti")
        if ti is None:
            return False
        deferred_in = ti.xcom_pull(task_ids=ti.task_id, key=_DEFERRED_IN, map_indexes=ti.map_index)
        return deferred_in is not None and deferred_in != ti.try_number

    # ---------------------------------------------------------------------------------------- the start

    @property
    def wait_limits(self) -> WaitLimits:
        """How long this operator may wait."""
        limit = self.execution_timeout
        return WaitLimits(self.timeout, None if limit is None else limit.total_seconds())

    def poll_policy(
        self, context: Context, mode: Mode, *, started_at: float | None = None, **rules: Any
    ) -> PollPolicy:
        """Return the policy of this task's wait, its deadline counted from the first attempt's start.

        :param started_at: when the wait began, where an earlier part of this attempt knows it.
        :param rules: the rest of :class:`PollPolicy`.
        """
        started_at = self._started_at(context, mode) if started_at is None else started_at
        started = getattr(context.get("ti"), "start_date", None)
        attempt_started_at = self._attempt_began or (started.timestamp() if started else time.time())
        deadlines = self.wait_limits.deadlines(started_at, attempt_started_at)
        if mode != "deferrable":
            # On a worker Airflow itself ends the attempt.
            deadlines["execution_deadline"] = None
        return PollPolicy(started_at=started_at, waiting_timeout=self.waiting_timeout, **deadlines, **rules)

    def _started_at(self, context: Context, mode: Mode) -> float:
        """Return when the first attempt began.

        Airflow remembers it for a rescheduled sensor; from 3.3 on the task's state store does for the other
        modes.
        """
        now = time.time()
        if mode == "reschedule":
            first = first_rescheduled_at(context, self)
            return first.timestamp() if first else now
        store: Any = context.get("task_state_store")
        if store is None or not self.retries:
            return now
        # A cleared task begins again, but the store outlives the clear.
        max_tries = Origin.of(context).max_tries
        saved = store.get(_STARTED)
        # Older versions saved the number of the first attempt instead.
        now_known = {"max_tries": max_tries, "first_try": first_try_number(context, self)}
        if isinstance(saved, dict) and all(
            saved.get(name, value) == value for name, value in now_known.items()
        ):
            return float(saved["at"])
        store.set(_STARTED, {"max_tries": max_tries, "at": now})
        return now


def _outlook(next_poll: float, pause: float) -> str:
    """Return the last line of a worker that leaves a wait to the triggerer: what comes, and what if not."""
    moment = datetime.fromtimestamp(next_poll, UTC).strftime("%H:%M:%S UTC")
    return (
        f"The triggerer continues this wait and polls next at {moment}, in {pause:.0f} s; its lines follow "
        "here. If none does, check that a triggerer is running (`airflow triggerer`), and that it has "
        "capacity left."
    )
