"""The base of every branch operator: wait for one task, then follow the branch of its state."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseBranchOperator

from remote_tasks_provider.bases.waiting import Mode, WaitingOperator, wait_timeout
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.polling.result import WaitResult
from remote_tasks_provider.core.states import TaskState

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["Branch", "RemoteTaskBranchOperator"]

Branch = str | Iterable[str]


class RemoteTaskBranchOperator(WaitingOperator, BaseBranchOperator):
    """Waits for one remote task, then runs the branch of its state and skips the others.

    The task's record, which the service's sensor would return, is left in XCom under the key ``remote_task``.
    A subclass names the parameters with the task and with the connection as its service does, and passes them
    on under these names.

    :param remote_task_id: the task's id.
    :param conn_id: the Airflow connection.
    :param completed: task or task group id, or several, to run on success; ``None`` skips everything
        downstream.
    :param failed: what to run on failure; ``None`` fails this operator without a retry.
    :param cancelled: what to run when the task was cancelled; ``None`` fails this operator without a retry.
    :param poll_interval: seconds between polls, or a ``timedelta``.
    :param timeout: seconds (or a ``timedelta``) from the first attempt's start until the operator gives up
        and fails; default ``[sensors] default_timeout``.
    """

    waiting: Branch | None = None
    """A parameter where a task can wait for a person."""

    def __init__(
        self,
        *,
        remote_task_id: str,
        conn_id: str,
        completed: Branch | None = None,
        failed: Branch | None = None,
        cancelled: Branch | None = None,
        poll_interval: float | timedelta = 30.0,
        timeout: float | timedelta | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        setattr(self, self.remote_task_type.id_param, remote_task_id)
        setattr(self, self.hook_class.conn_name_attr, conn_id)
        self.completed = completed
        self.failed = failed
        self.cancelled = cancelled
        self.poll_interval = validation.positive(poll_interval, "poll_interval")
        self.timeout = wait_timeout(timeout)

    def execute(self, context: Context) -> Any:
        """Wait, then branch; the task's record is left in XCom under the key ``remote_task``."""
        name = self.remote_task_type.id_param
        task_id = validation.object_id(getattr(self, name), name)
        mode: Mode = "deferrable" if self.deferrable else "poke"
        policy = self.poll_policy(
            context,
            mode,
            poll_interval=self.poll_interval,
            on_waiting="wait" if self.waiting is None else "return",
            outage_tolerance=self.outage_tolerance,
            not_found_grace=self.not_found_grace,
        )
        return self.wait_for_tasks(context, [task_id], policy, mode)

    def finish(self, context: Context, result: WaitResult) -> Any:
        """Follow the branch of the state that ended the wait."""
        ((task_id, record),) = result.records.items()
        state = record["state"] if record else TaskState.UNKNOWN
        branch = self._branch(state)
        is_handled = state in (TaskState.FAILED, TaskState.CANCELLED) and branch is not None
        label = self.remote_task_type.label
        error = result.failure(label, raise_on_failure=not is_handled, on_waiting="return")
        if error is not None:
            raise self.wait_exception(error, result.timed_out) from error
        context["ti"].xcom_push(key="remote_task", value=dict(record or {}))
        self.log.info("%s %s is %s; branch: %s", label, task_id, state, branch or "none")
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
