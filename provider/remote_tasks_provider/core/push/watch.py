"""What a watcher has told already: so that it skips nothing, and tells nothing for ever.

A watcher lists what has happened at a service, again and again, and tells each thing once. Lists show things
late and out of order, and clocks differ. So each listing overlaps with the one before, and a *cursor* keeps
what was told within the overlap. It is small and made of JSON, for the state store of an asset.

Pure: no I/O, and time is passed in.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.http.operation import Operation, Page
from remote_tasks_provider.core.polling.strategy import Plan, PollRequest
from remote_tasks_provider.core.states import TaskSnapshot

__all__ = ["OVERLAP", "Cursor", "Listing", "Sighting", "moment"]

log = logging.getLogger(__name__)

OVERLAP = 600.0
"""Seconds by which a list may show something late."""
# What is kept of them fits into the 65,535 bytes that a state store takes.
_MOST_KEPT = 1500
_DIGITS = 16
_MOST_PAGES = 50


@dataclass(frozen=True, slots=True)
class Sighting:
    """One thing that a list shows.

    :param key: the same whenever this thing is listed, and for nothing else.
    :param at: when it happened, Unix seconds.
    :param payload: what to tell of it; JSON. ``None`` for a thing that is no event but ends one, as a task
        does that runs again: if it happens once more, that is told once more.
    """

    key: str
    at: float
    payload: Mapping[str, Any] | None

    @classmethod
    def of_task(cls, task: TaskSnapshot, time: datetime | None) -> Sighting | None:
        """Return the end of a task, or that it runs; nothing where it is not known since when."""
        payload = task.to_record() if task.state.is_terminal else None
        return None if time is None else cls(task.id, time.timestamp(), payload)


class Listing:
    """Lists what has happened; a :class:`~remote_tasks_provider.core.polling.strategy.PollStrategy`.

    What it is asked for is one moment, as text: it delivers a :class:`Sighting` for each thing since then,
    by its key, or an error under the moment.

    :param first: the operation for the first page, of the moment in Unix seconds.
    :param sight: what an item of the list is, if it is anything.
    :param is_sorted: whether the list begins with what has happened last, so that it need not be read whole.
    """

    def __init__(
        self,
        first: Callable[[float], Operation[Page[Any]]],
        sight: Callable[[Any], Sighting | None],
        *,
        is_sorted: bool,
    ) -> None:
        self._first = first
        self._sight = sight
        self._is_sorted = is_sorted

    def plan(self, request: PollRequest) -> Plan[None]:
        """Plan one listing."""
        (asked,) = request.due
        since, pages = float(asked), 0
        operation: Operation[Page[Any]] | None = self._first(since)
        while operation is not None and pages < _MOST_PAGES:
            (page,) = yield [operation]
            if isinstance(page, RemoteTaskError):
                yield {asked: page}
                return
            pages += 1
            found = [one for one in map(self._sight, page.items) if one is not None]
            results: Any = {one.key: one for one in reversed(found)}
            yield results
            is_older = self._is_sorted and bool(found) and all(one.at <= since for one in found)
            operation = None if is_older else page.next
        if operation is not None:
            log.warning("A list has more than %d pages; what its other pages show is not watched.", pages)


class Cursor:
    """What was told.

    :param saved: what :meth:`to_json` returned; ``None`` at the very beginning.
    """

    def __init__(self, saved: Any = None) -> None:
        known = saved if isinstance(saved, Mapping) else {}
        self.has_begun = bool(known)
        self._floor = float(known.get("floor", 0.0))
        self._told = {str(key): float(at) for key, at in (known.get("told") or {}).items()}

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {"floor": self._floor, "told": dict(self._told)}

    @property
    def since(self) -> float:
        """From when on the next listing must tell everything, Unix seconds."""
        return self._floor

    def begin(self, sightings: Iterable[Sighting], now: float) -> None:
        """Take everything that is listed now as told: a watcher tells of what happens after its beginning."""
        self.has_begun, self._floor = True, now - OVERLAP
        for one in sightings:
            if one.payload is not None:
                self.tell(one.key, one.at, now)

    def news(self, sightings: Collection[Sighting], now: float) -> tuple[list[Sighting], list[str]]:
        """Return what to tell, in the order in which it happened, and the keys to :meth:`forget`.

        :param now: Unix seconds; what claims to come later counts as coming now.
        """
        latest: dict[str, Sighting] = {}
        self.keep(sightings, now)
        for one in sorted(sightings, key=lambda sighting: sighting.at):
            if min(one.at, now) > self._floor:
                latest[one.key] = one
        news = [one for one in latest.values() if one.payload is not None and _id(one.key) not in self._told]
        ended = [key for key, one in latest.items() if one.payload is None and _id(key) in self._told]
        return news, ended

    def keep(self, sightings: Iterable[Sighting], now: float) -> None:
        """Keep what was told for as long as it is listed as a new thing, so that it is told once."""
        for one in sightings:
            known = _id(one.key)
            if known in self._told and one.payload is not None:
                self._told[known] = max(self._told[known], min(one.at, now))

    def tell(self, key: str, at: float, now: float) -> None:
        """Note that a thing was told.

        :param now: Unix seconds; what claims to come later moves nothing ahead.
        """
        self._told[_id(key)] = min(at, now)
        newest = max(self._told.values())
        self._floor = max(self._floor, newest - OVERLAP)
        kept = sorted(self._told.items(), key=lambda item: item[1])
        for known, when in kept[: max(0, len(kept) - _MOST_KEPT)]:
            del self._told[known]
            self._floor = max(self._floor, when)
        self._told = {known: when for known, when in self._told.items() if when > self._floor}

    def forget(self, keys: Iterable[str]) -> None:
        """Note that things may be told again."""
        for key in keys:
            self._told.pop(_id(key), None)


def _id(key: str) -> str:
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()[:_DIGITS]


def moment(time: datetime | None) -> float | None:
    """Return Unix seconds of a time, if there is one."""
    return None if time is None else time.timestamp()
