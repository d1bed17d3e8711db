"""The base of every sensor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowSkipException, AirflowTaskTimeout, BaseSensorOperator
from airflow.triggers.base import StartTriggerArgs

from remote_tasks_provider.bases.arguments import ids, wait_timeout
from remote_tasks_provider.bases.compat import STARTS_FROM_TRIGGER, AirflowRescheduleException
from remote_tasks_provider.bases.exceptions import wait_exception
from remote_tasks_provider.bases.from_trigger import (
    SensorSettings,
    WhenRead,
    renders_native,
    why_not_rendered,
)
from remote_tasks_provider.bases.waiting import Mode, WaitingOperator
from remote_tasks_provider.bases.xcoms import hand_over
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import InvalidArgumentError, RemoteTaskError
from remote_tasks_provider.core.polling.policy import ON_WAITING, OnWaiting
from remote_tasks_provider.core.polling.result import WaitResult
from remote_tasks_provider.core.validation import Check

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["RemoteTaskSensor"]

# ``silent_fail`` asks to poll on whatever goes wrong, until the timeout.
_NEVER = 1e9

_from_zero = partial(validation.seconds, zero=True)


def _timeout(value: Any, name: str) -> float:
    """Return a sensor's ``timeout``, which may be 0: then it polls once."""
    return wait_timeout(value) if value is None else _from_zero(value, name)


class RemoteTaskSensor(WaitingOperator, BaseSensorOperator):
    """Waits until one or many remote tasks are finished; the parameters are those of every sensor.

    A subclass has a parameter for the connection. It may name the one with the tasks as its service does, and
    passes it on under this name.

    :param remote_task_id: the task's id, or a list of ids, all of which must finish.
    :param raise_on_failure: fail without a retry when a remote task failed or was cancelled; otherwise
        succeed, and let the next task branch on ``state``.
    :param on_waiting: when a task waits for a person: ``wait`` on, ``return`` (succeed, with state
        ``waiting``) or ``fail``.
    :param poke_interval: seconds between polls.
    :param timeout: seconds from the first attempt's start until the sensor gives up; the remote task is left
        alone.
    :param max_wait: seconds (or a ``timedelta``) that a pause has at most with ``exponential_backoff``.
    :param soft_fail: skip instead of failing on ``timeout``; a failed remote task still fails the sensor.
    :param start_from_trigger: with ``deferrable``: start in the triggerer, without a worker (Airflow 3.3 or
        newer; on others, for mapped tasks and for the output of another task the wait starts on a worker).
    :param end_from_trigger: with ``deferrable``: end in the triggerer, without a worker (Airflow 3.3 or
        newer). Task listeners and callbacks that need a worker do not see such a task end.
    """

    checks: ClassVar[Mapping[str, Check]] = {
        "end_from_trigger": validation.flag,
        "on_waiting": partial(validation.choice, allowed=ON_WAITING),
        "poke_interval": _from_zero,
        "timeout": _timeout,
        "soft_fail": validation.flag,
        "silent_fail": validation.flag,
        "never_fail": validation.flag,
        "exponential_backoff": validation.flag,
    }

    awaited_check = ids

    on_waiting: OnWaiting = "wait"
    """A parameter where a task can wait for a person."""

    _wants_to_start_from_trigger = False
    _starts_on_a_worker: str | None = None

    def __init__(
        self,
        *,
        remote_task_id: str | Iterable[str],
        raise_on_failure: bool = True,
        start_from_trigger: bool = False,
        end_from_trigger: bool = False,
        on_waiting: OnWaiting = "wait",
        poke_interval: float | str | timedelta = 30.0,
        timeout: float | str | timedelta | None = None,
        max_wait: float | str | timedelta | None = None,
        **kwargs: Any,
    ) -> None:
        # Airflow's own constructor takes no numeric strings.
        super().__init__(
            poke_interval=_from_zero(poke_interval, "poke_interval"),
            timeout=_timeout(timeout, "timeout"),
            max_wait=None if max_wait is None else timedelta(seconds=_from_zero(max_wait, "max_wait")),
            **kwargs,
        )
        setattr(self, self.remote_task_type.id_param, remote_task_id)
        self.raise_on_failure = raise_on_failure
        self.on_waiting = on_waiting
        self.end_from_trigger = end_from_trigger
        start_from_trigger = validation.flag(start_from_trigger, "start_from_trigger")
        if (start_from_trigger or self.end_from_trigger) and not self.deferrable:
            raise InvalidArgumentError("start_from_trigger and end_from_trigger need deferrable=True")
        self._wants_to_start_from_trigger = start_from_trigger

    @property
    def awaited(self) -> Any:
        """The task or tasks to wait for, rendered when the wait begins."""
        return getattr(self, self.remote_task_type.id_param)

    # ----------------------------------------------------------------------------------- in the triggerer

    def _start_trigger_args(self) -> StartTriggerArgs | None:
        if not self._wants_to_start_from_trigger or self._why_not_from_trigger() is not None:
            return None
        ids = self.awaited if isinstance(self.awaited, str) else list(self.awaited)
        return StartTriggerArgs(
            trigger_cls=f"{self.trigger_class.__module__}.{self.trigger_class.__qualname__}",
            next_method="execute_complete",
            trigger_kwargs={
                "conn_id": getattr(self, self.hook_class.conn_name_attr),
                self.remote_task_type.ids_param: ids,
                **self._poll_rules(),
                "waiting_timeout": self.waiting_timeout,
                "sensor": asdict(self._settings()),
            },
            timeout=timedelta(seconds=self.wait_limits.deferral),
        )

    start_trigger_args = WhenRead(_start_trigger_args, of_class=None)
    start_from_trigger = WhenRead(lambda self: self.start_trigger_args is not None, of_class=False)

    def _why_not_from_trigger(self) -> str | None:
        if not STARTS_FROM_TRIGGER:
            return "it needs Airflow 3.3 or newer"
        ids = [self.awaited] if isinstance(self.awaited, str) else self.awaited
        name = self.remote_task_type.id_param
        if not isinstance(ids, (list, tuple)) or not all(isinstance(one, str) for one in ids):
            return f"{name} must be a string, a template or a list of them, not another task's output"
        rendered = [*ids, str(getattr(self, self.hook_class.conn_name_attr)), str(self.on_waiting)]
        if any("xcom_pull" in one for one in rendered):
            # Airflow 3.3.2's triggerer cannot answer it, and waits for ever.
            return "a template with xcom_pull can be rendered on a worker only"
        return why_not_rendered(self) if any("{{" in one or "{%" in one for one in rendered) else None

    def _settings(self) -> SensorSettings:
        return SensorSettings(
            label=self.remote_task_type.label,
            timeout=self.timeout,
            execution_timeout=self.wait_limits.execution_timeout,
            has_retries=bool(self.retries),
            single=isinstance(self.awaited, str),
            ends_in_triggerer=self.end_from_trigger and STARTS_FROM_TRIGGER,
            raise_on_failure=self.raise_on_failure,
            soft_fail=self.soft_fail,
            never_fail=self.never_fail,
            native=renders_native(self),
        )

    def trigger_arguments(self) -> dict[str, Any]:
        """Return the settings where the trigger is to end the task."""
        settings = self._settings()
        return {"sensor": asdict(settings)} if settings.ends_in_triggerer else {}

    # ---------------------------------------------------------------------------------------- on a worker

    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:
        """Render the templates, on a worker."""
        self._starts_on_a_worker = self._why_not_from_trigger()
        super().render_template_fields(context, jinja_env)

    def execute(self, context: Context) -> Any:
        """Wait; return one record for one id, a list in input order for several."""
        with self._skipping():
            return self._wait(context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Finish after a deferral."""
        with self._skipping():
            return super().resume_execution(next_method, next_kwargs, context)

    @contextmanager
    def _skipping(self) -> Iterator[None]:
        """Under ``never_fail``, skip whatever goes wrong, wherever the wait is."""
        try:
            yield
        except (AirflowSkipException, AirflowRescheduleException):
            raise
        # A deferral is neither.
        except (Exception, AirflowTaskTimeout) as error:
            if not self.never_fail:
                raise
            raise AirflowSkipException(str(error)) from error

    def _wait(self, context: Context) -> Any:
        self.check_arguments()
        name = self.remote_task_type.id_param
        ids = self.awaited_ids()
        self._log_what_cannot_be_done()
        if not ids:
            self.log.info("%s is an empty list: there is nothing to wait for.", name)
            return []
        mode: Mode = "deferrable" if self.deferrable else "reschedule" if self.reschedule else "poke"
        return self.wait_for_tasks(context, ids, self.poll_policy(context, mode, **self._poll_rules()), mode)

    def _log_what_cannot_be_done(self) -> None:
        if self._wants_to_start_from_trigger:
            why = (
                self._starts_on_a_worker
                or self._why_not_from_trigger()
                or "Airflow starts a mapped task there"
            )
            self.log.info("The wait starts on a worker in spite of start_from_trigger: %s.", why)
        if self.end_from_trigger and not STARTS_FROM_TRIGGER:
            self.log.info("The wait ends on a worker: end_from_trigger needs Airflow 3.3 or newer.")

    def _poll_rules(self) -> dict[str, Any]:
        longest = self.max_wait.total_seconds() if self.max_wait else self.timeout
        return {
            "poll_interval": self.poke_interval,
            "on_waiting": self.on_waiting,
            "outage_tolerance": _NEVER if self.silent_fail else self.outage_tolerance,
            "not_found_grace": self.not_found_grace,
            "max_poll_interval": longest if self.exponential_backoff else None,
        }

    def awaited_ids(self) -> list[str]:
        """Return the ids of the tasks to wait for."""
        return validation.object_ids(self.awaited, self.remote_task_type.id_param)

    def finish(self, context: Context, result: WaitResult) -> Any:
        """Return the records in the order of the ids, or raise."""
        label = self.remote_task_type.label
        error = result.failure(label, raise_on_failure=self.raise_on_failure, on_waiting=self.on_waiting)
        if error is not None:
            raise self.wait_exception(error, result.timed_out) from error
        result.report(label, self.log)
        records = result.in_order(self.awaited_ids())
        return hand_over(self, context, records[0] if isinstance(self.awaited, str) else records)

    def wait_exception(self, error: RemoteTaskError, timed_out: Any) -> BaseException:
        """Skip on a timeout under ``soft_fail``, on everything under ``never_fail``."""
        return wait_exception(error, timed_out, soft_fail=self.soft_fail, never_fail=self.never_fail)
