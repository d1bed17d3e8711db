"""The vendors' rate limits, off by default: so many calls in any sixty seconds, or in any one, by endpoint.

A sliding window is assumed; neither vendor says how it counts. Imports nothing of the sandbox.
"""

from __future__ import annotations

from collections import deque

__all__ = ["RateLimiter"]

WINDOW_SECONDS = 60.0


class RateLimiter:
    """Counts calls by endpoint; the caller holds the lock."""

    def __init__(self) -> None:
        self._calls: dict[str, deque[float]] = {}

    def wait_for(
        self, endpoint: str, limit: int | None, now: float, window: float = WINDOW_SECONDS
    ) -> float | None:
        """Count one call, or say how long to wait for the next one.

        A refused call is not counted.

        :param endpoint: the name the calls are counted under
        :param limit: calls in a window; ``None`` for no limit
        :param now: sandbox time, unix seconds
        :param window: seconds
        :returns: ``None`` when the call may go on, else the seconds until one may
        """
        if limit is None:
            return None
        calls = self._calls.setdefault(endpoint, deque())
        while calls and calls[0] <= now - window:
            calls.popleft()
        if len(calls) < limit:
            calls.append(now)
            return None
        return calls[0] + window - now if calls else window

    def counted(self, endpoint: str) -> int:
        """Return how many calls of the present window were let through."""
        return len(self._calls.get(endpoint, ()))

    def clear(self) -> None:
        """Forget all counted calls."""
        self._calls.clear()
