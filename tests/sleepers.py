"""Time on an event loop that passes only when everybody sleeps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from remote_tasks_provider.bases import supervisor, triggers
from remote_tasks_provider.core.http.operation import Request, Response
from remote_tasks_provider.core.http.transport import HttpxTransport

__all__ = ["Sleepers"]

# How often everybody may go on before time passes.
_TURNS = 40
_JUMP = 0.5


class Sleepers:
    """Those who sleep. The first one wakes when nobody does anything else.

    :param now: tells the time.
    :param move: sets it.
    """

    def __init__(self, now: Callable[[], float], move: Callable[[float], Any]) -> None:
        self._now = now
        self._move = move
        self._moments: list[float] = []
        self._in_flight = 0

    def install(self, monkeypatch: Any) -> None:
        """Let no time pass while a trigger's request is under way, or its connection is made."""
        sleepers = self

        class Transport(HttpxTransport):
            async def send(self, request: Request, *arguments: Any, **named: Any) -> Response:
                sleepers._in_flight += 1
                try:
                    return await super().send(request, *arguments, **named)
                finally:
                    sleepers._in_flight -= 1

        async def at_once(function: Callable[..., Any], *arguments: Any) -> Any:
            return function(*arguments)

        monkeypatch.setattr(triggers, "HttpxTransport", Transport)
        monkeypatch.setattr(asyncio, "to_thread", at_once)

    async def sleep(self, seconds: float) -> None:
        """Wait until the time has come."""
        moment = self._now() + seconds
        self._moments.append(moment)
        try:
            turns, seen = 0, self._now()
            while turns < _TURNS:
                await asyncio.sleep(0)
                is_busy = self._in_flight or supervisor._questions
                is_next = moment <= min(self._moments)
                # A clock may also run by itself, as the sandbox's does.
                has_jumped = self._now() - seen > _JUMP
                turns = turns + 1 if is_next and not is_busy and not has_jumped else 0
                seen = self._now()
            if moment > self._now():
                self._move(moment)
        finally:
            self._moments.remove(moment)
