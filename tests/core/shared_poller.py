"""A service whose one list answers for all tasks, and the waits that a test lets join the shared poller.

Everything is the provider's own code but time, sockets and the vendor.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from remote_tasks_provider.core.errors import RemoteTaskError, TransportError
from remote_tasks_provider.core.http.client import AsyncClient
from remote_tasks_provider.core.http.connection import ConnectionConfig, ConnectionExtras
from remote_tasks_provider.core.http.operation import Operation, Request, Response
from remote_tasks_provider.core.http.rate_limit import RateLimit, RateLimiter
from remote_tasks_provider.core.polling import shared
from remote_tasks_provider.core.polling.drivers import AsyncLink
from remote_tasks_provider.core.polling.metrics import PollerName
from remote_tasks_provider.core.polling.result import WaitResult
from remote_tasks_provider.core.polling.shared import join
from remote_tasks_provider.core.polling.strategy import PollPlan, PollRequest, PollResult, Unchanged
from remote_tasks_provider.core.polling.tracker import PollTracker
from remote_tasks_provider.core.service import Service, TaskType
from tests.core.build import a_config, a_policy, a_response, a_snapshot
from tests.core.fake_clock import Timekeeper, settle

__all__ = ["BellTower", "Log", "Story", "Together", "World", "play"]


class Together:
    """A strategy that asks for everything in one call; a task that the answer omits was not covered."""

    def __init__(self, world: World) -> None:
        self.world = world

    def plan(self, request: PollRequest) -> PollPlan:
        due, free = request.due, request.free
        self.world.polls.append((self.world.time.monotonic, sorted(due), sorted(free)))
        self.world.on_poll()
        if self.world.bug is not None:
            raise self.world.bug
        covered = sorted({*due, *(free if self.world.tells_free else ())})
        operation: Operation[Any] = Operation(
            name="GET /tasks",
            request=Request("GET", f"/{','.join(covered)}"),
            expects="words",
            parse=lambda response: json.loads(response.body),
        )
        (answer,) = yield [operation]
        if isinstance(answer, RemoteTaskError):
            yield dict.fromkeys(covered, answer)
            return
        yield {task_id: self._finding(task_id, word) for task_id, word in answer.items()}

    def _finding(self, task_id: str, word: str) -> PollResult:
        return Unchanged.UNCHANGED if word == "unchanged" else a_snapshot(word, task_id)


class Transport:
    """Answers with the state of each task that is asked for."""

    def __init__(self, world: World, config: ConnectionConfig) -> None:
        self.world, self.config = world, config
        self.closed = 0
        self.sent_at: list[float] = []

    async def send(self, request: Request) -> Response:
        assert not self.closed
        self.sent_at.append(self.world.time.monotonic - 1000)
        await self.world.gate.wait()
        await self.world.time.sleep(self.world.takes)
        if self.world.no_answer:
            raise TransportError("no route to host", sent=False)
        if self.config.auth[1] != (self.world.good_key or self.config.auth[1]):
            return a_response(401, {})
        if self.world.refusals:
            status, headers = self.world.refusals.pop(0)
            return a_response(status, {}, **headers)
        words = self.world.words
        if not self.world.missing_for.get(self.config.auth[1], set()).isdisjoint(request.path[1:].split(",")):
            return a_response(404, {})
        asked = [task_id for task_id in request.path[1:].split(",") if task_id in words]
        return a_response(200, {task_id: words[task_id] for task_id in asked})

    async def aclose(self) -> None:
        await asyncio.sleep(0)
        self.closed += 1
        if self.world.on_close is not None:
            raise self.world.on_close


class Log:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.infos: list[str] = []
        self.warnings: list[str] = []

    def info(self, event: str, *arguments: Any) -> None:
        self.infos.append(event % arguments)

    def warning(self, event: str, *arguments: Any) -> None:
        self.warnings.append(event % arguments)


class PollMetrics:
    """Keeps what it counts."""

    def __init__(self) -> None:
        self.polls: list[dict[str, Any]] = []
        self.ends: list[tuple[str, float]] = []
        self.reports: list[dict[str, Any]] = []
        self.on_end: Callable[[], Any] = lambda: None
        self.bells = 0

    def polled(self, poller: PollerName, **counts: int) -> None:
        self.polls.append(counts)

    def waiting(self, poller: PollerName, **figures: Any) -> None:
        self.reports.append(figures)

    def heard(self, poller: PollerName) -> None:
        self.bells += 1

    def finished(self, poller: PollerName, *, outcome: str, seconds: float) -> None:
        self.ends.append((outcome, seconds))
        self.on_end()


class BellTower:
    """Rings bells in whoever listens.

    :attr baseline: whether a note is there already when a connection is listened for.
    """

    def __init__(self) -> None:
        self.poll_interval = 300.0
        self.baseline = False
        self.listeners: list[tuple[str, str, Callable[[bool], None]]] = []

    def listen(self, service: str, conn_id: str, hear: Callable[[bool], None]) -> Callable[[], None]:
        listener = (service, conn_id, hear)
        self.listeners.append(listener)
        if self.baseline:
            hear(False)
        return lambda: self.listeners.remove(listener)

    def ring(self) -> None:
        for _, _, hear in list(self.listeners):
            hear(True)


class World:
    """One event loop's triggerer.

    :attr words: the tasks' states; one that is missing is not covered by a poll.
    :attr takes: how long an answer takes.
    :attr gate: closed, it holds every answer.
    :attr refusals: error answers to give first.
    """

    def __init__(self, time: Timekeeper | None = None, limits: dict[str, RateLimit] | None = None) -> None:
        self.time = time or Timekeeper()
        self.words: dict[str, str] = {}
        self.takes = 0.0
        self.gate = asyncio.Event()
        self.gate.set()
        self.refusals: list[tuple[int, dict[str, str]]] = []
        self.good_key = self.key = "key 1"
        self.on_poll: Callable[[], Any] = lambda: None
        self.bug: Exception | None = None
        self.no_connection: Exception | None = None
        self.tells_free = True
        self.polls: list[tuple[float, list[str], list[str]]] = []
        self.transports: list[Transport] = []
        self.metrics = PollMetrics()
        self.strategies = 0
        self.extras: dict[str, Any] = {}
        self.base_url = a_config().base_url
        self.reads: list[float] = []
        self.on_read: Callable[[], Any] = lambda: None
        self.on_close: Exception | None = None
        self.no_answer = False
        self.missing_for: dict[str, set[str]] = {}
        self.spread: Callable[[], float] | None = None
        self.bells = BellTower()
        self.rate_limiter = RateLimiter(limits or {}, jitter=lambda: 0.0)
        self.service = Service(
            name="Example",
            conn_type="example",
            default_base_url="https://api.example.com",
            auth=lambda key, _extras: ("API_KEY", key),
            extras=ConnectionExtras,
            probe=lambda _extras: None,  # type: ignore[arg-type, return-value]
            explain=lambda *_: None,
            limits=limits or {},
        )
        self.task_type = TaskType(self.service, "Example task", self._strategy, has_bell=True)

    def _strategy(self, extras: ConnectionExtras) -> Together:
        self.strategies += 1
        return Together(self)

    def link(self) -> AsyncLink:
        return AsyncLink(self.read, self.connect)

    async def read(self) -> ConnectionConfig:
        """Read the connection."""
        self.reads.append(self.time.monotonic - 1000)
        self.on_read()
        if self.no_connection is not None:
            raise self.no_connection
        await asyncio.sleep(0)
        config = a_config(max_attempts=1)
        return ConnectionConfig(
            config.service,
            config.conn_id,
            self.base_url,
            ("API_KEY", self.key),
            self.key,
            config.extras.model_copy(update=self.extras),
        )

    async def connect(self, config: ConnectionConfig) -> AsyncClient:
        """Open a client."""
        await asyncio.sleep(0)
        transport = Transport(self, config)
        self.transports.append(transport)
        return AsyncClient(config, transport, self.service.explain, self.rate_limiter, self.time.clocks)

    def wait(self, *ids: str, **facts: Any) -> asyncio.Task[WaitResult]:
        """Let a wait join; see :meth:`join`."""
        for task_id in ids:
            self.words.setdefault(task_id, "running")
        return asyncio.get_running_loop().create_task(self.join(*ids, **facts))

    async def join(
        self,
        *ids: str,
        first_poll_in: float = 0.0,
        log: Log | None = None,
        back_off: float = 0.0,
        conn_id: str = "example_default",
        task_type: TaskType | None = None,
        **policy: Any,
    ) -> WaitResult:
        """Wait as a trigger does."""
        return await join(
            PollTracker(ids, a_policy(**policy)),
            task_type=task_type or self.task_type,
            conn_id=conn_id,
            link=self.link,
            clocks=replace(self.time.clocks, spread=self.spread or self.time.clocks.spread),
            metrics=self.metrics,
            first_poll_in=first_poll_in,
            back_off=back_off,
            log=log or Log(),
            bells=self.bells,
        )

    @property
    def asked(self) -> list[tuple[float, str]]:
        """When each poll was, in seconds from the start, and of which tasks."""
        return [(at - 1000.0, ",".join(due)) for at, due, _ in self.polls]

    @property
    def open_transports(self) -> int:
        return sum(not transport.closed for transport in self.transports)

    async def end(self, *waits: asyncio.Task[WaitResult]) -> None:
        """Cancel what still waits; check that nothing is left behind."""
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        await settle()
        assert self.open_transports == 0
        assert len(asyncio.all_tasks()) == 1


Story = Callable[[World], Coroutine[Any, Any, None]]


def play(story: Story, **world: Any) -> World:
    """Run a story in an event loop of its own."""

    async def run() -> World:
        made = World(**world)
        async with asyncio.timeout(60):
            await story(made)
        await settle()
        assert made.open_transports == 0
        assert len(asyncio.all_tasks()) == 1
        assert not shared._POLLERS.get()
        assert not made.bells.listeners
        return made

    return asyncio.run(run())
