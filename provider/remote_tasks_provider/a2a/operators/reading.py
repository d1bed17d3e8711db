"""Operators that read the tasks of A2A agents and branch on their outcome."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from remote_tasks_provider.a2a.api.filters import FILTERS, MOST_LISTED
from remote_tasks_provider.a2a.connected import A2AConnected, A2ATaskWait
from remote_tasks_provider.a2a.hooks import A2AHook
from remote_tasks_provider.a2a.operators.base import A2ATaskRequest
from remote_tasks_provider.bases.branching import AgentTaskBranchOperator, Branch
from remote_tasks_provider.bases.listing import RemoteListOperator
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.validation import Check

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["A2AGetTaskOperator", "A2AListTasksOperator", "A2ATaskBranchOperator"]


class A2AGetTaskOperator(A2ATaskRequest):
    """Reads one task of an A2A agent and returns it as a JSON object, with ``state`` and its artifacts.

    Fails without a retry where asking again cannot help (wrong token, wrong id form); a 404 is retried, as
    an agent's replicas may disagree for a while. The files within the task are left out.

    :param include_history: also return the conversation, which can be long.
    """

    checks: ClassVar[Mapping[str, Check]] = {"include_history": validation.flag}

    def __init__(self, *, include_history: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.include_history = include_history

    def act(self, hook: A2AHook, context: Context) -> dict[str, Any]:
        """Read the task."""
        task = hook.get_task(self.remote_task_id)
        return task.to_json(include_history=self.include_history)


class A2AListTasksOperator(A2AConnected, RemoteListOperator):
    """Lists the tasks of an A2A agent: up to 1000 to XCom, or any number to a file.

    Without ``output_path`` it returns a list of JSON objects. With it, it writes them as JSON Lines, one page
    in memory at a time, and returns ``{"count": …, "first_id": …, "last_id": …, "path": …}``. An agent that
    lists no tasks, as one of protocol 0.3, fails the operator for good.

    :param status: ``submitted``, ``working``, ``input_required``, ``auth_required``, ``completed``,
        ``failed``, ``rejected`` or ``canceled``.
    :param context_id: only the tasks of this conversation.
    :param updated_after: only tasks whose status is this new: an aware ``datetime``, an ISO 8601 string with
        an offset such as ``{{ data_interval_start }}``, or Unix seconds.
    :param include_artifacts: also give each task's artifacts, without the files in them.
    :param page_size: tasks a request, 1 to 100.

    All are templated.
    """

    checks: ClassVar[Mapping[str, Check]] = {
        **FILTERS,
        "updated_after": validation.as_given(FILTERS["updated_after"]),
    }
    template_fields: Sequence[str] = (*FILTERS, "limit", "output_path", "a2a_conn_id")

    def __init__(
        self,
        *,
        status: str | None = None,
        context_id: str | None = None,
        updated_after: datetime | int | str | None = None,
        include_artifacts: bool = False,
        page_size: int | str = MOST_LISTED,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.status = status
        self.context_id = context_id
        self.updated_after = updated_after
        self.include_artifacts = include_artifacts
        self.page_size: Any = page_size

    def read(self, hook: A2AHook, limit: int | None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the tasks that pass the filters."""
        for task in hook.iter_tasks(**{name: getattr(self, name) for name in FILTERS}, limit=limit):
            yield task.id, task.to_json()


class A2ATaskBranchOperator(A2ATaskWait, AgentTaskBranchOperator):
    """Waits for a task of an A2A agent, then runs the branch of its outcome and skips the others.

    The task's record (see :class:`~remote_tasks_provider.a2a.sensors.A2ATaskSensor`) is left in XCom under
    the key ``remote_task``. A rejected task takes the branch ``failed``.

    :param remote_task_id: the task's id. Templated.
    :param waiting: what to run when the agent waits for an answer or an authorisation; ``None`` waits on.
    :param a2a_conn_id: the Airflow connection. Templated.
    """

    template_fields = ("remote_task_id", *AgentTaskBranchOperator.template_fields, "a2a_conn_id")

    def __init__(self, *, remote_task_id: str, waiting: Branch | None = None, **kwargs: Any) -> None:
        super().__init__(remote_task_id=remote_task_id, waiting=waiting, **kwargs)
