"""What is asked over one of an agent's interfaces: 1.0 over REST or JSON-RPC, or 0.3 over JSON-RPC.

What is sent differs here, in the place, and in what a message holds (:mod:`.messages`). What is answered is
read the same way whatever form it has.
https://a2a-protocol.org/latest/specification/#11-httpjsonrest-protocol-binding
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit, urlunsplit

from pydantic import BeforeValidator, Field

from remote_tasks_provider.a2a.api.errors import refusal
from remote_tasks_provider.a2a.api.filters import TaskFilter
from remote_tasks_provider.a2a.api.messages import OutgoingMessage
from remote_tasks_provider.a2a.models import A2AMessage, A2ATask
from remote_tasks_provider.core.http.operation import (
    Idempotency,
    Operation,
    Page,
    Request,
    Response,
    path,
    present,
)
from remote_tasks_provider.core.http.parsing import Items, LenientInt, LenientStr, Reader, RemoteModel

__all__ = [
    "ANSWER",
    "LIST",
    "TASK",
    "Interface",
    "cancel_task",
    "get_task",
    "list_tasks",
    "send_message",
    "split_url",
]

T = TypeVar("T")

TASK, LIST, ANSWER = "an A2A task", "a list of A2A tasks", "an A2A task or message"
# What is asked over REST, and the methods of JSON-RPC in 1.0 and 0.3.
_ACTIONS = {
    "send": ("POST", "/message:send", {"1.0": "SendMessage", "0.3": "message/send"}),
    "stream": ("POST", "/message:stream", {"1.0": "SendStreamingMessage", "0.3": "message/stream"}),
    "get": ("GET", "/tasks/{task_id}", {"1.0": "GetTask", "0.3": "tasks/get"}),
    "list": ("GET", "/tasks", {"1.0": "ListTasks"}),
    "cancel": ("POST", "/tasks/{task_id}:cancel", {"1.0": "CancelTask", "0.3": "tasks/cancel"}),
}


@dataclass(frozen=True, slots=True)
class Interface:
    """One way to speak to an agent.

    :param url: as the card has it, on the host that may be called: a slash at its end is another address.
    """

    version: Literal["1.0", "0.3"]
    binding: Literal["rest", "jsonrpc"]
    url: str
    tenant: str | None = None

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The header without which a server takes 1.0 for 0.3."""
        return (("A2A-Version", "1.0"),) if self.version == "1.0" else ()


def split_url(url: str) -> tuple[str, str]:
    """Return the origin of a URL, and the rest of it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}", urlunsplit(("", "", parts.path, parts.query, ""))


# ------------------------------------------------------------------------------------------- what is answered


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
    if not isinstance(found, dict):
        return found
    about = found.get("statusUpdate") or found.get("artifactUpdate") or found
    if isinstance(about, dict) and about.get("taskId") and not about.get("messageId"):
        return {"task": {**about, "id": about["taskId"]}}
    if isinstance(found.get("task", found.get("message")), dict):
        return found
    return {"task" if found.get("kind") == "task" or "status" in found else "message": found}


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
_read_tasks = Reader(Annotated[_TaskPage, BeforeValidator(_result)])


def _read_answer(response: Response) -> A2ATask | A2AMessage:
    answer: _Sent = _read_sent(response)
    found = answer.task or answer.message
    if found is None:
        raise ValueError("it has neither a task nor a message")
    return found


def _read_page(response: Response) -> Page[A2ATask]:
    page: _TaskPage = _read_tasks(response)
    return Page(page.tasks, page.next_page_token or None, size=page.total_size or 0)


# ----------------------------------------------------------------------------------------------- what is sent


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
    name, given = f"{method} {template}", present(params)
    if interface.binding == "jsonrpc":
        base_url, place = split_url(interface.url)
        method, rpc = "POST", rpc_methods[interface.version]
        name = rpc if task_id is None else f"{rpc} {{task_id}}"
        given |= present({"id": task_id, "tenant": interface.tenant})
        given = {"jsonrpc": "2.0", "id": "1", "method": rpc, "params": given}
    else:
        base_url, prefix = split_url(interface.url.rstrip("/"))
        prefix += path("/{tenant}", tenant=interface.tenant) if interface.tenant else ""
        place = prefix + path(template, task_id=task_id or "")
    query = tuple((key, _query_text(value)) for key, value in given.items()) if method == "GET" else ()
    body = given if method == "POST" else None
    request = Request(method, place, query, body, headers=interface.headers, base_url=base_url)
    return Operation(name, request, expects, parse)


def _query_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def get_task(interface: Interface, task_id: str, *, history: bool = False) -> Operation[A2ATask]:
    """Read a task with its artifacts.

    :param history: also its messages.
    """
    params = {"historyLength": None if history else 0}
    return _over(interface, "get", params, TASK, _read_task, task_id)


def cancel_task(interface: Interface, task_id: str) -> Operation[Any]:
    """Cancel a task. What the answer holds is of no interest, and it may be empty: read the task."""

    def read(response: Response) -> Any:
        return response.body.strip() and _read_any(response)

    return _over(interface, "cancel", {}, TASK, read, task_id)


def list_tasks(interface: Interface, query: TaskFilter) -> Operation[Page[A2ATask]]:
    """List tasks; the page's size is how many there are on all of them, as far as the agent tells."""
    return _over(interface, "list", query.params(), LIST, _read_page)


def send_message(
    interface: Interface, message: OutgoingMessage, *, streamed: bool = False
) -> Operation[A2ATask | A2AMessage]:
    """Send a message. Twice would act twice.

    :param streamed: ask for a stream of events, and read the first one only.
    """
    action = "stream" if streamed else "send"
    operation = _over(interface, action, message.params(interface.version), ANSWER, _read_answer)
    request = operation.request
    if streamed:
        accepts = ("Accept", "text/event-stream")
        request = replace(request, headers=(*request.headers, accepts), only_first_event=True)
    return replace(operation, request=request, idempotency=Idempotency.NOT_IDEMPOTENT)
