"""What can be asked of an agent, over any of its interfaces.

Each operation looks for the agent first, unless it is known, and forgets it when it proves to be elsewhere.
https://a2a-protocol.org/latest/specification/#11-httpjsonrest-protocol-binding
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field

from remote_tasks_provider.a2a.api.errors import NOT_SUPPORTED, is_wrong_place, refusal
from remote_tasks_provider.a2a.api.filters import TaskFilter
from remote_tasks_provider.a2a.api.interfaces import (
    AGENTS,
    Agent,
    Interface,
    found_agent,
    read_card,
    split_url,
)
from remote_tasks_provider.a2a.api.messages import OutgoingMessage
from remote_tasks_provider.a2a.models import A2AAgentCard, A2AMessage, A2ATask, word_of
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.cancellation import Cancelled, CancelOutcome
from remote_tasks_provider.core.errors import ApiError, ConnectionConfigError, RemoteTaskError
from remote_tasks_provider.core.http.connection import ConnectionConfig
from remote_tasks_provider.core.http.operation import (
    Idempotency,
    Operation,
    Page,
    Request,
    Response,
    Steps,
    never_sent,
    path,
    present,
)
from remote_tasks_provider.core.http.parsing import Items, LenientInt, LenientStr, Reader, RemoteModel
from remote_tasks_provider.core.states import TaskState, in_words

__all__ = [
    "agent_card",
    "cancel_task",
    "end_task",
    "find_agent",
    "get_task",
    "list_tasks",
    "send_message",
    "stop_task",
]

T = TypeVar("T")

_TASK, _LIST, _ANSWER = "an A2A task", "a list of A2A tasks", "an A2A task or message"
# What is asked over REST, and the methods of JSON-RPC in 1.0 and 0.3.
_ACTIONS = {
    "send": ("POST", "/message:send", {"1.0": "SendMessage", "0.3": "message/send"}),
    "stream": ("POST", "/message:stream", {"1.0": "SendStreamingMessage", "0.3": "message/stream"}),
    "get": ("GET", "/tasks/{task_id}", {"1.0": "GetTask", "0.3": "tasks/get"}),
    "list": ("GET", "/tasks", {"1.0": "ListTasks"}),
    "cancel": ("POST", "/tasks/{task_id}:cancel", {"1.0": "CancelTask", "0.3": "tasks/cancel"}),
}


def _result(body: Any) -> Any:
    """Return what a JSON-RPC answer holds, or a plain body."""
    if not isinstance(body, dict) or "jsonrpc" not in body:
        return body
    if body.get("error") is not None:
        raise refusal(body["error"])
    return body.get("result")


def _task(body: Any) -> Any:
    found = _result(body)
    return found.get("task", found) if isinstance(found, dict) else found


def _sent(body: Any) -> Any:
    """Return the task or the message that answers a message; 0.3 tells them apart by their kind.

    The first event of a stream may be about a task instead, of which it has the id.
    """
    found = _result(body)
    if isinstance(found, dict):
        about = found.get("statusUpdate") or found.get("artifactUpdate") or found
        if isinstance(about, dict) and about.get("taskId") and not about.get("messageId"):
            return {"task": {**about, "id": about["taskId"]}}
    if isinstance(found, dict) and not isinstance(found.get("task", found.get("message")), dict):
        is_task = found.get("kind") == "task" or "status" in found
        return {"task" if is_task else "message": found}
    return found


class _Sent(RemoteModel):
    task: A2ATask | None = None
    message: A2AMessage | None = None


class _TaskPage(RemoteModel):
    tasks: Items[A2ATask] = Field(default_factory=list)
    next_page_token: LenientStr = Field(default=None, alias="nextPageToken")
    total_size: LenientInt = Field(default=None, alias="totalSize")


_read_task = Reader(Annotated[A2ATask, BeforeValidator(_task)])
_read_any = Reader(Annotated[Any, BeforeValidator(_result)])
_read_sent = Reader(Annotated[_Sent, BeforeValidator(_sent)])
_read_page = Reader(Annotated[_TaskPage, BeforeValidator(_result)])


# ------------------------------------------------------------------------------------------ one interface


def _over(
    interface: Interface,
    action: str,
    params: Mapping[str, Any],
    expects: str,
    parse: Callable[[Response], T],
    task_id: str | None = None,
) -> Operation[T]:
    """Return an operation over one interface.

    :param params: what is asked, without the task's id.
    """
    method, template, rpc_methods = _ACTIONS[action]
    if interface.binding == "jsonrpc":
        name = rpc_methods[interface.version]
        given = present({**params, "id": task_id, "tenant": interface.tenant})
        base_url, place = split_url(interface.url)
        body = {"jsonrpc": "2.0", "id": "1", "method": name, "params": given}
        request = Request("POST", place, json=body, headers=interface.headers, base_url=base_url)
        return Operation(name if task_id is None else f"{name} {{task_id}}", request, expects, parse)
    base_url, prefix = split_url(interface.url.rstrip("/"))
    prefix += path("/{tenant}", tenant=interface.tenant) if interface.tenant else ""
    place = prefix + path(template, task_id=task_id or "")
    request = Request(method, place, headers=interface.headers, base_url=base_url)
    if method == "POST":
        request = replace(request, json=present(params))
    else:
        query = tuple((name, _query_text(value)) for name, value in present(params).items())
        request = replace(request, query=query)
    return Operation(f"{method} {template}", request, expects, parse)


def _query_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _get(interface: Interface, task_id: str, *, history: bool) -> Operation[A2ATask]:
    params = {"historyLength": None if history else 0}
    return _over(interface, "get", params, _TASK, _read_task, task_id)


def _cancel(interface: Interface, task_id: str) -> Operation[Any]:
    def read(response: Response) -> Any:
        # What it holds is of no interest, as the task is read anyway; it may be empty.
        return response.body.strip() and _read_any(response)

    return _over(interface, "cancel", {}, _TASK, read, task_id)


def _list(interface: Interface, query: TaskFilter) -> Operation[Page[A2ATask]]:
    def read(response: Response) -> Page[A2ATask]:
        page: _TaskPage = _read_page(response)
        token = page.next_page_token or None
        following = list_tasks(replace(query, page_token=token)) if token else None
        return Page(page.tasks, token, following, page.total_size or 0)

    return _over(interface, "list", query.params(), _LIST, read)


def _probes(interface: Interface, task_id: str) -> tuple[Operation[Any] | None, Operation[Any]]:
    listing = _list(interface, TaskFilter(page_size=1)) if interface.version == "1.0" else None
    return listing, _get(interface, task_id, history=False)


# --------------------------------------------------------------------------------------------- any interface


def find_agent(*, afresh: bool = False) -> Operation[Agent]:
    """Read the agent's card, and prove one of its interfaces with a call that only reads.

    :param afresh: also if the agent is known.
    """

    def steps(config: ConnectionConfig) -> Steps[Agent]:
        if afresh:
            AGENTS.forget(config)
        return (yield from found_agent(config, _probes))

    return _of("find agent", "an A2A agent", steps)


def agent_card() -> Operation[A2AAgentCard]:
    """Read the agent's card."""
    return _of("GET agent card", "the card of an A2A agent", read_card)


def get_task(remote_task_id: str, *, history: bool = False) -> Operation[A2ATask]:
    """Read a task with its artifacts.

    :param history: also its messages.
    """
    task_id = validation.object_id(remote_task_id, "remote_task_id")
    return _asked("get task {task_id}", _TASK, lambda one: _get(one.interface, task_id, history=history))


def list_tasks(query: TaskFilter) -> Operation[Page[A2ATask]]:
    """List tasks, the latest status first; those without a time of it come last."""

    def make(agent: Agent) -> Operation[Page[A2ATask]]:
        if not agent.lists:
            raise ConnectionConfigError(
                f"The agent {agent.card.name!r} lists no tasks: name each by its id. ListTasks came with A2A "
                "1.0, and not every agent has it."
            )
        return _list(agent.interface, query)

    return _asked("list tasks", _LIST, make)


def send_message(given: OutgoingMessage) -> Operation[A2ATask | A2AMessage]:
    """Send a message, and do not wait for what the agent does with it. Twice would begin two tasks.

    Some agents answer only when they are done, whatever they are asked. If one lists no tasks either, a task
    whose answer is lost could not be found. So it is asked for a stream, whose first event has the id.
    """

    def make(agent: Agent) -> Operation[A2ATask | A2AMessage]:
        if agent.card.required_extensions:
            raise ConnectionConfigError(
                f"The agent {agent.card.name!r} demands a protocol extension that this provider does not "
                f"know: {', '.join(agent.card.required_extensions)}. Nothing was sent."
            )
        # An agent that cannot call back may refuse a message that asks for it.
        message = given if agent.card.pushes else replace(given, push=None)
        if message.task_id is None and agent.card.streams and not agent.lists:
            return _of("send message", _ANSWER, lambda _config: _streamed(agent.interface, message))
        return _send(agent.interface, message)

    return _asked("send message", _ANSWER, make)


def _send(
    interface: Interface, message: OutgoingMessage, action: str = "send"
) -> Operation[A2ATask | A2AMessage]:
    operation = _over(interface, action, message.params(interface.version), _ANSWER, _read_answer)
    request = operation.request
    if action == "stream":
        accepts = ("Accept", "text/event-stream")
        request = replace(request, headers=(*request.headers, accepts), only_first_event=True)
    return replace(operation, request=request, idempotency=Idempotency.NOT_IDEMPOTENT)


def _streamed(interface: Interface, message: OutgoingMessage) -> Steps[A2ATask | A2AMessage]:
    """Send a message, and read what comes first; without a stream where the card promised one in vain."""
    try:
        answer: A2ATask | A2AMessage = yield _send(interface, message, "stream")
    except ApiError as error:
        if not (is_wrong_place(error) or error.code == NOT_SUPPORTED):
            raise
        answer = yield _send(interface, message)
    return answer


def _read_answer(response: Response) -> A2ATask | A2AMessage:
    answer: _Sent = _read_sent(response)
    found = answer.task or answer.message
    if found is None:
        raise ValueError("it has neither a task nor a message")
    return found


def cancel_task(remote_task_id: str) -> Operation[A2ATask]:
    """Cancel a task, and read what has become of it.

    A refusal is no error where the task has finished: servers refuse what has, and some end a task that they
    say they cannot cancel.
    """
    task_id = validation.object_id(remote_task_id, "remote_task_id")

    def steps(config: ConnectionConfig) -> Steps[A2ATask]:
        agent = yield from found_agent(config, _probes)
        refused: ApiError | None = None
        try:
            yield _cancel(agent.interface, task_id)
        except ApiError as error:
            if error.concerns_service:
                raise
            refused = error
        task: A2ATask = yield _get(agent.interface, task_id, history=False)
        if refused is not None and not task.state.is_terminal:
            raise refused
        return task

    return _of("cancel task {task_id}", _TASK, steps)


def stop_task(remote_task_id: str) -> Operation[A2ATask]:
    """Cancel a task that must not continue.

    :raises RemoteTaskError: (when sent) if the agent took the request, and the task continues all the same.
    """

    def steps(_config: ConnectionConfig) -> Steps[A2ATask]:
        task: A2ATask = yield cancel_task(remote_task_id)
        if not task.state.is_terminal:
            raise RemoteTaskError(
                f"The agent took the cancellation of task {task.id}, which is {task.status} all the same."
            )
        return task

    return _of("cancel task {task_id}", _TASK, steps)


def end_task(remote_task_id: str) -> Operation[Cancelled]:
    """Like :func:`stop_task`; says what became of the task, as a cancellation may do anything."""

    def steps(_config: ConnectionConfig) -> Steps[Cancelled]:
        task: A2ATask = yield stop_task(remote_task_id)
        if task.state is TaskState.CANCELLED:
            return Cancelled(
                CancelOutcome.CANCELLED, "as the agent says; some end only the record, and work on"
            )
        return Cancelled(CancelOutcome.NOT_RUNNING, in_words(task.state, word_of(task.status)))

    return _of("cancel task {task_id}", _TASK, steps)


def _asked(name: str, expects: str, make: Callable[[Agent], Operation[T]]) -> Operation[T]:
    """Return the operation that asks the agent, wherever it is."""

    def steps(config: ConnectionConfig) -> Steps[T]:
        agent = yield from found_agent(config, _probes)
        try:
            answer: T = yield make(agent)
        except ApiError as error:
            if is_wrong_place(error):
                AGENTS.forget(config)
            raise
        return answer

    return _of(name, expects, steps)


def _of(name: str, expects: str, steps: Callable[[ConnectionConfig], Steps[T]]) -> Operation[T]:
    return Operation(name, Request("GET", ""), expects, never_sent, steps=steps)
