"""The acknowledged stream of a watcher: its cursor moves when Airflow has stored an event, and not before.

A triggerer hands its events over a little later than a trigger yields them. A cursor that is stored at once
would lose those of a triggerer that dies in between. Airflow 3.3 tells when an event is stored; a triggerer
that dies before that is followed by one that tells it again. So every event comes at least once.

Imported when Airflow asks for it, as the module that it is made of came with 3.3.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from airflow.triggers.shared_stream import SharedStreamProducer

from remote_tasks_provider.bases.asset_state import read_state, write_state
from remote_tasks_provider.bases.event_spacing import EventSpacing
from remote_tasks_provider.core.clocks import Clocks
from remote_tasks_provider.core.http.parsing import one_line
from remote_tasks_provider.core.push.watch import Cursor, Sighting

__all__ = ["WatchProducer"]

log = logging.getLogger(__name__)

# So many events are on their way at once; a stream that runs ahead further would be cut off.
_MOST_OPEN = 100
_READ_AGAIN_AFTER = 10.0


class WatchProducer(SharedStreamProducer):
    """Yields what happens, and stores how far Airflow has it.

    :param asset: the name of the asset whose watcher this is, in whose state store the cursor is.
    :param key: the cursor's key there.
    :param listings: yields what each listing shows, of the cursor that says from when on.
    """

    def __init__(
        self,
        asset: str,
        key: str,
        listings: Callable[[Cursor], AsyncIterator[list[Sighting]]],
        clocks: Clocks,
    ) -> None:
        self._asset = asset
        self._key = key
        self._listings = listings
        self._clocks = clocks
        self._stored = Cursor()
        self._open = 0
        self._advanced = asyncio.Event()

    async def open_stream(self) -> AsyncIterator[tuple[Any, Any]]:
        """Yield each event with its key and its moment."""
        saved = await self._load()
        told, self._stored = Cursor(saved), Cursor(saved)
        listings, spacing = self._listings(told), EventSpacing(self._clocks)
        try:
            async for sightings in listings:
                now = self._clocks.wall()
                if not told.has_begun:
                    for cursor in (told, self._stored):
                        cursor.begin(sightings, now)
                    await self._save()
                    continue
                self._stored.keep(sightings, now)
                news, ended = told.news(sightings, now)
                if ended:
                    for cursor in (told, self._stored):
                        cursor.forget(ended)
                    await self._save()
                async for one in spacing.spaced(news):
                    await self._wait_for_room()
                    told.tell(one.key, one.at, now)
                    self._open += 1
                    yield dict(one.payload or {}), (one.key, one.at)
        finally:
            await listings.aclose()  # type: ignore[attr-defined]  # of a generator, which it is

    async def advance(self, batch: Sequence[Any]) -> None:
        """Store that Airflow has these events.

        :raises RuntimeError: when it has not got one; the stream then begins again where it was stored.
        """
        for item in batch:
            if item.outcome.failed or not item.outcome.acked:
                raise RuntimeError("Airflow has not stored an event; it is told again.")
            key, at = item.broker_payload
            self._stored.tell(key, at, self._clocks.wall())
        await self._save()
        self._open -= len(batch)
        self._advanced.set()

    async def _wait_for_room(self) -> None:
        while self._open >= _MOST_OPEN:
            self._advanced.clear()
            await self._advanced.wait()

    async def _load(self) -> Any:
        """Return the cursor as it was stored; waits until it can be read, for without it all would be new."""
        is_said = False
        while True:
            try:
                return await read_state(self._asset, self._key)
            except Exception as error:  # noqa: BLE001 - whatever it is
                if not is_said:
                    is_said = True
                    reason = one_line(f"{type(error).__name__}: {error}")
                    log.warning("The cursor of asset %r cannot be read, tried again: %s", self._asset, reason)
            await self._clocks.sleep(_READ_AGAIN_AFTER)

    async def _save(self) -> None:
        await write_state(self._asset, self._key, self._stored.to_json())
