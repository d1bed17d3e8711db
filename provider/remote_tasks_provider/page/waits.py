"""What the page knows of a wait, and what it makes of many: totals, filters, a part of them in an order.

Pure; imports no Airflow. A fact that is not known is ``None``, and never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["ORDERS", "PLACES", "Filters", "Wait", "ordered", "totals"]

PLACES = ("triggerer", "worker", "scheduler", "person")
"""Where a wait is: deferred, running, up for reschedule, or paused until somebody answers."""

# A wait for thousands of tasks names so many of them.
_SHOWN_IDS = 5


@dataclass(slots=True)
class Wait:
    """One task instance that waits for remote tasks.

    :param place: one of :data:`PLACES`.
    :param service: ``Manus``; ``None`` where the wait has not said whom it asks.
    :param task_type: what it waits for: ``Manus task``.
    :param remote_ids: the ids of the remote tasks.
    :param url: the page of the first remote task that has one.
    :param state: of the remote task or tasks, as the last known poll saw it.
    :param state_at: when that was, Unix seconds.
    :param since: when the wait began, Unix seconds.
    :param polled_at: when the service last answered for this wait, Unix seconds.
    :param credits: what the remote tasks have cost so far.
    :param question: what a person is asked, while nobody has answered.
    :param asked_at: since when, Unix seconds.
    :param is_attended: whether a triggerer that is alive has the wait; ``None`` where none is needed.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    place: str
    service: str | None = None
    task_type: str | None = None
    conn_id: str | None = None
    remote_ids: Sequence[str] = ()
    url: str | None = None
    state: str | None = None
    state_at: float | None = None
    since: float | None = None
    polled_at: float | None = None
    credits: int | None = None
    question: str | None = None
    asked_at: float | None = None
    is_attended: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what the page is told; of many remote ids the first, and how many there are."""
        return {
            **{name: getattr(self, name) for name in self.__slots__},
            "remote_ids": list(self.remote_ids[:_SHOWN_IDS]),
            "remote_count": len(self.remote_ids),
        }


@dataclass(frozen=True, slots=True)
class Filters:
    """Which waits to show; an empty one shows all.

    :param text: part of a DAG's, run's or task's id, of a remote id or of a question, in any case.
    """

    text: str = ""
    service: str = ""
    conn_id: str = ""
    state: str = ""
    place: str = ""
    has_question: bool = False

    def take(self, waits: Iterable[Wait]) -> list[Wait]:
        """Return the waits that fit."""
        return [wait for wait in waits if self._fits(wait)]

    def _fits(self, wait: Wait) -> bool:
        pairs = (
            (self.service, wait.service),
            (self.conn_id, wait.conn_id),
            (self.state, wait.state),
            (self.place, wait.place),
        )
        if any(wanted and wanted != found for wanted, found in pairs):
            return False
        if self.has_question and wait.question is None:
            return False
        return not self.text or self.text.casefold() in _words(wait)


def _words(wait: Wait) -> str:
    words = (wait.dag_id, wait.run_id, wait.task_id, wait.question or "", *wait.remote_ids)
    return "\n".join(words).casefold()


ORDERS: dict[str, Callable[[Wait], Any]] = {
    "since": lambda wait: wait.since,
    "dag": lambda wait: (wait.dag_id, wait.run_id, wait.task_id, wait.map_index),
    "connection": lambda wait: None if wait.service is None else (wait.service, wait.conn_id or ""),
    "state": lambda wait: wait.state,
    "polled": lambda wait: wait.polled_at,
    "credits": lambda wait: wait.credits,
}
"""What the waits can be ordered by; what is not known comes last, in either direction."""


def ordered(waits: Iterable[Wait], by: str, *, descending: bool) -> list[Wait]:
    """Return the waits in an order, by :data:`ORDERS`; then by task instance."""
    key = ORDERS[by]
    # In a fixed order first: sorting keeps it where two are equal.
    found = sorted(waits, key=ORDERS["dag"])
    known = [wait for wait in found if key(wait) is not None]
    return [
        *sorted(known, key=key, reverse=descending),
        *(wait for wait in found if key(wait) is None),
    ]


@dataclass(slots=True)
class _Total:
    service: str | None
    conn_id: str | None
    waits: int = 0
    remote_tasks: int = 0
    questions: int = 0
    unattended: int = 0
    oldest: float | None = None
    polled_at: float | None = None
    credits: int | None = None
    states: dict[str, int] = field(default_factory=dict)

    def add(self, wait: Wait) -> None:
        self.waits += 1
        self.remote_tasks += len(wait.remote_ids)
        self.questions += wait.question is not None
        self.unattended += wait.is_attended is False
        state = wait.state or ""
        self.states[state] = self.states.get(state, 0) + 1
        if wait.since is not None:
            self.oldest = wait.since if self.oldest is None else min(self.oldest, wait.since)
        if wait.polled_at is not None:
            self.polled_at = max(self.polled_at or 0.0, wait.polled_at)
        if wait.credits is not None:
            self.credits = (self.credits or 0) + wait.credits


def totals(waits: Iterable[Wait]) -> list[dict[str, Any]]:
    """Return, for each connection, how many waits it has, and what is known of them together."""
    found: dict[tuple[str, str], _Total] = {}
    for wait in waits:
        key = (wait.service or "", wait.conn_id or "")
        found.setdefault(key, _Total(wait.service, wait.conn_id)).add(wait)
    return [asdict(found[key]) for key in sorted(found)]
