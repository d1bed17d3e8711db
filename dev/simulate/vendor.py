"""What every simulated vendor has: an account with limits, a journal of calls, and the network before it."""

from __future__ import annotations

import asyncio
import json
import math
import random
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dev.simulate.clock import START, VirtualLoop
from remote_tasks_provider.core.http.operation import Request, Response

__all__ = [
    "INTERNET",
    "NEVER",
    "Account",
    "FakeTransport",
    "Journal",
    "Limits",
    "Network",
    "RemoteTask",
    "dump",
]

NEVER = math.inf


def dump(value: Any) -> bytes:
    """Return ``value`` as the vendors write JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Limits:
    """How a vendor limits calls: so many of each operation in any ``seconds``, for the whole account.

    :param counts_refused: whether a refused call takes a place in the window, too.
    :param says_when: whether a 429 comes with ``Retry-After``.
    """

    calls: int = 100
    seconds: float = 60.0
    counts_refused: bool = False
    says_when: bool = False


@dataclass(frozen=True, slots=True)
class Network:
    """The network between a triggerer and a vendor: how long an answer takes.

    :param least: seconds of the shortest round trip.
    :param most: seconds of the longest one.
    :param bytes_a_second: of the connection.
    """

    least: float = 0.08
    most: float = 0.3
    bytes_a_second: float = 20e6


INTERNET = Network()


@dataclass(eq=False, slots=True)
class RemoteTask:
    """A task at the vendor; moments are seconds of virtual time.

    :param owner: the triggerer that waits for it; ``None`` where nobody does.
    :param ends: when it becomes terminal; :data:`NEVER` where it continues.
    :param is_hidden: whether no list shows it.
    :param wire: its JSON by state, written when first asked for.
    """

    id: str
    number: int
    created: float
    ends: float = NEVER
    owner: int | None = None
    fails: bool = False
    is_hidden: bool = False
    wire: dict[str, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class Journal:
    """What reached the vendor.

    :param calls: by operation, those that were refused included.
    :param refused: by operation, those that were answered with 429.
    :param items: by operation, the items of the answers: listed tasks, log entries.
    :param minutes: by minute: calls, refused, items.
    """

    calls: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    items: Counter[str] = field(default_factory=Counter)
    sent_bytes: int = 0
    minutes: dict[int, list[int]] = field(default_factory=dict)

    def note(self, operation: str, now: float, items: int, *, refused: bool) -> None:
        """Write down one call."""
        self.calls[operation] += 1
        self.refused[operation] += refused
        self.items[operation] += items
        minute = self.minutes.setdefault(int(now // 60), [0, 0, 0])
        minute[0] += 1
        minute[1] += refused
        minute[2] += items


class _Window:
    """The calls of one operation that count at the moment."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._counted: deque[float] = deque()

    def wait(self, now: float) -> float | None:
        """Count a call; return ``None`` if it may pass, else the seconds until one may."""
        counted, limits = self._counted, self._limits
        while counted and counted[0] <= now - limits.seconds:
            counted.popleft()
        full = len(counted) >= limits.calls
        if not full or limits.counts_refused:
            counted.append(now)
        if not full:
            return None
        if not limits.calls:
            return limits.seconds
        # Refused calls count: until so few are left that one more fits.
        return counted[len(counted) - limits.calls] + limits.seconds - now

    @property
    def left(self) -> int:
        """How many more calls may pass now."""
        return max(0, self._limits.calls - len(self._counted))


class Account(ABC):
    """One account at a vendor, which all triggerers share.

    :param tasks: all tasks of the account, oldest first.
    """

    def __init__(self, loop: VirtualLoop, tasks: list[RemoteTask], limits: Limits) -> None:
        self.journal = Journal()
        self.limits = limits
        self._loop = loop
        self._tasks = tasks
        self._by_id = {task.id: task for task in tasks}
        self._windows: dict[str, _Window] = {}

    def answer(self, request: Request) -> Response:
        """Answer ``request`` as of now."""
        now, operation = self._loop.time(), self.operation(request)
        window = self._windows.setdefault(self.window(operation), _Window(self.limits))
        wait = window.wait(now)
        if wait is not None:
            self.journal.note(operation, now, 0, refused=True)
            return Response(429, self._headers(window, wait), self.refusal())
        status, body, items = self.reply(operation, request, now)
        self.journal.note(operation, now, items, refused=False)
        self.journal.sent_bytes += len(body)
        return Response(status, self._headers(window, None), body)

    def _headers(self, window: _Window, wait: float | None) -> Mapping[str, str]:
        headers = {"content-type": "application/json", **self.limit_headers(window.left, wait)}
        if wait is not None and self.limits.says_when:
            headers["retry-after"] = str(max(1, math.ceil(wait)))
        return headers

    def limit_headers(self, left: int, wait: float | None) -> Mapping[str, str]:
        """Return what this vendor's answers say of the limit, beside ``Retry-After``."""
        return {}

    @abstractmethod
    def operation(self, request: Request) -> str:
        """Return the name under which a request counts."""

    def window(self, operation: str) -> str:
        """Return the name of the limit that an operation counts for; by default each has its own."""
        return operation

    @abstractmethod
    def reply(self, operation: str, request: Request, now: float) -> tuple[int, bytes, int]:
        """Return the status, the body and how many items are in it."""

    @abstractmethod
    def refusal(self) -> bytes:
        """Return the body of a 429."""

    def wall(self, moment: float) -> float:
        """Return a moment of virtual time as Unix seconds."""
        return START + moment


class FakeTransport:
    """Stands where :class:`~remote_tasks_provider.core.http.transport.HttpxTransport` does."""

    def __init__(self, account: Account, network: Network, seed: int) -> None:
        self._account = account
        self._network = network
        self._random = random.Random(seed)

    async def send(self, request: Request) -> Response:
        """Return the answer after a while. The vendor counts and looks in the middle of it."""
        half = self._random.uniform(self._network.least, self._network.most) / 2
        await asyncio.sleep(half)
        response = self._account.answer(request)
        await asyncio.sleep(half + len(response.body) / self._network.bytes_a_second)
        return response

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""
