"""Carries out a poll plan: on a worker one operation after the other, in the triggerer several at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.http.client import AsyncClient, Client
from remote_tasks_provider.core.http.operation import Operation
from remote_tasks_provider.core.polling.strategy import PollPlan, PollResults

__all__ = ["arun_plan", "run_plan"]

_CONCURRENT_CALLS = 8


def run_plan(plan: PollPlan, client: Client) -> PollResults:
    """Carry out ``plan``, one call after the other."""
    try:
        calls = next(plan)
        while True:
            answers: list[Any] = []
            shared: RemoteTaskError | None = None
            for operation in calls:
                answer = shared or _answer(client, operation)
                answers.append(answer)
                shared = shared or _shared(answer)
            calls = plan.send(answers)
    except StopIteration as done:
        results: PollResults = done.value
        return results


async def arun_plan(plan: PollPlan, client: AsyncClient) -> PollResults:
    """Carry out ``plan``, a few calls at a time."""
    try:
        calls = next(plan)
        while True:
            calls = plan.send(await _answers(client, calls))
    except StopIteration as done:
        results: PollResults = done.value
        return results


def _answer(client: Client, operation: Operation[Any]) -> Any:
    try:
        return client.send(operation)
    except RemoteTaskError as error:
        return error


def _shared(answer: Any) -> RemoteTaskError | None:
    """Return ``answer`` if it is an error that every other call would meet too: a wrong key, no network."""
    return answer if isinstance(answer, RemoteTaskError) and answer.concerns_service else None


async def _answers(client: AsyncClient, calls: Sequence[Operation[Any]]) -> Sequence[Any]:
    answers: list[Any] = [None] * len(calls)
    waiting = iter(enumerate(calls))
    shared: RemoteTaskError | None = None

    async def work() -> None:
        nonlocal shared
        for index, operation in waiting:
            if shared is None:
                try:
                    answers[index] = await client.send(operation)
                except RemoteTaskError as error:
                    answers[index] = error
                    shared = _shared(error)
            else:
                answers[index] = shared

    if len(calls) == 1:
        await work()
    else:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(_CONCURRENT_CALLS, len(calls))):
                group.create_task(work())
    return answers
