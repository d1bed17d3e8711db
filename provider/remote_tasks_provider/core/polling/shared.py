"""One poll loop for all waits on one connection.

In a triggerer, a thousand waits on one connection are one *group*: one HTTP client, one
:class:`~.strategy.PollStrategy`, one loop that looks when the first of them is due and tells all of them what
it saw. A wait joins and leaves at any time; the group begins with the first and ends, connections closed,
with the last.

Groups are kept apart by event loop, service and connection, so two triggerers, two tests or two accounts
never mix. Looks are scheduled by a monotonic clock; only deadlines, which must survive a restart, are read
off the wall clock.
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
from remote_tasks_provider.core.polling.drivers import arun_plan
from remote_tasks_provider.core.polling.result import WaitResult
from remote_tasks_provider.core.polling.strategy import PollResults, PollStrategy
from remote_tasks_provider.core.polling.tracker import PollTracker
from remote_tasks_provider.core.service import Service

__all__ = ["PollMetrics", "SharedPoller", "follow"]

Connect = Callable[[RateLimiter], Awaitable[AsyncClient]]

# A triggerer that starts brings its waits in one after the other. The first look waits for the others so many
# seconds.
_GATHERING = 0.25
# After this many waits have been told of a look, other coroutines get their turn.
_BATCH = 50
# A wait that nothing happens to is mentioned in the log when it has become this much older.
_LOG_GROWTH = 1.25
_LOG_AT_LEAST = 30.0


class Log(Protocol):
    """Where to tell of a wait: a standard logger, or Airflow's."""

    def info(self, event: str, *arguments: Any) -> Any:
        """Say what happens."""

    def warning(self, event: str, *arguments: Any) -> Any:
        """Say what a reader should know."""


class PollMetrics(Protocol):
    """Counts what a group does; see ``docs/metrics.md``."""

    def looked(
        self, service: str, *, waits: int, told: int, calls: int, saved: int, rate_limited: int
    ) -> None:
        """Count one look.

        :param waits: how many waits are in the group.
        :param told: how many of them learnt something.
        :param calls: how many requests it took.
        :param saved: how many more it would have taken to ask for each task by itself.
        :param rate_limited: how many requests were answered with 429.
        """

    def ended(self, service: str, *, outcome: str, seconds: float) -> None:
        """Count one wait that ended, after ``seconds``."""


@dataclass(eq=False, slots=True)
class _Member:
    """A wait in a group."""

    wait: PollTracker
    due: float
    """When it wants the next look at the latest; monotonic."""
    log: Log
    ended: asyncio.Future[WaitResult]
    # The triggerer sends a log record to the task whose context it was made in.
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    logged_state: str = ""
    logged_after: float = 0.0


class SharedPoller:
    """All waits on one connection in one event loop. Made and found by :func:`follow`.

    :param on_empty: called when the last wait has left.
    """

    def __init__(
        self,
        service: Service,
        connect: Connect,
        clocks: Clocks,
        metrics: PollMetrics,
        on_empty: Callable[[SharedPoller], None],
    ) -> None:
        self._service = service
        self._connect = connect
        self._clocks = clocks
        self._metrics = metrics
        self._on_empty = on_empty
        self._rate_limiter = RateLimiter(service.limits)
        self._client: AsyncClient | None = None
        self._strategy: PollStrategy | None = None
        self._members: set[_Member] = set()
        self._joined = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None

    async def follow(self, wait: PollTracker, first_poll_in: float, log: Log) -> WaitResult:
        """Return how ``wait`` ended; leaves at once when cancelled.

        :raises ConnectionConfigError: when the connection cannot be used.
        """
        earliest = 0.0 if self._client is not None else _GATHERING
        member = _Member(
            wait=wait,
            due=self._clocks.monotonic() + max(earliest, first_poll_in),
            log=log,
            ended=asyncio.get_running_loop().create_future(),
        )
        self._members.add(member)
        _spare_the_collector(len(self._members))
        self._joined.set()
        if self._loop_task is None or self._loop_task.done():
            # Its own, empty context: what the group does belongs to no single task's log.
            self._loop_task = asyncio.get_running_loop().create_task(
                self._run(), context=contextvars.Context()
            )
        try:
            return await member.ended
        finally:
            self._members.discard(member)
            if not self._members:
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
            while self._members:
                self._joined.clear()
                seconds = min(member.due for member in self._members) - self._clocks.monotonic()
                if seconds > 0:
                    await self._idle(seconds)
                else:
                    await self._look()
        except Exception as error:  # noqa: BLE001 - whatever it is, no wait may hang for ever
            self._on_empty(self)
            for member in self._members:
                if not member.ended.done():
                    member.ended.set_exception(error)

    async def _idle(self, seconds: float) -> None:
        """Sleep until the next look, or until a wait joins that may want an earlier one."""
        sleeper = asyncio.ensure_future(self._clocks.sleep(seconds))
        joined = asyncio.ensure_future(self._joined.wait())
        try:
            await asyncio.wait((sleeper, joined), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeper.cancel()
            joined.cancel()

    async def _look(self) -> None:
        now = self._clocks.monotonic()
        due: dict[str, None] = {}
        free: dict[str, None] = {}
        members = list(self._members)
        for member in members:
            (due if member.due <= now else free).update(dict.fromkeys(member.wait.open_ids))
        if self._client is None:
            self._client = await self._connect(self._rate_limiter)
            self._strategy = self._service.strategy(self._client.config.extras)
        calls, refused = self._rate_limiter.calls, self._rate_limiter.refused
        results = await self._ask(list(due), free.keys() - due.keys())
        told, covered = await self._tell(members, results, now)
        calls = self._rate_limiter.calls - calls
        self._metrics.looked(
            self._service.name,
            waits=len(members),
            told=told,
            calls=calls,
            saved=max(0, covered - calls),
            rate_limited=self._rate_limiter.refused - refused,
        )

    async def _ask(self, due: list[str], free: set[str]) -> PollResults:
        """Look once; if the key is refused but was changed meanwhile, once more with the new one."""
        assert self._client is not None and self._strategy is not None  # noqa: S101, PT018 - made by the caller
        results = await arun_plan(self._strategy.plan(due, free), self._client)
        if any(isinstance(result, AuthenticationError) for result in results.values()):
            renewed = await self._connect(self._rate_limiter)
            if renewed.config == self._client.config:
                await renewed.aclose()
                return results
            old, self._client = self._client, renewed
            if renewed.config.extras != old.config.extras:
                # Another version of the API, perhaps: what was learnt from this one may not hold there.
                self._strategy = self._service.strategy(renewed.config.extras)
            await old.aclose()
            results = await arun_plan(self._strategy.plan(due, free), renewed)
        return results

    async def _tell(self, members: list[_Member], results: PollResults, began: float) -> tuple[int, int]:
        """Give every wait its findings; return how many waits and how many tasks they were about.

        A wait that became due while the look went on, and that it did not cover, gets the next look.

        :param began: when the look began; monotonic.
        """
        told = covered = 0
        for index, member in enumerate(members, 1):
            if index % _BATCH == 0:
                await asyncio.sleep(0)
            if not member.ended.done():
                news = member.wait.take(results, self._clocks.wall())
                told += news > 0
                covered += news
                if news or member.due <= began:
                    self._settle(member)
        return told, covered

    def _settle(self, member: _Member) -> None:
        wall = self._clocks.wall()
        pause = member.wait.pause(wall, self._clocks.spread())
        for note in member.wait.take_notes():
            member.context.run(member.log.warning, "%s", note)
        if pause is None:
            report = member.wait.report(wall)
            self._metrics.ended(self._service.name, outcome=report.outcome, seconds=report.waited)
            self._members.discard(member)
            member.ended.set_result(report)
        else:
            member.due = self._clocks.monotonic() + pause
            self._mention(member, wall, pause)

    def _mention(self, member: _Member, wall: float, pause: float) -> None:
        state, after = member.wait.state, wall - member.wait.policy.started_at
        if state == member.logged_state and after < max(
            member.logged_after * _LOG_GROWTH, member.logged_after + _LOG_AT_LEAST
        ):
            return
        member.logged_state, member.logged_after = state, after
        member.context.run(member.log.info, "%s: %s", self._service.name, member.wait.summary(wall, pause))


_most_waits = 1024


def _spare_the_collector(waits: int) -> None:
    """Keep the garbage collector's passes short where thousands of waits are held.

    A full pass goes through every object of the process: with ten thousand waits and all that Airflow has
    loaded it holds the event loop up for 150 ms. When a group has twice as many waits as any before, from
    2,048 on, what is there is set aside; it is still freed when nobody refers to it. Below twice a
    triggerer's default capacity nothing is done.
    """
    global _most_waits
    if waits >= 2 * _most_waits:
        _most_waits = waits
        gc.freeze()


_Key = tuple[str, str, str]
_GROUPS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[_Key, SharedPoller]] = WeakKeyDictionary()


def follow(
    wait: PollTracker,
    *,
    service: Service,
    conn_id: str,
    connect: Connect,
    clocks: Clocks,
    metrics: PollMetrics,
    first_poll_in: float,
    log: Log,
) -> Coroutine[Any, Any, WaitResult]:
    """Return, when awaited, how ``wait`` ended, looked at with every other wait on the same connection.

    :param connect: opens a client; called for the first wait, and again when the key is refused.
    :param first_poll_in: seconds until the wait wants its first look; it may get one earlier.
    :param log: where to tell of this wait.
    :raises ConnectionConfigError: (when awaited) when the connection cannot be used.
    """
    groups = _GROUPS.setdefault(asyncio.get_running_loop(), {})
    group = groups.get((service.name, service.kind, conn_id))
    if group is None:
        group = _new_group(groups, service, conn_id, connect, clocks, metrics)
    return group.follow(wait, first_poll_in, log)


def _new_group(
    groups: dict[_Key, SharedPoller],
    service: Service,
    conn_id: str,
    connect: Connect,
    clocks: Clocks,
    metrics: PollMetrics,
) -> SharedPoller:
    key = (service.name, service.kind, conn_id)

    def forget(group: SharedPoller) -> None:
        if groups.get(key) is group:
            del groups[key]

    groups[key] = SharedPoller(service, connect, clocks, metrics, forget)
    return groups[key]
