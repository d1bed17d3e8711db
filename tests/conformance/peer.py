"""A service that misbehaves on schedule, in a time that passes only when the provider waits.

The good answers are the sandbox's, and those of a small A2A agent. Everything between the Airflow sensor and
the request is the provider's own code; sockets, time and the connection are replaced here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from remote_tasks_provider.a2a.api.interfaces import AGENTS
from remote_tasks_provider.bases import connection as connection_module
from remote_tasks_provider.bases import hooks as hooks_module
from remote_tasks_provider.bases import triggers as triggers_module
from remote_tasks_provider.bases import waiting as waiting_module
from remote_tasks_provider.core.clocks import Clocks
from remote_tasks_provider.core.errors import TransportError
from remote_tasks_provider.core.http import client as client_module
from remote_tasks_provider.core.http import rate_limit
from remote_tasks_provider.core.http.connection import ConnectionConfig, ConnectionFields
from remote_tasks_provider.core.http.operation import Request, Response
from remote_tasks_provider.core.service import Service
from remote_tasks_sandbox import Sandbox
from remote_tasks_sandbox.app import SandboxApp
from remote_tasks_sandbox.calls import Answer, Call
from remote_tasks_sandbox.clock import Clock as SandboxClock
from tests.conformance.agent import FakeAgent
from tests.conformance.subjects import Subject

__all__ = ["START", "Peer", "VirtualTime", "hang"]

START = 1_780_000_000.0
HOST = "https://service.example.com"
_TOTAL_TIMEOUT = 120.0


class VirtualTime(SandboxClock):
    """Seconds since the start, and what the machine's clock makes of them.

    :attr jump: by how much somebody has set the machine's clock.
    """

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0.0
        self.jump = 0.0
        self.events: list[tuple[float, Callable[[], Any]]] = []

    def now(self) -> float:
        """Return the service's time, which nobody sets."""
        return START + self.passed

    def wall(self) -> float:
        return START + self.passed + self.jump

    def monotonic(self) -> float:
        return 5000.0 + self.passed

    def at(self, moment: float, action: Callable[[], Any]) -> None:
        """Do something when so many seconds have passed."""
        self.events.append((moment, action))
        self.events.sort(key=lambda event: event[0])

    def sleep(self, seconds: float) -> None:
        self.move_to(self.passed + max(0.0, seconds))

    def move_to(self, moment: float) -> None:
        while self.events and self.events[0][0] <= moment:
            at, action = self.events.pop(0)
            self.passed = max(self.passed, at)
            action()
        self.passed = max(self.passed, moment)


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose timers follow the virtual time: when nothing else is ready, the next one is due."""

    def __init__(self, time: VirtualTime) -> None:
        super().__init__()
        self._virtual = time

    def time(self) -> float:
        return self._virtual.monotonic()

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            due = self._scheduled[0]._when  # type: ignore[attr-defined]
            self._virtual.move_to(due - 5000.0)
        super()._run_once()  # type: ignore[misc]


def hang(time: VirtualTime, timeout: float | None) -> TransportError:
    """Let a request hang until its timeout; return its error."""
    time.sleep(min(timeout or _TOTAL_TIMEOUT, _TOTAL_TIMEOUT))
    return TransportError("silent")


class Peer:
    """One service, its account, and the Airflow connection to it.

    :attr fault: what goes wrong with a request: a function of the seconds and the request that returns a
        response, an exception, ``hang`` or ``None``.
    :attr spoil: changes good answers.
    :attr unreadable: what reading the connection raises.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.time = VirtualTime()
        self.sandbox = Sandbox(self.time)
        self.app = SandboxApp(self.sandbox)
        self.agent = FakeAgent(self.time, HOST)
        self.key = self.good_key = "sk-sandbox" if subject.vendor == "manus" else "sandbox-token"
        self.host = self.good_host = HOST
        self.fault: Callable[[float, Request], Any] = lambda _seconds, _request: None
        self.spoil: Callable[[float, Any], Any] = lambda _seconds, body: body
        self.unreadable: Callable[[float], Exception | None] = lambda _seconds: None
        self.asked: list[tuple[float, str]] = []

    # ---------------------------------------------------------------------------------------- what it answers

    def answer(
        self, request: Request, config: ConnectionConfig, timeout: float | None
    ) -> Response | Exception:
        """Return the answer to a request, or the error of the transport."""
        at = self.time.passed
        self.asked.append((at, request.place))
        found = self.fault(at, request)
        if found == "hang":
            return hang(self.time, timeout)
        if found is not None:
            return found  # type: ignore[no-any-return]
        if config.base_url != self.good_host:
            return TransportError("no such host", sent=False)
        if config.secret != self.good_key:
            return _response(401, {"message": "unauthorized"})
        return self._good(request, config)

    def _good(self, request: Request, config: ConnectionConfig) -> Response:
        if self.subject.vendor == "a2a":
            return self._good_of_agent(request)
        url = request.url("")
        path, _, query = url.partition("?")
        name, value = config.auth_for(request)
        real = "sk-sandbox" if self.subject.vendor == "manus" else "sandbox-token"
        headers = [(name.lower(), value.replace(self.good_key, real)), ("host", "127.0.0.1")]
        headers += [(one.lower(), two) for one, two in request.headers]
        body = json.dumps(request.json).encode() if request.json is not None else request.content or b""
        scope = {
            "method": request.method,
            "path": f"/{self.subject.vendor}{path}",
            "raw_path": f"/{self.subject.vendor}{path}".encode(),
            "query_string": query.encode(),
            "headers": [(one.encode(), two.encode()) for one, two in headers],
        }
        call = Call.from_scope(scope, body)
        vendor = self.sandbox.vendors[self.subject.vendor]
        plan = self.sandbox.faults.plan(call, vendor)
        answer = self.app.answer(call, vendor, plan)
        assert isinstance(answer, Answer)
        found = Response(answer.status, {"content-type": answer.content_type, **answer.headers}, answer.body)
        if found.status != 200:
            return found
        return _response(200, self.spoil(self.time.passed, json.loads(found.body)))

    def _good_of_agent(self, request: Request) -> Response:
        status, body = self.agent.answer(request, self.good_host)
        if status == 200 and "result" in body:
            body["result"] = self.spoil(self.time.passed, body["result"])
        elif status == 200:
            body = self.spoil(self.time.passed, body)
        return _response(status, body)

    def hide(self, task_id: str) -> Callable[[], Any]:
        """Let the service forget a task; return what lets it remember."""
        if self.subject.vendor == "a2a":
            task = self.agent.get(task_id)
            assert task is not None
            task.is_hidden = True
            return lambda: setattr(task, "is_hidden", False)
        fault = self.sandbox.faults.add("hide", task_id=task_id)
        return lambda: self.sandbox.faults.remove(fault)

    # -------------------------------------------------------------------------------------- how it is reached

    def config(self, service: Service, conn_id: str) -> ConnectionConfig:
        """Read the connection."""
        if (problem := self.unreadable(self.time.passed)) is not None:
            raise problem
        extra = {"max_attempts": 1, **self.subject.extras}
        return service.config(ConnectionFields(conn_id, host=self.host, password=self.key, extra=extra))

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put this service, its connection and its time in place of the real ones."""
        peer = self

        class Transport:
            def __init__(self, config: ConnectionConfig) -> None:
                self.config = config

            def send(
                self, request: Request, *, timeout: float | None = None, fresh: bool = False
            ) -> Response:
                return _raised(peer.answer(request, self.config, timeout))

            def close(self) -> None: ...

        class AsyncTransport:
            def __init__(self, config: ConnectionConfig) -> None:
                self.config = config

            async def send(self, request: Request, **_: Any) -> Response:
                timeout = None
                if peer.fault(peer.time.passed, request) == "hang":
                    peer.asked.append((peer.time.passed, request.place))
                    await asyncio.sleep(min(timeout or _TOTAL_TIMEOUT, _TOTAL_TIMEOUT))
                    raise TransportError("silent")
                return _raised(peer.answer(request, self.config, timeout))

            async def aclose(self) -> None: ...

        async def async_config(service: Service, conn_id: str) -> ConnectionConfig:
            return peer.config(service, conn_id)

        time = self.time
        clock = SimpleNamespace(time=time.wall, monotonic=time.monotonic, sleep=time.sleep)
        monkeypatch.setattr(connection_module, "connection_config", peer.config)
        monkeypatch.setattr(connection_module, "async_connection_config", async_config)
        monkeypatch.setattr(hooks_module, "RequestsTransport", Transport)
        monkeypatch.setattr(triggers_module, "HttpxTransport", AsyncTransport)
        for module in (waiting_module, client_module, hooks_module):
            monkeypatch.setattr(module, "time", clock)
        # The virtual time passes while a thread works.
        monkeypatch.setattr(asyncio, "to_thread", _inline)
        clocks = Clocks(wall=time.wall, monotonic=time.monotonic, spread=lambda: 1.0)
        monkeypatch.setattr(triggers_module.RemoteTaskTrigger, "clocks", clocks)
        monkeypatch.setattr(rate_limit, "_LIMITERS", type(rate_limit._LIMITERS)())
        AGENTS.forget()

    def run_async(self, work: Any) -> Any:
        """Run a coroutine in the virtual time."""
        with asyncio.Runner(loop_factory=lambda: _Loop(self.time)) as runner:
            return runner.run(work)


def _response(status: int, body: Any) -> Response:
    return Response(status, {"content-type": "application/json"}, json.dumps(body).encode())


async def _inline(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def _raised(answer: Response | Exception) -> Response:
    if isinstance(answer, Exception):
        raise answer
    return answer
