"""Things that belong to an event loop, and must not keep one alive that is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["PerLoop"]

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One value for each event loop. Those of closed loops are dropped when another loop asks for its own.

    :param make: makes a loop's value.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values: dict[asyncio.AbstractEventLoop, T] = {}

    def __len__(self) -> int:
        return len(self._values)

    def get(self) -> T:
        """Return the value of the running loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._values:
            # Another thread may be here, too, with a loop of its own.
            for closed in [one for one in list(self._values) if one.is_closed()]:
                self._values.pop(closed, None)
            self._values[loop] = self._make()
        return self._values[loop]
