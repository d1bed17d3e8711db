"""Keeps under a service's rate limits, and keeps what the service asked for by ``Retry-After``.

A limit belongs to an account, so there is one limiter an account in a process (:func:`limiter_for`), which
outlives those who send. Other triggerers, workers and people use the same limit, and cannot be seen. So each
limiter finds its share: it halves its own when the service refuses a request, and lets it grow slowly again
(additive increase, multiplicative decrease). While the limit is shared, requests are spread evenly.
"""

from __future__ import annotations

import random
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

__all__ = ["RateLimit", "RateLimiter", "limiter_for"]

# Of a limit, the part that one process uses at most: the service counts all requests of an account.
_MOST = 0.8
# By how much of the limit a share grows in each window of it.
_GROWTH = 0.1
# A share is halved at most once in this part of a window: one crowded moment refuses many requests.
_HALVED_EACH = 1.0
# The longest back-off after a 429 that names none, seconds; where the limit is known, and where it is not.
_LONGEST_BACK_OFF = 10.0
_LONGEST_BLIND_BACK_OFF = 60.0
# What is left of a pause by rounding is none.
_SHORTEST_PAUSE = 1e-6
# Limiters of accounts that were not used for longest are forgotten beyond this many.
_MOST_ACCOUNTS = 256


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most ``calls`` in any ``seconds``."""

    calls: int
    seconds: float = 60.0


class _Allowance:
    """What one operation may send: a share of its limit, or anything where no limit is known."""

    __slots__ = ("_changed_at", "_halved_at", "_limit", "_sent", "_share", "backs_off_until", "refusals")

    def __init__(self, limit: RateLimit | None) -> None:
        self._limit = limit
        self._share = _MOST
        self._sent: deque[float] = deque()
        self._changed_at = 0.0
        self._halved_at = float("-inf")
        self.backs_off_until = float("-inf")
        self.refusals = 0

    def pause(self, now: float) -> float:
        """Return the seconds until the next request may be sent."""
        pause = self.backs_off_until - now
        if self._limit is None:
            return max(0.0, pause)
        self._grow(now)
        places = self._places
        while self._sent and self._sent[0] <= now - self._limit.seconds:
            self._sent.popleft()
        if len(self._sent) >= places:
            pause = max(pause, self._sent[-places] + self._limit.seconds - now)
        if self._share < _MOST and self._sent:
            pause = max(pause, self._sent[-1] + self._limit.seconds / places - now)
        return max(0.0, pause)

    def note(self, now: float) -> None:
        """Count a request."""
        if self._limit is not None:
            self._sent.append(now)

    def refused(self, retry_after: float | None, now: float, jitter: float) -> None:
        """Take a smaller share, and back off: for as long as the service asks, else ever longer."""
        self.refusals += 1
        spacing, longest = 1.0, _LONGEST_BLIND_BACK_OFF
        if self._limit is not None:
            self._grow(now)
            if now - self._halved_at >= self._limit.seconds * _HALVED_EACH:
                self._share = max(self._share / 2, 1.0 / self._limit.calls)
                self._halved_at = self._changed_at = now
            spacing = self._limit.seconds / self._places
            longest = max(spacing, _LONGEST_BACK_OFF)
        doubled = min(spacing * 2.0 ** min(self.refusals - 1, 10), longest)
        asked = doubled * (0.5 + jitter) if retry_after is None else retry_after + jitter * min(spacing, 1.0)
        self.backs_off_until = max(self.backs_off_until, now + asked)

    @property
    def _places(self) -> int:
        return max(1, int(self._limit.calls * self._share)) if self._limit else 0

    def _grow(self, now: float) -> None:
        if self._limit is not None and self._share < _MOST:
            windows = (now - self._changed_at) / self._limit.seconds
            self._share = min(_MOST, self._share + _GROWTH * windows)
        self._changed_at = now


class RateLimiter:
    """Says when a request may be sent. Pure: the caller passes the time and does the waiting.

    :param limits: by operation, as :attr:`~.operation.Operation.name` names it; of others no limit is known.
    :param jitter: a number from 0 to 1, so that those who were refused together do not come back together.
    """

    def __init__(
        self,
        limits: Mapping[str, RateLimit],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._limits = limits
        self._jitter = jitter
        self._operations: dict[str, _Allowance] = {}
        self._account = _Allowance(None)
        self._lock = threading.Lock()

    def reserve(self, operation: str, now: float) -> float:
        """Allow a request and return 0, or return the seconds after which to ask again.

        No place is kept for later: a back-off holds for all, and no window fills up behind it.

        :param now: seconds of a monotonic clock.
        """
        with self._lock:
            allowance = self._allowance(operation)
            pause = max(self._account.pause(now), allowance.pause(now))
            if pause > _SHORTEST_PAUSE:
                return pause
            allowance.note(now)
            return 0.0

    def note(self, operation: str, now: float) -> None:
        """Count a request that is sent without asking."""
        with self._lock:
            self._allowance(operation).note(now)

    def accepted(self, operation: str) -> None:
        """Note that the service accepted a request."""
        with self._lock:
            self._account.refusals = self._allowance(operation).refusals = 0

    def refuse(self, operation: str, retry_after: float | None, now: float) -> None:
        """Note that the service refused a request with 429.

        Where the operation has a limit of its own, the others continue.

        :param retry_after: the seconds that the service asked for.
        """
        with self._lock:
            limited = self._allowance(operation) if operation in self._limits else self._account
            limited.refused(retry_after, now, self._jitter())

    def back_off(self, seconds: float, now: float) -> None:
        """Send nothing for ``seconds``: the service asked for it. A longer back-off stays."""
        with self._lock:
            self._account.backs_off_until = max(self._account.backs_off_until, now + seconds)

    def backs_off_for(self, now: float) -> float:
        """Return the seconds for which some operation that reads must not be sent."""
        with self._lock:
            reading = [one for name, one in self._operations.items() if name.startswith("GET ")]
            return max(0.0, *(one.backs_off_until - now for one in (self._account, *reading)))

    def _allowance(self, operation: str) -> _Allowance:
        if operation not in self._operations:
            self._operations[operation] = _Allowance(self._limits.get(operation))
        return self._operations[operation]


_LIMITERS: OrderedDict[Hashable, RateLimiter] = OrderedDict()
_LOCK = threading.Lock()


def limiter_for(account: Hashable, limits: Mapping[str, RateLimit]) -> RateLimiter:
    """Return the limiter of an account, the same one for all who send on it in this process.

    :param account: see :attr:`~.connection.ConnectionConfig.account`.
    """
    with _LOCK:
        if account not in _LIMITERS:
            _LIMITERS[account] = RateLimiter(limits)
        _LIMITERS.move_to_end(account)
        while len(_LIMITERS) > _MOST_ACCOUNTS:
            _LIMITERS.popitem(last=False)
        return _LIMITERS[account]
