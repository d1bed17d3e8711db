"""Trouble on request: which calls and deliveries go wrong, how, and how often.

This module only decides; ``app`` carries a decision out on the socket and the emulated APIs shape their lists
by it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import count
from typing import Any, Protocol

from remote_tasks_sandbox.calls import Call

__all__ = ["KINDS", "Fault", "Faults", "Plan"]

#: Every kind with its own options and their defaults.
KINDS: dict[str, dict[str, Any]] = {
    # Answer with this status. No body: the vendor's own form of an error.
    "status": {"status": 500, "headers": {}, "body": None},
    # Hold the request for real seconds (None: until the server stops), then continue.
    "hang": {"seconds": None},
    # Cut the connection before the request has any effect, or after it had.
    "drop_before": {},
    "drop_after": {},
    # 200 with something unreadable: see GARBAGE_FORMS.
    "garbage": {"form": "html"},
    "redirect": {"location": "http://127.0.0.1:9/elsewhere", "status": 302},
    # Lists give their first page and its cursor for ever.
    "repeat_cursor": {},
    # A body of so many bytes, valid JSON.
    "huge": {"size": 64 * 1024 * 1024},
    # A task is unknown: for its first seconds, for its first reads, or as long as the fault is in force.
    "hide": {"seconds": None, "reads": None},
    # Lists leave a task out; asking for it by id works.
    "omit": {},
    # The output is still that of the former status, a website's status that of its former publication: for
    # seconds, for reads, or as long as the fault is in force.
    "lag": {"seconds": None, "reads": None},
    # What becomes of a request that the sandbox makes: it is never sent; sent twice; sent after seconds; sent
    # after the next one; sent and, after seconds, again with the same signature; sent with the signature of
    # something else.
    "delivery_lost": {},
    "delivery_doubled": {},
    "delivery_late": {"seconds": 60.0},
    "delivery_reordered": {},
    "delivery_replayed": {"seconds": 600.0},
    "delivery_forged": {},
}

GARBAGE_FORMS = ("html", "truncated", "list", "string", "null", "empty")

#: Kinds that change what an answer shows; all that match apply. Of the others the first that matches is
#: applied, except that a hang comes before it.
_SHAPING = frozenset({"repeat_cursor", "hide", "omit", "lag"})
_OF_DELIVERIES = frozenset(kind for kind in KINDS if kind.startswith("delivery_"))


class Subject(Protocol):
    """What a call is about; a vendor knows it."""

    def target(self, call: Call) -> str | None:
        """Return the id that a call is for."""

    def is_list(self, call: Call) -> bool:
        """Whether a call asks for a list."""


@dataclass
class Fault:
    """One fault in force, and how often it was met."""

    id: str
    kind: str
    path: str = "*"
    method: str = "*"
    task_id: str | None = None
    times: int | None = None
    after: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    seen: int = 0
    applied: int = 0
    _counts: dict[str, int] = field(default_factory=dict, repr=False)

    def matches(self, call: Call, subject: Subject) -> bool:
        """Whether ``call`` is one this fault is meant for, whatever its counts say."""
        if self.kind in _OF_DELIVERIES:
            return False
        if self.method not in ("*", call.method) or not fnmatchcase(call.path, self.path):
            return False
        if self.task_id is None or subject.target(call) == self.task_id:
            return True
        return self.kind in _SHAPING and subject.is_list(call)

    def take(self) -> bool:
        """Count one matching call and say whether the fault applies to it."""
        self.seen += 1
        if self.seen <= self.after or self.spent:
            return False
        self.applied += 1
        return True

    @property
    def spent(self) -> bool:
        """Whether the fault was applied as often as it was asked to be."""
        return self.times is not None and self.applied >= self.times

    def covers(self, key: str, task_id: str, since: float, now: float, *, counting: bool = True) -> bool:
        """Whether a task is still within the seconds or reads of a ``hide`` or ``lag``.

        :param key: what reads are counted under
        :param since: when the seconds began, unix seconds
        :param counting: whether this is one of the reads
        """
        if self.task_id not in (None, task_id):
            return False
        seconds, reads = self.options.get("seconds"), self.options.get("reads")
        if seconds is not None:
            return now < since + float(seconds)
        if reads is None:
            return True
        done = self._counts.get(key, 0)
        if counting and done < reads:
            self._counts[key] = done + 1
        return done < int(reads)

    def describe(self) -> dict[str, Any]:
        """Return the fault as JSON-ready data."""
        names = ("id", "kind", "path", "method", "task_id", "times", "after", "seen", "applied", "options")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Plan:
    """What goes wrong with one call."""

    hangs: tuple[Fault, ...] = ()
    ending: Fault | None = None
    shaping: tuple[Fault, ...] = ()

    @property
    def label(self) -> str | None:
        """Return the kinds that apply, for the journal."""
        faults = (*self.hangs, *((self.ending,) if self.ending else ()), *self.shaping)
        return ",".join(fault.kind for fault in faults) or None

    @property
    def repeats_cursor(self) -> bool:
        """Whether lists must give their first page again."""
        return any(fault.kind == "repeat_cursor" for fault in self.shaping)

    def hides(self, task_id: str, added_at: float, now: float) -> bool:
        """Whether a task asked for by id must look unknown; counts as one of its reads."""
        hiding = [fault for fault in self.shaping if fault.kind == "hide"]
        # Counted, not any(): each fault counts its own reads, so none may be skipped.
        return sum(fault.covers(task_id, task_id, added_at, now) for fault in hiding) > 0

    def unlisted(self, task_id: str, added_at: float, now: float) -> bool:
        """Whether a list must leave the task out."""
        return any(
            (f.kind == "omit" and f.task_id in (None, task_id))
            or (f.kind == "hide" and f.covers(task_id, task_id, added_at, now, counting=False))
            for f in self.shaping
        )

    def lags(self, task_id: str, index: int, since: float, now: float) -> bool:
        """Whether the output must be that of the status before position ``index``; counts as a read."""
        lagging = [fault for fault in self.shaping if fault.kind == "lag"]
        return sum(fault.covers(f"{task_id} {index}", task_id, since, now) for fault in lagging) > 0


class Faults:
    """The faults in force; thread safe.

    :ivar on_clear: called after :meth:`clear`, so that the application can drop the requests it holds
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: dict[str, Fault] = {}
        self._numbers = count(1)
        self.on_clear: Callable[[], None] = lambda: None

    def add(
        self,
        kind: str,
        path: str = "*",
        method: str = "*",
        *,
        task_id: str | None = None,
        times: int | None = None,
        after: int = 0,
        **options: Any,
    ) -> str:
        """Put a fault in force.

        :param kind: one of ``KINDS``
        :param path: shell pattern of the decoded path, vendor prefix included; ``*`` also spans slashes
        :param method: method, or ``*``
        :param task_id: only calls for this task (or, for a list, this message); for ``hide``, ``omit`` and
            ``lag`` the task that is affected
        :param times: apply to so many calls, then no more; ``None`` for all
        :param after: leave the first so many matching calls alone
        :param options: the kind's own options
        :returns: an id for :meth:`remove`
        """
        _check(kind, times, after, options)
        with self._lock:
            fault_id = f"fault-{next(self._numbers)}"
            merged = {**KINDS[kind], **options}
            self._faults[fault_id] = Fault(
                fault_id, kind, path, method.upper(), task_id, times, after, merged
            )
        return fault_id

    def remove(self, fault_id: str) -> bool:
        """Take one fault out of force; ``False`` when there is none with that id."""
        with self._lock:
            return self._faults.pop(fault_id, None) is not None

    def clear(self) -> None:
        """Take all faults out of force and drop the requests they hold."""
        with self._lock:
            self._faults.clear()
        self.on_clear()

    def all(self) -> list[Fault]:
        """Return the faults, oldest first, spent ones included."""
        with self._lock:
            return list(self._faults.values())

    def plan(self, call: Call, subject: Subject) -> Plan:
        """Decide what goes wrong with ``call``, and count it."""
        # Most calls meet no fault; a dict that is empty now needs no lock to be seen empty.
        if not self._faults:
            return Plan()
        hangs: list[Fault] = []
        shaping: list[Fault] = []
        ending: Fault | None = None
        with self._lock:
            for fault in self._faults.values():
                if not fault.matches(call, subject) or (
                    ending is not None and fault.kind not in {*_SHAPING, "hang"}
                ):
                    continue
                if not fault.take():
                    continue
                if fault.kind in _SHAPING:
                    shaping.append(fault)
                elif fault.kind == "hang":
                    hangs.append(fault)
                else:
                    ending = fault
        return Plan(tuple(hangs), ending, tuple(shaping))

    def of_delivery(self, path: str, task_id: str) -> Fault | None:
        """Decide what goes wrong with a request that the sandbox makes, and count it.

        :param path: what the fault's ``path`` must fit
        :param task_id: the task that it is about
        """
        with self._lock:
            for fault in self._faults.values():
                fits = fault.task_id in (None, task_id) and fnmatchcase(path, fault.path)
                if fault.kind in _OF_DELIVERIES and fits and fault.take():
                    return fault
        return None


def _check(kind: str, times: int | None, after: int, options: Mapping[str, Any]) -> None:
    if kind not in KINDS:
        raise ValueError(f"unknown kind of fault {kind!r}; known are {sorted(KINDS)}")
    unknown = sorted(set(options) - set(KINDS[kind]))
    if unknown:
        raise ValueError(f"fault {kind!r} has no option {unknown}; it has {sorted(KINDS[kind])}")
    _check_number("times", times, least=1, whole=True)
    _check_number("after", after, least=0, whole=True)
    _check_number("seconds", options.get("seconds"), least=0)
    _check_number("reads", options.get("reads"), least=1, whole=True)
    _check_number("size", options.get("size"), least=32, whole=True)
    _check_number("status", options.get("status"), least=200, whole=True)
    if options.get("status", 200) > 599:
        raise ValueError("a status lies between 200 and 599")
    if options.get("form", "html") not in GARBAGE_FORMS:
        raise ValueError(f"garbage comes in the forms {list(GARBAGE_FORMS)}")
    if not isinstance(options.get("headers", {}), Mapping):
        raise ValueError("headers map names to values")  # noqa: TRY004 - a wrong value in JSON, answered with 400


def _check_number(name: str, value: Any, *, least: int, whole: bool = False) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or value < least:
        raise ValueError(f"{name} is a {'whole ' if whole else ''}number from {least} on, not {value!r}")
