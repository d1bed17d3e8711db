"""The ASGI application: sends each request to the emulated API it is for, or to the control plane and pages.

It is the outermost layer on purpose. Faults that hold or cut a connection need the server's own ``send`` and
``receive``, which a framework would have wrapped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse

from remote_tasks_sandbox.calls import Answer, Call, is_loopback, json_answer
from remote_tasks_sandbox.control import control_app
from remote_tasks_sandbox.manus.api import ManusApi, manus_error
from remote_tasks_sandbox.qstash.api import QStashApi, qstash_error

if TYPE_CHECKING:
    from remote_tasks_sandbox.faults import Fault, Plan
    from remote_tasks_sandbox.state import Sandbox

__all__ = ["ConnectionDropped", "SandboxApp", "is_loopback"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_HUGE_CHUNK = 256 * 1024
_GARBAGE: dict[str, tuple[bytes, str]] = {
    "html": (
        b"<!doctype html><html><body><h1>Just a moment...</h1></body></html>",
        "text/html; charset=utf-8",
    ),
    "list": (b'["unexpected"]', "application/json"),
    "string": (b'"unexpected"', "application/json"),
    "null": (b"null", "application/json"),
    "empty": (b"", "application/json"),
}


class ConnectionDropped(ConnectionError):
    """Raised in place of cutting the connection where there is none: the app was called without a server."""


class SandboxApp:
    """The whole sandbox as an ASGI application.

    :param sandbox: the state it serves
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._apis: dict[str, ManusApi | QStashApi] = {
            "manus": ManusApi(sandbox),
            "qstash": QStashApi(sandbox),
        }
        self._local = control_app(sandbox)
        self._held: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = scope.get("path", "")
        # /manus/app/... are pages for a person, not part of the API.
        is_api = path.startswith(("/manus/", "/qstash/")) and not path.startswith("/manus/app/")
        if scope["type"] == "http" and is_api:
            await self._serve_api(scope, receive, send)
        elif scope["type"] == "http" and not _may_control(scope):
            refusal = PlainTextResponse(
                "Only pages and clients of this machine may use the control plane.\n", 403
            )
            await refusal(scope, receive, send)
        else:
            await self._local(scope, receive, send)

    def release(self) -> None:
        """Drop every request that a ``hang`` holds; may be called from any thread."""
        for loop, event in tuple(self._held):
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    async def _serve_api(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read_body(receive)
        if body is None:
            return
        call = Call.from_scope(scope, body)
        sandbox, settings = self._sandbox, self._sandbox.settings
        secrets = settings.secrets
        record = sandbox.journal.open(call, at=sandbox.clock.now(), secrets=secrets)
        plan = sandbox.faults.plan(call)
        record.fault = plan.label
        for fault in plan.hangs:
            if not await self._hold(fault.options["seconds"], receive):
                await _drop(receive, send)
                return
        if plan.ending is not None and plan.ending.kind == "huge":
            record.status = 200
            await _send_huge(plan.ending.options["size"], receive, send)
            return
        answer = self._answer(call, plan)
        if answer is None:
            await _drop(receive, send)
            return
        # Before the client can see it, so that a test never reads a record without its status.
        record.status = answer.status
        await _send_answer(answer, send)

    def _answer(self, call: Call, plan: Plan) -> Answer | None:
        """Return what to send, or ``None`` to cut the connection."""
        fault = plan.ending
        if fault is not None and fault.kind == "drop_before":
            return None
        if fault is not None and fault.kind != "drop_after" and fault.options.get("form") != "truncated":
            return _fault_answer(fault, call)
        with self._sandbox.lock:
            answer = self._apis[call.vendor].answer(call, plan)
        if fault is None:
            return answer
        return None if fault.kind == "drop_after" else Answer(200, answer.body[: len(answer.body) // 2])

    async def _hold(self, seconds: float | None, receive: Receive) -> bool:
        """Wait; ``False`` when the wait was ended by :meth:`release` or because the client left."""
        entry = (asyncio.get_running_loop(), asyncio.Event())
        self._held.add(entry)
        waits = [asyncio.ensure_future(entry[1].wait()), asyncio.ensure_future(_disconnected(receive))]
        try:
            done, _ = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            return not done
        finally:
            self._held.discard(entry)
            for wait in waits:
                wait.cancel()


def _may_control(scope: Scope) -> bool:
    """Whether the request comes from this machine and not through a web page of elsewhere.

    A page whose own host name is made to point at 127.0.0.1 sends that name as ``Host``; a form on any other
    page sends that page as ``Origin``. Neither may reset the sandbox or read its journal.
    """
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    host = urlsplit(f"//{headers.get(b'host', '')}").hostname or ""
    origin = headers.get(b"origin")
    return is_loopback(host) and (origin is None or is_loopback(urlsplit(origin).hostname or ""))


async def _read_body(receive: Receive) -> bytes | None:
    """Return the body, or ``None`` when the client left before it was complete."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _drop(receive: Receive, send: Send) -> None:
    # ASGI has no word for "cut the connection": an app that returns without an answer gets a 500 sent in its
    # name. uvicorn's ``send`` is a method of its request cycle, which holds the socket's transport; aborting
    # that is what a vanished proxy or a killed server looks like to a client.
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        raise ConnectionDropped("the sandbox dropped the connection")
    transport.abort()
    # Wait until the server has noticed, or it would log that no answer was given.
    await _disconnected(receive)


def _fault_answer(fault: Fault, call: Call) -> Answer:
    options = fault.options
    if fault.kind == "redirect":
        return Answer(options["status"], b"", headers={"location": options["location"]})
    if fault.kind == "garbage":
        garbage, content_type = _GARBAGE[options["form"]]
        return Answer(200, garbage, content_type=content_type)
    headers = {str(name): str(value) for name, value in options["headers"].items()}
    body: Any = options["body"]
    status: int = options["status"]
    if body is None:
        message = f"sandbox fault {fault.id}"
        if call.vendor == "manus":
            return manus_error(call, status, message, headers)
        return qstash_error(status, message, headers)
    if isinstance(body, str):
        return Answer(status, body.encode(), content_type="text/plain; charset=utf-8", headers=headers)
    return json_answer(body, status, headers)


async def _send_answer(answer: Answer, send: Send) -> None:
    headers = {"content-type": answer.content_type, "content-length": str(len(answer.body))}
    headers |= {name.lower(): value for name, value in answer.headers.items()}
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    await send({"type": "http.response.body", "body": answer.body})


async def _send_huge(size: int, receive: Receive, send: Send) -> None:
    """Send valid JSON of ``size`` bytes without ever holding more than a chunk."""
    start, end = b'{"padding":"', b'"}'
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]}
    )
    await send({"type": "http.response.body", "body": start, "more_body": True})
    left = size - len(start) - len(end)
    # ``send`` does not say that the client has left; it just returns at once.
    gone = asyncio.ensure_future(_disconnected(receive))
    while left > 0 and not gone.done():
        await send({"type": "http.response.body", "body": b"x" * min(left, _HUGE_CHUNK), "more_body": True})
        left -= _HUGE_CHUNK
        await asyncio.sleep(0)
    gone.cancel()
    await send({"type": "http.response.body", "body": end})
