"""A triggerer process reports what its waits know, for the Remote Tasks page; Airflow 3.3 and newer.

Nothing else tells a page in the API server how a remote task stands, unless it asked the service. One note
for all waits of the process, every half minute, costs the same however many there are. It is kept in the
state store of the asset for webhooks, so some DAG must name that one; otherwise nothing is reported, and the
page knows what the worker saw before it deferred. The message has no public name; nothing that goes wrong
with it reaches a wait.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from remote_tasks_provider.bases.asset_state import write_state
from remote_tasks_provider.bases.bell_reader import read_note
from remote_tasks_provider.bases.compat import KEEPS_ASSET_STATE
from remote_tasks_provider.core.clocks import Clocks
from remote_tasks_provider.core.event_loops import PerLoop
from remote_tasks_provider.core.polling.reports import REPORT_KEY, SLOTS, is_free, pack_report
from remote_tasks_provider.core.polling.tracker import PollTracker
from remote_tasks_provider.core.push.bell import WEBHOOK_ASSET

__all__ = ["Reporter", "reported"]

log = logging.getLogger(__name__)

_EVERY = 30.0
# After what went wrong: mostly no DAG names the asset, or the triggerer is too busy to answer.
_REST = 120.0


async def write_note(key: str, value: Any) -> None:
    """Keep a note.

    :raises Exception: whatever stands in the way.
    """
    await write_state(WEBHOOK_ASSET[0], key, value)


class Reporter:
    """Reports what the waits of one event loop know, while there are any.

    :param read: reads a note.
    :param write: writes one.
    """

    def __init__(
        self,
        read: Callable[[str], Awaitable[Any]] = read_note,
        write: Callable[[str, Any], Awaitable[None]] = write_note,
        clocks: Clocks | None = None,
    ) -> None:
        self._read = read
        self._write = write
        self._clocks = clocks or Clocks()
        self._by = secrets.token_hex(6)
        self._slot: int | None = None
        self._trackers: dict[int, PollTracker] = {}
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def reporting(self, trigger_id: int, tracker: PollTracker) -> Iterator[None]:
        """Report a wait for as long as the block lasts."""
        self._trackers[trigger_id] = tracker
        if self._task is None or self._task.done() or self._task.cancelling():
            # In an empty context: what is written belongs to no single task.
            context = contextvars.Context()
            self._task = asyncio.get_running_loop().create_task(self._run(), context=context)
        try:
            yield
        finally:
            self._trackers.pop(trigger_id, None)
            if not self._trackers and self._task is not None:
                self._task.cancel()

    async def _run(self) -> None:
        pause = _EVERY
        while True:
            await self._clocks.sleep(pause)
            try:
                await self._report()
                pause = _EVERY
            except Exception as error:  # noqa: BLE001 - whatever it is, no wait may notice
                log.debug("What the waits know is not reported: %s: %s", type(error).__name__, error)
                self._slot, pause = None, _REST

    async def _report(self) -> None:
        seen = {one: tracker.seen for one, tracker in self._trackers.items()}
        known = {one: said for one, said in seen.items() if said is not None}
        if known:
            now = self._clocks.wall()
            slot = await self._own_slot(now)
            await self._write(f"{REPORT_KEY}:{slot}", pack_report(self._by, now, known))

    async def _own_slot(self, now: float) -> int:
        """Return this process's slot, which another one may have taken at the same moment."""
        own = [] if self._slot is None else [self._slot]
        slots: list[int] = [*own, *range(SLOTS)]
        for slot in slots:
            if is_free(await self._read(f"{REPORT_KEY}:{slot}"), self._by, now):
                self._slot = slot
                return slot
        raise LookupError(f"{SLOTS} other triggerers report")


_REPORTERS: PerLoop[Reporter] = PerLoop(Reporter)


@contextmanager
def reported(trigger_id: int | None, tracker: PollTracker) -> Iterator[None]:
    """Report a wait of this event loop for as long as the block lasts, where Airflow can keep it.

    :param trigger_id: ``None`` in ``dag.test()``, which has nobody to report to.
    """
    if trigger_id is None or not KEEPS_ASSET_STATE:
        yield
        return
    with _REPORTERS.get().reporting(int(trigger_id), tracker):
        yield
