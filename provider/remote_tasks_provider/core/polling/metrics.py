"""What a shared poller counts; ``bases/metrics.py`` sends it to where Airflow's metrics go."""

from __future__ import annotations

from typing import Protocol

__all__ = ["PollMetrics"]


class PollMetrics(Protocol):
    """Counts what a poller does; see ``docs/how-to/metrics.md``."""

    def polled(self, service: str, *, waits: int, calls: int, saved: int, rate_limited: int) -> None:
        """Count one poll cycle.

        :param waits: how many waits there are.
        :param saved: how many more ``calls`` it would have taken to ask for each task by itself.
        """

    def finished(self, service: str, *, outcome: str, seconds: float) -> None:
        """Count one finished wait."""

    def emptied(self, service: str) -> None:
        """Note that the last wait has left."""

    def heard(self, service: str) -> None:
        """Count one bell."""
