"""What a person is told while Airflow starts, which takes up to a minute or two."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Seconds without news after which a line says that the wait continues.
QUIET_SECONDS = 10.0


class Progress:
    """Says what has become healthy, and that the wait continues, with the seconds since the start."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._began = self._spoke = clock()
        self._healthy: set[str] = set()

    def note(self, health: Mapping[str, Any]) -> None:
        """Say what has become healthy.

        :param health: Airflow's answer; empty while its API server does not answer.
        """
        now_healthy = {name for name, one in health.items() if (one or {}).get("status") == "healthy"}
        for name in sorted(now_healthy - self._healthy):
            self._speak(f"{name.replace('_', ' ')} is healthy")
        self._healthy |= now_healthy

    def still_waiting(self) -> None:
        """Say so after a while without news."""
        if self._clock() - self._spoke >= QUIET_SECONDS:
            self._speak(
                "still starting" if self._healthy else "still starting; the API server does not answer yet"
            )

    def _speak(self, what: str) -> None:
        self._spoke = self._clock()
        self._say(f"  {self._spoke - self._began:3.0f} s  {what}")
