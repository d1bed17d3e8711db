"""How many tasks of an agent are polled with few requests.

One list of what has changed lately answers for all of them. It is blind for a task whose status has no time,
or keeps an old one: fresh tasks, some cancelled ones, whatever an agent reports carelessly. So a full listing
checks it now and then, and what no list shows with a time is asked for by itself, rarely. "Unchanged" is said
only of tasks that were seen with a time. Agents without a list are asked for each task.

Some servers drop the filter, and the cursors of some end early when a task changes meanwhile. What comes
older than asked for, or fewer than announced, proves nothing about the others; nor does a list that lacks
even the latest change that was known: the agent has forgotten it, and perhaps all.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from remote_tasks_provider.a2a.api import operations
from remote_tasks_provider.a2a.api.filters import MOST_LISTED, TaskFilter
from remote_tasks_provider.a2a.api.interfaces import Agent
from remote_tasks_provider.a2a.models import A2ATask, snapshot
from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.http.operation import Operation, Page
from remote_tasks_provider.core.polling.strategy import (
    MOST_SINGLES,
    OneByOne,
    Plan,
    PollPlan,
    PollRequest,
    PollResults,
    Unchanged,
    relay,
    results_among,
)
from remote_tasks_provider.core.states import TaskSnapshot, iso_utc

__all__ = ["A2APollStrategy"]

log = logging.getLogger(__name__)

# So few tasks are asked for by themselves instead of reading what has changed for others.
_FEW = 3
# A full listing follows after so many polls, and not sooner than after so many seconds.
_FULL_LISTING_AFTER = 10
_FULL_LISTING_SECONDS = 60.0
# The clocks of an agent's replicas differ; and some agents mean "newer than" where others mean "since".
_OVERLAP = timedelta(seconds=5)
_MOST_PAGES = 50
# Seconds after which an agent that refused to list is asked to do so again.
_LIST_AGAIN_AFTER = 3600.0


class _Walk:
    """A list that is being read, page by page."""

    def __init__(self, query: TaskFilter) -> None:
        self.next: Operation[Page[A2ATask]] | None = operations.list_tasks(query)
        self.seen: set[str] = set()
        self.total = 0
        self.pages = 0
        self.newest: datetime | None = None
        self.oldest: datetime | None = None

    def take(self, page: Page[A2ATask]) -> None:
        self.next = page.next
        # What is added while the pages are read comes before them.
        self.total = self.total if self.pages else page.size
        self.pages += 1
        self.seen.update(task.id for task in page.items)
        times = [self.newest, self.oldest, *(task.updated_at for task in page.items)]
        known = [one for one in times if one is not None]
        self.newest, self.oldest = max(known, default=None), min(known, default=None)

    @property
    def is_whole(self) -> bool:
        """Whether all was seen that the agent has announced."""
        return self.next is None and len(self.seen) >= self.total


class A2APollStrategy:
    """The polls over one connection; remembers what it has learnt from one poll to the next."""

    def __init__(self) -> None:
        self._singles = OneByOne(operations.get_task, snapshot)
        self._timed: set[str] = set()
        """Tasks whose status had a time when it was seen, so that a change of it is listed."""
        self._untimed: set[str] = set()
        """Tasks that were seen or sought, and had none."""
        self._told: set[str] = set()
        """Tasks of which this poll has told already."""
        self._newest: datetime | None = None
        self._total = 0
        self._polls = 0
        self._listed_at = float("-inf")
        self._interrupted: _Walk | None = None
        self._filters = True
        self._no_list_until = float("-inf")

    def plan(self, request: PollRequest) -> PollPlan:
        """Plan one poll; see :class:`~remote_tasks_provider.core.polling.strategy.PollStrategy`."""
        wanted, due = request.wanted, list(request.due)
        self._told.clear()
        self._timed.intersection_update(wanted)
        self._untimed.intersection_update(wanted)
        self._singles.keep(wanted)
        (agent,) = yield [operations.find_agent()]
        if not isinstance(agent, Agent):
            yield dict.fromkeys(due, agent)
        elif not agent.lists or request.now < self._no_list_until or len(wanted) <= _FEW:
            yield from relay(self._singles.ask(due), self._learn)
        else:
            yield from relay(self._poll_listed(due, list(wanted), request), self._learn)

    def _poll_listed(self, due: list[str], wanted: list[str], request: PollRequest) -> Plan[Any]:
        self._polls += 1
        new = [task_id for task_id in due if task_id not in self._timed | self._untimed]
        pages = max(1, -(-self._total // MOST_LISTED))
        if self._needs_all(request.now) or len(new) > pages:
            yield from self._list_all(due, wanted, request.now)
        else:
            yield from self._list_changes(due, wanted, request.now)
            yield from self._singles.ask([task_id for task_id in new if task_id not in self._timed])
        unknown = self._untimed.intersection(set(due) - set(new)) - self._told
        if rare := self._singles.rarely(unknown, request.now):
            yield from self._singles.ask(rare)

    def _needs_all(self, now: float) -> bool:
        if self._newest is None or self._interrupted or not self._filters:
            return True
        return self._polls > _FULL_LISTING_AFTER and now - self._listed_at >= _FULL_LISTING_SECONDS

    def _list_changes(self, due: list[str], wanted: list[str], now: float) -> Plan[None]:
        """Read what has changed; all others that are known to be listed have not."""
        assert self._newest is not None  # noqa: S101 - a full listing came first
        since = self._newest - _OVERLAP
        walk = _Walk(TaskFilter(updated_after=iso_utc(since)))
        if not (yield from self._read(walk, due, wanted, now)):
            return
        if walk.oldest is not None and walk.oldest < since - _OVERLAP:
            log.info(
                "A2A: the agent lists tasks that have not changed since; full listings are read instead."
            )
            self._filters = False
        known, self._newest = self._newest, max(self._newest, walk.newest or self._newest)
        if walk.is_whole and walk.newest is not None and walk.newest >= known:
            yield dict.fromkeys(self._timed - walk.seen, Unchanged.UNCHANGED)
        else:
            yield from self._list_all(due, wanted, now)

    def _list_all(self, due: list[str], wanted: list[str], now: float) -> Plan[None]:
        """Read the whole list, as far as it has wanted tasks."""
        walk, self._interrupted = self._interrupted or _Walk(TaskFilter()), None
        if not (yield from self._read(walk, due, wanted, now)):
            self._interrupted = walk if walk.pages and walk.next is not None else None
            return
        self._polls, self._listed_at, self._total = 0, now, walk.total
        self._newest = walk.newest
        missing = [task_id for task_id in wanted if task_id not in walk.seen]
        if walk.is_whole or walk.pages >= _MOST_PAGES:
            self._timed.difference_update(missing)
            self._untimed.update(missing)
        # A task that has just begun is not always listed.
        sought = [task_id for task_id in due if task_id not in self._told]
        yield from self._singles.ask(self._singles.longest_waiting(sought, MOST_SINGLES))

    def _read(self, walk: _Walk, due: list[str], wanted: list[str], now: float) -> Plan[bool]:
        """Read the pages of a list; return whether that was possible."""
        told = set(wanted)
        while walk.next is not None and walk.pages < _MOST_PAGES and not told <= walk.seen:
            (page,) = yield [walk.next]
            if isinstance(page, RemoteTaskError):
                yield from self._without_a_list(page, [one for one in due if one not in walk.seen], now)
                return False
            walk.take(page)
            yield results_among(page.items, told, snapshot)
        return True

    def _without_a_list(self, problem: RemoteTaskError, due: list[str], now: float) -> Plan[None]:
        """Ask for a few tasks by themselves; for long, if the agent refuses to list any."""
        if due and not (problem.concerns_service or problem.retry_helps):
            log.info("A2A: the agent refuses to list tasks; asking for each: %s", problem)
            self._no_list_until = now + _LIST_AGAIN_AFTER
        yield from self._singles.ask_without_a_list(problem, due)

    def _learn(self, results: PollResults) -> PollResults:
        """Note what is told, and which tasks have a time."""
        self._told.update(results)
        for task_id, one in results.items():
            if isinstance(one, TaskSnapshot):
                is_timed = one.updated_at is not None
                (self._timed if is_timed else self._untimed).add(task_id)
                (self._untimed if is_timed else self._timed).discard(task_id)
        return results
