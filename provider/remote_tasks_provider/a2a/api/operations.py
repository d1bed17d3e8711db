"""What can be asked of an agent, wherever it is.

Each operation looks for the agent first, unless it is known, and forgets it when it proves to be elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from remote_tasks_provider.a2a.api import wire
from remote_tasks_provider.a2a.api.errors import NOT_SUPPORTED, is_wrong_place
from remote_tasks_provider.a2a.api.filters import TaskFilter
from remote_tasks_provider.a2a.api.interfaces import AGENTS, Agent, found_agent, read_card
from remote_tasks_provider.a2a.api.messages import OutgoingMessage
from remote_tasks_provider.a2a.models import A2AAgentCard, A2AMessage, A2ATask, state_in_words
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.cancellation import Cancelled, CancelOutcome
from remote_tasks_provider.core.errors import ApiError, ConnectionConfigError, RemoteTaskError
from remote_tasks_provider.core.http.connection import ConnectionConfig
from remote_tasks_provider.core.http.operation import Operation, Page, Steps
from remote_tasks_provider.core.states import TaskState

__all__ = [
    "agent_card",
    "cancel_task",
    "end_task",
    "find_agent",
    "get_task",
    "list_tasks",
    "send_message",
]

T = TypeVar("T")


def find_agent(*, afresh: bool = False) -> Operation[Agent]:
    """Read the agent's card, and prove one of its interfaces with a call that only reads.

    :param afresh: also if the agent is known.
    """

    def steps(config: ConnectionConfig) -> Steps[Agent]:
        if afresh:
            AGENTS.forget(config)
        return (yield from found_agent(config))

    return Operation.in_steps("find agent", "an A2A agent", steps)


def agent_card() -> Operation[A2AAgentCard]:
    """Read the agent's card."""
    return Operation.in_steps("GET agent card", "the card of an A2A agent", read_card)


def _asked(name: str, expects: str, ask: Callable[[Agent], Steps[T]]) -> Operation[T]:
    """Return the operation that asks the agent, wherever it is."""

    def steps(config: ConnectionConfig) -> Steps[T]:
        agent = yield from found_agent(config)
        try:
            return (yield from ask(agent))
        except ApiError as error:
            if is_wrong_place(error):
                AGENTS.forget(config)
            raise

    return Operation.in_steps(name, expects, steps)


def get_task(remote_task_id: str, *, history: bool = False) -> Operation[A2ATask]:
    """Read a task with its artifacts.

    :param history: also its messages.
    """
    task_id = validation.object_id(remote_task_id, "remote_task_id")

    def ask(agent: Agent) -> Steps[A2ATask]:
        task: A2ATask = yield wire.get_task(agent.interface, task_id, history=history)
        return task

    return _asked("get task {task_id}", wire.TASK, ask)


def list_tasks(query: TaskFilter) -> Operation[Page[A2ATask]]:
    """List tasks, the latest status first; those without a time of it come last."""

    def ask(agent: Agent) -> Steps[Page[A2ATask]]:
        if not agent.lists:
            raise ConnectionConfigError(
                f"The agent {agent.card.name!r} lists no tasks: name each by its id. ListTasks came with A2A "
                "1.0, and not every agent has it."
            )
        page: Page[A2ATask] = yield wire.list_tasks(agent.interface, query)
        if page.cursor is None:
            return page
        return replace(page, next=list_tasks(replace(query, page_token=page.cursor)))

    return _asked("list tasks", wire.LIST, ask)


def send_message(given: OutgoingMessage) -> Operation[A2ATask | A2AMessage]:
    """Send a message, and do not wait for what the agent does with it. Twice would begin two tasks.

    Some agents answer only when they are done, whatever they are asked. If one lists no tasks either, a task
    whose answer is lost could not be found. So it is asked for a stream, whose first event has the id.
    """

    def ask(agent: Agent) -> Steps[A2ATask | A2AMessage]:
        if agent.card.required_extensions:
            raise ConnectionConfigError(
                f"The agent {agent.card.name!r} demands a protocol extension that this provider does not "
                f"know: {', '.join(agent.card.required_extensions)}. Nothing was sent."
            )
        # An agent that cannot call back may refuse a message that asks for it.
        message = given if agent.card.pushes else replace(given, push=None)
        answer: A2ATask | A2AMessage
        if message.task_id is None and agent.card.streams and not agent.lists:
            try:
                answer = yield wire.send_message(agent.interface, message, streamed=True)
            except ApiError as error:
                # The card may have promised the stream in vain.
                if not (is_wrong_place(error) or error.code == NOT_SUPPORTED):
                    raise
            else:
                return answer
        answer = yield wire.send_message(agent.interface, message)
        return answer

    return _asked("send message", wire.ANSWER, ask)


def cancel_task(remote_task_id: str, *, for_good: bool = False) -> Operation[A2ATask]:
    """Cancel a task, and read what has become of it.

    A refusal is no error where the task has finished: servers refuse what has, and some end a task that they
    say they cannot cancel.

    :param for_good: raise ``RemoteTaskError`` if the agent took the request, and the task continues all the
        same.
    """
    task_id = validation.object_id(remote_task_id, "remote_task_id")

    def steps(config: ConnectionConfig) -> Steps[A2ATask]:
        agent = yield from found_agent(config)
        refused: ApiError | None = None
        try:
            yield wire.cancel_task(agent.interface, task_id)
        except ApiError as error:
            if error.concerns_service:
                raise
            refused = error
        task: A2ATask = yield wire.get_task(agent.interface, task_id)
        if task.state.is_terminal:
            return task
        if refused is not None:
            raise refused
        if for_good:
            raise RemoteTaskError(
                f"The agent took the cancellation of task {task.id}, which is {task.status} all the same."
            )
        return task

    return Operation.in_steps("cancel task {task_id}", wire.TASK, steps)


def end_task(remote_task_id: str) -> Operation[Cancelled]:
    """Cancel a task for good; say what became of it, as a cancellation may do anything."""

    def steps(_config: ConnectionConfig) -> Steps[Cancelled]:
        task: A2ATask = yield cancel_task(remote_task_id, for_good=True)
        if task.state is TaskState.CANCELLED:
            return Cancelled(
                CancelOutcome.CANCELLED, "as the agent says; some end only the record, and work on"
            )
        return Cancelled(CancelOutcome.NOT_RUNNING, state_in_words(task))

    return Operation.in_steps("cancel task {task_id}", wire.TASK, steps)
