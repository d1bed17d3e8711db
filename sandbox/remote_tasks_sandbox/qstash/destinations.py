"""Where messages go: scripted answers by pattern of the address, and real deliveries to this machine only.

https://upstash.com/docs/qstash/features/security for the signature. The standard library does the sending: a
redirect is not followed and no proxy is asked. Threads are daemons, so that a destination that hangs does not
keep the process alive.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from remote_tasks_sandbox.calls import is_loopback
from remote_tasks_sandbox.progression import check_seconds
from remote_tasks_sandbox.qstash.message import Response

__all__ = ["DEFAULT_LATENCY", "Courier", "DeliveryPlan", "DeliveryPlans", "Pump", "can_reach", "send", "sign"]

DEFAULT_LATENCY = 0.2

_ERRORS = {"error": "connection refused", "timeout": "timeout"}
_FIELDS = ("status", "body", "headers", "latency")


@dataclass(frozen=True)
class DeliveryPlan:
    """What destinations like ``pattern`` answer.

    :param steps: an answer and its latency in seconds for each attempt; the last one goes for all others
    """

    pattern: str
    steps: tuple[tuple[Response, float], ...]

    def attempt(self, number: int) -> tuple[Response, float]:
        """Return what attempt ``number``, from 0 on, comes to and how long it takes."""
        return self.steps[min(number, len(self.steps) - 1)]

    def describe(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        steps = [
            {"status": one.status, "error": one.error, "latency": latency} for one, latency in self.steps
        ]
        return {"pattern": self.pattern, "outcomes": steps}


class DeliveryPlans:
    """The plans in force; the caller holds the lock."""

    def __init__(self) -> None:
        self._plans: list[DeliveryPlan] = []

    def add(self, pattern: str, outcomes: Any = (200,), *, latency: float = 0.0) -> None:
        """Put a plan in force, before all that are."""
        if isinstance(outcomes, int | str | Mapping):
            outcomes = [outcomes]
        if not isinstance(outcomes, Iterable):
            raise ValueError("outcomes are a list such as [500, 500, 200]")  # noqa: TRY004 - a wrong value in JSON, answered with 400
        steps = tuple(_step(outcome, latency) for outcome in outcomes)
        if not pattern or not steps:
            raise ValueError("a plan needs a pattern and at least one outcome")
        self._plans.insert(0, DeliveryPlan(pattern, steps))

    def find(self, url: str) -> DeliveryPlan | None:
        """Return the newest plan for a destination."""
        return next((plan for plan in self._plans if fnmatchcase(url, plan.pattern)), None)

    def all(self) -> list[DeliveryPlan]:
        """Return the plans, newest first."""
        return list(self._plans)

    def clear(self) -> None:
        """Forget all plans."""
        self._plans.clear()


def _step(outcome: Any, latency: float) -> tuple[Response, float]:
    given = outcome if isinstance(outcome, Mapping) else {"status": outcome}
    if set(given) - set(_FIELDS):
        raise ValueError(f"an outcome has no fields but {list(_FIELDS)}")
    status = given.get("status", 200)
    error = _ERRORS.get(status, "") if isinstance(status, str) else ""
    status = 0 if error else status
    is_status = isinstance(status, int) and not isinstance(status, bool) and 200 <= status <= 599
    if not error and not is_status:
        raise ValueError(f'an outcome is a status from 200 to 599, "error" or "timeout", not {status!r}')
    body = given.get("body", b"")
    headers = {str(name): str(value) for name, value in dict(given.get("headers", {})).items()}
    raw = body.encode() if isinstance(body, str) else bytes(body)
    return Response(status, raw, headers, error), check_seconds("a latency", given.get("latency", latency))


_SIGNED_SECONDS = 300
_MOST_BYTES = 1024 * 1024
_AT_ONCE = 8
_PUMP_SECONDS = 0.02


def can_reach(url: str) -> bool:
    """Whether a destination is on this machine; no other is ever contacted."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return False
    return host is not None and is_loopback(host)


def sign(body: bytes, url: str, key: str) -> str:
    """Return the signature of a delivery: a JWT with HS256.

    Its times are the machine's, not the sandbox's: the receiver compares them with its own clock.

    :param key: the current signing key
    """
    now = int(time.time())
    digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode()
    claims = {"iss": "Upstash", "sub": url, "exp": now + _SIGNED_SECONDS, "nbf": 0, "iat": now}
    claims |= {"jti": f"jwt_{secrets.token_hex(12)}", "body": digest}
    signed = f"{_segment({'alg': 'HS256', 'typ': 'JWT'})}.{_segment(claims)}"
    signature = hmac.new(key.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{_unpadded(signature)}"


def _segment(value: Mapping[str, Any]) -> str:
    return _unpadded(json.dumps(value, separators=(",", ":")).encode())


def _unpadded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


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
    """Lets time take its effect while nobody asks: a message to a real destination waits for no request.

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
