"""How many Manus tasks are polled with few operations: one list page answers for all of them.

Three ways, and each poll takes the one with the fewest operations:

* *singles*: one operation a task. Always for a single task, as a page would hold other people's
  conversations.
* a *full listing* (:class:`~.listing.FullListing`): as many pages as the places of the awaited tasks need,
  which the last full listing has shown.
* an *incremental listing* (:class:`~.listing.Changes`, API v1): mostly one small page. A listed task that is
  not on it is unchanged. Tasks that have just joined, and tasks that waited for a person and may have resumed
  unseen, are polled by themselves beside it. Some minutes after the last full listing the next one checks it.

A task that a full listing does not show (hidden, too old, too new) is polled by itself, on a schedule of its
own: it never makes a listing necessary, and all of them together get a few operations a minute.

API v2 calls finished and stopped tasks alike: the events of a task say how it finished. They are read once,
when it has, and only for waits that must know.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.http.parsing import one_line
from remote_tasks_provider.core.polling.strategy import (
    BATCH,
    MOST_SINGLES,
    OneByOne,
    Plan,
    PollPlan,
    PollRequest,
    PollResult,
    PollResults,
    Rotation,
    Unchanged,
    batches,
    relay,
)
from remote_tasks_provider.core.states import TaskSnapshot, TaskState
from remote_tasks_provider.manus.api.filters import TaskFilter
from remote_tasks_provider.manus.api.v2_models import ManusEvent, how_it_finished
from remote_tasks_provider.manus.listing import V1, V2, Changes, FullListing, Listing, PageWeight
from remote_tasks_provider.manus.models import snapshot

__all__ = ["V1", "V2", "Listing", "ManusPollStrategy", "with_outcome"]

log = logging.getLogger(__name__)

# Seconds after which a full listing checks what the incremental ones have shown.
_FULL_LISTING_EVERY = 600.0
# Finished tasks whose events are read in one poll.
_MOST_OUTCOMES = 32
_FINISHED = (TaskState.COMPLETED, TaskState.FAILED)


class ManusPollStrategy:
    """The polls over one connection; remembers what it has learnt from one poll to the next."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._weight = PageWeight(listing)
        self._changes = Changes(listing, self._weight)
        self._singles = OneByOne(listing.get_task, snapshot)
        self._created: dict[str, datetime | None] = {}
        """When tasks were created, of those that some answer has shown."""
        self._places: dict[str, int] = {}
        """Tasks that the last full listing showed, and their places in it."""
        self._unlisted: set[str] = set()
        """Tasks that it did not show."""
        self._paused: set[str] = set()
        """Tasks that waited for a person when last seen; one that resumes is not listed as a change."""
        self._finished: dict[str, TaskSnapshot] = {}
        """Finished tasks whose events are not read yet."""
        self._outcomes = Rotation()
        self._interrupted: FullListing | None = None
        self._full_listing_at: float | None = None
        self._full_listing_is_due = False

    def plan(self, request: PollRequest) -> PollPlan:
        """Plan one poll; see :class:`~remote_tasks_provider.core.polling.strategy.PollStrategy`."""
        wanted = request.wanted
        self._forget_all_but(wanted)
        due = [task_id for task_id in request.due if task_id not in self._finished]
        listed = [task_id for task_id in due if task_id not in self._unlisted]
        if listed:
            yield from self._learning(self._poll_listed(listed, list(wanted), request), request)
        unlisted = [one for one in request.due if one in self._unlisted and one not in self._finished]
        if rare := self._singles.rarely(unlisted, request.now):
            yield from self._learning(self._singles.ask(rare), request)
        yield from self._read_outcomes(request)

    @property
    def unlisted(self) -> frozenset[str]:
        """The tasks that the last full listing did not show."""
        return frozenset(self._unlisted)

    def _forget_all_but(self, wanted: Mapping[str, None]) -> None:
        self._created = {one: at for one, at in self._created.items() if one in wanted}
        self._places = {one: place for one, place in self._places.items() if one in wanted}
        self._finished = {one: task for one, task in self._finished.items() if one in wanted}
        self._unlisted.intersection_update(wanted)
        self._paused.intersection_update(wanted)
        self._singles.keep(wanted)
        self._outcomes.keep(wanted)

    # --------------------------------------------------------------------------------------- which way

    def _poll_listed(self, due: list[str], wanted: list[str], request: PollRequest) -> Plan[Any]:
        """Poll the tasks that a list shows, or may show, in the cheapest way."""
        new = [task_id for task_id in due if task_id not in self._places]
        paused = [task_id for task_id in due if task_id in self._paused and task_id in self._places]
        full = max(1, -(-self._depth // self._weight.largest_page))
        incremental = 1 + len(new) + len(paused) if self._changes.are_trusted else full
        if len(wanted) == 1 or len(due) < min(full, incremental):
            return (yield from self._singles.ask(due))
        if self._can_read_changes(request.now) and incremental <= full:
            yield from self._read_changes(due, wanted, [*new, *paused], request)
            return None
        # While a full listing takes several polls, what finishes meanwhile is noticed all the same.
        is_interrupted = self._interrupted is not None and self._changes.are_known
        if is_interrupted and not (yield from self._read_changes(due, wanted, [], request)):
            return None
        return (yield from self._list_all(due, wanted, request))

    @property
    def _depth(self) -> int:
        """How many tasks a list must show to show all that are known to be in it."""
        deepest = max(self._places.values(), default=0)
        return deepest + deepest // 8

    def _can_read_changes(self, now: float) -> bool:
        if self._full_listing_at is None or self._full_listing_is_due or self._interrupted:
            return False
        return self._changes.are_known and now - self._full_listing_at < _FULL_LISTING_EVERY

    # ------------------------------------------------------------------------------------------- lists

    def _list_all(self, due: list[str], wanted: list[str], request: PollRequest) -> Plan[None]:
        listing, now = self._interrupted, request.now
        if listing is None or listing.is_stuck(now):
            # Half as many again: tasks that are created meanwhile come first.
            expected = max(self._depth, len(wanted)) * 3 // 2
            size = self._weight.page_for(max(expected, MOST_SINGLES))
            query = TaskFilter(created_after=self._oldest(wanted), page_size=size)
            searched = [task_id for task_id in wanted if task_id not in self._finished]
            hidden = frozenset(self._unlisted)
            listing = FullListing(self._listing, self._weight, dict.fromkeys(searched), hidden, query, now)
        problem = yield from listing.read(now, request.time)
        if problem is None:
            self._learn_from(listing, now)
            # Tasks that have joined since it began, some polls ago.
            if late := [task_id for task_id in due if task_id not in listing.wanted]:
                yield from self._poll_listed(late, wanted, request)
            return
        # What the service refuses for good would be refused again: the task at the cursor may be deleted.
        self._interrupted = listing if problem.concerns_service or problem.retry_helps else None
        if self._interrupted and not self._changes.are_known:
            self._changes.reset(listing.newest_change)
        if left := [task_id for task_id in due if task_id not in listing.found]:
            yield from self._without_a_list(problem, left)

    def _learn_from(self, listing: FullListing, now: float) -> None:
        for task in listing.finished:
            if task.id in self._places:
                self._changes.check(task)
        self._interrupted, self._full_listing_is_due, self._full_listing_at = None, False, now
        self._places = {task_id: place for task_id, (_, place) in listing.found.items()}
        self._unlisted = {*listing.missing, *(self._unlisted - listing.found.keys())}
        self._changes.reset(listing.newest_change)

    def _without_a_list(self, problem: RemoteTaskError, due: list[str]) -> Plan[None]:
        """Poll a few tasks by themselves."""
        if (yield from self._singles.ask_without_a_list(problem, due)):
            log.warning("Manus: the list could not be read; polling single tasks instead: %s", problem)

    def _read_changes(
        self, due: list[str], wanted: list[str], others: list[str], request: PollRequest
    ) -> Plan[bool]:
        """List the changes, and ask for ``others``; return whether the list could be read."""
        is_complete = yield from self._changes.read(dict.fromkeys(wanted), self._oldest(wanted), request.time)
        if isinstance(is_complete, RemoteTaskError):
            # Not where it may be read the next time.
            self._full_listing_is_due |= not (is_complete.concerns_service or is_complete.retry_helps)
            yield from self._without_a_list(is_complete, due)
            return False
        if not is_complete:
            log.info("Manus: more has changed than a poll reads; the next poll lists all tasks.")
            self._full_listing_is_due = True
        else:
            known = self._places.keys() - self._paused - self._finished.keys()
            yield dict.fromkeys(known, Unchanged.UNCHANGED)
        yield from self._singles.ask(others)
        return True

    def _oldest(self, wanted: Iterable[str]) -> int | None:
        """Return a moment before the creation of every wanted task that a list may show, if all are known."""
        moments = [self._created.get(task_id) for task_id in wanted if task_id not in self._unlisted]
        known = [moment for moment in moments if moment is not None]
        return max(0, int(min(known).timestamp()) - 1) if known and len(known) == len(moments) else None

    # ----------------------------------------------------------------------------------- what was learnt

    def _learning(self, plan: Plan[Any], request: PollRequest) -> Plan[None]:
        """Carry out ``plan``; learn from its results, and hold back what must be known in detail."""
        told: set[str] = set()

        def deliver(step: PollResults) -> PollResults:
            # What a page showed is newer than that nothing has changed.
            results = {
                task_id: one
                for task_id, one in step.items()
                if one is not Unchanged.UNCHANGED or task_id not in told
            }
            told.update(results)
            return self._learn(results, request)

        yield from relay(plan, deliver)

    def _learn(self, results: PollResults, request: PollRequest) -> dict[str, PollResult]:
        """Learn from ``results``; return those that may be delivered."""
        delivered: dict[str, PollResult] = {}
        for task_id, result in results.items():
            if isinstance(result, TaskSnapshot):
                self._created[task_id] = result.created_at
                (self._paused.add if result.state is TaskState.WAITING else self._paused.discard)(task_id)
                if self._listing.events and result.state in _FINISHED and task_id in request.in_detail:
                    self._finished[task_id] = result
                    continue
            delivered[task_id] = result
        return delivered

    def _read_outcomes(self, request: PollRequest) -> Plan[None]:
        """Read how finished tasks did so, and deliver each; those beyond the limit come in the next poll."""
        events = self._listing.events
        if events is None or not self._finished:
            return
        asked = self._outcomes.longest_waiting(self._finished, _MOST_OUTCOMES)
        for batch in batches(asked, BATCH):
            answers = yield [events(task_id) for task_id in batch]
            results: dict[str, PollResult] = {}
            for task_id, answer in zip(batch, answers, strict=True):
                if isinstance(answer, RemoteTaskError):
                    results[task_id] = answer
                else:
                    results[task_id] = with_outcome(self._finished.pop(task_id), answer.items)
            yield results
            errors = {one: error for one, error in results.items() if isinstance(error, RemoteTaskError)}
            # Who was not answered because of the others keeps its turn.
            self._outcomes.note(one for one, error in errors.items() if not error.concerns_service)
            if any(error.concerns_service for error in errors.values()):
                return


def with_outcome(task: TaskSnapshot, latest: Sequence[ManusEvent]) -> TaskSnapshot:
    """Return the finished ``task`` with the outcome that its events, newest first, show."""
    error, stopped_by_user = how_it_finished(reversed(latest))
    if task.state is TaskState.FAILED:
        return replace(task, error=one_line(error, 1000) if error else task.error)
    return replace(task, state=TaskState.CANCELLED) if stopped_by_user else task
