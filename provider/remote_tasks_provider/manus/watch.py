"""How many Manus tasks are looked at with few calls: one list page answers for all of them.

Three ways, and the one that costs least is taken:

* *one by one*, when a single task is waited for: as many calls as a page, and without other people's
  conversations;
* a *census*: the account's newest tasks, down to the oldest that is waited for. It tells where each of them
  stands;
* *changes*: only what has completed, failed or begun to wait for a person since the last look. Running tasks,
  whose conversations make a page heavy, are not in it; one that is waited for and not listed stands where it
  stood.

Changes rest on Manus moving ``updated_at`` when a task ends, which is observed, not promised. So every tenth
look is a census, and if that finds an end which the changes missed, this watch takes a census each time from
then on. A task that a census does not show (hidden, too old, too new) is asked for by itself, a few at a
look.

Manus lists at most 1,000 tasks a page: https://open.manus.ai/docs/v1/get-tasks.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Generator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.messages import Call, Page
from remote_tasks_provider.core.watching import Finding, Look, NoNews
from remote_tasks_provider.manus.api_v1 import MAX_PAGE_SIZE, TaskFilter, get_task, list_summaries
from remote_tasks_provider.manus.models import ManusTaskSummary, snapshot

__all__ = ["ManusWatch"]

log = logging.getLogger(__name__)

_Listing = Generator[Sequence[Call[Any]], Sequence[Any], "dict[str, Finding] | RemoteTaskError"]

_CENSUS_EVERY = 10
_MOST_PAGES = 10
_FIRST_PAGE_SIZE = 100
# Room on a page of changes beyond as many as there were the last time.
_SPARE = 20
# Tasks that no list shows are asked for one by one, at most this many in one look.
_MOST_SINGLES = 20
# How far behind the newest change a look reads again: lists may lag a little behind the tasks.
_OVERLAP = timedelta(seconds=120)
_ENDS = ("completed", "failed", "pending")


class ManusWatch:
    """The looks of one group of waits; remembers what it has learnt from one look to the next."""

    def __init__(self) -> None:
        self._listed: dict[str, datetime | None] = {}
        """Tasks that the last census showed, and when they were created."""
        self._unlisted: dict[str, int] = {}
        """Tasks that it did not show, and in which look each was last asked for by itself."""
        self._newest_change: datetime | None = None
        self._read_since: datetime | None = None
        """Down to which change the last look read, if it read changes."""
        self._looks = 0
        self._depth = _FIRST_PAGE_SIZE
        self._changes_expected = 0
        self._trusts_changes = True

    def look(self, due: Sequence[str], free: Collection[str] = ()) -> Look:
        """Plan one look; see :class:`~remote_tasks_provider.core.watching.Watch`."""
        wanted = dict.fromkeys([*due, *free])
        self._forget_all_but(wanted)
        if len(wanted) == 1:
            return (yield from self._singles(list(wanted)))
        self._looks += 1
        newcomers = any(task_id not in self._listed and task_id not in self._unlisted for task_id in wanted)
        if newcomers or not self._trusts_changes or self._looks % _CENSUS_EVERY == 0:
            listed = yield from self._census(wanted)
        else:
            listed = yield from self._changes(wanted)
        if isinstance(listed, RemoteTaskError):
            if listed.concerns_service:
                return dict.fromkeys(wanted, listed)
            log.warning("Manus: the list could not be read, asking for single tasks instead: %s", listed)
            listed = {}
        missing = [task_id for task_id in due if task_id not in listed]
        return {**listed, **(yield from self._singles(self._rarest_first(missing)))}

    def _forget_all_but(self, wanted: Collection[str]) -> None:
        self._listed = {task_id: made for task_id, made in self._listed.items() if task_id in wanted}
        self._unlisted = {task_id: look for task_id, look in self._unlisted.items() if task_id in wanted}

    def _rarest_first(self, missing: list[str]) -> list[str]:
        chosen = sorted(missing, key=lambda task_id: self._unlisted.get(task_id, 0))[:_MOST_SINGLES]
        self._unlisted.update(dict.fromkeys(chosen, self._looks))
        return chosen

    def _singles(self, task_ids: list[str]) -> Look:
        if not task_ids:
            return {}
        answers = yield [get_task(task_id) for task_id in task_ids]
        return {
            task_id: answer if isinstance(answer, RemoteTaskError) else snapshot(answer)
            for task_id, answer in zip(task_ids, answers, strict=True)
        }

    def _census(self, wanted: Collection[str]) -> _Listing:
        """List the newest tasks until all that are wanted were seen, or paging on is not worth it."""
        found: dict[str, Finding] = {}
        query = TaskFilter(created_after=self._oldest(wanted), page_size=self._page_size(len(wanted)))
        call: Call[Page[ManusTaskSummary]] | None = list_summaries(query)
        read = pages = 0
        while call is not None:
            (page,) = yield [call]
            if isinstance(page, RemoteTaskError):
                return page
            pages += 1
            before = len(found)
            for position, task in enumerate(page.items, read + 1):
                self._note_change(task)
                if task.id in wanted:
                    self._check_trust(task)
                    self._listed[task.id] = task.created_at
                    found[task.id] = snapshot(task)
                    self._depth = max(self._depth, position + position // 4)
            read += len(page.items)
            left = len(wanted) - len(found)
            worth_it = left > 1 and pages < _MOST_PAGES and (len(found) > before or left > _MOST_SINGLES)
            call = page.next if worth_it else None
        for task_id in wanted:
            if task_id in found:
                self._unlisted.pop(task_id, None)
            else:
                self._listed.pop(task_id, None)
                self._unlisted.setdefault(task_id, 0)
        self._read_since = None
        return found

    def _oldest(self, wanted: Collection[str]) -> int | None:
        """Return a moment before the creation of every wanted task, if all are known."""
        moments = [self._listed.get(task_id) for task_id in wanted]
        known = [moment for moment in moments if moment is not None]
        return int(min(known).timestamp()) - 1 if known and len(known) == len(moments) else None

    def _page_size(self, wanted: int) -> int:
        return min(MAX_PAGE_SIZE, max(self._depth, wanted + wanted // 4))

    def _changes(self, wanted: Collection[str]) -> _Listing:
        """List what has ended since the last look; a listed task that is not in it has no news."""
        since = self._newest_change - _OVERLAP if self._newest_change else None
        found: dict[str, Finding] = dict.fromkeys(wanted & self._listed.keys(), NoNews.NO_NEWS)
        size = min(MAX_PAGE_SIZE, self._changes_expected + _SPARE)
        query = TaskFilter(status=_ENDS, order_by="updated_at", page_size=size)
        call: Call[Page[ManusTaskSummary]] | None = list_summaries(query)
        pages = changes = 0
        while call is not None:
            (page,) = yield [call]
            if isinstance(page, RemoteTaskError):
                return page
            pages += 1
            for task in page.items:
                self._note_change(task)
                changes += 1
                if task.id in wanted:
                    found[task.id] = snapshot(task)
            last = page.items[-1].updated_at if page.items else None
            reached = page.next is None or (since is not None and last is not None and last < since)
            if not reached and pages == _MOST_PAGES:
                log.info("Manus: more has changed than %d pages hold; the next look is a census.", pages)
                self._looks = _CENSUS_EVERY - 1
                reached = True
            call = (
                None
                if reached
                else list_summaries(replace(query, after=page.cursor, page_size=MAX_PAGE_SIZE))
            )
        self._changes_expected = changes if pages > 1 else self._changes_expected
        self._read_since = since
        return found

    def _note_change(self, task: ManusTaskSummary) -> None:
        if task.updated_at is not None and (
            self._newest_change is None or task.updated_at > self._newest_change
        ):
            self._newest_change = task.updated_at

    def _check_trust(self, task: ManusTaskSummary) -> None:
        """Notice an end that the last look, which read changes, should have shown and did not."""
        since = self._read_since
        if since is None or not task.state.is_terminal or not self._trusts_changes:
            return
        if task.updated_at is None or task.updated_at < since:
            self._trusts_changes = False
            log.info("Manus does not list the latest changes first; every look counts all tasks from now on.")
