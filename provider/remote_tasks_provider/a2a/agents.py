"""An A2A agent as a *managed agent* of Airflow's ``common.ai`` provider: a tool that models may use.

Apart from :mod:`remote_tasks_provider.a2a.hooks`, which must not need ``common.ai``; this module does.
"""

from __future__ import annotations

import logging
from contextlib import closing
from typing import Any

from remote_tasks_provider.a2a.api.messages import outgoing
from remote_tasks_provider.a2a.hooks import A2AHook
from remote_tasks_provider.a2a.models import A2AMessage, A2ATask, text_of_status
from remote_tasks_provider.a2a.results import A2AResult, result_of_message, result_of_task
from remote_tasks_provider.a2a.service import A2A_TASK
from remote_tasks_provider.bases.agents import (
    AgentTask,
    ManagedAgentCapabilities,
    ManagedAgentInvocationError,
    ManagedAgentRef,
    ManagedAgentRequest,
    ManagedAgentResponse,
    RemoteAgentHook,
    prompt_of,
    sorted_errors,
    with_file_names,
    with_value,
)
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import (
    InvalidArgumentError,
    RemoteTaskError,
    TaskFailedError,
    TaskNeedsInputError,
)
from remote_tasks_provider.core.states import TaskState

__all__ = ["A2AAgentHook"]

log = logging.getLogger(__name__)

_OPTIONS = ("metadata", "parts")


class A2AAgentHook(A2AHook, RemoteAgentHook):
    """An A2A agent behind the managed-agent contract of ``common.ai``. Needs the extra ``ai``.

    The connection leads to one agent. An agent's name is what logs and metrics call it: any id.

    Each request sends a message, which begins a task, and waits for the task on the worker. The answer's
    ``session_id`` is the context id; a request with that ``session_id`` continues the conversation with a
    task of its own. ``vendor_options`` may have ``parts`` and ``metadata`` of the message. A value that the
    agent gives is ``structured``; the protocol has no schema to ask for one.

    Failures are sorted as the contract has it:

    * ``ManagedAgentRejected``: the agent refused the message (400, 413, 422), or it is empty.
    * ``ManagedAgentInvocationError``: no token; or the task failed, was rejected or canceled, or waits for an
      answer, which the message quotes.
    * :class:`~remote_tasks_provider.bases.agents.OrphanedAgentTaskError`, one of those: it is not known
      whether a task was begun, or it was and cannot be polled, or ``timeout`` passed and it was left running.
    * A :class:`~remote_tasks_provider.core.errors.RemoteTaskError` as it is, when no task was begun and a
      retry helps.

    .. code-block:: python

        from airflow.providers.common.ai.toolsets import ManagedAgentToolset

        researcher = ManagedAgentToolset(
            A2AAgentHook(timeout=1800).agent("researcher"),
            tool_name="ask_researcher",
            description="Researches a question. Takes minutes.",
        )

    :param a2a_conn_id: the Airflow connection.
    :param poll_interval: seconds between polls, or a ``timedelta``.
    :param timeout: seconds (or a ``timedelta``) to wait for an answer at most; a request's own ``timeout``
        goes before it. Make it shorter than the Airflow task's ``execution_timeout``, which cannot interrupt
        a tool.
    :param cancel_on_timeout: cancel the task then.
    """

    agent_platform = "a2a.agent"

    def __init__(
        self,
        a2a_conn_id: str = A2AHook.default_conn_name,
        *,
        poll_interval: Any = 5.0,
        timeout: Any = 3600.0,
        cancel_on_timeout: bool = True,
    ) -> None:
        super().__init__(a2a_conn_id)
        self.wait_by(poll_interval, timeout, cancel_on_timeout=cancel_on_timeout)

    def resolve_agent(self, agent: str) -> ManagedAgentRef:
        """Return which agent ``agent`` is.

        :raises ValueError: when it is no id.
        """
        return ManagedAgentRef(self.agent_platform, validation.object_id(agent, "agent"))

    def get_agent_capabilities(self, agent: str) -> ManagedAgentCapabilities:
        """Return what every A2A agent can do."""
        return ManagedAgentCapabilities(sessions=True, structured_output=True, trace=True)

    def invoke_agent(self, agent: str, request: ManagedAgentRequest) -> ManagedAgentResponse:
        """Give ``request`` to the agent and return its answer, minutes or hours later.

        Raises what the class describes, and ``ValueError`` for an option that cannot be right.
        """
        options = dict(request.vendor_options)
        if unknown := options.keys() - set(_OPTIONS):
            raise InvalidArgumentError(
                f"vendor_options has {', '.join(unknown)}; it may have metadata and parts"
            )
        seconds = self.seconds_for(request)
        prompt = prompt_of(request, "parts", validation.text)
        message = outgoing(prompt, context_id=request.session_id, **options)
        # A hook for each request: a model may ask two things at once, and one call must not close the other's
        # connections.
        with closing(A2AHook(self.conn_id)) as hook:
            with sorted_errors():
                hook.find_agent()
            with sorted_errors("a task was begun", look_at="the agent"):
                found = hook.send(message)
            if isinstance(found, A2AMessage):
                return _response(result_of_message(found), found, found.context_id, found.message_id)
            log.info("The agent works on A2A task %s.", found.id)
            waiting = _AgentTask(hook, found.id)
            with waiting.awaited(cancel_on_timeout=self.cancel_on_timeout):
                waiting.poll_until_settled(self.policy(seconds))
                task = hook.get_task(found.id)
        return _response(_good(task), task, task.context_id, task.id)


class _AgentTask(AgentTask):
    task_type = A2A_TASK


def _good(task: A2ATask) -> A2AResult:
    result = result_of_task(task)
    if task.state is TaskState.COMPLETED:
        return result
    asked = text_of_status(task)[:1000]
    error: RemoteTaskError = TaskFailedError(f"A2A task {task.id} is {task.status}: {asked}")
    if task.state is TaskState.WAITING:
        error = TaskNeedsInputError(
            f"A2A task {task.id} waits for an answer to {asked!r}. Answer it with A2ASendMessageOperator."
        )
    raise ManagedAgentInvocationError(str(error)) from error


def _response(result: A2AResult, raw: Any, session_id: str | None, trace: str | None) -> ManagedAgentResponse:
    text = with_value(result.text, result.structured)
    text = with_file_names(text, (file.name or "unnamed" for file in result.files))
    return ManagedAgentResponse(
        text=text, raw=raw, structured=result.structured, session_id=session_id, trace_ref=trace
    )
