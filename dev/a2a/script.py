"""What the agents here do: they follow the script that a message's text is.

Steps are separated by ``;``. For a text without a known step the agent takes the steps of its option
``otherwise``, or answers with the text itself. Runs in the environments of the agents, beside
:mod:`.agent_v1` and :mod:`.agent_v03`, and must import nothing but the standard library.

========================= ===============================================================================
``say TEXT``              adds to the text artifact
``data JSON``             makes an artifact of a value
``file NAME TEXT``        makes an artifact of a file
``link URL``              makes an artifact of a URL
``status TEXT``           works on, with a status message
``work SECONDS``          works for so long
``hold``                  waits for ``POST /_control/release/TASK`` (or, given before, does not)
``ask TEXT``              asks a person; the steps after it follow on an answer, ``{answer}`` is its text
``auth TEXT``             asks for an authorisation likewise
``fail TEXT``             fails
``reject TEXT``           rejects the task
``message TEXT``          answers with a message, without a task
``crash``                 raises an exception
========================= ===============================================================================
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import defaultdict
from typing import Any

STEPS = {
    *("say", "data", "file", "link", "status", "work", "hold"),
    *("ask", "auth", "fail", "reject", "message", "crash"),
}


def steps_of(text: str, otherwise: str | None = None) -> list[tuple[str, str]]:
    """Return the steps of a message's text."""
    steps = []
    for part in text.split(";"):
        word, _, rest = part.strip().partition(" ")
        if word not in STEPS:
            return steps_of(otherwise) if otherwise else [("say", f"You said: {text}")]
        steps.append((word, rest.strip()))
    return steps


class State:
    """What the agent remembers, and shows under ``/_control``."""

    def __init__(self, otherwise: str | None = None) -> None:
        self._otherwise = otherwise
        self.left: dict[str, list[tuple[str, str]]] = {}
        """The steps that follow an answer, by task."""
        self.released: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.runs: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.faults: list[dict[str, Any]] = []

    def begin(self, task_id: str, context_id: str, message_id: str, text: str) -> list[tuple[str, str]]:
        """Note a message; return the steps to take."""
        self.runs.append(
            {"task_id": task_id, "context_id": context_id, "message_id": message_id, "text": text}
        )
        left = self.left.pop(task_id, None)
        if left is None:
            return steps_of(text, self._otherwise)
        return [(word, rest.replace("{answer}", text)) for word, rest in left]


class Control:
    """ASGI middleware: ``/_control``, faults, the journal of requests, and the token."""

    def __init__(self, app: Any, state: State, token: str | None) -> None:
        self._app = app
        self._state = state
        self._token = token

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        body = await _body(receive)
        if path.startswith("/_control/"):
            await _answer(send, 200, self._control(path.removeprefix("/_control/"), body))
            return
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        method = _method(body)
        self._state.requests.append({"path": path, "method": method, "headers": headers})
        is_known = not self._token or headers.get("authorization") == f"Bearer {self._token}"
        if not is_known and not path.startswith("/.well-known/"):
            await _answer(send, 401, {"error": "who are you?"})
            return
        fault = self._fault(path, method)
        if fault is None or fault["when"] == "after":
            await self._app(scope, _again(body, receive), send if fault is None else _nowhere)
        if fault is not None:
            await _answer(send, fault["status"], fault["body"])

    def _control(self, path: str, body: bytes) -> Any:
        state = self._state
        if path.startswith("release/"):
            state.released[path.removeprefix("release/")].set()
        elif path == "spread":
            self._spreading = asyncio.get_running_loop().create_task(
                self._spread(json.loads(body)["seconds"])
            )
        elif path == "faults":
            state.faults.append({"when": "before", "status": 500, "body": {}, "times": 1} | json.loads(body))
        elif path == "reset":
            state.runs.clear()
            state.requests.clear()
            state.faults.clear()
        return {"runs": state.runs, "requests": state.requests, "pid": os.getpid()}

    async def _spread(self, seconds: float) -> None:
        """Release all tasks that hold, one after the other, evenly over so many seconds."""
        clock = asyncio.get_running_loop()
        began, held = clock.time(), list(self._state.released.values())
        for number, one in enumerate(held, start=1):
            await asyncio.sleep(max(0.0, began + seconds * number / len(held) - clock.time()))
            one.set()

    def _fault(self, path: str, method: str | None) -> dict[str, Any] | None:
        for fault in self._state.faults:
            if fault["times"] and (path.endswith(fault["match"]) or method == fault["match"]):
                fault["times"] -= 1
                return fault
        return None


def _method(body: bytes) -> str | None:
    try:
        return str(json.loads(body)["method"])
    except (ValueError, KeyError, TypeError):
        return None


async def _body(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


def _again(body: bytes, receive: Any) -> Any:
    sent = False

    async def again() -> Any:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _nowhere(_message: Any) -> None:
    """Lose an answer."""


async def _answer(send: Any, status: int, body: Any) -> None:
    raw = json.dumps(body).encode() if not isinstance(body, str) else body.encode()
    kind = b"text/html" if isinstance(body, str) else b"application/json"
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": raw})
