"""The soak itself: keeps the waits alive, makes trouble, kills triggerers, and ends with a drain."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from dev.soak.triggerers import Triggerer, connections
from dev.soak.trouble import Trouble
from dev.soak.waits import Wait, Waits
from remote_tasks_sandbox import SandboxServer

#: The vendor's limit for API v2, taken to hold for v1 as well; calls a minute and endpoint.
LIMITS = {f"manus.{name}": 100 for name in ("list", "get", "task.list", "task.detail", "task.listMessages")}
TRIGGERERS = 2
#: Waits of each triggerer that never end, to be cancelled at the end.
CANCELLED = 10
#: When triggerers are killed, and when it is settled how much memory each needs; parts of the run.
KILLS, SETTLED = (0.12, 0.22), 0.3


@dataclass(frozen=True)
class Plan:
    """How long, how many and how hard.

    :param seconds: how long waits are started and trouble is made.
    :param lengths: the shortest and the longest time that a task runs; seconds.
    :param lasts: the shortest and the longest time that trouble lasts; seconds.
    :param down: seconds for which a killed triggerer stays down.
    :param drain: seconds in which the last waits must end once trouble is over.
    :param logs: the folder that the triggerers' logs go to.
    """

    seconds: float
    waits: int
    seed: int
    lengths: tuple[float, float] = (5.0, 120.0)
    interval: float = 5.0
    lasts: tuple[float, float] = (4.0, 20.0)
    down: float = 5.0
    every: float = 10.0
    drain: float = 200.0
    logs: Path | None = None


@dataclass
class Soak:
    """A run, and what is known after it."""

    plan: Plan
    say: Callable[[str], None]
    server: SandboxServer = field(default_factory=SandboxServer)
    began: float = 0.0
    drained_in: float = 0.0
    lost: list[Wait] = field(default_factory=list)

    def __post_init__(self) -> None:
        plan, sandbox = self.plan, self.server.sandbox
        # One source of chance each, so that the waits of a seed do not depend on the timing of the trouble.
        self.waits = Waits(sandbox, random.Random(plan.seed), plan.lengths, plan.interval)
        self.trouble = Trouble(sandbox, self.waits, random.Random(plan.seed + 1), plan.lasts, self._reconnect)
        within = plan.seconds + plan.drain + 120
        self.triggerers = [
            Triggerer(number, plan.every, within, self.waits.end, plan.logs) for number in range(TRIGGERERS)
        ]

    def run(self) -> None:
        """Run to the end; every process is gone when it returns or raises."""
        with ExitStack() as cleanup:
            cleanup.enter_context(self.server)
            self.server.sandbox.settings.update({"rate_limits": LIMITS})
            for triggerer in self.triggerers:
                cleanup.callback(triggerer.kill)
                triggerer.start(connections(self.server))
            self._until(lambda: all(one.is_ready for one in self.triggerers), 60)
            self._begin()
            self._soak()
            self._drain()

    def _begin(self) -> None:
        self.began = time.time()
        for triggerer in self.triggerers:
            triggerer.run([self.waits.start(triggerer.number, for_ever=True) for _ in range(CANCELLED)])

    def _soak(self) -> None:
        pairs = zip(KILLS, self.triggerers, strict=True)
        kills = [(self.began + part * self.plan.seconds, one) for part, one in pairs]
        restarts: list[tuple[float, Triggerer]] = []
        said = self.began
        while (now := time.time()) < self.began + self.plan.seconds:
            for due in [entry for entry in kills if entry[0] <= now]:
                kills.remove(due)
                due[1].kill()
                self.trouble.note(f"triggerer {due[1].number} killed")
                restarts.append((now + self.plan.down, due[1]))
            for due in [entry for entry in restarts if entry[0] <= now]:
                restarts.remove(due)
                self._restart(due[1])
            self.trouble.step()
            self._take()
            for triggerer in self.triggerers:
                self._fill(triggerer)
            if now > said + 30:
                said = now
                self.say(f"  {now - self.began:4.0f} s: {self._summary()}")
            time.sleep(0.2)

    def _restart(self, triggerer: Triggerer) -> None:
        triggerer.start(connections(self.server))
        self._until(lambda: triggerer.is_ready, 60)
        triggerer.run(self.waits.of(triggerer.number))
        self.trouble.note(
            f"triggerer {triggerer.number} restarted with {len(self.waits.of(triggerer.number))}"
        )

    def _fill(self, triggerer: Triggerer) -> None:
        if triggerer.is_ready:
            missing = self.plan.waits // TRIGGERERS + CANCELLED - len(self.waits.of(triggerer.number))
            triggerer.run([self.waits.start(triggerer.number) for _ in range(missing)])

    def _drain(self) -> None:
        """Let the last waits end without trouble; then cancel what never ends."""
        ended = time.time()
        self.trouble.stop()
        self._reconnect()
        self._until(lambda: len(self.waits.open) <= TRIGGERERS * CANCELLED, self.plan.drain)
        self.lost = self.waits.lost()
        self.drained_in = time.time() - ended
        for triggerer in self.triggerers:
            triggerer.stop()
        self._until(lambda: all(one.stopped for one in self.triggerers), 30)

    def _until(self, reached: Callable[[], bool], within: float) -> None:
        until = time.time() + within
        while not reached() and time.time() < until:
            self._take()
            time.sleep(0.1)

    def _take(self) -> None:
        for triggerer in self.triggerers:
            triggerer.take()

    def _reconnect(self) -> None:
        for triggerer in self.triggerers:
            triggerer.reconnect(connections(self.server))

    def _summary(self) -> str:
        counts = ", ".join(f"{count:,} {verdict}" for verdict, count in sorted(self.waits.verdicts.items()))
        latest = [one.samples[-1] for one in self.triggerers if one.samples]
        used = ", ".join(f"{sample.memory / 1e6:.0f} MB {sample.sockets} sockets" for sample in latest)
        return f"{len(self.waits.open):,} waits open, {counts}; {used}"
