"""Runs one scenario: each triggerer has its own connection and its own shared poller, all in one loop."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from dev.bench.figures import percentiles
from dev.simulate import clock
from dev.simulate.clock import VirtualLoop
from dev.simulate.scenario import Scenario
from dev.simulate.vendor import NEVER, Account, FakeTransport, Journal, RemoteTask
from remote_tasks_provider.core.http import rate_limit
from remote_tasks_provider.core.http.client import AsyncClient
from remote_tasks_provider.core.http.connection import ConnectionConfig
from remote_tasks_provider.core.http.rate_limit import RateLimiter
from remote_tasks_provider.core.polling import drivers
from remote_tasks_provider.core.polling.policy import PollPolicy
from remote_tasks_provider.core.polling.result import WaitResult
from remote_tasks_provider.core.polling.shared import join
from remote_tasks_provider.core.polling.tracker import PollTracker

__all__ = ["Outcome", "simulate"]

# Triggers that a triggerer starts before other coroutines get their turn.
_BATCH = 50
_WEEK = 7 * 86400.0
_numbers = itertools.count(1)
_HAS_LINKS = hasattr(drivers, "AsyncLink")
# What the log of a wait says belongs to its Airflow task.
_quiet = logging.getLogger("dev.simulate.waits")
_quiet.setLevel(logging.CRITICAL)


@dataclass(slots=True)
class Outcome:
    """What came of a scenario; times are virtual seconds, but for ``cpu``.

    :param delays: by triggerer: from the end of each task to the end of its wait; to the end of the
        simulation where nobody noticed it.
    :param by_minute: the same delays by the minute of the end.
    :param unnoticed: by triggerer: ends that were not noticed.
    :param wrong: waits that ended otherwise than their tasks, and how.
    :param spoiled: those of them whose tasks had not ended.
    :param last: when the last wait ended.
    :param span: how long was simulated.
    :param cpu: what it took, real seconds.
    """

    scenario: Scenario
    journal: Journal
    delays: dict[int, list[float]] = field(default_factory=dict)
    by_minute: dict[int, list[float]] = field(default_factory=dict)
    unnoticed: Counter[int] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    spoiled: int = 0
    last: float = 0.0
    span: float = 0.0
    cpu: float = 0.0

    @property
    def calls(self) -> int:
        """All calls."""
        return self.journal.calls.total()

    @property
    def refused(self) -> int:
        """Calls that were answered with 429."""
        return self.journal.refused.total()

    @property
    def finished(self) -> int:
        """Ends of tasks that there were to notice."""
        return sum(map(len, self.delays.values()))

    @property
    def lost(self) -> int:
        """Ends that were not noticed, and waits that ended wrong."""
        return self.unnoticed.total() + self.spoiled

    def a_minute(self, count: float) -> float:
        """Return ``count`` by the minute."""
        return count * 60 / max(self.span, 1e-9)

    @property
    def quantiles(self) -> tuple[float, float, float]:
        """The 50th and the 95th percentile of the delay, and the longest."""
        every = [delay for delays in self.delays.values() for delay in delays]
        return (*percentiles(every), max(every, default=float("nan")))

    @property
    def unfairness(self) -> tuple[float, float]:
        """The 95th percentile of the triggerer that is best off, and of the one that is worst off."""
        each = [percentiles(delays)[1] for delays in self.delays.values() if delays]
        return min(each, default=float("nan")), max(each, default=float("nan"))


class _NoMetrics:
    """Counts nothing, whatever it is asked to count."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_arguments, **_named: None


class _Run:
    """One scenario in its loop."""

    def __init__(self, scenario: Scenario, loop: VirtualLoop) -> None:
        tasks = scenario.tasks()
        self._scenario = scenario
        self._loop = loop
        self._clocks = clock.clocks(loop)
        self._account: Account = scenario.vendor.account(loop, tasks, scenario.allows)
        self._awaited = [task for task in tasks if task.owner is not None]
        self._number = next(_numbers)
        self._joined: dict[str, float] = {}
        self._noticed: dict[str, float] = {}
        self._to_notice = sum(task.ends < NEVER for task in tasks)
        self._all_noticed = asyncio.Event()
        self.outcome = Outcome(scenario, self._account.journal)

    async def run(self) -> Outcome:
        """Run it to the end."""
        waits: list[asyncio.Task[None]] = []
        for number, task in enumerate(self._awaited, 1):
            waits.append(self._loop.create_task(self._wait(task)))
            if number % _BATCH == 0:
                await asyncio.sleep(0)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._all_noticed.wait(), self._scenario.lasts)
        self._sum_up(self._loop.time())
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        return self.outcome

    async def _wait(self, task: RemoteTask) -> None:
        scenario = self._scenario
        if task.created > 0:
            await asyncio.sleep(task.created)
        now = self._clocks.wall()
        self._joined[task.id] = self._loop.time()
        rules: Any = {"in_detail": scenario.in_detail} if _HAS_LINKS else {}
        policy = PollPolicy(started_at=now, poll_interval=scenario.interval, deadline=now + _WEEK, **rules)
        metrics: Any = _NoMetrics()
        service: Any = self._service(task.owner or 0)
        try:
            result = await join(
                PollTracker([task.id], policy),
                task_type=scenario.vendor.task_type,
                conn_id=f"triggerer_{task.owner}",
                clocks=self._clocks,
                metrics=metrics,
                first_poll_in=0.0,
                log=_quiet,
                **service,
            )
        except Exception as error:  # noqa: BLE001 - what became of the wait is the result
            self._note_wrong(task, f"{type(error).__name__}: {error}")
        else:
            self._note(task, result)
        if task.ends < NEVER:
            self._to_notice -= 1
            if not self._to_notice:
                self._all_noticed.set()

    def _note(self, task: RemoteTask, result: WaitResult) -> None:
        now, record = self._loop.time(), result.records[task.id]
        state = "failed" if task.fails else "completed"
        if result.errors:
            self._note_wrong(task, f"given up: {result.errors[task.id].get('message')}")
        elif record is None or record["state"] != state or now < task.ends:
            self._note_wrong(task, f"{record and record['state']} instead of {state}")
        else:
            self._noticed[task.id] = now
            self.outcome.last = max(self.outcome.last, now)

    def _note_wrong(self, task: RemoteTask, why: str) -> None:
        self.outcome.wrong[why[:200]] += 1
        self.outcome.spoiled += task.ends > self._loop.time()

    def _service(self, triggerer: int) -> dict[str, Any]:
        """Return what leads a triggerer to the vendor, with a key of its own."""
        vendor = self._scenario.vendor
        service = vendor.task_type.service
        # Rate limiters outlive the waits; no simulation inherits those of another one.
        secret = f"key-{self._number}-{triggerer}"
        config = ConnectionConfig(
            service=f"{service.name} {triggerer}",  # for the log
            conn_id=f"triggerer_{triggerer}",
            base_url=f"https://triggerer-{triggerer}.example.com",
            auth=service.auth(secret, vendor.extras),
            secret=secret,
            extras=vendor.extras,
        )

        async def connect(rate_limiter: RateLimiter) -> AsyncClient:
            transport: Any = FakeTransport(self._account, self._scenario.network, triggerer)
            return AsyncClient(config, transport, service.explain, rate_limiter, self._clocks)

        if not _HAS_LINKS:
            return {"connect": connect}

        async def read() -> ConnectionConfig:
            return config

        async def open_client(found: Any) -> AsyncClient:
            limiters: Any = rate_limit
            return await connect(limiters.limiter_for(found.account, service.limits))

        return {"link": lambda: drivers.AsyncLink(read, open_client)}  # type: ignore[attr-defined]

    def _sum_up(self, now: float) -> None:
        outcome = self.outcome
        for task in self._awaited:
            owner = task.owner or 0
            if task.ends > now:
                continue
            noticed = self._noticed.get(task.id)
            if noticed is None:
                outcome.unnoticed[owner] += 1
            begun = max(task.ends, self._joined.get(task.id, now))
            delay = max(0.0, (noticed or now) - begun)
            outcome.delays.setdefault(owner, []).append(delay)
            outcome.by_minute.setdefault(int(begun // 60), []).append(delay)
        outcome.span = now


def simulate(scenario: Scenario, *, log: bool = False) -> Outcome:
    """Run ``scenario``.

    The same seed gives the same tasks. The figures differ a little from run to run, as the shared poller goes
    through its waits in no order.

    :param log: show the provider's log, but for what it says of single waits.
    """
    began = time.process_time()
    provider, handler = logging.getLogger("remote_tasks_provider"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(module)s %(message)s", "%H:%M:%S"))
    level = provider.level
    provider.setLevel(logging.INFO if log else logging.CRITICAL)
    if log:
        provider.addHandler(handler)
    try:
        outcome = clock.run(lambda loop: _Run(scenario, loop).run(), seed=scenario.seed)
    finally:
        provider.setLevel(level)
        provider.removeHandler(handler)
    outcome.cpu = time.process_time() - began
    return outcome
