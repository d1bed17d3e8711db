"""How real deliveries of messages are signed and sent, and what faults make of those that are callbacks.

https://upstash.com/docs/qstash/features/callbacks
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from remote_tasks_sandbox.delivery import Courier, Response, send
from remote_tasks_sandbox.qstash.destinations import sign
from remote_tasks_sandbox.qstash.message import Message
from remote_tasks_sandbox.vendor import Context

__all__ = ["Outgoing"]


class _Engine(Protocol):
    """What makes time take its effect."""

    real: set[str]

    def now(self) -> float: ...
    def later(self, at: float, action: Callable[[float], None]) -> None: ...
    def watch(self, name: str) -> None: ...


@dataclass(frozen=True)
class _Attempt:
    """One attempt: what is sent, and who is told what came of it."""

    message: Message
    headers: dict[str, str]
    limit: float
    answered: Callable[[Response], None]

    def post(self) -> Response:
        """Send it."""
        options = self.message.options
        return send(options.method, options.url, self.headers, options.body, self.limit)

    def repeat(self) -> None:
        """Send it, whatever comes of that."""
        self.post()


class Outgoing:
    """Sends attempts over sockets; the caller holds the lock.

    :param engine: whose clock it follows
    """

    def __init__(self, context: Context, engine: _Engine) -> None:
        self._faults = context.faults
        self._settings = context.settings
        self._engine = engine
        self._courier = Courier()
        self._held: list[_Attempt] = []

    def go(
        self,
        message: Message,
        headers: dict[str, str],
        limit: float,
        answered: Callable[[Response], None],
    ) -> None:
        """Make an attempt, or do with it what a fault says.

        :param headers: those of the delivery, to which the signature is added
        :param limit: seconds
        :param answered: called in a thread
        """
        fault = self._faults.of_delivery(_path(message), message.cause.id) if message.cause else None
        kind = fault.kind if fault else None
        seconds = float(fault.options.get("seconds") or 0) if fault else 0.0
        attempt = _Attempt(message, headers, limit, answered)
        headers["Upstash-Signature"] = self._sign(message, forged=kind == "delivery_forged")
        if kind == "delivery_lost":
            # QStash has its answer, and the receiver has nothing.
            self._courier.submit(lambda: answered(Response(200)))
        elif kind == "delivery_late":
            self._later(seconds, attempt, self._late)
        elif kind == "delivery_reordered":
            self._held.append(attempt)
        else:
            self._send(attempt)
            if kind == "delivery_doubled":
                self._courier.submit(attempt.repeat)
            elif kind == "delivery_replayed":
                self._later(seconds, attempt, partial(self._again, time.time(), seconds))
            self._release()

    def _send(self, attempt: _Attempt) -> None:
        self._courier.submit(lambda: attempt.answered(attempt.post()))

    def _release(self) -> None:
        held, self._held[:] = list(self._held), []
        for attempt in held:
            self._send(attempt)

    def _late(self, attempt: _Attempt) -> None:
        # Signed when it is sent.
        attempt.headers["Upstash-Signature"] = self._sign(attempt.message)
        self._send(attempt)

    def _again(self, signed_at: float, seconds: float, attempt: _Attempt) -> None:
        age = max(seconds - (time.time() - signed_at), 0)
        if age > 1:
            # The sandbox's clock ran ahead of the receiver's.
            attempt.headers["Upstash-Signature"] = self._sign(attempt.message, age=age)
        self._courier.submit(attempt.repeat)

    def _sign(self, message: Message, *, forged: bool = False, age: float = 0.0) -> str:
        body = b"" if forged else message.options.body
        return sign(body, message.options.url, self._settings.qstash_current_signing_key, age=age)

    def _later(self, seconds: float, attempt: _Attempt, action: Callable[[_Attempt], None]) -> None:
        name = f"later-{id(attempt)}"
        self._engine.watch(name)

        def act(_at: float) -> None:
            self._engine.real.discard(name)
            action(attempt)

        self._engine.later(self._engine.now() + seconds, act)

    def clear(self) -> None:
        """Forget what is held back."""
        self._held.clear()


def _path(callback: Message) -> str:
    """Return what a fault's ``path`` must fit."""
    failed = json.loads(callback.options.body).get("dlqId")
    return f"/qstash/callbacks/{'failure_callback' if failed else 'callback'}"
