"""Carries out plans: on a worker one operation after the other, in the triggerer several at once.

An error that every other operation would meet, such as a wrong key, answers the rest of a batch.
:func:`poll_until_done` is the one loop in which a worker waits. The triggerer's is in :mod:`.shared`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from remote_tasks_provider.core.clocks import steady
from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.http.client import AsyncClient, Client
from remote_tasks_provider.core.http.connection import ConnectionConfig
from remote_tasks_provider.core.http.operation import Operation
from remote_tasks_provider.core.polling.policy import LAST_POLL
from remote_tasks_provider.core.polling.result import WaitResult
from remote_tasks_provider.core.polling.session import PollSession, UseConnection
from remote_tasks_provider.core.polling.strategy import (
    ConnectionStep,
    Plan,
    PollPlan,
    PollRequest,
    PollResult,
    PollResults,
)
from remote_tasks_provider.core.polling.tracker import PollTracker

__all__ = ["AsyncLink", "Link", "arun_plan", "poll_until_done", "results_of", "run_plan"]

T = TypeVar("T")

log = logging.getLogger(__name__)

_CONCURRENT_OPERATIONS = 8
_NOT_CLOSED = "%s: the connections were not closed: %r"

Deliver = Callable[[PollResults], Any]
Send = Callable[[Operation[Any]], Any]
Asend = Callable[[Operation[Any]], Awaitable[Any]]


class Link:
    """A worker's way to the service, over whatever the connection says now.

    :param read: reads the connection; raises :class:`RemoteTaskError`.
    :param open_client: opens a client to what was read; likewise.
    """

    def __init__(
        self, read: Callable[[], ConnectionConfig], open_client: Callable[[ConnectionConfig], Client]
    ) -> None:
        self._read = read
        self._open = open_client
        self.client: Client | None = None

    def control(self, step: ConnectionStep) -> Any:
        """Carry out a step that concerns the connection; return its answer or its error."""
        try:
            if not isinstance(step, UseConnection):
                return self._read()
            old, self.client = self.client, self._open(step.config)
        except RemoteTaskError as error:
            return error
        if old is not None:
            _close(old)
        return None

    @property
    def backs_off_for(self) -> float:
        """The seconds for which the service asked to be left alone."""
        return self.client.backs_off_for() if self.client else 0.0

    def send(self, operation: Operation[T], *, give_up_at: float | None = None) -> T:
        """Send an operation; see :meth:`.client.Client.send`."""
        assert self.client is not None  # noqa: S101 - a session uses a connection before it polls
        return self.client.send(operation, paced=True, give_up_at=give_up_at)

    def close(self) -> None:
        """Close the connections."""
        if self.client is not None:
            _close(self.client)


class AsyncLink:
    """:class:`Link` for an event loop."""

    def __init__(
        self,
        read: Callable[[], Awaitable[ConnectionConfig]],
        open_client: Callable[[ConnectionConfig], Awaitable[AsyncClient]],
    ) -> None:
        self._read = read
        self._open = open_client
        self.client: AsyncClient | None = None

    async def control(self, step: ConnectionStep) -> Any:
        """Like :meth:`Link.control`."""
        try:
            if not isinstance(step, UseConnection):
                return await self._read()
            opened = await self._open(step.config)
        except RemoteTaskError as error:
            return error
        old, self.client = self.client, opened
        if old is not None:
            await _aclose(old)
        return None

    async def send(self, operation: Operation[T]) -> T:
        """Send an operation; see :meth:`.client.AsyncClient.send`."""
        assert self.client is not None  # noqa: S101 - a session uses a connection before it polls
        return await self.client.send(operation)

    async def aclose(self) -> None:
        """Close the connections."""
        client, self.client = self.client, None
        if client is not None:
            await _aclose(client)


def _close(client: Client) -> None:
    """Close the client; a wait does not fail because that fails."""
    try:
        client.close()
    except Exception as error:  # noqa: BLE001 - whatever it is
        log.warning(_NOT_CLOSED, client.config.service, error)


async def _aclose(client: AsyncClient) -> None:
    try:
        await client.aclose()
    except Exception as error:  # noqa: BLE001 - whatever it is
        log.warning(_NOT_CLOSED, client.config.service, error)


def poll_until_done(
    tracker: PollTracker,
    session: PollSession,
    link: Link,
    *,
    sleep: Callable[[float], Any] = time.sleep,
    clock: Callable[[], float] | None = None,
    monotonic: Callable[[], float] = time.monotonic,
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
    clock = clock or steady()
    while True:
        due = tracker.unfinished_ids
        left = tracker.policy.seconds_left(clock())
        give_up_at = None if left is None else monotonic() + left + LAST_POLL
        run_plan(
            session.cycle(
                PollRequest(due, (), due if tracker.policy.in_detail else (), monotonic(), clock())
            ),
            lambda operation: link.send(operation, give_up_at=give_up_at),  # noqa: B023 - called at once
            deliver=lambda results: tracker.update(results, clock()),
            control=link.control,
        )
        now = clock()
        pause = tracker.pause(now, back_off=link.backs_off_for)
        on_poll(now, pause)
        if pause is None or is_enough():
            return tracker.result(now)
        sleep(pause)


def run_plan(
    plan: Plan[T],
    send: Send,
    *,
    deliver: Deliver = lambda _: None,
    control: Callable[[Any], Any] | None = None,
) -> T:
    """Carry out ``plan``, one operation after the other.

    :param send: sends an operation; raises :class:`RemoteTaskError`.
    :param deliver: takes results as they come.
    :param control: carries out the steps that concern the connection.
    """
    answer: Any = None
    try:
        while True:
            step = plan.send(answer)
            if isinstance(step, Mapping):
                answer = deliver(step)
            elif isinstance(step, Sequence):
                answer = _answers(send, step)
            else:
                answer = control(step) if control else None
    except StopIteration as done:
        result: T = done.value
        return result


async def arun_plan(
    plan: Plan[T],
    send: Asend,
    *,
    deliver: Callable[[PollResults], Awaitable[Any]] | None = None,
    control: Callable[[Any], Awaitable[Any]] | None = None,
) -> T:
    """Carry out ``plan``, a few operations at a time; see :func:`run_plan`."""
    answer: Any = None
    try:
        while True:
            step = plan.send(answer)
            if isinstance(step, Mapping):
                answer = await deliver(step) if deliver else None
            elif isinstance(step, Sequence):
                answer = await _aanswers(send, step)
            else:
                answer = await control(step) if control else None
    except StopIteration as done:
        result: T = done.value
        return result


def results_of(plan: PollPlan, send: Send) -> dict[str, PollResult]:
    """Carry out a poll plan; return everything that it delivers."""
    results: dict[str, PollResult] = {}
    run_plan(plan, send, deliver=results.update)
    return results


def _answers(send: Send, operations: Sequence[Operation[Any]]) -> list[Any]:
    answers: list[Any] = []
    shared: RemoteTaskError | None = None
    for operation in operations:
        if shared is not None:
            answers.append(shared)
            continue
        try:
            answers.append(send(operation))
        except RemoteTaskError as error:
            answers.append(error)
            shared = error if error.concerns_service else None
    return answers


async def _aanswers(send: Asend, operations: Sequence[Operation[Any]]) -> list[Any]:
    answers: list[Any] = [None] * len(operations)
    remaining = iter(enumerate(operations))
    shared: RemoteTaskError | None = None

    async def work() -> None:
        nonlocal shared
        for index, operation in remaining:
            if shared is None:
                try:
                    answers[index] = await send(operation)
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
