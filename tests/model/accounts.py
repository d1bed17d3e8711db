"""What the world must know of each service: its operator, its requests, and what its tasks are up to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from remote_tasks_provider.a2a.operators import A2ATaskOperator
from remote_tasks_provider.core.http.operation import Request
from remote_tasks_provider.manus.operators import ManusTaskOperator
from remote_tasks_provider.qstash.operators import QStashPublishOperator
from tests.conformance.subjects import SUBJECTS, Subject
from tests.model.plans import Fate

if TYPE_CHECKING:
    from tests.conformance.peer import Peer

__all__ = ["ACCOUNTS", "FINISHED", "UNFINISHED", "Account"]

FINISHED = {"completed": "completed", "delivered": "completed", "stopped": "failed", "failed": "failed"}
"""What the words for the end of a task mean."""
UNFINISHED = ("waiting", "pending", "running")
PREFIX = "example.com/"

Answer = tuple[int, Any]


class Account(Protocol):
    """An account of a service.

    :attr keeps_tasks: whether what is submitted has an outcome that is handed over; a message has none.
    :attr hides: whether tasks can be kept out of the list.
    :attr tags: whether a task is found in the list whatever it was asked for.
    :attr lists: whether there is a list.
    """

    subject: Subject
    keeps_tasks: bool
    hides: bool
    tags: bool
    lists: bool

    def operator(self, prompt: str, attachment: str, common: dict[str, Any], chosen: dict[str, Any]) -> Any:
        """Return the operator that submits a task; ``chosen`` is only for those that keep tasks."""

    def pays(self, request: Request) -> bool:
        """Whether a request submits a task."""

    def cancels(self, request: Request) -> bool:
        """Whether a request stops one."""

    def target(self, request: Request) -> str | None:
        """Return the task that a request names."""

    def refusal(self, request: Request, status: int) -> Answer:
        """Return the answer that has this HTTP status, or means it."""

    def ids(self) -> list[str]:
        """Return what has been submitted."""

    def word(self, task_id: str) -> str:
        """Return what a task is doing."""

    def meet(self, task_id: str, fate: Fate) -> None:
        """Let a task have its fate."""

    def by_hand(self, task_id: str, what: str, *, was_stopped: bool) -> None:
        """Let a person do something to a task."""


class Manus:
    """Manus; ``auto`` takes the version that does a call best."""

    keeps_tasks = hides = lists = True

    def __init__(self, peer: Peer, service: str) -> None:
        self._peer = peer
        self.tags = service != "v1"

    @staticmethod
    def subject_of(service: str) -> Subject:
        extras = {} if service == "auto" else {"api_version": service}
        return _subject("Manus", service, extras)

    def operator(self, prompt: str, attachment: str, common: dict[str, Any], chosen: dict[str, Any]) -> Any:
        more = {"prompt": prompt, "attachments": [attachment], "output_grace": 5.0}
        return ManusTaskOperator(**{**more, **common, **chosen})

    def pays(self, request: Request) -> bool:
        return request.method == "POST" and (
            request.path == "/v1/tasks" or request.path.endswith("task.create")
        )

    def cancels(self, request: Request) -> bool:
        is_deletion = request.method == "DELETE" and request.path.startswith("/v1/tasks/")
        return is_deletion or request.path.endswith("task.stop")

    def target(self, request: Request) -> str | None:
        if isinstance(request.json, dict) and "task_id" in request.json:
            return str(request.json["task_id"])
        if found := dict(request.query).get("task_id"):
            return found
        return request.path.split("/")[3] if request.path.startswith("/v1/tasks/") else None

    def refusal(self, _request: Request, status: int) -> Answer:
        return status, {"code": 5, "message": "not found"} if status == 404 else {"code": 2, "message": "no"}

    def ids(self) -> list[str]:
        return [one.id for one in self._peer.sandbox.manus.created]

    def word(self, task_id: str) -> str:
        task = self._peer.sandbox.manus.get(task_id)
        return "gone" if task is None else str(task.timeline.word(self._peer.time.now()))

    def meet(self, task_id: str, fate: Fate) -> None:
        manus = self._peer.sandbox.manus
        manus.get(task_id).hidden_for = fate.hidden_for
        manus.set_script(task_id, [*([("running", fate.seconds)] if fate.seconds else []), (fate.end, None)])

    def by_hand(self, task_id: str, what: str, *, was_stopped: bool) -> None:
        manus = self._peer.sandbox.manus
        if what == "person finishes it" and not was_stopped:
            manus.set_script(task_id, [("completed", None)])
        elif what == "person stops it":
            manus.stop_as_user(task_id)
        elif what == "person deletes it":
            manus.delete_task(task_id)


class QStash:
    """QStash: what is sent has no outcome for its sender."""

    keeps_tasks = hides = tags = False
    lists = True

    def __init__(self, peer: Peer, _service: str) -> None:
        self._peer = peer

    @staticmethod
    def subject_of(service: str) -> Subject:
        return _subject("QStash message", service, {})

    def operator(self, prompt: str, attachment: str, common: dict[str, Any], _chosen: dict[str, Any]) -> Any:
        url = f"https://{PREFIX}{attachment[-5]}"
        return QStashPublishOperator(**{"destination": url, "body": prompt, **common})

    def pays(self, request: Request) -> bool:
        return request.method == "POST" and "/publish/" in request.path

    def cancels(self, request: Request) -> bool:
        return request.method == "DELETE" and request.path.startswith("/v2/messages")

    def target(self, request: Request) -> str | None:
        return request.path.split("/")[3] if request.path.startswith("/v2/messages/") else None

    def refusal(self, _request: Request, status: int) -> Answer:
        return status, {"error": "no"}

    def ids(self) -> list[str]:
        return [one.id for one in self._peer.sandbox.qstash.messages]

    def word(self, task_id: str) -> str:
        return str(self._peer.sandbox.qstash.get_message(task_id).state).lower()

    def meet(self, task_id: str, fate: Fate) -> None: ...

    def by_hand(self, task_id: str, what: str, *, was_stopped: bool) -> None: ...


_WORDS = {
    "submitted": "pending",
    "working": "running",
    "input_required": "waiting",
    "canceled": "stopped",
    "rejected": "failed",
}
_WIRES = {"a2a-rest": "A2A 1.0 REST", "a2a-rpc": "A2A 1.0 JSON-RPC", "a2a-0.3": "A2A 0.3 JSON-RPC"}
_METHODS = {"pays": ("SendMessage", "message/send"), "cancels": ("CancelTask", "tasks/cancel")}


class A2A:
    """An agent, over one wire form; over 0.3 there is no list."""

    keeps_tasks = True
    hides = False

    def __init__(self, peer: Peer, service: str) -> None:
        self._peer = peer
        self.lists = self.tags = service != "a2a-0.3"

    @staticmethod
    def subject_of(service: str) -> Subject:
        return _subject(_WIRES[service], service, {})

    def operator(self, prompt: str, attachment: str, common: dict[str, Any], chosen: dict[str, Any]) -> Any:
        return A2ATaskOperator(**{"message": prompt, "parts": [{"url": attachment}], **common, **chosen})

    def pays(self, request: Request) -> bool:
        return request.path.endswith("/message:send") or _method(request) in _METHODS["pays"]

    def cancels(self, request: Request) -> bool:
        return request.path.endswith(":cancel") or _method(request) in _METHODS["cancels"]

    def target(self, request: Request) -> str | None:
        if _method(request):
            return request.json["params"].get("id")  # type: ignore[no-any-return]
        place = request.path.partition("/tasks/")[2]
        return place.removesuffix(":cancel") or None

    def refusal(self, request: Request, status: int) -> Answer:
        """A reason is given where the agent itself answers; a server before it has none."""
        if status == 404 and self.target(request):
            return self._peer.agent.refused(request, "TASK_NOT_FOUND")
        return self._peer.agent.refused(request, "") if status == 500 else (status, {"detail": "no"})

    def ids(self) -> list[str]:
        return [one.id for one in self._peer.agent.tasks]

    def word(self, task_id: str) -> str:
        task = self._peer.agent.get(task_id)
        if task is None:
            return "gone"
        word = self._peer.agent.word(task)
        return _WORDS.get(word, word)

    def meet(self, task_id: str, fate: Fate) -> None:
        agent = self._peer.agent
        agent.tasks[-1].hidden_for = fate.hidden_for
        end = "input_required" if fate.end == "pending" else fate.end
        steps = [("submitted", 1.0), ("working", fate.seconds)] if fate.seconds else []
        agent.set_script(task_id, [*steps, (end, None)])

    def by_hand(self, task_id: str, what: str, *, was_stopped: bool) -> None:
        agent = self._peer.agent
        if what == "person finishes it" and self.word(task_id) in UNFINISHED:
            agent.set_script(task_id, [("completed", None)])
        elif what == "person stops it":
            agent.stop_as_user(task_id)
        elif what == "person deletes it":
            agent.delete_task(task_id)


ACCOUNTS: dict[str, type[Manus | QStash | A2A]] = {
    **dict.fromkeys(("v1", "v2", "auto"), Manus),
    "qstash": QStash,
    **dict.fromkeys(_WIRES, A2A),
}
"""By service, and by its version or wire form."""


def _method(request: Request) -> str | None:
    return request.json.get("method") if isinstance(request.json, dict) else None


def _subject(name: str, service: str, extras: dict[str, Any]) -> Subject:
    found = next(subject for subject in SUBJECTS if subject.name == name)
    return replace(found, name=service, extras={**found.extras, **extras, "max_attempts": 2})
