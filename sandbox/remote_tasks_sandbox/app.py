"""The ASGI application: sends each request to the emulated API it is for, or to the control plane.

It uses no framework: faults that hold or cut a connection need the server's own ``send`` and ``receive``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from contextlib import suppress
from dataclasses import replace
from email.utils import formatdate
from typing import Any
from urllib.parse import urlsplit

from remote_tasks_sandbox.calls import Answer, Call, Later, is_loopback, json_answer
from remote_tasks_sandbox.control import Control
from remote_tasks_sandbox.delivery import Courier
from remote_tasks_sandbox.faults import Fault, Plan
from remote_tasks_sandbox.state import Sandbox
from remote_tasks_sandbox.vendor import Vendor

__all__ = ["ConnectionDropped", "SandboxApp"]

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
        self._control = Control(sandbox)
        self._courier = Courier()
        self._held: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        sandbox.faults.on_clear = self.release

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        body = await _read_body(receive)
        if body is None:
            return
        call = Call.from_scope(scope, body)
        vendor = self._sandbox.vendors.get(call.vendor)
        # /<vendor>/app/... are pages for a person, not part of the API.
        if vendor is not None and call.segments[:1] not in ((), ("app",)):
            await self._serve_api(call, vendor, receive, send)
        elif _may_control(call):
            await _send_answer(self._control.answer(call), send)
        else:
            refusal = b"Only pages and clients of this machine may use the control plane.\n"
            await _send_answer(Answer(403, refusal, "text/plain; charset=utf-8"), send)

    def release(self) -> None:
        """Drop every request that a ``hang`` holds; may be called from any thread."""
        for loop, event in tuple(self._held):
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    async def _serve_api(self, call: Call, vendor: Vendor, receive: Receive, send: Send) -> None:
        sandbox = self._sandbox
        record = sandbox.journal.open(call, at=sandbox.clock.now(), secrets=sandbox.settings.secrets())
        plan = sandbox.faults.plan(call, vendor)
        record.fault = plan.label
        for fault in plan.hangs:
            if not await self._hold(fault.options["seconds"], receive):
                await _drop(receive, send)
                return
        if plan.ending is not None and plan.ending.kind == "huge":
            record.status = 200
            await _send_huge(plan.ending.options["size"], receive, send)
            return
        found = self.answer(call, vendor, plan)
        answer = _ended(plan, await self._completed(found, receive)) if isinstance(found, Later) else found
        if answer is None:
            await _drop(receive, send)
            return
        # Before the client can see it, so that a test never reads a record without its status.
        record.status = answer.status
        date = formatdate(sandbox.clock.now(), usegmt=True)
        await _send_answer(replace(answer, headers={"date": date, **answer.headers}), send)

    def answer(self, call: Call, vendor: Vendor, plan: Plan) -> Answer | Later | None:
        """Return what to send, what is to be done first, or ``None`` to cut the connection."""
        fault = plan.ending
        if fault is not None and fault.kind == "drop_before":
            return None
        if fault is not None and fault.kind != "drop_after" and fault.options.get("form") != "truncated":
            return _fault_answer(fault, call, vendor)
        with self._sandbox.lock:
            found = vendor.answer(call, plan)
        return found if isinstance(found, Later) else _ended(plan, found)

    async def _completed(self, later: Later, receive: Receive) -> Answer | None:
        """Return the answer, or ``None`` when the client leaves before; the work continues without it."""
        loop, done, answers = asyncio.get_running_loop(), asyncio.Event(), list[Answer]()

        def complete() -> None:
            try:
                found = later.work()
                with self._sandbox.lock:
                    answers.append(later.end(found))
            finally:
                # The loop is closed when the server was stopped meanwhile.
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(done.set)

        # A daemon's thread and not one of the loop's, for which a server that stops would wait.
        self._courier.submit(complete)
        await _any(done.wait(), _disconnected(receive))
        return answers[0] if answers else None

    async def _hold(self, seconds: float | None, receive: Receive) -> bool:
        """Wait; ``False`` when :meth:`release` ended the wait or because the client left."""
        entry = (asyncio.get_running_loop(), asyncio.Event())
        self._held.add(entry)
        try:
            return not await _any(entry[1].wait(), _disconnected(receive), seconds=seconds)
        finally:
            self._held.discard(entry)


def _ended(plan: Plan, answer: Answer | None) -> Answer | None:
    """Return what arrives of an answer."""
    if plan.ending is None or answer is None:
        return answer
    return None if plan.ending.kind == "drop_after" else Answer(200, answer.body[: len(answer.body) // 2])


async def _any(*waits: Coroutine[Any, Any, Any], seconds: float | None = None) -> bool:
    """Wait for the first of these and drop the others; ``False`` when none came within so many seconds."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        for task in tasks:
            task.cancel()


def _may_control(call: Call) -> bool:
    """Whether the request comes from this machine and not through a web page of elsewhere.

    A page whose own host name is made to point at 127.0.0.1 sends that name as ``Host``; a form on any other
    page sends that page as ``Origin``. Neither may reset the sandbox or read its journal.
    """
    host = urlsplit(f"//{call.headers.get('host', '')}").hostname or ""
    origin = call.headers.get("origin")
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


def _fault_answer(fault: Fault, call: Call, vendor: Vendor) -> Answer:
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
        return vendor.error(call, status, f"sandbox fault {fault.id}", headers)
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
