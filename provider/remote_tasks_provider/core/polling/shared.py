"""One poll loop for all waits on one connection.

In a triggerer, a thousand waits on one connection share one *poller*: one HTTP client, one
:class:`~.strategy.PollStrategy`, one loop that polls when the first of them is due and gives all of them the
results. A wait joins and leaves at any time. The poller starts with the first wait, and closes its
connections with the last. Pollers are kept apart by event loop, task type and connection.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from remote_tasks_provider.core.clocks import Clocks
from remote_tasks_provider.core.errors import AuthenticationError
from remote_tasks_provider.core.http.client import AsyncClient
from remote_tasks_provider.core.http.rate_limit import RateLimiter
from remote_tasks_provider.core.log import Log
from remote_tasks_provider.core.polling.drivers import arun_plan
from remote_tasks_provider.core.polling.result import WaitResult
from remote_tasks_provider.core.polling.strategy import PollResults, PollStrategy
from remote_tasks_provider.core.polling.tracker import PollTracker
from remote_tasks_provider.core.service import TaskType

__all__ = ["PollMetrics", "SharedPoller", "join"]

Connect = Callable[[RateLimiter], Awaitable[AsyncClient]]

# A triggerer that starts brings its waits one after the other. The first poll waits so many seconds for them.
_GATHERING = 0.25
# After this many waits have got their results, other coroutines get their turn.
_BATCH = 50
# A wait whose state does not change is mentioned in the log when it has become this much older.
_LOG_GROWTH = 1.25
_LOG_AT_LEAST = 30.0


class PollMetrics(Protocol):
    """Counts what a poller does; see ``docs/metrics.md``."""

    def polled(self, service: str, *, waits: int, calls: int, saved: int, rate_limited: int) -> None:
        """Count one poll cycle.

        :param saved: how many more ``calls`` it would have taken to ask for each task by itself.
        """

    def finished(self, service: str, *, outcome: str, seconds: float) -> None:
        """Count one finished wait."""


@dataclass(eq=False, slots=True)
class _Joined:
    """A wait that has joined.

    :param due: when it wants the next poll at the latest; monotonic.
    :param context: the triggerer sends a log record to the task whose context it was made in.
    """

    tracker: PollTracker
    due: float
    log: Log
    done: asyncio.Future[WaitResult]
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    logged_state: str = ""
    logged_after: float = 0.0


class SharedPoller:
    """All waits on one connection in one event loop. Made and found by :func:`join`.

    :param on_empty: called when the last wait has left.
    """

    def __init__(
        self,
        task_type: TaskType,
        connect: Connect,
        clocks: Clocks,
        metrics: PollMetrics,
        on_empty: Callable[[SharedPoller], None],
    ) -> None:
        self._task_type = task_type
        self._connect = connect
        self._clocks = clocks
        self._metrics = metrics
        self._on_empty = on_empty
        self._rate_limiter = RateLimiter(task_type.service.limits)
        self._client: AsyncClient | None = None
        self._strategy: PollStrategy | None = None
        self._waits: set[_Joined] = set()
        self._new_wait = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None

    async def join(self, tracker: PollTracker, first_poll_in: float, log: Log) -> WaitResult:
        """Return how the wait ended; leaves at once when cancelled.

        :param first_poll_in: seconds until the wait wants its first poll; it may get one earlier.
        :raises ConnectionConfigError: when the connection cannot be used.
        """
        earliest = 0.0 if self._client is not None else _GATHERING
        wait = _Joined(
            tracker=tracker,
            due=self._clocks.monotonic() + max(earliest, first_poll_in),
            log=log,
            done=asyncio.get_running_loop().create_future(),
        )
        self._waits.add(wait)
        _spare_the_collector(len(self._waits))
        self._new_wait.set()
        if self._loop_task is None or self._loop_task.done():
            # In an empty context: what the poller does belongs to no single task's log.
            self._loop_task = asyncio.get_running_loop().create_task(
                self._run(), context=contextvars.Context()
            )
        try:
            return await wait.done
        finally:
            self._waits.discard(wait)
            if not self._waits:
                await self._close()

    async def _close(self) -> None:
        self._on_empty(self)
        task, self._loop_task = self._loop_task, None
        try:
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        finally:
            # Not before the loop has stopped, which may just have opened another client.
            client, self._client = self._client, None
            if client is not None:
                await client.aclose()

    async def _run(self) -> None:
        try:
            while self._waits:
                self._new_wait.clear()
                seconds = min(wait.due for wait in self._waits) - self._clocks.monotonic()
                if seconds > 0:
                    await self._idle(seconds)
                else:
                    await self._poll()
        except Exception as error:  # noqa: BLE001 - whatever it is, no wait may hang for ever
            self._on_empty(self)
            for wait in self._waits:
                if not wait.done.done():
                    wait.done.set_exception(error)

    async def _idle(self, seconds: float) -> None:
        """Sleep until the next poll, or until a wait joins that may want an earlier one."""
        sleeper = asyncio.ensure_future(self._clocks.sleep(seconds))
        joined = asyncio.ensure_future(self._new_wait.wait())
        try:
            await asyncio.wait((sleeper, joined), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeper.cancel()
            joined.cancel()

    async def _poll(self) -> None:
        """One poll cycle: poll the tasks of all waits that are due, and give every wait its results."""
        now = self._clocks.monotonic()
        due: dict[str, None] = {}
        free: dict[str, None] = {}
        waits = list(self._waits)
        for wait in waits:
            (due if wait.due <= now else free).update(dict.fromkeys(wait.tracker.unfinished_ids))
        if self._client is None:
            self._use(await self._connect(self._rate_limiter))
        calls, refused = self._rate_limiter.calls, self._rate_limiter.refused
        results = await self._results(list(due), free.keys() - due.keys())
        covered = await self._deliver(waits, results, now)
        calls = self._rate_limiter.calls - calls
        self._metrics.polled(
            self._task_type.service.name,
            waits=len(waits),
            calls=calls,
            saved=max(0, covered - calls),
            rate_limited=self._rate_limiter.refused - refused,
        )

    def _use(self, client: AsyncClient) -> None:
        """Poll over ``client`` from now on.

        With other extras, such as another version of the API, what was learnt from the old one may not hold.
        """
        old, self._client = self._client, client
        if old is None or old.config.extras != client.config.extras:
            self._strategy = self._task_type.poll_strategy(client.config.extras)

    async def _results(self, due: list[str], free: set[str]) -> PollResults:
        """Poll once; if the key is refused but was changed meanwhile, once more with the new one."""
        assert self._client is not None and self._strategy is not None  # noqa: S101, PT018 - set by _use
        results = await arun_plan(self._strategy.plan(due, free), self._client)
        if any(isinstance(result, AuthenticationError) for result in results.values()):
            renewed, old = await self._connect(self._rate_limiter), self._client
            if renewed.config == old.config:
                await renewed.aclose()
                return results
            self._use(renewed)
            await old.aclose()
            results = await arun_plan(self._strategy.plan(due, free), renewed)
        return results

    async def _deliver(self, waits: list[_Joined], results: PollResults, began: float) -> int:
        """Give every wait its results; return how many tasks they cover, counted for each wait.

        A wait that became due during the poll, and that it did not cover, gets the next poll.

        :param began: when the poll began; monotonic.
        """
        covered = 0
        for index, wait in enumerate(waits, 1):
            if index % _BATCH == 0:
                await asyncio.sleep(0)
            if not wait.done.done():
                count = wait.tracker.update(results, self._clocks.wall())
                covered += count
                if count or wait.due <= began:
                    self._settle(wait)
        return covered

    def _settle(self, wait: _Joined) -> None:
        """End the wait if it is over, else schedule its next poll."""
        now = self._clocks.wall()
        back_off = self._rate_limiter.backs_off_for(self._clocks.monotonic())
        pause = wait.tracker.pause(now, self._clocks.spread(), back_off)
        for warning in wait.tracker.take_warnings():
            wait.context.run(wait.log.warning, "%s", warning)
        if pause is None:
            result = wait.tracker.result(now)
            self._metrics.finished(
                self._task_type.service.name, outcome=result.outcome, seconds=result.waited
            )
            self._waits.discard(wait)
            wait.done.set_result(result)
        else:
            wait.due = self._clocks.monotonic() + pause
            self._mention(wait, now, pause)

    def _mention(self, wait: _Joined, now: float, pause: float) -> None:
        state, after = wait.tracker.state, now - wait.tracker.policy.started_at
        if state == wait.logged_state and after < max(
            wait.logged_after * _LOG_GROWTH, wait.logged_after + _LOG_AT_LEAST
        ):
            return
        wait.logged_state, wait.logged_after = state, after
        summary = wait.tracker.summary(now, pause)
        wait.context.run(wait.log.info, "%s: %s", self._task_type.service.name, summary)


_most_waits = 1024


def _spare_the_collector(waits: int) -> None:
    """Keep the garbage collector's passes short where thousands of waits are held.

    A full pass goes through every object of the process: with ten thousand waits and all that Airflow has
    loaded it holds the event loop up for 150 ms. When a poller has twice as many waits as any before, from
    2,048 on, what is there is set aside; it is still freed when nothing refers to it. Below twice a
    triggerer's default capacity nothing is done.
    """
    global _most_waits
    if waits >= 2 * _most_waits:
        _most_waits = waits
        gc.freeze()


_Key = tuple[str, str, str]
_POLLERS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[_Key, SharedPoller]] = WeakKeyDictionary()


def join(
    tracker: PollTracker,
    *,
    task_type: TaskType,
    conn_id: str,
    connect: Connect,
    clocks: Clocks,
    metrics: PollMetrics,
    first_poll_in: float,
    log: Log,
) -> Coroutine[Any, Any, WaitResult]:
    """Poll this wait with every other one on the same connection; see :meth:`SharedPoller.join`.

    :param connect: opens a client; called for the first wait, and again when the key is refused.
    """
    pollers = _POLLERS.setdefault(asyncio.get_running_loop(), {})
    key = (task_type.service.name, task_type.label, conn_id)

    def forget(poller: SharedPoller) -> None:
        if pollers.get(key) is poller:
            del pollers[key]

    if key not in pollers:
        pollers[key] = SharedPoller(task_type, connect, clocks, metrics, forget)
    return pollers[key].join(tracker, first_poll_in, log)
