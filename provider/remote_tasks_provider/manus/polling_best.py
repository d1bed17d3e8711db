"""How tasks are polled where the connection names no version: by v1 as long as they work, by v2 at the end.

One page of v1 answers for up to 1,000 tasks, but v1 calls a task completed that a user has stopped, and one
whose background jobs still run. So v2 is asked about each task that v1 calls completed: by itself, as few
finish at a time, and v2's list would have to be read down to each of them. Of tasks that v1 does not know, v2
takes over. Where v2 does not know a task, what v1 says counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from remote_tasks_provider.core.errors import NotFoundError, RemoteTaskError
from remote_tasks_provider.core.http.connection import ConnectionConfig
from remote_tasks_provider.core.polling.strategy import (
    BATCH,
    PollPlan,
    PollRequest,
    PollResult,
    PollResults,
    Rotation,
    batches,
    relay,
    result_of,
)
from remote_tasks_provider.core.states import TaskSnapshot, TaskState
from remote_tasks_provider.manus.api.gone import V1_GONE, is_not_there
from remote_tasks_provider.manus.models import snapshot
from remote_tasks_provider.manus.polling import V1, V2, ManusPollStrategy, with_outcome

__all__ = ["BestPollStrategy"]

_V1_LIST = "GET /v1/tasks"
# Tasks that v2 is asked about in one poll, after v1 has called them completed.
_MOST_CONFIRMED = 32
# Seconds for which v2 alone is asked about a task that v1 does not know, before v1 is asked again.
_BY_V2_FOR = 600.0


class BestPollStrategy:
    """The polls over one connection by both versions; see :mod:`.polling` for those by one of them."""

    def __init__(self, config: ConnectionConfig) -> None:
        self._config = config
        self._v1 = ManusPollStrategy(V1)
        self._v2 = ManusPollStrategy(V2)
        self._completed: dict[str, TaskSnapshot] = {}
        """Tasks that v1 calls completed, and that v2 must be asked about."""
        self._confirmed = Rotation()
        self._unknown: dict[str, RemoteTaskError | None] = {}
        """Tasks that v1 does not know, with its 404, or that it does not list and was not asked about."""
        self._by_v2_until: dict[str, float] = {}
        """Tasks that v2 alone is asked about, and until when."""

    def plan(self, request: PollRequest) -> PollPlan:
        """Plan one poll; see :class:`~remote_tasks_provider.core.polling.strategy.PollStrategy`."""
        self._forget_all_but(request.wanted, request.now)
        if asked := self._for_v1(request.due, request.now):
            others = self._for_v1(request.free, request.now)
            yield from self._poll_v1(replace(request, due=asked, free=others))
        settled = {*self._for_v1(request.wanted, request.now), *self._completed}
        yield from self._confirm(request)
        if due := [one for one in request.due if one not in settled]:
            free = [one for one in request.free if one not in settled]
            yield from self._poll_v2(replace(request, due=due, free=free))

    def _forget_all_but(self, wanted: Mapping[str, None], now: float) -> None:
        self._completed = {one: task for one, task in self._completed.items() if one in wanted}
        self._confirmed.keep(wanted)
        self._unknown = {}
        by_v2 = self._by_v2_until.items()
        self._by_v2_until = {one: until for one, until in by_v2 if one in wanted and until > now}

    def _for_v1(self, task_ids: Iterable[str], now: float) -> list[str]:
        """Return the tasks that v1 is asked about."""
        if V1_GONE.holds_for(self._config, now):
            return []
        others = self._completed.keys() | self._unknown.keys() | self._by_v2_until.keys()
        return [one for one in task_ids if one not in others]

    def _poll_v1(self, request: PollRequest) -> PollPlan:
        told: set[str] = set()

        def deliver(results: PollResults) -> PollResults:
            told.update(results)
            return self._what_is_certain(results)

        def is_gone(operations: Any, answers: Any) -> bool:
            if (gone := _gone(operations, answers)) is not None:
                V1_GONE.note(self._config, gone, request.now)
            return gone is not None

        if (yield from relay(self._v1.plan(request), deliver, is_gone)):
            untold = self._v1.unlisted - told
            self._unknown |= {one: None for one in request.due if one in untold}

    def _what_is_certain(self, results: PollResults) -> PollResults:
        """Return the results that need no word of v2; keep the others."""
        certain: dict[str, PollResult] = {}
        for task_id, result in results.items():
            if isinstance(result, TaskSnapshot) and result.state is TaskState.COMPLETED:
                self._completed[task_id] = result
            elif isinstance(result, RemoteTaskError) and is_not_there(result):
                self._unknown[task_id] = result
            else:
                certain[task_id] = result
        return certain

    def _confirm(self, request: PollRequest) -> PollPlan:
        """Ask v2 about tasks that v1 calls completed; those beyond the limit come in the next poll."""
        events = V2.events
        assert events is not None  # noqa: S101 - v2 has them
        asked = self._confirmed.longest_waiting(self._completed, _MOST_CONFIRMED)
        for batch in batches(asked, BATCH // 2):
            in_detail = [one for one in batch if one in request.in_detail]
            operations = [*map(V2.get_task, batch), *map(events, in_detail)]
            answers = yield operations
            pages = dict(zip(in_detail, answers[len(batch) :], strict=True))
            results = {
                one: self._both(one, answer, pages.get(one))
                for one, answer in zip(batch, answers[: len(batch)], strict=True)
            }
            yield results
            errors = {one: error for one, error in results.items() if isinstance(error, RemoteTaskError)}
            # Who was not answered because of the others keeps its turn.
            self._confirmed.note(one for one, error in errors.items() if not error.concerns_service)
            if any(error.concerns_service for error in errors.values()):
                return

    def _both(self, task_id: str, answer: Any, events: Any) -> PollResult:
        """Return how a task that v1 calls completed has finished.

        :param answer: the task by v2, or an error.
        :param events: its latest events, where they are needed, or an error.
        """
        said = self._completed[task_id]
        result = result_of(task_id, snapshot, answer)
        problem = result if isinstance(result, RemoteTaskError) else events
        if isinstance(problem, RemoteTaskError) and not isinstance(problem, NotFoundError):
            return problem
        del self._completed[task_id]
        if not isinstance(result, TaskSnapshot) or isinstance(events, NotFoundError):
            return said
        if result.state is TaskState.COMPLETED and events is not None:
            result = with_outcome(result, events.items)
        if result.state is said.state:
            return said
        # v1 shows less of it than v2 for ever.
        self._by_v2_until[task_id] = float("inf")
        return result

    def _poll_v2(self, request: PollRequest) -> PollPlan:
        def deliver(results: PollResults) -> PollResults:
            found = {one: self._taken_over(one, result, request.now) for one, result in results.items()}
            return {one: result for one, result in found.items() if result is not None}

        yield from relay(self._v2.plan(request), deliver)

    def _taken_over(self, task_id: str, result: PollResult, now: float) -> PollResult | None:
        """Return what v2 says of a task; where it does not know the task either, what v1 has said."""
        if isinstance(result, NotFoundError):
            self._by_v2_until.pop(task_id, None)
            return self._unknown.get(task_id, result)
        if isinstance(result, TaskSnapshot) and task_id in self._unknown:
            self._by_v2_until[task_id] = now + _BY_V2_FOR
        return result


def _gone(operations: Any, answers: Any) -> RemoteTaskError | None:
    """Return the answer of v1's list that says that there is no v1 any more."""
    for operation, answer in zip(operations, answers, strict=True):
        begins = operation.name == _V1_LIST and all(name != "after" for name, _ in operation.request.query)
        if begins and is_not_there(answer):
            found: RemoteTaskError = answer
            return found
    return None
