"""What is simulated: who waits for what, and what the vendor allows."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from dev.simulate.clock import VirtualLoop
from dev.simulate.manus import ManusV1Account, ManusV2Account, task_id
from dev.simulate.qstash import QStashAccount, message_id
from dev.simulate.vendor import INTERNET, Account, Limits, Network, RemoteTask
from remote_tasks_provider.core.service import TaskType
from remote_tasks_provider.manus.service import MANUS_TASK, ManusExtras
from remote_tasks_provider.qstash.service import QSTASH_MESSAGE, QStashExtras

__all__ = ["VENDORS", "Scenario", "Vendor"]


@dataclass(frozen=True, slots=True)
class Vendor:
    """One of the vendors that can be simulated.

    :param limits: what it allows.
    :param pages: pages that a poll of one triggerer needs at best: of its waits, and of the account's tasks.
    """

    label: str
    task_type: TaskType
    extras: Any
    account: Callable[[VirtualLoop, list[RemoteTask], Limits], Account]
    make_id: Callable[[int], str]
    limits: Limits
    pages: Callable[[int, int], int]


VENDORS = {
    "v1": Vendor(
        "Manus v1",
        MANUS_TASK,
        ManusExtras(api_version="v1"),
        ManusV1Account,
        task_id,
        Limits(100, 60),
        # One page holds what has changed.
        lambda _waits, _listed: 1,
    ),
    "v2": Vendor(
        "Manus v2",
        MANUS_TASK,
        ManusExtras(api_version="v2"),
        ManusV2Account,
        task_id,
        Limits(100, 60),
        lambda waits, listed: min(waits, math.ceil(listed / 100)),
    ),
    "qstash": Vendor(
        "QStash",
        QSTASH_MESSAGE,
        QStashExtras(),
        QStashAccount,
        message_id,
        Limits(100, 1),
        lambda waits, _listed: math.ceil(waits / 100),
    ),
}


@dataclass(frozen=True, slots=True)
class Scenario:
    """One simulation; times are seconds.

    :param service: the vendor, see :data:`VENDORS`.
    :param waits: of each triggerer; each is for one task.
    :param lasts: how long is simulated; less if all that finishes was noticed before.
    :param finishing: how many of all tasks finish; ``None`` for all of them.
    :param within: they finish within so many seconds of the beginning, evenly.
    :param age: the tasks were created within so many seconds before the beginning, evenly.
    :param hidden: how many of each triggerer's tasks no list shows.
    :param older: tasks of the account that nobody waits for, created before the others.
    :param newer: likewise, created after the others.
    :param joining: the tasks are created, and their waits join, one after the other within so many seconds.
        Then ``within`` counts from the creation of each task.
    :param failing: the part of the finishing tasks that fail.
    :param in_detail: whether the waits are those of sensors, which must know how a task finished. Operators
        read that on a worker.
    """

    name: str
    service: str
    triggerers: int = 1
    waits: int = 100
    interval: float = 30.0
    lasts: float = 1200.0
    finishing: int | None = None
    within: float = 600.0
    age: float = 600.0
    hidden: int = 0
    older: int = 0
    newer: int = 0
    joining: float = 0.0
    failing: float = 0.1
    in_detail: bool = True
    limits: Limits | None = None
    network: Network = INTERNET
    seed: int = 1

    @property
    def vendor(self) -> Vendor:
        """The vendor that is simulated."""
        return VENDORS[self.service]

    @property
    def allows(self) -> Limits:
        """What the vendor allows."""
        return self.limits or self.vendor.limits

    @property
    def best_cycle(self) -> float:
        """How long one poll of everything takes at least: the pages of all triggerers ÷ the limit."""
        listed = self.triggerers * self.waits + self.newer
        pages = self.triggerers * self.vendor.pages(self.waits, listed)
        return pages * self.allows.seconds / self.allows.calls

    @property
    def best_delay(self) -> float:
        """How long a finished task goes unnoticed at most if all is done at best."""
        return max(self.interval, self.best_cycle)

    def tasks(self) -> list[RemoteTask]:
        """Return the account's tasks, oldest first. The same ones for the same seed."""
        chance = random.Random(self.seed)
        total = self.triggerers * self.waits
        owners = [number % self.triggerers for number in range(total)]
        chance.shuffle(owners)
        moments = sorted(-self.age * chance.random() for _ in range(total))
        if self.joining:
            moments = [self.joining * number / total for number in range(total)]
        makes = [
            *((None, -self.age - 1 - number) for number in range(self.older, 0, -1)),
            *zip(owners, moments, strict=True),
            *((None, -0.001 * number) for number in range(self.newer, 0, -1)),
        ]
        makes.sort(key=lambda one: one[1])
        found = [
            RemoteTask(self.vendor.make_id(number), number, moment, owner=owner)
            for number, (owner, moment) in enumerate(makes)
        ]
        awaited = [task for task in found if task.owner is not None]
        finishing = total if self.finishing is None else self.finishing
        for task in chance.sample(awaited, finishing):
            begins = max(task.created, 0.0)
            task.ends, task.fails = begins + self.within * chance.random(), chance.random() < self.failing
        for triggerer in range(self.triggerers if self.hidden else 0):
            own = [task for task in awaited if task.owner == triggerer]
            for task in chance.sample(own, self.hidden):
                task.is_hidden = True
        return found

    def with_limits(self, **changes: Any) -> Scenario:
        """Return the scenario with other rules of the vendor; see :class:`~.vendor.Limits`."""
        return replace(self, limits=replace(self.allows, **changes))
