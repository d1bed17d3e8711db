"""An A2A agent in a time of its own, over each wire form; for what no real server does on command.

The real servers are in ``dev/a2a``; ``tests/a2a/test_fake_agent.py`` holds this one to what they answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from uuid import uuid4

from remote_tasks_provider.core.http.operation import Request
from remote_tasks_sandbox.clock import Clock

__all__ = ["AgentTask", "FakeAgent"]

Script = list[tuple[str, float | None]]

_TERMINAL = ("completed", "failed", "rejected", "canceled")
# Reason, HTTP status, JSON-RPC code.
_REFUSALS = {
    "TASK_NOT_FOUND": (404, -32001),
    "TASK_NOT_CANCELABLE": (400, -32002),
    "UNSUPPORTED_OPERATION": (400, -32004),
    "VERSION_NOT_SUPPORTED": (400, -32009),
    "INVALID_PARAMS": (400, -32602),
    "METHOD_NOT_FOUND": (404, -32601),
    "": (500, -32603),
}
_METHODS = {
    "SendMessage": "send",
    "GetTask": "get",
    "ListTasks": "list",
    "CancelTask": "cancel",
    "message/send": "send",
    "tasks/get": "get",
    "tasks/cancel": "cancel",
}


class _Refusal(Exception):
    """What the agent refuses, by its reason."""


@dataclass(eq=False)
class AgentTask:
    """A task of the agent.

    :param script: words, and for how many seconds each is the task's status; the last one stays.
    :param message: that began it.
    :attr hidden_for: seconds for which the agent neither lists nor knows it.
    :attr has_times: whether its status has a timestamp.
    """

    id: str
    context_id: str
    script: Script
    began: float
    made: float
    message: dict[str, Any] = field(default_factory=dict)
    hidden_for: float = 0.0
    is_hidden: bool = False
    is_forgotten: bool = False
    has_times: bool = True

    def now(self, at: float) -> tuple[str, float]:
        """Return its status word, and since when it is."""
        since = self.began
        for word, seconds in self.script:
            if seconds is None or at < since + seconds:
                return word, since
            since += seconds
        return self.script[-1][0], since

    def is_known(self, at: float) -> bool:
        """Whether the agent knows it."""
        return not (self.is_hidden or self.is_forgotten) and at >= self.made + self.hidden_for


class FakeAgent:
    """One agent, and the tasks of one user.

    :attr lists: whether it lists tasks.
    :attr filters: whether it heeds ``statusTimestampAfter``.
    :attr is_strict: whether it means "newer than" by it.
    :attr page_size: how many tasks a page has at most, whatever is asked for.
    :attr ends_early: whether a second page is always empty, as where the cursor's task has changed.
    """

    def __init__(self, clock: Clock, host: str) -> None:
        self._clock = clock
        self._host = host
        self.tasks: list[AgentTask] = []
        self.lists = True
        self.filters = True
        self.is_strict = False
        self.page_size = 100
        self.ends_early = False

    # ---------------------------------------------------------------------------------- what happens to tasks

    def add_task(self, script: Script, context_id: str | None = None, message: Any = None) -> str:
        """Begin a task; return its id."""
        now = self._clock.now()
        task_id = f"task{len(self.tasks) + 1:04}"
        context_id = context_id or str(uuid4())
        own = {"taskId": task_id, "contextId": context_id}
        message = {
            "messageId": str(uuid4()),
            "role": "user",
            "parts": [{"text": "Hello"}],
            **(message or {}),
            **own,
        }
        self.tasks.append(AgentTask(task_id, context_id, script, now, now, message))
        return task_id

    def get(self, task_id: str) -> AgentTask | None:
        """Return a task, unless it is forgotten."""
        return next((task for task in self.tasks if task.id == task_id and not task.is_forgotten), None)

    def set_script(self, task_id: str, script: Script) -> None:
        """Change what a task does from now on."""
        if (task := self.get(task_id)) is not None:
            task.script, task.began = script, self._clock.now()

    def delete_task(self, task_id: str) -> None:
        """Forget a task."""
        if (task := self.get(task_id)) is not None:
            task.is_forgotten = True

    def stop_as_user(self, task_id: str) -> None:
        """Let another client cancel a task."""
        if (task := self.get(task_id)) is not None and self.word(task) not in _TERMINAL:
            self.set_script(task_id, [("canceled", None)])

    def word(self, task: AgentTask) -> str:
        """Return a task's status word, as 1.0 has it without its prefix, in lower case."""
        return task.now(self._clock.now())[0]

    # ---------------------------------------------------------------------------------------- what it answers

    def answer(self, request: Request, base_url: str) -> tuple[int, Any]:
        """Return the status and the body of the answer to a request; ``base_url`` is where it listens."""
        url = urlsplit(request.url(base_url))
        path = url.path.removeprefix(urlsplit(base_url).path)
        if path == "/.well-known/agent-card.json" and request.method == "GET":
            return 200, self._card()
        is_rpc = path == "/rpc"
        version = "1.0" if ("A2A-Version", "1.0") in request.headers else "0.3"
        if not is_rpc and not path.startswith("/rest/"):
            return 404, {"detail": "Not Found"}
        try:
            what, params = (
                _asked_rpc(request) if is_rpc else _asked_rest(request, path, dict(parse_qsl(url.query)))
            )
            if version == "0.3" and (what == "list" or not is_rpc):
                raise _Refusal("VERSION_NOT_SUPPORTED" if not is_rpc else "METHOD_NOT_FOUND")
            result = getattr(self, f"_{what}")(params, version)
        except _Refusal as refusal:
            return self.refused(request, str(refusal))
        return 200, {"jsonrpc": "2.0", "id": "1", "result": result} if is_rpc else result

    def refused(self, request: Request, reason: str) -> tuple[int, Any]:
        """Return how a refusal is answered over the wire form of a request; without a reason, a 500."""
        status, code = _REFUSALS[reason]
        details = [{"reason": reason, "domain": "a2a-protocol.org"}] if reason else []
        if reason == "METHOD_NOT_FOUND":
            details = []
        if request.path.endswith("/rpc"):
            error = {"code": code, "message": reason or "Internal error", "data": details}
            return 200, {"jsonrpc": "2.0", "id": "1", "error": error}
        return status, {"error": {"code": status, "message": reason or "Internal error", "details": details}}

    def _card(self) -> dict[str, Any]:
        ways = (("rest", "HTTP+JSON", "1.0"), ("rpc", "JSONRPC", "1.0"), ("rpc", "JSONRPC", "0.3"))
        interfaces = [
            {"url": f"{self._host}/{place}", "protocolBinding": binding, "protocolVersion": version}
            for place, binding, version in ways
        ]
        return {"name": "Fake", "supportedInterfaces": interfaces, "capabilities": {}, "skills": []}

    def _send(self, params: dict[str, Any], version: str) -> Any:
        message = params["message"]
        if message.get("taskId"):
            raise _Refusal("UNSUPPORTED_OPERATION")
        task_id = self.add_task([("submitted", 1.0), ("completed", None)], message.get("contextId"), message)
        shown = self._shown(self.tasks[-1], version, is_whole=True)
        assert shown["id"] == task_id
        return shown if version == "0.3" else {"task": shown}

    def _get(self, params: dict[str, Any], version: str) -> Any:
        return self._shown(self._known(params["id"]), version, is_whole=params.get("historyLength") is None)

    def _cancel(self, params: dict[str, Any], version: str) -> Any:
        task = self._known(params["id"])
        if self.word(task) in _TERMINAL:
            raise _Refusal("TASK_NOT_CANCELABLE")
        self.set_script(task.id, [("canceled", None)])
        return self._shown(task, version, is_whole=True)

    def _list(self, params: dict[str, Any], version: str) -> Any:
        if not self.lists:
            raise _Refusal("UNSUPPORTED_OPERATION")
        found = [task for task in self.tasks if task.is_known(self._clock.now())]
        if context_id := params.get("contextId"):
            found = [task for task in found if task.context_id == context_id]
        if (after := params.get("statusTimestampAfter")) and self.filters:
            least = datetime.fromisoformat(after).timestamp()
            found = [task for task in found if self._is_after(task, least)]
        found.sort(key=lambda task: (self._time(task) or float("-inf"), task.id), reverse=True)
        start = int(params.get("pageToken") or 0)
        end = start + min(int(params.get("pageSize") or 50), self.page_size)
        page = [] if start and self.ends_early else found[start:end]
        shown = [self._shown(task, version, is_whole=params.get("historyLength") is None) for task in page]
        for one in shown if not params.get("includeArtifacts") else ():
            one.pop("artifacts", None)
        return {
            "tasks": shown,
            "nextPageToken": str(end) if page and end < len(found) else "",
            "pageSize": end - start,
            "totalSize": len(found),
        }

    def _known(self, task_id: str) -> AgentTask:
        task = self.get(task_id)
        if task is None or not task.is_known(self._clock.now()):
            raise _Refusal("TASK_NOT_FOUND")
        return task

    def _time(self, task: AgentTask) -> float | None:
        word, since = task.now(self._clock.now())
        return None if word == "submitted" or not task.has_times else since

    def _is_after(self, task: AgentTask, least: float) -> bool:
        time = self._time(task)
        return time is not None and (time > least if self.is_strict else time >= least)

    def _shown(self, task: AgentTask, version: str, *, is_whole: bool) -> dict[str, Any]:
        word, time = self.word(task), self._time(task)
        is_old = version == "0.3"
        status = {"state": word.replace("_", "-") if is_old else f"TASK_STATE_{word.upper()}"}
        if time is not None:
            status["timestamp"] = datetime.fromtimestamp(time, UTC).isoformat().replace("+00:00", "Z")
        shown: dict[str, Any] = {"id": task.id, "contextId": task.context_id, "status": status}
        if is_old:
            shown["kind"] = "task"
        shown["history"] = [task.message] if is_whole else []
        if word == "completed":
            part = {"kind": "text", "text": "Done."} if is_old else {"text": "Done."}
            shown["artifacts"] = [{"artifactId": "a", "parts": [part]}]
        return shown


def _asked_rpc(request: Request) -> tuple[str, dict[str, Any]]:
    what = _METHODS.get(request.json["method"])
    if what is None:
        raise _Refusal("METHOD_NOT_FOUND")
    return what, request.json["params"]


def _asked_rest(request: Request, path: str, query: dict[str, str]) -> tuple[str, dict[str, Any]]:
    place = unquote(path.removeprefix("/rest"))
    if place == "/message:send":
        return "send", request.json
    if place == "/tasks":
        return "list", query
    task_id, _, verb = place.removeprefix("/tasks/").partition(":")
    return "cancel" if verb == "cancel" else "get", {**query, "id": task_id}
