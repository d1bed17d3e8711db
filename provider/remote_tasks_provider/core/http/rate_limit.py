"""Keeps under a service's rate limits, and keeps what the service asked for by ``Retry-After``."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["RateLimit", "RateLimiter"]

# Of a limit, the part that one triggerer uses: the service counts all requests of an account.
_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most ``calls`` in any ``seconds``."""

    calls: int
    seconds: float = 60.0


class RateLimiter:
    """Says when a request may be sent. Pure: the caller passes the time and does the waiting.

    :param limits: by operation, as :attr:`~.operation.Operation.name` names it; others are not limited.
    """

    def __init__(self, limits: Mapping[str, RateLimit]) -> None:
        self._limits = limits
        self._sent: dict[str, deque[float]] = {}
        self._backs_off_until = float("-inf")
        self.calls = 0
        """How many requests were allowed."""
        self.refused = 0
        """How many of them the service refused with 429."""

    def reserve(self, operation: str, now: float) -> float:
        """Allow a request and return 0, or return the seconds after which to ask again.

        No place is kept for later: a back-off holds for all, and no window fills up behind it.

        :param now: seconds of a monotonic clock.
        """
        pause = self.backs_off_for(now)
        limit = self._limits.get(operation)
        if limit is not None:
            places = max(1, int(limit.calls * _SHARE))
            sent = self._sent.setdefault(operation, deque(maxlen=places))
            if len(sent) == places:
                pause = max(pause, sent[0] + limit.seconds - now)
            if pause <= 0:
                sent.append(now)
        if pause <= 0:
            self.calls += 1
        return max(0.0, pause)

    def back_off(self, seconds: float, now: float, *, refused: bool = False) -> None:
        """Allow nothing for ``seconds``: the service asked for it. A longer back-off stays.

        :param refused: whether the service refused a request, and did not only warn.
        """
        self._backs_off_until = max(self._backs_off_until, now + seconds)
        self.refused += refused

    def backs_off_for(self, now: float) -> float:
        """Return the seconds for which nothing is allowed, because the service asked for it."""
        return max(0.0, self._backs_off_until - now)
