"""How tasks are polled where the connection names no version: by v1 as long as they work, by v2 at the end.

One page of v1 answers for up to 1,000 tasks, but v1 calls a task completed that a user has stopped, and one
whose background jobs still run. So v2 is asked about each task that v1 calls completed, and about each that
v1 does not know. Where v2 does not know the task, what v1 says counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from remote_tasks_provider.core.errors import NotFoundError, RemoteTaskError
from remote_tasks_provider.core.http.connection import ConnectionConfig
from remote_tasks_provider.core.polling.strategy import PollPlan, PollRequest, PollResult, PollResults
from remote_tasks_provider.core.states import TaskSnapshot, TaskState
from remote_tasks_provider.manus.api.gone import V1_GONE, is_not_there
from remote_tasks_provider.manus.polling import V1, V2, ManusPollStrategy

__all__ = ["BestPollStrategy"]

_V1_LIST = "GET /v1/tasks"
# Seconds for which v2 is asked about a task that v1 does not know, before v1 is asked again.
_BY_V2_FOR = 600.0


class BestPollStrategy:
    """The polls over one connection by both versions; see :mod:`.polling` for those by one of them."""

    def __init__(self, config: ConnectionConfig) -> None:
        self._config = config
        self._v1 = ManusPollStrategy(V1)
        self._v2 = ManusPollStrategy(V2)
        self._said: dict[str, PollResult | None] = {}
        """What v1 last said of the tasks that v2 is asked about; ``None`` where it showed nothing."""
        self._by_v2_until: dict[str, float] = {}
        """Tasks that v2 alone is asked about, and until when."""

    def plan(self, request: PollRequest) -> PollPlan:
        """Plan one poll; see :class:`~remote_tasks_provider.core.polling.strategy.PollStrategy`."""
        wanted, now = request.wanted, request.now
        self._said = {one: said for one, said in self._said.items() if one in wanted}
        by_v2 = {one: until for one, until in self._by_v2_until.items() if one in wanted and until > now}
        self._by_v2_until = by_v2
        if asked := self._for_v1(request.due, now):
            others = self._for_v1(request.free, now)
            yield from self._poll_v1(replace(request, due=asked, free=others))
        by_v1 = set(self._for_v1(wanted, now))
        # A page of v1 can show the end of a task that was not due.
        due = dict.fromkeys([*(one for one in request.due if one not in by_v1), *self._said])
        if due:
            free = [one for one in request.free if one not in by_v1 and one not in due]
            yield from self._poll_v2(replace(request, due=list(due), free=free))

    def _for_v1(self, task_ids: Iterable[str], now: float) -> list[str]:
        """Return the tasks that v1 is asked about."""
        if V1_GONE.holds_for(self._config, now):
            return []
        return [one for one in task_ids if one not in self._said and one not in self._by_v2_until]

    def _poll_v1(self, request: PollRequest) -> PollPlan:
        plan = self._v1.plan(request)
        answers: Any = None
        told: set[str] = set()
        try:
            while True:
                step = plan.send(answers)
                if isinstance(step, Mapping):
                    answers = None
                    told.update(step)
                    yield self._what_is_certain(step)
                    continue
                answers = yield step
                if (gone := _gone(step, answers)) is not None:
                    V1_GONE.note(self._config, gone, request.now)
                    plan.close()
                    return
        except StopIteration:
            self._said |= {one: None for one in request.due if one not in told}

    def _what_is_certain(self, results: PollResults) -> PollResults:
        """Return the results that v2 need not confirm; keep the others."""
        certain: dict[str, PollResult] = {}
        for task_id, result in results.items():
            is_completed = isinstance(result, TaskSnapshot) and result.state is TaskState.COMPLETED
            if is_completed or is_not_there(result):
                self._said[task_id] = result
            else:
                certain[task_id] = result
        return certain

    def _poll_v2(self, request: PollRequest) -> PollPlan:
        plan = self._v2.plan(request)
        answers: Any = None
        try:
            while True:
                step = plan.send(answers)
                if not isinstance(step, Mapping):
                    answers = yield step
                    continue
                answers = None
                both = {task_id: self._both(task_id, result, request.now) for task_id, result in step.items()}
                yield {task_id: result for task_id, result in both.items() if result is not None}
        except StopIteration:
            return

    def _both(self, task_id: str, result: PollResult, now: float) -> PollResult | None:
        """Return what both versions together say of a task, of which v2 says ``result``."""
        if task_id not in self._said:
            return result
        said = self._said[task_id]
        if isinstance(result, NotFoundError):
            # v1 is asked again in the next poll.
            del self._said[task_id]
            return said
        if not isinstance(result, TaskSnapshot):
            return result
        if isinstance(said, TaskSnapshot):
            if said.state is result.state:
                return said
            # From here on v1 shows less than v2.
            now = float("inf")
        del self._said[task_id]
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
