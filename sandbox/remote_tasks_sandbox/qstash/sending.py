"""Real deliveries of the emulated QStash, to destinations on this machine only, and the signature they carry.

https://upstash.com/docs/qstash/features/security. The standard library does all of it: a redirect is not
followed and no proxy is asked. Threads are daemons, so that a destination that hangs holds nobody up.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import queue
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from remote_tasks_sandbox.calls import is_loopback
from remote_tasks_sandbox.qstash.message import Response

__all__ = ["Courier", "Pump", "can_reach", "send", "sign"]

_SIGNED_SECONDS = 300
_MOST_BYTES = 1024 * 1024
_WORKERS = 8
_IDLE_SECONDS = 0.5
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
    """Runs attempts side by side, a few at a time; its threads end when there is nothing left to do."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._workers = 0

    def submit(self, job: Callable[[], None]) -> None:
        """Run a job soon, in another thread."""
        self._jobs.put(job)
        with self._lock:
            if self._workers >= _WORKERS:
                return
            self._workers += 1
        threading.Thread(target=self._work, name="remote-tasks-sandbox-courier", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    # A job that came after the wait ended finds this worker still counted.
                    if self._jobs.empty():
                        self._workers -= 1
                        return
                continue
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
