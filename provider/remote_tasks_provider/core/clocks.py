"""Time, as everything that waits on an event loop sees it; a test passes its own."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Clocks", "rounds", "steady"]


@dataclass(frozen=True, slots=True)
class Clocks:
    """The ways to ask for and to pass time.

    :param wall: Unix seconds, for what must survive a restart: deadlines.
    :param monotonic: seconds that never jump, for everything else.
    :param sleep: waits without blocking the event loop.
    :param spread: the part of a pause that is kept, so that many triggerers do not poll together.
    """

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep
    spread: Callable[[], float] = lambda: random.uniform(0.9, 1.0)  # noqa: S311 - spreads load


def steady(
    wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
) -> Callable[[], float]:
    """Return a clock of Unix seconds that shows the time of day now, and from now on never jumps.

    A wait reads its deadlines by it: setting the machine's clock neither ends nor prolongs the wait.
    """
    offset = wall() - monotonic()
    return lambda: offset + monotonic()


def rounds(end: float, pauses: Iterable[float], clock: Any = time) -> Iterator[float]:
    """Yield, with pauses, until a round has begun at ``end`` or later; blocks.

    For what a service shows late. However long a question takes, an answer that shows nothing counts only if
    the question was asked late enough.

    :param end: Unix seconds.
    :param pauses: seconds between rounds; endless. The last one is cut to end in time.
    :param clock: what has ``time`` and ``sleep``.
    :return: the seconds that are left as a round begins; 0 in the last one.
    """
    for pause in pauses:
        left = max(0.0, end - clock.time())
        yield left
        if not left:
            return
        clock.sleep(max(0.0, min(pause, end - clock.time())))
