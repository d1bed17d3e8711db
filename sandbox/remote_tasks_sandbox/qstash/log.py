"""The log of the emulated QStash: all entries of all messages, sorted as a reader sees them.

Entries stay sorted while they are added, and each message knows its own, so that neither a reader of
everything nor one of a hundred messages makes the sandbox look at more than it must.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from itertools import count
from operator import attrgetter

from remote_tasks_sandbox.qstash.message import Entry, Message, Response, milliseconds

__all__ = ["Log"]

_KEY = attrgetter("key")


class Log:
    """All entries; the caller holds the lock."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._numbers = count()

    def add(
        self,
        message: Message,
        state: str,
        at: float,
        *,
        error: str | None = None,
        next_at: float | None = None,
        response: Response | None = None,
    ) -> None:
        """Add an entry to a message.

        :param at: unix seconds
        :param next_at: when the next attempt is due, unix seconds
        """
        next_ms = None if next_at is None else milliseconds(next_at)
        entry = Entry(
            *(milliseconds(at), next(self._numbers), state, message),
            error=error,
            next_ms=next_ms,
            response=response,
        )
        message.entries.append(entry)
        insort(self._entries, entry, key=_KEY)

    def read(
        self,
        messages: Iterable[Message] | None,
        *,
        after: tuple[int, int] | None,
        latest_first: bool,
        since_ms: int,
        until_ms: int,
    ) -> Iterator[Entry]:
        """Yield entries in order.

        :param messages: only those of these messages
        :param after: the key of the entry that was read last
        :param since_ms: nothing older, unix milliseconds
        :param until_ms: nothing newer
        """
        entries = self._entries
        if messages is not None:
            entries = sorted((entry for one in messages for entry in one.entries), key=_KEY)
        low = bisect_left(entries, (since_ms, 0), key=_KEY)
        high = bisect_left(entries, (until_ms + 1, 0), key=_KEY)
        if after is not None and latest_first:
            high = min(high, bisect_left(entries, after, key=_KEY))
        elif after is not None:
            low = max(low, bisect_left(entries, (after[0], after[1] + 1), key=_KEY))
        places = range(high - 1, low - 1, -1) if latest_first else range(low, high)
        return (entries[place] for place in places)

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Forget all entries."""
        self._entries.clear()
