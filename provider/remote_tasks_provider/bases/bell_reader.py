"""Hears the bells: one reader in each event loop of a triggerer, while something there wants push.

Each read goes through the triggerer's one pipe to its supervisor and costs a whole pass of that one, so the
reader asks for one note each two seconds or so, however many connections there are, and for those of the
connections only when it has changed. Notes are compared, never ordered: the clocks of API servers differ.

The message and the pipe have no public name. Whatever is missing, refuses or does not answer is said once in
the log, and never reaches a wait: waits then poll as they do without push. Below Airflow 3.3 there is nothing
to read.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from airflow.providers.common.compat.sdk import conf

from remote_tasks_provider.bases.asset_state import read_state
from remote_tasks_provider.bases.compat import KEEPS_ASSET_STATE
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.clocks import Clocks
from remote_tasks_provider.core.event_loops import PerLoop
from remote_tasks_provider.core.http.parsing import one_line
from remote_tasks_provider.core.push.bell import ANY_BELL, WEBHOOK_ASSET, bell_key, has_rung

__all__ = ["BellReader", "bells", "push_poll_interval"]

log = logging.getLogger(__name__)

# Two seconds cost a triggerer 5.2 queries a second and 1.02 % of a core, above the limits of 5 and 1 %.
_EVERY = 2.25
_MOST_FAILURES = 3
_REST = 60.0
_DEFAULT_INTERVAL = 300.0
_MOST_INTERVAL = 3600.0

Hear = Callable[[bool], None]


def push_poll_interval() -> float:
    """Return ``[remote_tasks] push_poll_interval``, seconds."""
    given = conf.get("remote_tasks", "push_poll_interval", fallback=None)
    try:
        wanted = validation.seconds(_DEFAULT_INTERVAL if given in (None, "") else given, "it", zero=True)
    except ValueError as error:
        log.warning("[remote_tasks] push_poll_interval is not used, %g s is: %s", _DEFAULT_INTERVAL, error)
        return _DEFAULT_INTERVAL
    return min(wanted, _MOST_INTERVAL)


async def read_note(key: str) -> Any:
    """Return a note, or ``None`` where there is none.

    :raises Exception: whatever stands in the way.
    """
    return await read_state(WEBHOOK_ASSET[0], key)


class _Connection:
    """One connection's note, and who wants to know of it."""

    def __init__(self) -> None:
        self.listeners: dict[object, Hear] = {}
        self.is_known = False
        self.note: Any = None

    def take(self, note: Any) -> None:
        """Take the note as it was read; tell the listeners if it tells something."""
        rung, is_first = has_rung(self.note, note), not self.is_known
        self.is_known, self.note = True, self.note if note is None else note
        if rung:
            for hear in list(self.listeners.values()):
                hear(not is_first)


class BellReader:
    """A :class:`~remote_tasks_provider.core.push.bell.Bells` over the asset's state store.

    :param read: reads a note.
    :param poll_interval: the seconds between regular polls while bells come.
    """

    def __init__(
        self,
        read: Callable[[str], Awaitable[Any]] = read_note,
        clocks: Clocks | None = None,
        poll_interval: float | None = None,
    ) -> None:
        self._read = read
        self._clocks = clocks or Clocks()
        self._interval = push_poll_interval() if poll_interval is None else poll_interval
        self._connections: dict[str, _Connection] = {}
        self._any_note: Any = None
        self._failures = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def poll_interval(self) -> float:
        """The seconds between regular polls while bells come; 0 while none can be heard."""
        return self._interval if self._failures < _MOST_FAILURES else 0.0

    def listen(self, service: str, conn_id: str, hear: Hear) -> Callable[[], None]:
        """Call ``hear`` with each bell; see :class:`~remote_tasks_provider.core.push.bell.Bells`."""
        if not KEEPS_ASSET_STATE:
            _say_once()
            return lambda: None
        key, listener = bell_key(service, conn_id), object()
        connection = self._connections.setdefault(key, _Connection())
        connection.listeners[listener] = hear
        if connection.note is not None:
            hear(False)
        self._start()

        def stop() -> None:
            connection.listeners.pop(listener, None)
            if not connection.listeners and self._connections.get(key) is connection:
                del self._connections[key]
            if not self._connections and self._task is not None:
                self._task.cancel()

        return stop

    def _start(self) -> None:
        if self._task is None or self._task.done() or self._task.cancelling():
            # In an empty context: what is read belongs to no single task.
            context = contextvars.Context()
            self._task = asyncio.get_running_loop().create_task(self._run(), context=context)

    async def _run(self) -> None:
        while True:
            try:
                await self._read_notes()
            except Exception as error:  # noqa: BLE001 - whatever it is, no wait may notice
                self._note_failure(error)
            else:
                if self._failures >= _MOST_FAILURES:
                    log.info("Webhooks can be heard again.")
                self._failures = 0
            await self._clocks.sleep(_EVERY if self._failures < _MOST_FAILURES else _REST)

    async def _read_notes(self) -> None:
        any_note = await self._read(ANY_BELL)
        rung = has_rung(self._any_note, any_note)
        for key, connection in list(self._connections.items()):
            if rung or not connection.is_known:
                connection.take(None if any_note is None else await self._read(key))
        # Not before every connection's note was read: else a bell would be lost with a read that failed.
        self._any_note = self._any_note if any_note is None else any_note

    def _note_failure(self, error: Exception) -> None:
        self._failures += 1
        if self._failures == _MOST_FAILURES:
            reason = one_line(f"{type(error).__name__}: {error}")
            log.warning(
                "Webhooks cannot be heard (%s). Waits poll as they do without push; tried again every %g s.",
                reason,
                _REST,
            )


_READERS: PerLoop[BellReader] = PerLoop(BellReader)
_is_said = False


def bells() -> BellReader:
    """Return the reader of the running event loop."""
    return _READERS.get()


def _say_once() -> None:
    global _is_said
    if not _is_said:
        _is_said = True
        log.warning("Webhooks wake waits on Airflow 3.3 and newer only; here waits poll as without push.")
