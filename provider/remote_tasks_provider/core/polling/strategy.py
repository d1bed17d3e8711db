"""How to learn the state of many tasks with few operations.

A :class:`PollStrategy` plans without I/O, so that the same plan serves the worker and the triggerer. It may
remember what it has learnt. Each service has its own, in its ``polling`` module.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, TypeVar

from remote_tasks_provider.core.errors import InvalidResponseError, RemoteTaskError
from remote_tasks_provider.core.http.operation import Operation
from remote_tasks_provider.core.states import TaskSnapshot

__all__ = [
    "BATCH",
    "MOST_SINGLES",
    "ConnectionStep",
    "OneByOne",
    "Plan",
    "PollPlan",
    "PollRequest",
    "PollResult",
    "PollResults",
    "PollStrategy",
    "Rotation",
    "Unchanged",
    "batches",
    "relay",
    "result_of",
    "results_among",
]

T = TypeVar("T")

BATCH = 16
"""Tasks that are asked for by themselves before their results are delivered."""
MOST_SINGLES = 40
"""Tasks that are asked for by themselves where a list should have shown them: so many in one poll, and in
each minute so many together of those that no list shows."""
_A_MINUTE = 60.0


class Unchanged(Enum):
    """The poll covered the task and proved that its state is the one of the last poll."""

    UNCHANGED = "unchanged"


PollResult = TaskSnapshot | RemoteTaskError | Unchanged
PollResults = Mapping[str, PollResult]
"""What a poll learnt of each task it covered. A task that is absent was not covered."""


class ConnectionStep:
    """A step of a plan that concerns the connection itself; see :mod:`.session`."""


Plan = Generator["Sequence[Operation[Any]] | PollResults | ConnectionStep", Any, T]
"""Yields operations, and is sent their answers in order (values or :class:`RemoteTaskError`); or yields
results, which are delivered at once. Returns a value."""

PollPlan = Plan[None]


@dataclass(frozen=True, slots=True)
class PollRequest:
    """What one poll is for.

    :param due: tasks to poll now.
    :param free: tasks to report too, as far as that costs no further operation.
    :param in_detail: those of them of which the wait must know how they finished, where that takes an
        operation of its own.
    :param now: seconds of a monotonic clock.
    :param time: Unix seconds, where they are known.
    """

    due: Sequence[str]
    free: Collection[str] = ()
    in_detail: Collection[str] = ()
    now: float = 0.0
    time: float | None = None

    @property
    def wanted(self) -> dict[str, None]:
        """All tasks, those that are due first."""
        return dict.fromkeys([*self.due, *self.free])


class PollStrategy(Protocol):
    """A way to poll many tasks.

    A plan delivers results as soon as it has them, so that nothing is lost when a later operation fails. It
    asks first for what was not read for longest, and resumes at its cursor what was interrupted, so that
    every task gets its turn when the service lets only few requests through.
    """

    def plan(self, request: PollRequest) -> PollPlan:
        """Plan one poll."""


def relay(
    plan: Plan[Any],
    deliver: Callable[[PollResults], PollResults],
    ends: Callable[[Any, Any], bool] = lambda _operations, _answers: False,
) -> Plan[bool]:
    """Plan what another plan does; return whether it came to its end.

    :param deliver: makes of its results what is delivered.
    :param ends: whether the answers to its operations are the end of it.
    """
    answers: Any = None
    while True:
        try:
            step = plan.send(answers)
        except StopIteration:
            return True
        if isinstance(step, Mapping):
            answers = None
            yield deliver(step)
        else:
            answers = yield step
            if ends(step, answers):
                plan.close()
                return False


class Rotation:
    """Remembers when each task was asked for by itself, so that those come first which waited longest."""

    def __init__(self) -> None:
        self._asked: dict[str, int] = {}
        self._round = 0

    def keep(self, wanted: Collection[str]) -> None:
        """Forget all other tasks."""
        self._asked = {task_id: number for task_id, number in self._asked.items() if task_id in wanted}

    def longest_waiting(self, task_ids: Iterable[str], most: int | None = None) -> list[str]:
        """Return ``task_ids``, or ``most`` of them, in the order in which they should be asked for."""
        return sorted(task_ids, key=lambda task_id: self._asked.get(task_id, 0))[:most]

    def note(self, task_ids: Iterable[str]) -> None:
        """Note that these were asked for."""
        self._round += 1
        self._asked.update(dict.fromkeys(task_ids, self._round))


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
        self._rotation = Rotation()
        self._allowed = float(MOST_SINGLES)
        self._allowed_at = 0.0

    def plan(self, request: PollRequest) -> PollPlan:
        """Ask for each task that is due."""
        self.keep(request.wanted)
        yield from self.ask(request.due)

    def keep(self, wanted: Collection[str]) -> None:
        """Forget all other tasks."""
        self._rotation.keep(wanted)

    def longest_waiting(self, task_ids: Iterable[str], most: int | None = None) -> list[str]:
        """Return ``task_ids``, or ``most`` of them, those first that were not asked for for longest."""
        return self._rotation.longest_waiting(task_ids, most)

    def rarely(self, task_ids: Iterable[str], now: float) -> list[str]:
        """Return those of ``task_ids``, which no list shows, whose turn it is; they are then to be asked for.

        :param now: seconds of a monotonic clock.
        """
        grown = (now - self._allowed_at) * MOST_SINGLES / _A_MINUTE
        self._allowed, self._allowed_at = min(float(MOST_SINGLES), self._allowed + grown), now
        chosen = self.longest_waiting(task_ids, int(self._allowed))
        self._allowed -= len(chosen)
        return chosen

    def ask_without_a_list(self, problem: RemoteTaskError, task_ids: Sequence[str]) -> Plan[bool]:
        """Ask for a few tasks whose list could not be read; return whether that was possible.

        Not if the problem is the service's, which one task finds out: then it is the problem of them all.
        """
        if problem.concerns_service or not task_ids:
            yield dict.fromkeys(task_ids, problem)
            return False
        first, *others = self.longest_waiting(task_ids, MOST_SINGLES)
        results = yield from self.ask([first])
        if isinstance(found := results[first], RemoteTaskError) and found.retry_helps:
            yield {task_id: problem for task_id in task_ids if task_id != first}
            return False
        yield from self.ask(others)
        return True

    def ask(self, task_ids: Collection[str]) -> Plan[dict[str, PollResult]]:
        """Ask for each of the tasks, a few at a time; return the results, which were delivered.

        An error that the others would meet too ends the round; they come first in the next one.
        """
        found: dict[str, PollResult] = {}
        for batch in batches(self._rotation.longest_waiting(task_ids), BATCH):
            answers = yield [self._get_task(task_id) for task_id in batch]
            results = {
                task_id: result_of(task_id, self._snapshot, answer)
                for task_id, answer in zip(batch, answers, strict=True)
            }
            self._rotation.note(task_id for task_id, one in results.items() if not _is_shared(one))
            found |= results
            yield results
            if shared := next((one for one in results.values() if _is_shared(one)), None):
                rest = {task_id: shared for task_id in task_ids if task_id not in found}
                if rest:
                    yield rest
                return found | rest
        return found


def result_of(task_id: str, snapshot: Callable[[Any], TaskSnapshot], answer: Any) -> PollResult:
    """Return the result that ``answer`` is; one that cannot be understood spoils its own task only."""
    if isinstance(answer, RemoteTaskError):
        return answer
    try:
        return snapshot(answer)
    except Exception as error:  # noqa: BLE001 - whatever an odd value leads to, the other tasks continue
        return InvalidResponseError(f"the answer about {task_id} cannot be understood: {error!r}")


def results_among(
    tasks: Iterable[Any], wanted: Collection[str], snapshot: Callable[[Any], TaskSnapshot]
) -> dict[str, PollResult]:
    """Return the results that the wanted ones among listed tasks are, each with its ``id``."""
    return {task.id: result_of(task.id, snapshot, task) for task in tasks if task.id in wanted}


def batches(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Yield ``items`` in slices of ``size``."""
    return (items[start : start + size] for start in range(0, len(items), size))


def _is_shared(result: PollResult) -> bool:
    return isinstance(result, RemoteTaskError) and result.concerns_service
