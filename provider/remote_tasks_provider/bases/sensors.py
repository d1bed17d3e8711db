"""The sensor every vendor's sensor is made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseSensorOperator
from airflow.triggers.base import StartTriggerArgs

from remote_tasks_provider.bases.compat import STARTS_FROM_TRIGGER
from remote_tasks_provider.bases.exceptions import wait_exception
from remote_tasks_provider.bases.from_trigger import SensorSettings
from remote_tasks_provider.bases.waiting import Mode, WaitingOperator, default_deferrable
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.polling.policy import OnWaiting
from remote_tasks_provider.core.polling.result import WaitResult

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["RemoteTaskSensor"]

# ``silent_fail`` asks to look on whatever goes wrong, until the timeout.
_NEVER = 10**9


class RemoteTaskSensor(WaitingOperator, BaseSensorOperator):
    """Waits until one or many remote tasks have ended; see the vendors' sensors for the parameters."""

    ids_field: ClassVar[str] = "remote_task_id"
    """What the parameter with the tasks is called."""
    on_waiting: OnWaiting = "wait"
    """A parameter where the vendor's tasks can wait for a person."""

    def __init__(
        self,
        *,
        remote_task_id: str | Iterable[str],
        deferrable: bool | None = None,
        raise_on_failure: bool = True,
        max_poll_failures: int = 5,
        not_found_grace: float = 90.0,
        start_from_trigger: bool = False,
        end_from_trigger: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        setattr(self, self.ids_field, remote_task_id)
        self.deferrable = default_deferrable() if deferrable is None else deferrable
        self.raise_on_failure = raise_on_failure
        self.max_poll_failures = max_poll_failures
        self.not_found_grace = not_found_grace

        self.end_from_trigger = end_from_trigger
        if (start_from_trigger or end_from_trigger) and not self.deferrable:
            raise ValueError("start_from_trigger and end_from_trigger need deferrable=True")
        self._wants_to_start_from_trigger = start_from_trigger

    @property
    def awaited(self) -> Any:
        """The task or tasks to wait for, rendered when the wait begins."""
        return getattr(self, self.ids_field)

    def start_in_triggerer(self, conn_id: str) -> None:
        """Let the wait begin in the triggerer, if that was asked for and can be done.

        Called by the vendor's constructor when all that the trigger is told is known. What cannot be done is
        said when the wait begins.
        """
        if not self._wants_to_start_from_trigger or self._why_not_from_trigger():
            return
        rules = self._rules()
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls=f"{self.trigger_class.__module__}.{self.trigger_class.__qualname__}",
            next_method="execute_complete",
            trigger_kwargs={
                "conn_id": conn_id,
                self.trigger_class.ids_field: self.awaited,
                "poll_interval": self.poke_interval,
                "on_waiting": self.on_waiting,
                "max_poll_failures": self._max_failures(),
                "not_found_grace": self.not_found_grace,
                "max_poll_interval": self._max_interval(),
                "sensor": rules.to_json(),
            },
            timeout=rules.deferral_timeout,
        )
        self.start_from_trigger = True

    def _why_not_from_trigger(self) -> str | None:
        if not STARTS_FROM_TRIGGER:
            return "it needs Airflow 3.3 or newer"
        ids = [self.awaited] if isinstance(self.awaited, str) else self.awaited
        if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
            return (
                f"{self.ids_field} must be a string, a template or a list of them, not another task's output"
            )
        if any("xcom_pull" in one for one in ids):
            # Airflow 3.3.2's triggerer cannot answer it, and waits for ever.
            return "a template with xcom_pull can be rendered on a worker only"
        return None

    def _rules(self) -> SensorSettings:
        return SensorSettings(
            what=self.what,
            timeout=self.timeout,
            execution_timeout=self.execution_timeout.total_seconds() if self.execution_timeout else None,
            has_retries=bool(self.retries),
            single=isinstance(self.awaited, str),
            ends=self.end_from_trigger and STARTS_FROM_TRIGGER,
            raise_on_failure=self.raise_on_failure,
            soft_fail=self.soft_fail,
            never_fail=self.never_fail,
        )

    def rules_for_trigger(self) -> dict[str, Any] | None:
        """Return the rules where the trigger is to end the task."""
        rules = self._rules()
        return rules.to_json() if rules.ends else None

    def execute(self, context: Context) -> Any:
        """Wait; return one record for one id, a list in input order for several."""
        ids = validation.object_ids(self.awaited, self.ids_field)
        self._tell_what_cannot_be()
        if not ids:
            self.log.info("%s is an empty list: there is nothing to wait for.", self.ids_field)
            return []
        mode: Mode = "deferrable" if self.deferrable else "reschedule" if self.reschedule else "poke"
        policy = self.wait_policy(
            context,
            timeout=self.timeout,
            mode=mode,
            interval=self.poke_interval,
            on_waiting=self.on_waiting,
            max_failures=self._max_failures(),
            not_found_grace=self.not_found_grace,
            max_interval=self._max_interval(),
        )
        return self.wait_for_tasks(context, ids, policy, mode)

    def _tell_what_cannot_be(self) -> None:
        if self._wants_to_start_from_trigger:
            why = self._why_not_from_trigger() or "Airflow begins a mapped task there"
            self.log.info("The wait begins on a worker in spite of start_from_trigger: %s.", why)
        if self.end_from_trigger and not STARTS_FROM_TRIGGER:
            self.log.info("The wait ends on a worker: end_from_trigger needs Airflow 3.3 or newer.")

    def _max_failures(self) -> int:
        return _NEVER if self.silent_fail else self.max_poll_failures

    def _max_interval(self) -> float | None:
        if not self.exponential_backoff:
            return None
        return self.max_wait.total_seconds() if self.max_wait else self.timeout

    def finish(self, context: Context, report: WaitResult) -> Any:
        """Return the records in the order of the ids, or raise."""
        error = report.failure(self.what, raise_on_failure=self.raise_on_failure, on_waiting=self.on_waiting)
        if error is not None:
            raise self.wait_exception(error, report.timed_out) from error
        ids = validation.object_ids(self.awaited, self.ids_field)
        records = report.in_order(ids)
        for record in records:
            self.log.info("%s %s is %s.", self.what, (record or {}).get("id"), (record or {}).get("state"))
        return records[0] if isinstance(self.awaited, str) else records

    def wait_exception(self, error: RemoteTaskError, timed_out: Any) -> BaseException:
        """Skip on a timeout under ``soft_fail``, on everything under ``never_fail``."""
        return wait_exception(error, timed_out, soft_fail=self.soft_fail, never_fail=self.never_fail)
