"""How many Manus tasks are polled with few operations: one list page answers for all of them.

Three ways, and the cheapest is taken:

* *singles*: one operation a task. Taken when a single task is awaited, as the page would hold other people's
  conversations.
* a *full listing*: the account's newest tasks, down to the oldest that is awaited. It shows the state of
  each.
* an *incremental listing*: only what has completed, failed or begun to wait for a person since the last poll.
  Running tasks, whose conversations make a page heavy, are not in it. An awaited task that is not listed is
  unchanged. Only a task that waited for a person may have resumed unseen, so it is polled by itself.

Incremental listings rest on Manus moving ``updated_at`` when a task finishes, which is observed, not
promised. So every tenth poll is a full listing. If that finds a finished task which the incremental ones
missed, every poll is a full listing from then on. A task that a full listing does not show (hidden, too old,
too new) is polled by itself, a few at a time.

API v1 lists at most 1,000 tasks a page (https://open.manus.ai/docs/v1/get-tasks), v2 at most 100, without
conversations (https://open.manus.ai/docs/v2/task.list). v2 lists no changes, and it calls finished and
stopped tasks alike: its events say how a task finished, and are read once, when it has.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.http.operation import Operation, Page
from remote_tasks_provider.core.http.parsing import one_line
from remote_tasks_provider.core.polling.strategy import PollPlan, PollResult, Unchanged
from remote_tasks_provider.core.states import TaskSnapshot, TaskState
from remote_tasks_provider.manus.api import v1, v2
from remote_tasks_provider.manus.api.filters import TaskFilter
from remote_tasks_provider.manus.api.v2_models import ManusEvent, how_it_finished
from remote_tasks_provider.manus.models import ManusTaskSummary, snapshot

__all__ = ["V1", "V2", "Listing", "ManusPollStrategy"]

log = logging.getLogger(__name__)

_Listing = Generator[Sequence[Operation[Any]], Sequence[Any], "dict[str, PollResult] | RemoteTaskError"]

_FULL_LISTING_EVERY = 10
_FIRST_PAGE_SIZE = 100
# Room on a page of changes beyond as many as there were the last time.
_SPARE = 20
# Tasks that no list shows are polled one by one, at most this many in one poll.
_MOST_SINGLES = 20
# How far behind the newest change a poll reads again: lists may lag a little behind the tasks.
_OVERLAP = timedelta(seconds=120)
_CHANGED = ("completed", "failed", "pending")
# Finished tasks whose events are read in one poll, and how many events of each.
_MOST_FINISHED = 40
_LAST_EVENTS = 50


@dataclass(frozen=True, slots=True)
class Listing:
    """How one version of the API lists tasks.

    :param page_size: tasks a page at most.
    :param pages: pages at most that one poll reads.
    :param next_page: the operation for the page after ``page`` of a full listing, as large as it can be.
    :param lists_changes: whether the latest changes can be listed first.
    :param events: a task's latest events, where only they say how it finished.
    """

    get_task: Callable[[str], Operation[Any]]
    list_tasks: Callable[[TaskFilter], Operation[Page[ManusTaskSummary]]]
    page_size: int
    pages: int
    next_page: Callable[[TaskFilter, Page[ManusTaskSummary]], Operation[Page[ManusTaskSummary]] | None]
    lists_changes: bool
    events: Callable[[str], Operation[Page[ManusEvent]]] | None = None


V1 = Listing(
    get_task=v1.get_task,
    list_tasks=v1.list_summaries,
    page_size=v1.MAX_PAGE_SIZE,
    pages=10,
    next_page=lambda query, page: v1.list_summaries(
        replace(query, after=page.cursor, page_size=v1.MAX_PAGE_SIZE)
    ),
    lists_changes=True,
)
V2 = Listing(
    get_task=v2.get_task,
    list_tasks=v2.list_summaries,
    page_size=v2.MAX_PAGE_SIZE,
    pages=40,
    next_page=lambda _query, page: page.next,
    lists_changes=False,
    events=lambda task_id: v2.list_messages(task_id, order="desc", page_size=_LAST_EVENTS),
)


class ManusPollStrategy:
    """The polls of one shared poller; remembers what it has learnt from one poll to the next."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._listed: dict[str, datetime | None] = {}
        """Tasks that the last full listing showed, and when they were created."""
        self._unlisted: set[str] = set()
        """Tasks that it did not show."""
        self._asked: dict[str, int] = {}
        """In which poll a task was last polled by itself."""
        self._paused: set[str] = set()
        """Tasks that waited for a person when last seen; one that resumes is not listed as a change."""
        self._newest_change: datetime | None = None
        self._read_since: datetime | None = None
        """Down to which change the last poll read, if it was incremental."""
        self._polls = 0
        self._depth = _FIRST_PAGE_SIZE
        self._changes_seen = 0
        self._changes_expected = 0
        self._full_listing_is_due = False
        self._trusts_changes = listing.lists_changes

    def plan(self, due: Sequence[str], free: Collection[str] = ()) -> PollPlan:
        """Plan one poll; see :class:`~remote_tasks_provider.core.polling.strategy.PollStrategy`."""
        wanted = dict.fromkeys([*due, *free])
        self._listed = {task_id: made for task_id, made in self._listed.items() if task_id in wanted}
        self._asked = {task_id: poll for task_id, poll in self._asked.items() if task_id in wanted}
        self._unlisted.intersection_update(wanted)
        self._paused.intersection_update(wanted)
        if len(wanted) == 1:
            results = yield from self._singles(list(wanted))
        else:
            results = yield from self._many(due, wanted)
        if self._listing.events is not None:
            results = yield from self._add_outcomes(results, self._listing.events)
        seen = {one: task for one, task in results.items() if isinstance(task, TaskSnapshot)}
        self._paused -= seen.keys()
        self._paused |= {one for one, task in seen.items() if task.state is TaskState.WAITING}
        return results

    def _many(self, due: Sequence[str], wanted: Collection[str]) -> PollPlan:
        self._polls += 1
        is_full_listing = self._needs_full_listing(wanted)
        listing = self._full_listing if is_full_listing else self._incremental_listing
        listed = yield from listing(wanted)
        if isinstance(listed, RemoteTaskError):
            if listed.concerns_service:
                return dict.fromkeys(wanted, listed)
            log.warning("Manus: the list could not be read; polling single tasks instead: %s", listed)
            self._full_listing_is_due = self._full_listing_is_due or is_full_listing
            listed = {}
        missing = [task_id for task_id in due if task_id not in listed]
        return {**listed, **(yield from self._singles(self._rarest_first(missing)))}

    def _needs_full_listing(self, wanted: Collection[str]) -> bool:
        return (
            self._full_listing_is_due
            or not self._trusts_changes
            or self._newest_change is None
            or self._polls % _FULL_LISTING_EVERY == 0
            or len(self._paused) > _MOST_SINGLES
            or any(task_id not in self._listed and task_id not in self._unlisted for task_id in wanted)
        )

    def _rarest_first(self, missing: list[str]) -> list[str]:
        chosen = sorted(missing, key=lambda task_id: self._asked.get(task_id, 0))[:_MOST_SINGLES]
        self._asked.update(dict.fromkeys(chosen, self._polls))
        return chosen

    def _singles(self, task_ids: list[str]) -> PollPlan:
        if not task_ids:
            return {}
        answers = yield [self._listing.get_task(task_id) for task_id in task_ids]
        return {
            task_id: answer if isinstance(answer, RemoteTaskError) else snapshot(answer)
            for task_id, answer in zip(task_ids, answers, strict=True)
        }

    def _add_outcomes(
        self, results: Mapping[str, PollResult], events: Callable[[str], Operation[Page[ManusEvent]]]
    ) -> PollPlan:
        """Read how each finished task did so; those beyond the limit are left to the next poll."""
        known = (TaskState.COMPLETED, TaskState.FAILED)
        finished = {
            one: task
            for one, task in results.items()
            if isinstance(task, TaskSnapshot) and task.state in known
        }
        if not finished:
            return results
        found: dict[str, PollResult] = {one: task for one, task in results.items() if one not in finished}
        asked = list(finished)[:_MOST_FINISHED]
        answers = yield [events(task_id) for task_id in asked]
        for task_id, answer in zip(asked, answers, strict=True):
            is_error = isinstance(answer, RemoteTaskError)
            found[task_id] = answer if is_error else _with_outcome(finished[task_id], answer.items)
        return found

    def _full_listing(self, wanted: Collection[str]) -> _Listing:
        """List the newest tasks until all wanted ones were seen, or another page is not worth it."""
        found: dict[str, TaskSnapshot] = {}
        newest = self._newest_change
        size = min(self._listing.page_size, max(self._depth, len(wanted) + len(wanted) // 4))
        query = TaskFilter(created_after=self._oldest(wanted), page_size=size)
        operation: Operation[Page[ManusTaskSummary]] | None = self._listing.list_tasks(query)
        read = pages = deepest = 0
        while operation is not None:
            (page,) = yield [operation]
            if isinstance(page, RemoteTaskError):
                return page
            pages += 1
            before = len(found)
            for position, task in enumerate(page.items, read + 1):
                newest = _later(newest, task.updated_at)
                if task.id in wanted:
                    # Page by page: ten thousand at once would hold the event loop up.
                    found[task.id] = snapshot(task)
                    deepest = position
            read += len(page.items)
            left = len(wanted) - len(found)
            helps = len(found) > before or left > _MOST_SINGLES
            more = left > 1 and pages < self._listing.pages and helps and page.next is not None
            operation = self._listing.next_page(query, page) if more else None
        for task in found.values():
            self._check_trust(task)
        self._newest_change = newest
        self._depth = max(_FIRST_PAGE_SIZE, deepest + deepest // 4)
        self._listed = {task_id: task.created_at for task_id, task in found.items()}
        self._unlisted = set(wanted) - found.keys()
        self._read_since = None
        self._full_listing_is_due = False
        return dict(found)

    def _oldest(self, wanted: Collection[str]) -> int | None:
        """Return a moment before the creation of every wanted task, if all are known."""
        moments = [self._listed.get(task_id) for task_id in wanted]
        known = [moment for moment in moments if moment is not None]
        return int(min(known).timestamp()) - 1 if known and len(known) == len(moments) else None

    def _incremental_listing(self, wanted: Collection[str]) -> _Listing:
        """List what has changed since the last poll; a task that is not in it is unchanged."""
        assert self._newest_change is not None  # noqa: S101 - without it, the poll is a full listing
        since = self._newest_change - _OVERLAP
        newest: datetime | None = self._newest_change
        found: dict[str, PollResult] = dict.fromkeys(self._listed.keys() - self._paused, Unchanged.UNCHANGED)
        size = min(self._listing.page_size, self._changes_expected + _SPARE)
        query = TaskFilter(
            status=_CHANGED, order_by="updated_at", created_after=self._oldest(wanted), page_size=size
        )
        operation: Operation[Page[ManusTaskSummary]] | None = self._listing.list_tasks(query)
        pages = changes = 0
        while operation is not None:
            (page,) = yield [operation]
            if isinstance(page, RemoteTaskError):
                return page
            pages += 1
            for task in page.items:
                newest = _later(newest, task.updated_at)
                changes += task.updated_at is not None and task.updated_at >= since
                if task.id in wanted:
                    found[task.id] = snapshot(task)
            last = page.items[-1].updated_at if page.items else None
            reached = page.next is None or (last is not None and last < since)
            if not reached and pages == self._listing.pages:
                log.info("Manus: more has changed than %d pages hold; the next poll lists all tasks.", pages)
                self._full_listing_is_due = reached = True
            size = min(self._listing.page_size, 4 * size)
            following = replace(query, after=page.cursor, page_size=size)
            operation = None if reached else self._listing.list_tasks(following)
        # As many as now, and as many more as there were more now than the last time.
        self._changes_expected = changes + max(0, changes - self._changes_seen)
        self._changes_seen = changes
        self._newest_change = newest
        self._read_since = since
        return found

    def _check_trust(self, task: TaskSnapshot) -> None:
        """Notice a finished task that the last poll, an incremental one, should have shown and did not."""
        since = self._read_since
        # A task that has just joined may have finished long before that poll.
        if since is None or task.id not in self._listed or not task.state.is_terminal:
            return
        if self._trusts_changes and (task.updated_at is None or task.updated_at < since):
            self._trusts_changes = False
            log.info("Manus does not list the latest changes first; every poll lists all tasks from now on.")


def _with_outcome(task: TaskSnapshot, latest: Sequence[ManusEvent]) -> TaskSnapshot:
    """Return the finished ``task`` with the outcome that its events, newest first, show."""
    error, stopped_by_user = how_it_finished(reversed(latest))
    if task.state is TaskState.FAILED:
        return replace(task, error=one_line(error, 1000) if error else task.error)
    return replace(task, state=TaskState.CANCELLED) if stopped_by_user else task


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return other if one is None or (other is not None and other > one) else one
