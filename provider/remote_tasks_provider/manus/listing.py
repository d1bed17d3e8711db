"""How the lists of a Manus account are read for a poll: page by page, with pages that are not too heavy.

A *full listing* reads the account's newest tasks, down to the oldest that is awaited. An *incremental
listing* reads only what has completed, failed or begun to wait for a person since the last poll; running
tasks, whose conversations make a page heavy, are not in it.

Both are plans: they deliver what each page shows, and return the error that interrupted them. A full listing
that was interrupted resumes at the page that was not read.

API v1 lists at most 1,000 tasks a page (https://open.manus.ai/docs/v1/get-tasks), v2 at most 100, without
conversations (https://open.manus.ai/docs/v2/task.list), and v2 lists no changes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from remote_tasks_provider.core.errors import RateLimitedError, RemoteTaskError
from remote_tasks_provider.core.http.operation import Operation, Page
from remote_tasks_provider.core.polling.strategy import Plan, PollResult, result_of, results_among
from remote_tasks_provider.core.states import TaskSnapshot
from remote_tasks_provider.manus.api import v1, v2
from remote_tasks_provider.manus.api.filters import TaskFilter
from remote_tasks_provider.manus.api.v2_models import ManusEvent
from remote_tasks_provider.manus.models import ManusTaskSummary, snapshot

__all__ = ["V1", "V2", "Changes", "FullListing", "Listing", "PageWeight", "later"]

log = logging.getLogger(__name__)

ListPage = Page[ManusTaskSummary]

# A page is parsed in one go, which takes the event loop about 10 ms a megabyte.
_MOST_BYTES = 4_000_000
# So light a page costs less than the call for another one.
_LIGHT_BYTES = 128_000
# The size of a page as long as it is not known how heavy tasks are.
_FIRST_PAGE_SIZE = 50
_SMALLEST_PAGE_SIZE = 10
# Room on a page of changes beyond as many as there were the last time.
_SPARE = 20
_MOST_CHANGE_PAGES = 10
# How far behind the newest change a poll reads again: lists may lag a little behind the tasks.
_OVERLAP = timedelta(seconds=120)
# How far ahead of this machine's clock a change may be, as clocks differ. One beyond that is an odd value,
# behind which no other change would be seen.
_MOST_AHEAD = timedelta(days=1)
# So often and for so many seconds a listing that was interrupted is tried in vain, before it is begun anew.
_MOST_IN_VAIN = 3
_STUCK_AFTER = 300.0
_CHANGED = ("completed", "failed", "pending")
_LAST_EVENTS = 50


@dataclass(frozen=True, slots=True)
class Listing:
    """How one version of the API reads and lists tasks.

    :param page_size: tasks a page at most.
    :param next_page: the operation for the page after ``page``, with so many tasks.
    :param lists_changes: whether the latest changes can be listed first.
    :param events: a task's latest events, where only they say how it finished.
    """

    get_task: Callable[[str], Operation[Any]]
    list_tasks: Callable[[TaskFilter], Operation[ListPage]]
    page_size: int
    next_page: Callable[[TaskFilter, ListPage, int], Operation[ListPage] | None]
    lists_changes: bool
    events: Callable[[str], Operation[Page[ManusEvent]]] | None = None


V1 = Listing(
    get_task=v1.get_task,
    list_tasks=v1.list_summaries,
    page_size=v1.MAX_PAGE_SIZE,
    next_page=lambda query, page, size: v1.list_summaries(replace(query, after=page.cursor, page_size=size)),
    lists_changes=True,
)
V2 = Listing(
    get_task=v2.get_task,
    list_tasks=v2.list_summaries,
    page_size=v2.MAX_PAGE_SIZE,
    next_page=lambda _query, page, _size: page.next,
    lists_changes=False,
    events=lambda task_id: v2.list_messages(task_id, order="desc", page_size=_LAST_EVENTS),
)


class PageWeight:
    """Learns how heavy tasks are, and bounds pages by bytes."""

    def __init__(self, listing: Listing) -> None:
        self._most = listing.page_size
        self._has_conversations = listing.lists_changes
        self._task_bytes: float | None = None

    def learn(self, page: ListPage) -> None:
        """Learn from a page that was read."""
        if page.items:
            self._task_bytes = page.size / len(page.items)

    @property
    def largest_page(self) -> int:
        """How many tasks to ask for at most."""
        if not self._has_conversations:
            return self._most
        if self._task_bytes is None:
            return _FIRST_PAGE_SIZE
        return max(_SMALLEST_PAGE_SIZE, min(self._most, int(_MOST_BYTES / max(1.0, self._task_bytes))))

    def page_for(self, expected: int) -> int:
        """How many tasks to ask for where so many are expected; where they are light, as many as possible."""
        return min(self.largest_page, expected) if self._has_conversations else self._most

    @property
    def light_page(self) -> int:
        """How many tasks can be asked for at hardly any cost."""
        return 0 if self._task_bytes is None else int(_LIGHT_BYTES / max(1.0, self._task_bytes))


@dataclass(slots=True)
class FullListing:
    """One full listing, which may take several polls.

    :param wanted: the tasks to report.
    :param hidden: those of them that no list has shown so far, so that no page is read for them.
    :param query: which tasks are listed.
    :param read_at: when it last made progress; monotonic. A long list on a crowded account takes many polls.
    """

    listing: Listing
    weight: PageWeight
    wanted: Collection[str]
    hidden: Collection[str]
    query: TaskFilter
    read_at: float
    found: dict[str, tuple[datetime | None, int]] = field(default_factory=dict)
    """The tasks that were found, when they were created, and their places in the list."""
    finished: list[TaskSnapshot] = field(default_factory=list)
    newest_change: datetime | None = None
    _operation: Operation[ListPage] | None = None
    _read: int = 0
    _in_vain: int = 0

    def read(self, now: float, time: float | None) -> Plan[RemoteTaskError | None]:
        """Read on until all wanted tasks were found, or another page costs more than asking for the rest."""
        operation = self._operation or self.listing.list_tasks(self.query)
        fruitless = 0
        while True:
            self._operation = operation
            (page,) = yield [operation]
            if isinstance(page, RemoteTaskError):
                # A 429 says nothing about the page. A listing that few polls an hour resume must get on, too.
                self._in_vain += not isinstance(page, RateLimitedError)
                return page
            known = len(self.found)
            results, self.read_at, self._in_vain = self._take(page, time), now, 0
            # Not every page with results: a list that begins anew shows the same ones for ever.
            fruitless = 0 if len(self.found) > known else fruitless + 1
            if results:
                yield results
            left = sum(task_id not in self.hidden for task_id in self.missing)
            following = self.listing.next_page(self.query, page, self.weight.largest_page)
            if page.next is None or following is None or fruitless >= left:
                return None
            operation = following

    def is_stuck(self, now: float) -> bool:
        """Whether it gets on no more, so that it is better begun anew."""
        return self._in_vain >= _MOST_IN_VAIN and now - self.read_at > _STUCK_AFTER

    def _take(self, page: ListPage, time: float | None) -> dict[str, PollResult]:
        self.weight.learn(page)
        results: dict[str, PollResult] = {}
        for place, task in enumerate(page.items, self._read + 1):
            self.newest_change = later(self.newest_change, _credible(task.updated_at, time))
            if task.id in self.wanted:
                self.found[task.id] = task.created_at, place
                result = results[task.id] = result_of(task.id, snapshot, task)
                if isinstance(result, TaskSnapshot) and result.state.is_terminal:
                    self.finished.append(result)
        self._read += len(page.items)
        return results

    @property
    def missing(self) -> list[str]:
        """The tasks that it does not show."""
        return [task_id for task_id in self.wanted if task_id not in self.found]


class Changes:
    """Reads what has changed since the last poll.

    Rests on Manus moving ``updated_at`` when a task finishes, which is observed, not promised: see
    :meth:`check`.
    """

    def __init__(self, listing: Listing, weight: PageWeight) -> None:
        self._listing = listing
        self._weight = weight
        self.are_trusted = listing.lists_changes
        """Whether the latest changes are listed first."""
        self.newest: datetime | None = None
        self._seen = 0
        self._expected = 0
        self._read_since: datetime | None = None
        """Down to which change the last poll read, if it was incremental."""

    @property
    def are_known(self) -> bool:
        """Whether there is a point from which changes can be read."""
        return self.are_trusted and self.newest is not None

    def reset(self, newest: datetime | None) -> None:
        """Begin at the newest change that a full listing has shown."""
        self.newest = later(self.newest, newest)
        self._read_since = None

    def check(self, task: TaskSnapshot) -> None:
        """Notice a finished task that the last incremental listing should have shown and did not."""
        since = self._read_since
        if not self.are_trusted or since is None or not task.state.is_terminal:
            return
        if task.updated_at is None or task.updated_at < since:
            self.are_trusted = False
            log.info("Manus does not list the latest changes first; every poll lists all tasks from now on.")

    def read(
        self, wanted: Collection[str], oldest: int | None, time: float | None
    ) -> Plan[RemoteTaskError | bool]:
        """List the changes; return whether that was all of them, or the error that interrupted it."""
        assert self.newest is not None  # noqa: S101 - see are_known
        since, newest = self.newest - _OVERLAP, self.newest
        size = self._weight.page_for(max(self._expected + _SPARE, self._weight.light_page))
        query = TaskFilter(status=_CHANGED, order_by="updated_at", created_after=oldest, page_size=size)
        operation: Operation[ListPage] | None = self._listing.list_tasks(query)
        pages = changes = 0
        reached = False
        while operation is not None:
            (page,) = yield [operation]
            if isinstance(page, RemoteTaskError):
                return page
            pages += 1
            self._weight.learn(page)
            for task in page.items:
                newest = later(newest, _credible(task.updated_at, time)) or newest
                changes += task.updated_at is not None and task.updated_at >= since
            found = results_among(page.items, wanted, snapshot)
            if found:
                yield found
            last = page.items[-1].updated_at if page.items else None
            reached = page.next is None or (last is not None and last < since)
            more = not reached and pages < _MOST_CHANGE_PAGES
            # When many have finished at once, calls are what is scarce.
            operation = self._listing.next_page(query, page, self._weight.largest_page) if more else None
        # As many as now, and twice the growth since the last time: polls are not evenly spaced while webhooks
        # come, and one task too few on a page costs another call.
        self._expected = changes + 2 * max(0, changes - self._seen)
        self._seen = changes
        self.newest = newest
        self._read_since = since
        return reached


def later(one: datetime | None, other: datetime | None) -> datetime | None:
    """Return the later of two moments, as far as they are known."""
    return other if one is None or (other is not None and other > one) else one


def _credible(moment: datetime | None, time: float | None) -> datetime | None:
    """Return the moment of a change, or ``None`` for one that cannot have been by ``time``."""
    if moment is None or time is None:
        return moment
    return moment if moment <= datetime.fromtimestamp(time, UTC) + _MOST_AHEAD else None
