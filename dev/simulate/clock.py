"""Virtual time: an event loop whose clock jumps to the next timer as soon as nothing is left to do."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any, TypeVar, TypeVarTuple

from remote_tasks_provider.core.clocks import Clocks

__all__ = ["START", "VirtualLoop", "clocks", "run"]

START = 1_800_000_000.0
"""The Unix time at which each simulation begins."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _Jump:
    """Stands where an event loop has its selector. To wait for so many seconds is to let them pass."""

    def __init__(self) -> None:
        self.now = 0.0

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("nothing will ever happen again: everything waits, and there is no timer")
        self.now += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop without sockets, signals and threads; its time begins at 0."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Jump()
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Return the seconds since the loop was made."""
        return self._selector.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Call ``func`` at once: no thread of the real world could wake a loop that has no selector."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it belongs to who awaits the future
            future.set_exception(error)
        return future

    def _process_events(self, event_list: list[Any]) -> None:
        """Do nothing: there are no sockets."""

    def _write_to_self(self) -> None:
        """Do nothing: the loop never sleeps, so nothing has to wake it."""


def clocks(loop: VirtualLoop) -> Clocks:
    """Return the clocks of the provider, all of them those of ``loop``."""
    return Clocks(wall=lambda: START + loop.time(), monotonic=loop.time)


@contextmanager
def _instead_of_real_time(loop: VirtualLoop) -> Iterator[None]:
    """Let ``time.time`` and ``time.monotonic`` be those of ``loop``, in this thread.

    Most of the provider is given its clocks. ``tenacity`` and the reader of ``Retry-After`` are not. The loop
    of another thread would sleep for hours if its clock were set back.
    """
    real, own = (time.time, time.monotonic), threading.get_ident()

    def wall() -> float:
        return START + loop.time() if threading.get_ident() == own else real[0]()

    def monotonic() -> float:
        return loop.time() if threading.get_ident() == own else real[1]()

    time.time, time.monotonic = wall, monotonic
    try:
        yield
    finally:
        time.time, time.monotonic = real


def run(main: Callable[[VirtualLoop], Coroutine[Any, Any, T]], *, seed: int) -> T:
    """Run ``main`` in a loop of its own, and return what it returns.

    :param seed: of all that is random.
    """
    loop, state = VirtualLoop(), random.getstate()
    random.seed(seed)
    try:
        with _instead_of_real_time(loop):
            try:
                return loop.run_until_complete(main(loop))
            finally:
                _end(loop)
    finally:
        loop.close()
        random.setstate(state)
        # The shared poller sets objects aside where there are thousands of waits; these are over.
        gc.unfreeze()


def _end(loop: VirtualLoop) -> None:
    """Cancel what still runs, as ``asyncio.run`` does."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
