"""Keeping under a service's rate limits, instead of running into 429.

A vendor's limits are data: endpoint → how many calls in how many seconds. The service counts all of an
account's calls while a triggerer sees only its own, so a part of each limit is left to the others, and a 429
stops everything until the moment the service named.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["RateLimit", "RateLimiter"]

# Of a limit, the part that one triggerer takes for itself.
_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most ``calls`` in any ``seconds``."""

    calls: int
    seconds: float = 60.0


class RateLimiter:
    """Gives each call its moment. Pure: the caller passes the time and does the waiting.

    :param limits: by endpoint, as :attr:`~.operation.Operation.name` names it; others are not limited.
    """

    def __init__(self, limits: Mapping[str, RateLimit]) -> None:
        self._limits = limits
        self._sent: dict[str, deque[float]] = {}
        self._stopped_until = 0.0
        self.calls = 0
        """How many calls were given a place."""
        self.refused = 0
        """How many of them the service refused as too many."""

    def reserve(self, operation: str, now: float) -> float:
        """Take a place for a call and return 0, or return the seconds after which to ask again.

        Nobody has a place in advance, so a stop holds for all and no window fills up behind it.
        """
        pause = self._stopped_until - now
        limit = self._limits.get(operation)
        if limit is None:
            sent = None
        else:
            places = max(1, int(limit.calls * _SHARE))
            sent = self._sent.setdefault(operation, deque(maxlen=places))
            if len(sent) == places:
                pause = max(pause, sent[0] + limit.seconds - now)
        if pause > 0:
            return pause
        if sent is not None:
            sent.append(now)
        self.calls += 1
        return 0.0

    def rest(self, seconds: float, now: float) -> None:
        """Let nothing go out for ``seconds``: the service said that no more calls are left until then."""
        self._stopped_until = max(self._stopped_until, now + seconds)

    def stop(self, seconds: float, now: float) -> None:
        """Let nothing go out for ``seconds``: the service refused a call and asked for it."""
        self.refused += 1
        self.rest(seconds, now)
