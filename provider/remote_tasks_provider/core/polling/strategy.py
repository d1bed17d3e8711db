"""How to learn where many tasks stand with few calls.

A :class:`PollStrategy` plans without I/O: it yields batches of calls and is sent their answers, so that the
same plan serves the worker (one call after the other) and the triggerer (several at once). It may remember
what it has learnt. Each vendor has its own, in its ``watch`` module.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from enum import Enum
from typing import Any, Protocol

from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.http.operation import Operation
from remote_tasks_provider.core.states import TaskSnapshot

__all__ = ["OneByOne", "PollPlan", "PollResult", "PollResults", "PollStrategy", "Unchanged"]


class Unchanged(Enum):
    """The look covered the task and proved that it stands where it stood."""

    UNCHANGED = "no news"


PollResult = TaskSnapshot | RemoteTaskError | Unchanged
PollResults = Mapping[str, PollResult]
"""What a look told of each task it covered. A task that is absent was not looked at."""

PollPlan = Generator[Sequence[Operation[Any]], Sequence[Any], PollResults]
"""Yields calls, is sent their answers in order (a value or a :class:`RemoteTaskError`), returns findings."""


class PollStrategy(Protocol):
    """A way to look at many tasks."""

    def plan(self, due: Sequence[str], free: Collection[str]) -> PollPlan:
        """Plan one look.

        :param due: tasks to look at now.
        :param free: tasks to tell of too, as far as that costs no further call.
        """


class OneByOne:
    """A :class:`PollStrategy` that asks for each task by itself; right where a service has no better way.

    :param get_task: the call that reads one task.
    :param snapshot: what a task tells a wait.
    """

    def __init__(
        self, get_task: Callable[[str], Operation[Any]], snapshot: Callable[[Any], TaskSnapshot]
    ) -> None:
        self._get_task = get_task
        self._snapshot = snapshot

    def plan(self, due: Sequence[str], free: Collection[str] = ()) -> PollPlan:
        """Ask for each task that is due."""
        answers = yield [self._get_task(task_id) for task_id in due]
        return {
            task_id: answer if isinstance(answer, RemoteTaskError) else self._snapshot(answer)
            for task_id, answer in zip(due, answers, strict=True)
        }
