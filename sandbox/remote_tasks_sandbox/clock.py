"""The sandbox's idea of now, apart from the machine's so that a test can let an hour pass in no time.

Tasks, rate limits and expiry of file addresses follow this clock. Hanging requests do not: they hold a real
socket and so last real seconds. Imports nothing of the sandbox.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol

__all__ = ["Clock", "ManualClock", "WallClock"]


class Clock(Protocol):
    """What the sandbox asks of a clock; times are unix seconds."""

    def now(self) -> float:
        """Return the present time in unix seconds."""

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass at once."""

    def reset(self) -> None:
        """Return to the time the clock would show had it never been advanced."""


class _Advancing:
    """Hold what was added by hand; advancing backwards is refused, since tasks do not undo their progress."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._added = 0.0

    def advance(self, seconds: float) -> None:
        """Let time pass at once.

        :param seconds: how many seconds, zero or more
        :raises ValueError: for a negative or not finite number
        """
        if not 0 <= seconds < float("inf"):
            raise ValueError(f"the clock moves forward by a finite number of seconds, not by {seconds!r}")
        with self._lock:
            self._added += seconds

    def reset(self) -> None:
        """Forget every advance."""
        with self._lock:
            self._added = 0.0


class WallClock(_Advancing):
    """The machine's clock plus whatever was advanced: the default."""

    def now(self) -> float:
        """Return the machine's time plus all advances, in unix seconds."""
        return time.time() + self._added


class ManualClock(_Advancing):
    """A clock that stands still until it is advanced, for tests that need exact times.

    :param start: its first time in unix seconds; default 2025-11-18 21:30:39 UTC
    """

    def __init__(self, start: float = 1_763_501_439.0) -> None:
        super().__init__()
        self._start = start

    def now(self) -> float:
        """Return the start plus all advances, in unix seconds."""
        return self._start + self._added
