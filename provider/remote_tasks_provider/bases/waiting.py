"""How an operator or sensor waits for remote tasks, once for poke, reschedule and deferrable mode.

The three differ in one line: how the pause between two looks is spent. A worker sleeps through it, hands the
task back to the scheduler, or hands the wait to the triggerer. All that is decided about a wait is decided in
:mod:`remote_tasks_provider.core.polling.tracker` and :mod:`remote_tasks_provider.core.polling.result`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.providers.common.compat.sdk import BaseOperator, conf

from remote_tasks_provider.bases.compat import (
    RETRIES_RESUME,
    TRIGGER_FAILED,
    TRIGGER_TIMED_OUT,
    AirflowRescheduleException,
    first_rescheduled_at,
    first_try_number,
)
from remote_tasks_provider.bases.exceptions import wait_exception
from remote_tasks_provider.bases.from_trigger import TRIGGERER_GRACE
from remote_tasks_provider.bases.hooks import RemoteTaskHook
from remote_tasks_provider.bases.links import push_link
from remote_tasks_provider.bases.triggers import RemoteTaskTrigger
from remote_tasks_provider.core.errors import ConnectionConfigError, RemoteTaskError, WaitTimeoutError
from remote_tasks_provider.core.http.client import Client
from remote_tasks_provider.core.polling.drivers import run_plan
from remote_tasks_provider.core.polling.policy import PollPolicy
from remote_tasks_provider.core.polling.result import TimedOut, WaitResult
from remote_tasks_provider.core.polling.tracker import PollTracker

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["Mode", "WaitingOperator", "default_deferrable"]

Mode = Literal["poke", "reschedule", "deferrable"]

_STARTED = "remote_wait_started"
_DEFERRED_IN = "remote_wait_attempt"


def default_deferrable() -> bool:
    """Return Airflow's ``[operators] default_deferrable``."""
    return bool(conf.getboolean("operators", "default_deferrable", fallback=False))


class WaitingOperator(BaseOperator):
    """An operator that waits for remote tasks.

    Subclasses call :meth:`wait_for_tasks` and implement :meth:`finish`.
    ``trigger_class`` is the vendor's trigger, ``what`` names one of its tasks in messages.
    """

    trigger_class: ClassVar[type[RemoteTaskTrigger]]
    what: ClassVar[str]
    timeout: float
    stop_on_kill: bool = False
    """Whether the trigger stops the remote tasks when a user ends the deferred task."""
    _began: float | None = None
    """When this attempt began, where Airflow says that of an earlier one."""
    carried: Mapping[str, Any] = MappingProxyType({})
    """What the operator takes along into the part of it that runs after a deferral; a JSON object."""

    @property
    def hook(self) -> RemoteTaskHook:
        """The vendor's hook for this operator's connection."""
        raise NotImplementedError

    def finish(self, context: Context, report: WaitResult) -> Any:
        """Return the operator's result, or raise."""
        raise NotImplementedError

    def wait_for_tasks(self, context: Context, ids: list[str], policy: PollPolicy, mode: Mode) -> Any:
        """Look at the tasks until they have ended; return what :meth:`finish` makes of it.

        The first look is always the worker's: a task that has already ended never reaches the triggerer.
        """
        wait = PollTracker(ids, policy)
        hook = self.hook
        client = self._client(hook)
        strategy = self.trigger_class.service.strategy(client.config.extras)
        try:
            while True:
                results = run_plan(strategy.plan(wait.open_ids, ()), client)
                now = time.time()
                wait.take(results, now)
                pause = wait.pause(now)
                self._tell_of(context, wait, now, pause)
                if pause is None:
                    return self.finish(context, wait.report(now))
                if mode == "deferrable":
                    if RETRIES_RESUME:
                        context["ti"].xcom_push(key=_DEFERRED_IN, value=context["ti"].try_number)
                    self._defer(wait, hook.conn_id, now + pause)
                # What a fresh process could not know keeps this one: failures in a row, a 404 that may heal.
                if mode == "reschedule" and wait.is_settled:
                    raise AirflowRescheduleException(datetime.fromtimestamp(now + pause, UTC))
                time.sleep(pause)
        finally:
            hook.close()

    def _client(self, hook: RemoteTaskHook) -> Client:
        try:
            return hook.client
        except ConnectionConfigError as error:
            raise self.wait_exception(error, None) from error

    def _tell_of(self, context: Context, wait: PollTracker, now: float, pause: float | None) -> None:
        for note in wait.take_notes():
            self.log.warning("%s", note)
        if pause is not None:
            self.log.info("%s: %s", self.hook.service.name, wait.summary(now, pause))
        if not getattr(self, "_link_pushed", False) and (url := wait.first_url):
            push_link(context, url)
            self._link_pushed = True

    def _defer(self, wait: PollTracker, conn_id: str, first_poll_at: float) -> None:
        policy = wait.policy
        ends = [end for end in (policy.deadline, policy.execution_deadline) if end is not None]
        self.defer(
            trigger=self.trigger_class(
                conn_id=conn_id,
                **{self.trigger_class.ids_field: wait.ids},
                poll_interval=policy.interval,
                started_at=policy.started_at,
                deadline=policy.deadline,
                execution_deadline=policy.execution_deadline,
                on_waiting=policy.on_waiting,
                max_poll_failures=policy.max_failures,
                not_found_grace=policy.not_found_grace,
                max_poll_interval=policy.max_interval,
                first_poll_at=first_poll_at,
                checkpoint=wait.checkpoint() or None,
                max_credits=policy.max_credits,
                stop_on_kill=self.stop_on_kill,
                sensor=self.rules_for_trigger(),
            ),
            method_name="execute_complete",
            kwargs=dict(self.carried) or None,
            timeout=timedelta(seconds=max(0.0, min(ends) - time.time())) + TRIGGERER_GRACE if ends else None,
        )

    def execute_complete(self, context: Context, event: Any = None, **carried: Any) -> Any:
        """Go on after the trigger fired.

        :param carried: what :attr:`carried` was when the task was deferred.
        :param event: what :meth:`remote_tasks_provider.core.polling.result.WaitResult.to_event` returned in
            the triggerer.
        """
        self.carried = carried
        try:
            report = WaitResult.from_event(event)
        except RemoteTaskError as error:
            raise wait_exception(error, None) from error
        if self.start_from_trigger:
            push_link(context, report.first_url)
        return self.finish(context, self._look_again(report) if report.omitted else report)

    def _which_timeout(self) -> TimedOut:
        """Return which limit Airflow's timeout of a deferral stands for; it takes the shorter one."""
        limit = self.execution_timeout
        return "timeout" if limit is None or limit.total_seconds() >= self.timeout else "execution_timeout"

    def _look_again(self, report: WaitResult) -> WaitResult:
        """Ask again for the ended tasks that were too many for the trigger's event.

        :raises RemoteTaskError: when the service cannot be asked now; a retry of the task waits anew.
        """
        hook = self.hook
        client = self._client(hook)
        strategy = self.trigger_class.service.strategy(client.config.extras)
        try:
            while report.omitted:
                results = run_plan(strategy.plan(report.omitted, ()), client)
                for result in results.values():
                    if isinstance(result, RemoteTaskError) and result.retry_helps:
                        raise result
                report = report.completed_with(results)
        finally:
            hook.close()
        return report

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral, also when the trigger timed out.

        Skips the version of Airflow's sensors, which turns every failure into a skip under ``soft_fail``.
        """
        if RETRIES_RESUME and self._is_retry(context):
            self.log.info(
                "This is a retry, which Airflow took for the rest of the attempt before: waiting anew."
            )
            self._began = time.time()
            return self.execute(context)
        if next_method == TRIGGER_FAILED and (next_kwargs or {}).get("error") in TRIGGER_TIMED_OUT:
            error = WaitTimeoutError(
                "Gave up waiting: the deadline has passed and no triggerer ended the wait. Is one running?"
            )
            raise self.gave_up(context, error, next_kwargs or {}) from error
        return BaseOperator.resume_execution(self, next_method, next_kwargs, context)

    def _is_retry(self, context: Context) -> bool:
        """Whether the deferral was that of an earlier attempt."""
        ti: Any = context.get("ti")
        if ti is None:
            return False
        deferred_in = ti.xcom_pull(task_ids=ti.task_id, key=_DEFERRED_IN, map_indexes=ti.map_index)
        return deferred_in is not None and deferred_in != ti.try_number

    def gave_up(
        self, context: Context, error: WaitTimeoutError, next_kwargs: Mapping[str, Any]
    ) -> BaseException:
        """Return what to raise when a deferral outlived Airflow's timeout.

        :param next_kwargs: what Airflow resumed the task with.
        """
        return self.wait_exception(error, self._which_timeout())

    def rules_for_trigger(self) -> dict[str, Any] | None:
        """Return what the trigger must know to end the task itself; nothing, where a worker ends it."""
        return None

    def wait_exception(self, error: RemoteTaskError, timed_out: Any) -> BaseException:
        """Return what to raise for a wait that ended in ``error``."""
        return wait_exception(error, timed_out)

    def wait_policy(
        self,
        context: Context,
        *,
        timeout: float,
        mode: Mode,
        started_at: float | None = None,
        **rules: Any,
    ) -> PollPolicy:
        """Return the policy of this task's wait, its deadline counted from the first attempt's start.

        :param timeout: seconds.
        :param started_at: when the wait began, where an earlier part of this attempt knows it.
        :param rules: the rest of :class:`PollPolicy`.
        """
        started_at = self._started_at(context, mode) if started_at is None else started_at
        return PollPolicy(
            started_at=started_at,
            deadline=started_at + timeout,
            execution_deadline=self._execution_deadline(context) if mode == "deferrable" else None,
            **rules,
        )

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
        # A cleared task begins anew, but the store outlives the clear: its attempts are told apart.
        first_try = first_try_number(context, self)
        saved = store.get(_STARTED)
        if isinstance(saved, dict) and saved.get("first_try") == first_try:
            return float(saved["at"])
        store.set(_STARTED, {"first_try": first_try, "at": now})
        return now

    def _execution_deadline(self, context: Context) -> float | None:
        """Return when ``execution_timeout`` ends this attempt; Airflow 3 does not while it is deferred."""
        started = getattr(context.get("ti"), "start_date", None)
        if self.execution_timeout is None:
            return None
        began = self._began or (started.timestamp() if started else time.time())
        return began + self.execution_timeout.total_seconds()
