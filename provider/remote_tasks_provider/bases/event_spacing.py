"""Keeps the last of several events apart from those before it, so that each of them starts a run.

Below Airflow 3.4 a scheduler gives a run the events up to the first that has queued its DAG, and forgets the
others that came before it looked: they wait for the next event, however long that takes (apache/airflow
#56050). So the last event of a burst comes when the scheduler has looked, and takes along what was left.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

from remote_tasks_provider.bases.compat import QUEUES_EACH_EVENT
from remote_tasks_provider.core.clocks import Clocks

__all__ = ["EventSpacing"]

T = TypeVar("T")

# A scheduler looks every second or two, also on a busy machine.
_APART = 10.0


class EventSpacing:
    """The pauses before the events of one watcher."""

    def __init__(self, clocks: Clocks) -> None:
        self._clocks = clocks
        self._told_at = float("-inf")

    async def spaced(self, news: Sequence[T]) -> AsyncIterator[T]:
        """Yield ``news``; the last of them with a distance to whatever was yielded before."""
        for number, one in enumerate(news, 1):
            pause = self._told_at + _APART - self._clocks.monotonic()
            if number == len(news) and pause > 0 and not QUEUES_EACH_EVENT:
                await self._clocks.sleep(pause)
            yield one
            self._told_at = self._clocks.monotonic()
