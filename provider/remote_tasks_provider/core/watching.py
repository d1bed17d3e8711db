"""How to learn where many tasks stand with few calls.

A :class:`Watch` plans without I/O: it yields batches of calls and is sent their answers, so that the same
plan serves the worker (one call after the other) and the triggerer (several at once). It may remember what it
has learnt. Each vendor has its own, in its ``watch`` module.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from enum import Enum
from typing import Any, Protocol

from remote_tasks_provider.core.client import AsyncClient, Client
from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.messages import Call
from remote_tasks_provider.core.states import TaskSnapshot

__all__ = ["Finding", "Findings", "Look", "NoNews", "OneByOne", "Watch", "alook", "look"]


class NoNews(Enum):
    """The look covered the task and proved that it stands where it stood."""

    NO_NEWS = "no news"


Finding = TaskSnapshot | RemoteTaskError | NoNews
Findings = Mapping[str, Finding]
"""What a look told of each task it covered. A task that is absent was not looked at."""

Look = Generator[Sequence[Call[Any]], Sequence[Any], Findings]
"""Yields calls, is sent their answers in order (a value or a :class:`RemoteTaskError`), returns findings."""

_CONCURRENT_CALLS = 8


class Watch(Protocol):
    """A way to look at many tasks."""

    def look(self, due: Sequence[str], free: Collection[str]) -> Look:
        """Plan one look.

        :param due: tasks to look at now.
        :param free: tasks to tell of too, as far as that costs no further call.
        """


class OneByOne:
    """A :class:`Watch` that asks for each task by itself; right where a service has no better way.

    :param get_task: the call that reads one task.
    :param snapshot: what a task tells a wait.
    """

    def __init__(self, get_task: Callable[[str], Call[Any]], snapshot: Callable[[Any], TaskSnapshot]) -> None:
        self._get_task = get_task
        self._snapshot = snapshot

    def look(self, due: Sequence[str], free: Collection[str] = ()) -> Look:
        """Ask for each task that is due."""
        answers = yield [self._get_task(task_id) for task_id in due]
        return {
            task_id: answer if isinstance(answer, RemoteTaskError) else self._snapshot(answer)
            for task_id, answer in zip(due, answers, strict=True)
        }


def look(plan: Look, client: Client) -> Findings:
    """Carry out ``plan``, one call after the other."""
    try:
        calls = next(plan)
        while True:
            answers: list[Any] = []
            shared: RemoteTaskError | None = None
            for call in calls:
                answer = shared or _answer(client, call)
                answers.append(answer)
                shared = shared or _shared(answer)
            calls = plan.send(answers)
    except StopIteration as done:
        findings: Findings = done.value
        return findings


async def alook(plan: Look, client: AsyncClient) -> Findings:
    """Carry out ``plan``, a few calls at a time."""
    try:
        calls = next(plan)
        while True:
            calls = plan.send(await _answers(client, calls))
    except StopIteration as done:
        findings: Findings = done.value
        return findings


def _answer(client: Client, call: Call[Any]) -> Any:
    try:
        return client.send(call)
    except RemoteTaskError as error:
        return error


def _shared(answer: Any) -> RemoteTaskError | None:
    """Return ``answer`` if it is an error that every other call would meet too: a wrong key, no network."""
    return answer if isinstance(answer, RemoteTaskError) and answer.concerns_service else None


async def _answers(client: AsyncClient, calls: Sequence[Call[Any]]) -> Sequence[Any]:
    answers: list[Any] = [None] * len(calls)
    waiting = iter(enumerate(calls))
    shared: RemoteTaskError | None = None

    async def work() -> None:
        nonlocal shared
        for index, call in waiting:
            if shared is None:
                try:
                    answers[index] = await client.send(call)
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
