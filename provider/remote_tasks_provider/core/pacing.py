"""Keeping under a service's rate limits, instead of running into 429.

A vendor's limits are data: endpoint → how many calls in how many seconds. The service counts all of an
account's calls while a triggerer sees only its own, so a part of each limit is left to the others, and a 429
stops everything until the moment the service named.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Limit", "Pacer"]

# Of a limit, the part that one triggerer takes for itself.
_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``calls`` in any ``seconds``."""

    calls: int
    seconds: float = 60.0


class Pacer:
    """Gives each call its moment. Pure: the caller passes the time and does the waiting.

    :param limits: by endpoint, as :attr:`~.messages.Call.endpoint` names it; others are not limited.
    """

    def __init__(self, limits: Mapping[str, Limit]) -> None:
        self._limits = limits
        self._sent: dict[str, deque[float]] = {}
        self._stopped_until = 0.0
        self.calls = 0
        """How many calls were given a place."""
        self.refused = 0
        """How many of them the service refused as too many."""

    def reserve(self, endpoint: str, now: float) -> float:
        """Take the next free place for a call and return the seconds until then."""
        self.calls += 1
        moment = max(now, self._stopped_until)
        limit = self._limits.get(endpoint)
        if limit is not None:
            places = max(1, int(limit.calls * _SHARE))
            sent = self._sent.setdefault(endpoint, deque(maxlen=places))
            if len(sent) == places:
                moment = max(moment, sent[0] + limit.seconds)
            sent.append(moment)
        return moment - now

    def stop(self, seconds: float, now: float) -> None:
        """Let nothing go out for ``seconds``: the service refused a call and asked for it.

        Calls that wait for their place already go out when :meth:`stopped` says so.
        """
        self.refused += 1
        self._stopped_until = max(self._stopped_until, now + seconds)
        for endpoint, sent in self._sent.items():
            moved = (max(moment, self._stopped_until) if moment > now else moment for moment in sent)
            self._sent[endpoint] = deque(moved, maxlen=sent.maxlen)

    def stopped(self, now: float) -> float:
        """Return for how many seconds yet nothing may go out."""
        return max(0.0, self._stopped_until - now)
