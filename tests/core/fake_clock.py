"""Time that passes only when a test lets it, for everything that sleeps on an event loop.

Sleepers wake in order, each at its own moment, after all others had their turn, so that what happens within
one moment is decided by the code under test and not by the machine.
"""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

from remote_tasks_provider.core.clocks import Clocks
from tests.core.build import START

__all__ = ["Timekeeper", "settle"]


async def settle(turns: int = 100) -> None:
    """Let every coroutine go on until it waits for something.

    :param turns: how often each may go on, at most.
    """
    for _ in range(turns):
        await asyncio.sleep(0)


class Timekeeper:
    """A clock, and those who sleep by it.

    :param spread: what :attr:`Clocks.spread` gives.
    :param turns: how often everybody may go on before time passes.
    """

    def __init__(self, spread: float = 1.0, turns: int = 100) -> None:
        self.monotonic = 1000.0
        self.wall_offset = START - self.monotonic
        self.spread = spread
        self.turns = turns
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()

    @property
    def wall(self) -> float:
        """Unix seconds; set :attr:`wall_offset` to let the clock jump."""
        return self.monotonic + self.wall_offset

    @property
    def clocks(self) -> Clocks:
        """The clock as the code under test sees it."""
        return Clocks(
            wall=lambda: self.wall,
            monotonic=lambda: self.monotonic,
            sleep=self.sleep,
            spread=lambda: self.spread,
        )

    async def sleep(self, seconds: float) -> None:
        """Wait until the time has come."""
        wake = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.monotonic + max(0.0, seconds), next(self._numbers), wake))
        await wake

    async def let_pass(self, seconds: float) -> None:
        """Let time pass, waking whoever sleeps until a moment within."""
        until = self.monotonic + seconds
        await settle(self.turns)
        while self._sleepers and self._sleepers[0][0] <= until:
            moment, _, wake = heapq.heappop(self._sleepers)
            if not wake.done():
                self.monotonic = max(self.monotonic, moment)
                wake.set_result(None)
                await settle(self.turns)
        self.monotonic = until
