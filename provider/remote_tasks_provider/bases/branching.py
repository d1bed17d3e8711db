"""The base of every branch operator: wait for one task, then follow the branch of its state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseBranchOperator

from remote_tasks_provider.bases.arguments import branches, failing_for_good
from remote_tasks_provider.bases.compat import await_siblings, skip_siblings
from remote_tasks_provider.bases.waiting import Mode, WaitingOperator
from remote_tasks_provider.bases.xcoms import hand_over
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import InvalidArgumentError
from remote_tasks_provider.core.polling.result import WaitResult
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.core.validation import Check

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["AgentTaskBranchOperator", "Branch", "RemoteTaskBranchOperator"]

Branch = str | Iterable[str]


class RemoteTaskBranchOperator(WaitingOperator, BaseBranchOperator):
    """Waits for one remote task, then runs the branch of its state and skips the others.

    The task's record, which the service's sensor would return, is left in XCom under the key ``remote_task``.
    A subclass has a parameter for the connection. It may name the one with the task as its service does, and
    passes it on under this name.

    :param remote_task_id: the task's id.
    :param completed: task or task group id, or several, to run on success; ``None`` skips everything
        downstream.
    :param failed: what to run on failure; ``None`` fails this operator without a retry.
    :param cancelled: what to run when the task was cancelled; ``None`` fails this operator without a retry.
    :param poll_interval: seconds between polls, or a ``timedelta``.
    :param timeout: seconds (or a ``timedelta``) from the first attempt's start until the operator gives up
        and fails; default ``[sensors] default_timeout``.
    """

    checks: ClassVar[Mapping[str, Check]] = {
        "completed": branches,
        "failed": branches,
        "cancelled": branches,
        "waiting": branches,
    }

    template_fields: Sequence[str] = ("completed", "failed", "cancelled")
    awaited_check = validation.object_id

    waiting: Branch | None = None
    """A parameter where a task can wait for a person."""

    def __init__(
        self,
        *,
        remote_task_id: str,
        completed: Branch | None = None,
        failed: Branch | None = None,
        cancelled: Branch | None = None,
        poll_interval: float | str | timedelta = 30.0,
        timeout: float | str | timedelta | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        setattr(self, self.remote_task_type.id_param, remote_task_id)
        self.completed = completed
        self.failed = failed
        self.cancelled = cancelled
        self.poll_interval: Any = poll_interval
        self.timeout = timeout  # type: ignore[assignment]  # the check makes seconds of it

    def execute(self, context: Context) -> Any:
        """Wait, then branch; the task's record is left in XCom under the key ``remote_task``."""
        name = self.remote_task_type.id_param
        self.check_arguments()
        with failing_for_good():
            task_id = validation.object_id(getattr(self, name), name)
            self._check_branches(_map_index(context) >= 0)
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
        (record,) = result.records.values()
        state = record["state"] if record else TaskState.UNKNOWN
        branch = self._branches.get(state)
        is_handled = state in (TaskState.FAILED, TaskState.CANCELLED) and branch is not None
        label = self.remote_task_type.label
        error = result.failure(label, raise_on_failure=not is_handled, on_waiting="return")
        if error is not None:
            raise self.wait_exception(error, result.timed_out) from error
        context["ti"].xcom_push(key="remote_task", value=hand_over(self, context, dict(record or {})))
        result.report(label, self.log)
        followed = ", ".join(_names(branch))
        self.log.info("Branch: %s.", followed or f"none is given for {state}, so all downstream is skipped")
        return self._follow(context, branch)

    @property
    def _branches(self) -> dict[str, Branch | None]:
        """The branches by state, which is also the name of the parameter."""
        return {
            TaskState.COMPLETED: self.completed,
            TaskState.FAILED: self.failed,
            TaskState.CANCELLED: self.cancelled,
            TaskState.WAITING: self.waiting,
        }

    # --------------------------------------------------------------------------------------- the branch

    def _follow(self, context: Context, branch: Branch | None) -> Any:
        """Skip what is downstream and not of the branch."""
        names = branch if branch is None or isinstance(branch, str) else list(branch)
        if not self._has_dag:
            return self.do_branch(context, names)
        ti = context["ti"]
        siblings = [task.task_id for task in self._left_out(branch)] if _map_index(context) >= 0 else []
        await_siblings(ti, siblings)
        teardowns = [task.task_id for task in self._downstream if task.is_teardown]
        self.do_branch(context, [*_names(branch), *teardowns] if teardowns else names)
        skip_siblings(ti, siblings)
        return names

    @property
    def _has_dag(self) -> bool:
        return bool(self.has_dag())  # type: ignore[no-untyped-call]

    @property
    def _downstream(self) -> list[Any]:
        return list(self.downstream_list)

    def _left_out(self, branch: Branch | None) -> list[Any]:
        """Return the tasks directly downstream that ``branch`` skips, as Airflow's branch operators do.

        But what tears down runs whatever the branch.
        """
        followed: set[str] = set()
        for name in _names(branch):
            for task_id in self._task_ids(name):
                followed |= {task_id, *self.dag.get_task(task_id).get_flat_relative_ids(upstream=False)}
        return [one for one in self._downstream if one.task_id not in followed and not one.is_teardown]

    def _task_ids(self, name: str) -> list[str]:
        """Return the tasks with which the branch ``name`` begins, a task or a task group; none if unknown."""
        if group := self.dag.task_group_dict.get(name):
            return [task.task_id for task in group.roots]
        return [name] if self.dag.has_task(name) else []

    def _check_branches(self, is_mapped: bool) -> None:
        """Refuse what no branch can be, before anything is awaited.

        :raises ValueError: when a name is not in the DAG, or when one instance of a mapped task would have to
            skip what all of them share.
        """
        if not self._has_dag:
            return
        for state, branch in self._branches.items():
            for name in _names(branch):
                if not self._task_ids(name):
                    raise InvalidArgumentError(self._unknown(state, name))
            # Without a branch for it, success skips everything; the other states do not branch.
            if is_mapped and (branch is not None or state == TaskState.COMPLETED):
                self._check_is_inside(state, branch)

    def _unknown(self, state: str, name: str) -> str:
        text = f"{state} names {name!r}, which is neither a task nor a task group of DAG {self.dag.dag_id!r}"
        group = self.task_group
        while group is not None and group.group_id:
            if self._task_ids(full := f"{group.group_id}.{name}"):
                return f"{text}; in a task group the group's id comes first: {full!r}"
            group = group.task_group
        return text

    def _check_is_inside(self, state: str, branch: Branch | None) -> None:
        group = _mapped_group(self)
        for task in self._left_out(branch):
            if group is None or _mapped_group(task) != group:
                where = "this mapped task" if group is None else f"the mapped task group {group!r}"
                raise InvalidArgumentError(
                    f"{state} would skip {task.task_id!r}, which all instances of {where} share: none can "
                    "decide about it. Map a task group that holds this task and all of its branches"
                )


class AgentTaskBranchOperator(RemoteTaskBranchOperator):
    """One whose task is an agent's, which may wait for a person.

    :param waiting: what to run when the agent waits; ``None`` waits on.
    """

    template_fields: Sequence[str] = (*RemoteTaskBranchOperator.template_fields, "waiting")

    def __init__(self, *, waiting: Branch | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.waiting = waiting


def _map_index(context: Context) -> int:
    index = getattr(context["ti"], "map_index", None)
    return -1 if index is None else index


def _mapped_group(task: Any) -> str | None:
    """Return the id of the mapped task group that ``task`` is in, the innermost one."""
    group = task.get_closest_mapped_task_group()
    return None if group is None else group.group_id


def _names(branch: Branch | None) -> list[str]:
    return [] if branch is None else [branch] if isinstance(branch, str) else list(branch)
