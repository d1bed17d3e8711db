"""The sensor every vendor's sensor is made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseSensorOperator, conf

from remote_tasks_provider.bases.waiting import Mode, WaitsForTasks
from remote_tasks_provider.core import inputs
from remote_tasks_provider.core.errors import RemoteTaskError, WaitTimeoutError
from remote_tasks_provider.core.polling import OnWaiting
from remote_tasks_provider.core.report import WaitReport

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["RemoteTaskSensor"]

# ``silent_fail`` asks to look on whatever goes wrong, until the timeout.
_NEVER = 10**9


class RemoteTaskSensor(WaitsForTasks, BaseSensorOperator):
    """Waits until one or many remote tasks have ended; see the vendors' sensors for the parameters."""

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
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.remote_task_id = remote_task_id
        self.deferrable = (
            conf.getboolean("operators", "default_deferrable", fallback=False)
            if deferrable is None
            else deferrable
        )
        self.raise_on_failure = raise_on_failure
        self.max_poll_failures = max_poll_failures
        self.not_found_grace = not_found_grace

    def execute(self, context: Context) -> Any:
        """Wait; return one record for one id, a list in input order for several."""
        ids = inputs.object_ids(self.remote_task_id, "remote_task_id")
        if not ids:
            self.log.info("remote_task_id is an empty list: there is nothing to wait for.")
            return []
        mode: Mode = "deferrable" if self.deferrable else "reschedule" if self.reschedule else "poke"
        policy = self.wait_policy(
            context,
            timeout=self.timeout,
            mode=mode,
            interval=self.poke_interval,
            on_waiting=self.on_waiting,
            max_failures=_NEVER if self.silent_fail else self.max_poll_failures,
            not_found_grace=self.not_found_grace,
            max_interval=self._max_interval(),
        )
        return self.wait_for_tasks(context, ids, policy, mode)

    def _max_interval(self) -> float | None:
        if not self.exponential_backoff:
            return None
        return self.max_wait.total_seconds() if self.max_wait else self.timeout

    def finish(self, context: Context, report: WaitReport) -> Any:
        """Return the records in the order of the ids, or raise."""
        error = report.failure(self.what, raise_on_failure=self.raise_on_failure, on_waiting=self.on_waiting)
        if error is not None:
            raise self.after_wait(error, report.timed_out) from error
        ids = inputs.object_ids(self.remote_task_id, "remote_task_id")
        records = report.in_order(ids)
        for record in records:
            self.log.info("%s %s is %s.", self.what, (record or {}).get("id"), (record or {}).get("state"))
        return records[0] if isinstance(self.remote_task_id, str) else records

    def after_wait(self, error: RemoteTaskError, timed_out: Any) -> BaseException:
        """Skip on a timeout under ``soft_fail``, on everything under ``never_fail``."""
        is_timeout = isinstance(error, WaitTimeoutError) and timed_out != "execution_timeout"
        if self.never_fail or (self.soft_fail and is_timeout):
            return AirflowSkipException(str(error))
        return super().after_wait(error, timed_out)
