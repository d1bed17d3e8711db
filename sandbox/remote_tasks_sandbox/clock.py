"""The sandbox's idea of now, apart from the machine's so that a test can let an hour pass in no time.

Tasks, rate limits and expiry of file addresses follow this clock. Hanging requests do not: they hold a real
socket and so last real seconds. Imports nothing of the sandbox.
"""

from __future__ import annotations

import time

__all__ = ["Clock", "ManualClock", "WallClock"]


class Clock:
    """A clock that can be advanced by hand; times are unix seconds."""

    def __init__(self) -> None:
        self._added = 0.0

    def now(self) -> float:
        """Return the machine's time plus all advances."""
        return time.time() + self._added

    def advance(self, seconds: float) -> None:
        """Let time pass at once.

        :param seconds: how many; never backwards, since tasks do not undo their progress
        """
        if not 0 <= seconds < float("inf"):
            raise ValueError(f"the clock moves forward by a finite number of seconds, not by {seconds!r}")
        self._added += seconds

    def reset(self) -> None:
        """Forget every advance."""
        self._added = 0.0


WallClock = Clock


class ManualClock(Clock):
    """A clock that stands still until it is advanced, for tests that need exact times.

    :param start: its first time in unix seconds; default 2025-11-18 21:30:39 UTC
    """

    def __init__(self, start: float = 1_763_501_439.0) -> None:
        super().__init__()
        self._start = start

    def now(self) -> float:
        """Return the start plus all advances."""
        return self._start + self._added
