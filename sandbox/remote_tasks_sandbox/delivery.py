"""Requests that the sandbox makes itself: whom it may reach, when they are due, and the threads for them.

The standard library does the sending: a redirect is not followed and no proxy is asked. Threads are daemons,
so that a destination that hangs does not keep the process alive. Imports no vendor.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from urllib.parse import urlsplit

from remote_tasks_sandbox.calls import is_loopback
from remote_tasks_sandbox.clock import Clock

__all__ = ["Agenda", "Courier", "Pump", "Response", "can_reach", "send"]

_MOST_BYTES = 1024 * 1024
_AT_ONCE = 8
_PUMP_SECONDS = 0.02


@dataclass(frozen=True)
class Response:
    """What a destination answered.

    :param status: HTTP status; 0 when there was no answer
    :param error: why there was none
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether the message counts as delivered."""
        return 200 <= self.status < 300

    @property
    def reason(self) -> str:
        """Say why the attempt failed."""
        return self.error or f"HTTP status {self.status}"


def can_reach(url: str) -> bool:
    """Whether a destination is on this machine; no other is ever contacted."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return False
    return host is not None and is_loopback(host)


def send(method: str, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Response:
    """Make one attempt over a socket; whatever goes wrong is a response without a status.

    :param timeout: seconds to wait for each part of the answer
    """
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme.lower() == "https" else http.client.HTTPConnection
    try:
        connection = kind(parts.hostname or "", parts.port, timeout=timeout)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request(method, target, body=body or None, headers=dict(headers))
            answer = connection.getresponse()
            return Response(answer.status, answer.read(_MOST_BYTES), dict(answer.getheaders()))
        finally:
            connection.close()
    except TimeoutError:
        return Response(0, error="timeout")
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Response(0, error=f"{type(error).__name__}: {error}")


class Agenda:
    """What is due when, by the sandbox's clock; the caller holds the lock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = count()

    def later(self, at: float, action: Callable[[float], None]) -> None:
        """Do something at a time, in unix seconds; it is told for which time it was due."""
        heappush(self._due, (at, next(self._numbers), action))

    def settle(self) -> None:
        """Do everything that is due, in its order."""
        now = self._clock.now()
        while self._due and self._due[0][0] <= now:
            at, _, action = heappop(self._due)
            action(at)

    def clear(self) -> None:
        """Forget everything."""
        self._due.clear()

    def __len__(self) -> int:
        return len(self._due)


class Courier:
    """Runs attempts side by side, a few at a time, each in a thread of its own."""

    def __init__(self) -> None:
        self._places = threading.BoundedSemaphore(_AT_ONCE)

    def submit(self, job: Callable[[], None]) -> None:
        """Run a job soon, in another thread."""
        threading.Thread(
            target=self._run, args=(job,), name="remote-tasks-sandbox-courier", daemon=True
        ).start()

    def _run(self, job: Callable[[], None]) -> None:
        with self._places:
            job()


class Pump:
    """Lets time take its effect while nobody asks: what goes to a real destination waits for no request.

    :param step: does what is due; says whether more will be
    """

    def __init__(self, step: Callable[[], bool]) -> None:
        self._step = step
        self._lock = threading.Lock()
        self._wanted = False
        self._running = False

    def wake(self) -> None:
        """Make sure that the steps are taken until there are none."""
        with self._lock:
            self._wanted = True
            if self._running:
                return
            self._running = True
        threading.Thread(target=self._run, name="remote-tasks-sandbox-pump", daemon=True).start()

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            self._wanted = False
            if self._step():
                pause.wait(_PUMP_SECONDS)
                continue
            with self._lock:
                if not self._wanted:
                    self._running = False
                    return
