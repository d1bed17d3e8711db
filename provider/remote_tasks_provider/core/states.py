"""One vocabulary for the state of a remote task, whatever word its vendor uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from remote_tasks_provider.core.storable import cut

__all__ = ["StateTable", "TaskSnapshot", "TaskState"]


class TaskState(StrEnum):
    """The state of a remote task. Members compare equal to their lower-case names."""

    PENDING = "pending"
    """Accepted by the vendor, not running yet."""
    RUNNING = "running"
    """In work; also between an attempt that failed and the next one."""
    WAITING = "waiting"
    """Paused until a person answers."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    """The vendor used an unknown word. Not a terminal state: a wait continues."""

    @property
    def is_terminal(self) -> bool:
        """Whether the task will never change again."""
        return self in _TERMINAL


# Beyond what any service writes; one that is beside itself must not fill Airflow's database.
_MOST_TEXT = 2000

_TERMINAL = frozenset({TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED})


class StateTable:
    """A vendor's status words and the states they mean.

    :param words: status word → state. The words are matched in any case.
    """

    def __init__(self, words: Mapping[str, TaskState]) -> None:
        self._words = {word.casefold(): state for word, state in words.items()}

    @property
    def words(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(self._words)

    def read(self, word: str | None) -> TaskState:
        """Return the state that ``word`` means, :attr:`TaskState.UNKNOWN` for an unknown word."""
        # The usual spelling first: this runs for every task of every list.
        state = self._words.get(word or "")
        return state or self._words.get((word or "").strip().casefold(), TaskState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class TaskSnapshot:
    """The result of one poll of a remote task: small, free of secrets and fit for an XCom.

    :param id: the vendor's id of the task.
    :param state: what the vendor's status word means.
    :param status: the vendor's own word.
    :param url: a page where a person finds the task.
    :param error: the vendor's text about what went wrong.
    :param credit_usage: what the task has cost so far, in the vendor's credits.
    :param details: facts that only this vendor has; plain JSON values.
    """

    id: str
    state: TaskState
    status: str
    url: str | None = None
    title: str | None = None
    error: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    credit_usage: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # One time zone object for all, where pydantic makes one for each moment.
        for name in ("created_at", "updated_at"):
            moment = getattr(self, name)
            if moment is not None:
                object.__setattr__(self, name, moment.astimezone(UTC))
        for name in ("status", "url", "title", "error"):
            object.__setattr__(self, name, _bounded(getattr(self, name)))
        object.__setattr__(self, "details", {name: _bounded(one) for name, one in self.details.items()})

    def to_record(self) -> dict[str, Any]:
        """Return the JSON object that a wait leaves in XCom; absent facts are ``None``, times ISO 8601."""
        return {
            "id": self.id,
            "state": self.state.value,
            "status": self.status,
            "url": self.url,
            "title": self.title,
            "error": self.error,
            "created_at": iso_utc(self.created_at),
            "updated_at": iso_utc(self.updated_at),
            "credit_usage": self.credit_usage,
            **self.details,
        }


def in_words(state: str, status: str | None) -> str:
    """Return a state as the log says it, with the service's own word: ``completed (delivered)``."""
    word = (status or "").strip().lower()
    return str(state) if word in ("", state) else f"{state} ({word})"


def _bounded(value: Any) -> Any:
    return cut(value, _MOST_TEXT) if isinstance(value, str) else value


def iso_utc(moment: datetime | None, timespec: str = "auto") -> str | None:
    """Return a moment in UTC as ISO 8601 has it, with a ``Z``."""
    return None if moment is None else moment.isoformat(timespec=timespec).replace("+00:00", "Z")
