"""Carries out plans: on a worker one operation after the other, in the triggerer several at once.

An error that every other operation would meet, such as a wrong key, answers the rest of a batch.
:func:`poll_until_done` is the one loop in which a worker waits. The triggerer's is in :mod:`.shared`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.http.client import AsyncClient, Client
from remote_tasks_provider.core.http.operation import Operation
from remote_tasks_provider.core.polling.result import WaitResult
from remote_tasks_provider.core.polling.strategy import Plan, PollStrategy
from remote_tasks_provider.core.polling.tracker import PollTracker

__all__ = ["arun_plan", "poll_until_done", "run_plan"]

T = TypeVar("T")

_CONCURRENT_OPERATIONS = 8


def poll_until_done(
    tracker: PollTracker,
    strategy: PollStrategy,
    client: Client,
    *,
    sleep: Callable[[float], Any] = time.sleep,
    clock: Callable[[], float] = time.time,
    on_poll: Callable[[float, float | None], None] = lambda _now, _pause: None,
    is_enough: Callable[[], bool] = lambda: False,
) -> WaitResult:
    """Poll until the wait is over; return how it ended.

    :param sleep: spends a pause of so many seconds. It may raise instead, to wait elsewhere.
    :param clock: Unix seconds.
    :param on_poll: called after each poll with the time and the pause before the next one (``None``: it was
        the last), for logs.
    :param is_enough: whether to end although tasks are unfinished; asked after each poll.
    """
    while True:
        results = run_plan(strategy.plan(tracker.unfinished_ids, ()), client)
        now = clock()
        tracker.update(results, now)
        pause = tracker.pause(now, back_off=client.backs_off_for())
        on_poll(now, pause)
        if pause is None or is_enough():
            return tracker.result(now)
        sleep(pause)


def run_plan(plan: Plan[T], client: Client) -> T:
    """Carry out ``plan``, one operation after the other."""
    answers: Any = None
    try:
        while True:
            operations = plan.send(answers)
            answers = []
            shared: RemoteTaskError | None = None
            for operation in operations:
                if shared is not None:
                    answers.append(shared)
                    continue
                try:
                    answers.append(client.send(operation))
                except RemoteTaskError as error:
                    answers.append(error)
                    shared = error if error.concerns_service else None
    except StopIteration as done:
        result: T = done.value
        return result


async def arun_plan(plan: Plan[T], client: AsyncClient) -> T:
    """Carry out ``plan``, a few operations at a time."""
    answers: Any = None
    try:
        while True:
            answers = await _answers(client, plan.send(answers))
    except StopIteration as done:
        result: T = done.value
        return result


async def _answers(client: AsyncClient, operations: Sequence[Operation[Any]]) -> Sequence[Any]:
    answers: list[Any] = [None] * len(operations)
    remaining = iter(enumerate(operations))
    shared: RemoteTaskError | None = None

    async def work() -> None:
        nonlocal shared
        for index, operation in remaining:
            if shared is None:
                try:
                    answers[index] = await client.send(operation)
                except RemoteTaskError as error:
                    answers[index] = error
                    shared = error if error.concerns_service else None
            else:
                answers[index] = shared

    if len(operations) == 1:
        await work()
    else:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(_CONCURRENT_OPERATIONS, len(operations))):
                group.create_task(work())
    return answers
