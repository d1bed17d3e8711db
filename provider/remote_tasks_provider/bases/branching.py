"""The branch operator every vendor's is made of: wait for one task, then follow its outcome."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseBranchOperator, conf

from remote_tasks_provider.bases.waiting import Mode, WaitingOperator, default_deferrable
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.polling.policy import OnWaiting
from remote_tasks_provider.core.polling.result import WaitResult
from remote_tasks_provider.core.states import TaskState

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["Branch", "RemoteTaskBranchOperator"]

Branch = str | Iterable[str]


class RemoteTaskBranchOperator(WaitingOperator, BaseBranchOperator):
    """Waits for one remote task, then runs the branch of its outcome and skips the others.

    See the vendors' operators for the parameters.
    """

    ids_field: ClassVar[str] = "remote_task_id"
    """What the parameter with the task is called."""
    waiting: Branch | None = None
    """A parameter where the vendor's tasks can wait for a person."""

    def __init__(
        self,
        *,
        remote_task_id: str,
        completed: Branch | None = None,
        failed: Branch | None = None,
        cancelled: Branch | None = None,
        deferrable: bool | None = None,
        poll_interval: float | timedelta = 30.0,
        timeout: float | timedelta | None = None,
        max_poll_failures: int = 5,
        not_found_grace: float = 90.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        setattr(self, self.ids_field, remote_task_id)
        self.completed = completed
        self.failed = failed
        self.cancelled = cancelled
        self.deferrable = default_deferrable() if deferrable is None else deferrable
        self.poll_interval = validation.positive(poll_interval, "poll_interval")
        self.timeout = validation.positive(
            conf.getfloat("sensors", "default_timeout") if timeout is None else timeout, "timeout"
        )
        self.max_poll_failures = max_poll_failures
        self.not_found_grace = not_found_grace

    def execute(self, context: Context) -> Any:
        """Wait, then branch; the task's record is left in XCom under the key ``remote_task``."""
        task_id = validation.object_id(getattr(self, self.ids_field), self.ids_field)
        mode: Mode = "deferrable" if self.deferrable else "poke"
        on_waiting: OnWaiting = "wait" if self.waiting is None else "return"
        policy = self.wait_policy(
            context,
            timeout=self.timeout,
            mode=mode,
            interval=self.poll_interval,
            on_waiting=on_waiting,
            max_failures=self.max_poll_failures,
            not_found_grace=self.not_found_grace,
        )
        return self.wait_for_tasks(context, [task_id], policy, mode)

    def finish(self, context: Context, report: WaitResult) -> Any:
        """Branch on the state the task ended in."""
        (record,) = report.records.values()
        state = (record or {}).get("state")
        has_branch = state in (TaskState.FAILED, TaskState.CANCELLED) and self._branch(state) is not None
        error = report.failure(self.what, raise_on_failure=not has_branch, on_waiting="return")
        if error is not None:
            raise self.wait_exception(error, report.timed_out) from error
        context["ti"].xcom_push(key="remote_task", value=dict(record or {}))
        return self._follow(context, record or {})

    def _follow(self, context: Context, record: Mapping[str, Any]) -> Any:
        branch = self._branch(record["state"])
        self.log.info("%s %s is %s; branch: %s", self.what, record["id"], record["state"], branch or "none")
        return self.do_branch(context, branch)

    def _branch(self, state: str) -> str | list[str] | None:
        branches = {
            TaskState.COMPLETED: self.completed,
            TaskState.FAILED: self.failed,
            TaskState.CANCELLED: self.cancelled,
            TaskState.WAITING: self.waiting,
        }
        branch = branches.get(TaskState(state))
        return branch if branch is None or isinstance(branch, str) else list(branch)
