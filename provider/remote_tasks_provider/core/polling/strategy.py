"""How to learn the state of many tasks with few operations.

A :class:`PollStrategy` plans without I/O, so that the same plan serves the worker and the triggerer. It may
remember what it has learnt. Each service has its own, in its ``polling`` module.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from enum import Enum
from typing import Any, Protocol, TypeVar

from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.http.operation import Operation
from remote_tasks_provider.core.states import TaskSnapshot

__all__ = ["OneByOne", "Plan", "PollPlan", "PollResult", "PollResults", "PollStrategy", "Unchanged"]

T = TypeVar("T")


class Unchanged(Enum):
    """The poll covered the task and proved that its state is the one of the last poll."""

    UNCHANGED = "unchanged"


PollResult = TaskSnapshot | RemoteTaskError | Unchanged
PollResults = Mapping[str, PollResult]
"""What a poll learnt of each task it covered. A task that is absent was not covered."""

Plan = Generator[Sequence[Operation[Any]], Sequence[Any], T]
"""Yields operations, is sent their answers in order (values or :class:`RemoteTaskError`), returns a value."""

PollPlan = Plan[PollResults]


class PollStrategy(Protocol):
    """A way to poll many tasks."""

    def plan(self, due: Sequence[str], free: Collection[str]) -> PollPlan:
        """Plan one poll.

        :param due: tasks to poll now.
        :param free: tasks to report too, as far as that costs no further operation.
        """


class OneByOne:
    """A :class:`PollStrategy` that asks for each task by itself; for a service that has no better way.

    :param get_task: the operation that reads one task.
    :param snapshot: makes a snapshot of its answer.
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
