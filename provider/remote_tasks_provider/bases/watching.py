"""The loop of a watcher: lists what happens on one connection, through the account's rate limiter, for ever.

It follows changes of the connection as waits do, and lists at once when a bell rings. Whatever stands in the
way is said once in the log, and tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from remote_tasks_provider.core.clocks import Clocks
from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.polling.bells import Listener
from remote_tasks_provider.core.polling.drivers import AsyncLink, arun_plan
from remote_tasks_provider.core.polling.hurry import APART, Hurry
from remote_tasks_provider.core.polling.policy import SHORTEST_PAUSE
from remote_tasks_provider.core.polling.session import PollSession
from remote_tasks_provider.core.polling.strategy import PollRequest
from remote_tasks_provider.core.push.bell import Bells
from remote_tasks_provider.core.push.watch import Cursor, Sighting
from remote_tasks_provider.core.service import TaskType

__all__ = ["listings"]

log = logging.getLogger(__name__)


async def listings(
    events: TaskType,
    link: AsyncLink,
    cursor: Cursor,
    poll_interval: float,
    bells: Bells,
    clocks: Clocks,
) -> AsyncIterator[list[Sighting]]:
    """Yield what each listing shows, for ever; one that is not complete is left out.

    :param events: what is listed.
    :param cursor: says from when on; the caller moves it.
    :param poll_interval: seconds between listings.
    """
    watch = _Watch(events, link, bells, clocks)
    try:
        while True:
            began = clocks.monotonic()
            found = await watch.read(cursor, began)
            if found is not None:
                yield found
            await watch.pause(began, max(poll_interval, SHORTEST_PAUSE))
    finally:
        await watch.close()


class _Watch:
    def __init__(self, events: TaskType, link: AsyncLink, bells: Bells, clocks: Clocks) -> None:
        self._label = events.label
        self._link = link
        self._clocks = clocks
        self._session = PollSession(events)
        self._hurry = Hurry()
        self._listener = Listener(bells if events.has_bell else None, events.service.conn_type, self._hear)
        self._rung = asyncio.Event()
        self._problem = ""

    def _hear(self, has_rung: bool) -> None:
        self._hurry.hear(self._clocks.monotonic(), has_rung=has_rung)
        self._rung.set()

    async def read(self, cursor: Cursor, began: float) -> list[Sighting] | None:
        self._hurry.begin(began)
        asked = repr(cursor.since)
        found: dict[str, Any] = {}

        async def deliver(results: Any) -> None:
            for key, one in results.items():
                known = found.get(key)
                if known is None or not isinstance(one, Sighting) or one.at > known.at:
                    found[key] = one

        request = PollRequest([asked], (), (), began, self._clocks.wall())
        await arun_plan(
            self._session.cycle(request), self._link.send, deliver=deliver, control=self._link.control
        )
        self._listener.follow(self._link.client.config if self._link.client else None)
        error = found.pop(asked, None)
        self._report(error)
        if error is not None:
            return None
        if cursor.news(found.values(), self._clocks.wall())[0]:
            self._hurry.show_change()
        return [*found.values()]

    def _report(self, error: RemoteTaskError | None) -> None:
        """Say once what stands in the way, and once that it is gone."""
        problem = "" if error is None else type(error).__name__
        if problem and problem != self._problem:
            log.warning("%s: not listed, tried again: %s", self._label, error)
        elif self._problem and not problem:
            log.info("%s: listed again.", self._label)
        self._problem = problem

    async def pause(self, began: float, interval: float) -> None:
        """Wait for the next listing: a regular one, or one that a bell asks for."""
        now = self._clocks.monotonic()
        back_off = self._link.client.backs_off_for() if self._link.client else 0.0
        wanted = max(interval, self._hurry.stretched(now, self._listener.poll_interval))
        regular = began + wanted * self._clocks.spread()
        while True:
            now = self._clocks.monotonic()
            hurried = max(self._hurry.next_at, began + APART)
            left = max(min(regular, hurried), began + back_off, began + SHORTEST_PAUSE) - now
            if left <= 0:
                return
            await self._idle(left)

    async def _idle(self, seconds: float) -> None:
        self._rung.clear()
        sleeper = asyncio.ensure_future(self._clocks.sleep(seconds))
        rung = asyncio.ensure_future(self._rung.wait())
        try:
            await asyncio.wait((sleeper, rung), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeper.cancel()
            rung.cancel()

    async def close(self) -> None:
        self._listener.follow(None)
        await self._link.aclose()
