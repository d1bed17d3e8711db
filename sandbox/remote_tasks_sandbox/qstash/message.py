"""One emulated QStash message, the log of all messages, and the queues and flow controls that hold them back.

What moves a message on is in ``engine``, the form on the wire in ``wire``.
"""

from __future__ import annotations

import json
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from operator import attrgetter
from typing import Any

from remote_tasks_sandbox.delivery import Response
from remote_tasks_sandbox.qstash.options import PublishOptions

__all__ = [
    "ENDS",
    "Delivery",
    "DlqMessage",
    "Entry",
    "Gate",
    "Log",
    "Message",
    "Published",
    "milliseconds",
]

#: States after which nothing follows, in every spelling.
ENDS = frozenset({"DELIVERED", "FAILED", "CANCELLED", "CANCELED"})


def milliseconds(seconds: float) -> int:
    """Return unix milliseconds."""
    return round(seconds * 1000)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log; its number distinguishes entries of one millisecond.

    :param state: QStash's word, upper case unless a test scripted another one
    :param next_ms: when the next attempt is due, unix milliseconds
    """

    time_ms: int
    number: int
    state: str
    message: Message
    error: str | None = None
    next_ms: int | None = None
    response: Response | None = None

    @property
    def key(self) -> tuple[int, int]:
        """Return what the log is sorted by, and what a cursor is made of."""
        return self.time_ms, self.number


@dataclass(eq=False)
class Message:
    """A message on its way to one destination.

    :param created_at: sandbox time, unix seconds
    :param not_before: when the first attempt is due, unix seconds
    :param retried: attempts after the first that were begun or are due
    :param script: the states to come, of a message that a test scripted; ``None`` for all others
    :param scripted_response: what the failed attempts of a scripted message were answered
    :param cause: the message that this one calls back for
    """

    id: str
    options: PublishOptions
    created_at: float
    not_before: float
    entries: list[Entry] = field(default_factory=list)
    retried: int = 0
    attempting: bool = False
    cancel_requested: bool = False
    response: Response | None = None
    script: deque[tuple[str, float | None]] | None = None
    scripted_response: Response | None = None
    cause: Message | None = None
    #: Callbacks under way; a queue continues when there are none.
    callbacks: int = 0
    #: Grows when what was due is no longer to happen.
    version: int = 0
    next_at: float | None = None

    @property
    def state(self) -> str:
        """Return the state of its last entry."""
        return self.entries[-1].state if self.entries else "CREATED"

    @property
    def finished(self) -> bool:
        """Whether it was delivered, has failed or was cancelled."""
        return self.state.upper() in ENDS

    @property
    def url(self) -> str:
        """Return its destination."""
        return self.options.url

    def describe(self) -> dict[str, Any]:
        """Return the message as the control plane shows it."""
        return {
            "id": self.id,
            "state": self.state,
            "url": self.url,
            "method": self.options.method,
            "queue": self.options.queue,
            "labels": ", ".join(self.options.labels),
            "created_at": self.created_at,
            "changes_at": self.next_at,
            "retried": self.retried,
            "callback_of": self.cause.id if self.cause else None,
            "entries": [{"time": entry.time_ms, "state": entry.state} for entry in self.entries],
        }

    @property
    def states(self) -> list[str]:
        """Return the states it had, oldest first."""
        return [entry.state for entry in self.entries]


@dataclass(frozen=True)
class DlqMessage:
    """A failed message in the dead letter queue; ``at_ms`` is when it failed, unix milliseconds."""

    id: str
    message: Message
    at_ms: int
    response: Response


@dataclass(frozen=True)
class Published:
    """A request, or an element of a batch, by which messages were accepted.

    :param destination: as it was sent: a URL, or the name of a URL group
    :param headers: as they were sent, without the token, names in lower case
    :param message_ids: one, or one for each member of a URL group; of a duplicate that of the first one
    :param deduplicated: whether no new message came of it
    :param via: ``publish``, ``enqueue``, ``batch``, or ``test`` when a test called
    :param at: sandbox time, unix seconds
    """

    destination: str
    body: bytes
    headers: Mapping[str, str]
    message_ids: tuple[str, ...]
    deduplicated: bool
    queue: str | None
    via: str
    at: float


@dataclass(frozen=True)
class Delivery:
    """One attempt to deliver a message.

    :param retried: attempts before this one
    :param headers: what the destination got; without a signature unless it was ``real``
    :param status: what it answered, 0 for nothing
    :param real: whether it was sent over a socket
    :param at: sandbox time of the answer, unix seconds
    """

    message_id: str
    url: str
    method: str
    body: bytes
    headers: Mapping[str, str]
    retried: int
    status: int
    real: bool
    at: float

    @property
    def json(self) -> Any:
        """Return the body as JSON, as a callback's is."""
        return json.loads(self.body)


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


@dataclass(eq=False)
class Gate:
    """A queue, or a key of flow control.

    :param parallelism: messages on their way at once; ``None`` for any number
    :param rate: attempts that may begin in one period; ``None`` for any number
    :param period: seconds
    :param until_finished: whether a message keeps its place between its attempts
    """

    name: str
    created_at: float
    updated_at: float
    parallelism: int | None = None
    rate: int | None = None
    period: int = 1
    paused: bool = False
    until_finished: bool = False
    pinned_parallelism: bool = False
    pinned_rate: bool = False
    period_began: float = 0.0
    begun: int = 0
    running: dict[str, Message] = field(default_factory=dict)
    #: Those that wait, in their order.
    line: dict[str, Message] = field(default_factory=dict)

    def admits(self, message: Message, at: float) -> bool:
        """Whether ``message`` may begin an attempt now."""
        if message.id in self.running:
            return not self.paused
        if self.paused or (self.parallelism is not None and len(self.running) >= self.parallelism):
            return False
        if self.line and next(iter(self.line)) != message.id:
            return False
        return self.rate is None or self._begun_in_period(at) < self.rate

    def enter(self, message: Message, at: float) -> None:
        """Let a message that is admitted begin."""
        self.line.pop(message.id, None)
        if message.id not in self.running:
            self._begun_in_period(at)
            self.begun += 1
        self.running[message.id] = message

    def leave(self, message: Message) -> None:
        """Take a message out, wherever it stands."""
        self.line.pop(message.id, None)
        self.running.pop(message.id, None)

    def opens_at(self, at: float) -> float | None:
        """Return when the rate lets the next one begin, or ``None`` when it holds nothing back."""
        if self.rate is None or self._begun_in_period(at) < self.rate:
            return None
        return self.period_began + self.period

    def reset_rate(self, at: float) -> None:
        """Begin a new period."""
        self.period_began, self.begun = at, 0

    def _begun_in_period(self, at: float) -> int:
        if at >= self.period_began + self.period:
            self.reset_rate(at)
        return self.begun
