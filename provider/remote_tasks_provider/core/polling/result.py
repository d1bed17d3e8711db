"""How a wait ended: what the trigger sends back, and which error or result that makes on the worker."""

from __future__ import annotations

import base64
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from remote_tasks_provider.core.errors import (
    RemoteTaskError,
    TaskCancelledError,
    TaskFailedError,
    TaskNeedsInputError,
    WaitTimeoutError,
    error_from_json,
)
from remote_tasks_provider.core.log import Log, in_brackets
from remote_tasks_provider.core.polling.policy import TimedOut
from remote_tasks_provider.core.states import TaskState, in_words

__all__ = ["WaitResult"]

_SHOWN = 5
# Lines of the log that say how the tasks of one wait have ended, one for each.
_LINES = 20
# Characters of an event. Airflow wraps each plain object once more, and stores other arguments beside it.
_MOST_PLAIN = 24_000
_MOST_PACKED = 40_000
_PHRASES = {
    TaskState.FAILED: "failed",
    TaskState.CANCELLED: "was cancelled",
    TaskState.WAITING: "waits for an answer",
}


@dataclass(frozen=True, slots=True)
class WaitResult:
    """How a wait ended, in every mode.

    :param records: id → what the last successful poll returned (see :meth:`~.states.TaskSnapshot.to_record`),
        ``None`` if there was none.
    :param errors: id → why the wait gave a task up (see :meth:`~.errors.RemoteTaskError.to_json`).
    :param timed_out: which deadline ended the wait, if one did.
    :param waited: seconds since the first attempt began.
    :param omitted: tasks that are not in ``records``, as there are too many for an event: the worker reads
        them again.
    """

    records: Mapping[str, Mapping[str, Any] | None]
    errors: Mapping[str, Mapping[str, Any]]
    timed_out: TimedOut | None
    waited: float
    omitted: Sequence[str] = ()

    @property
    def outcome(self) -> str:
        """One word for how the wait ended, for metrics: a state, ``timeout`` or ``error``."""
        if self.errors:
            return "error"
        if self.timed_out:
            return "timeout"
        states = {record["state"] for record in self.records.values() if record is not None}
        worst = (TaskState.FAILED, TaskState.CANCELLED, TaskState.WAITING, TaskState.RUNNING)
        return next((state.value for state in worst if state in states), TaskState.COMPLETED.value)

    @property
    def first_url(self) -> str | None:
        """The page of the first task that has one."""
        return next((record["url"] for record in self.records.values() if record and record["url"]), None)

    def to_event(self) -> dict[str, Any]:
        """Return the payload of the trigger's event, which Airflow writes to its log and its database.

        It fits into the smallest column of a metadata database, MySQL's 64 KB: many records are compressed,
        and finished ones that do not fit even so are left out, to be read again by the worker.
        """
        event: dict[str, Any] = {
            "records": dict(self.records),
            "errors": self.errors,
            "timed_out": self.timed_out,
            "waited": self.waited,
            "omitted": [],
        }
        if len(json.dumps(event)) <= _MOST_PLAIN:
            return event
        # What a second reading would not tell comes first.
        ids = sorted(self.records, key=lambda one: (one not in self.errors, _is_finished(self.records[one])))
        fits, packed = len(ids), self._pack(ids)
        while len(packed) > _MOST_PACKED:
            fits = int(fits * 0.9 * _MOST_PACKED / len(packed))
            packed = self._pack(ids[:fits])
        omitted = "rest" if fits < len(ids) else []
        return {**event, "records": {}, "errors": {}, "packed": packed, "omitted": omitted}

    def _pack(self, ids: Sequence[str]) -> str:
        kept = {
            "records": {task_id: self.records[task_id] for task_id in ids},
            "errors": {task_id: self.errors[task_id] for task_id in ids if task_id in self.errors},
        }
        return base64.b64encode(zlib.compress(json.dumps(kept).encode())).decode()

    def completed_with(self, other: WaitResult) -> WaitResult:
        """Return the result with what ``other`` has of the omitted tasks."""
        return replace(
            self,
            records={**self.records, **other.records},
            errors={**self.errors, **other.errors},
            omitted=[],
        )

    @classmethod
    def from_event(cls, event: Any, ids: Iterable[str] = ()) -> WaitResult:
        """Return the result that a trigger's event holds.

        :param ids: the tasks of the wait, of which the event may leave some out.
        :raises RemoteTaskError: when the event is missing or another trigger's.
        """
        names = ("records", "errors", "timed_out", "waited")
        if not isinstance(event, Mapping) or any(name not in event for name in names):
            raise RemoteTaskError(
                "The trigger came back without a result this version understands. The remote tasks are "
                "untouched; clear the task to wait for them again."
            )
        facts = {name: event[name] for name in names}
        if "packed" in event:
            facts |= json.loads(zlib.decompress(base64.b64decode(event["packed"])))
        omitted = event.get("omitted", ())
        if omitted == "rest":
            omitted = [task_id for task_id in dict.fromkeys(ids) if task_id not in facts["records"]]
        return cls(**facts, omitted=omitted)

    def lines(self, label: str) -> list[str]:
        """Return what to say in the log of how the tasks stand: a line for each, or a count of many.

        :param label: what was waited for: ``Manus task``.
        """
        known = {task_id: record for task_id, record in self.records.items() if record is not None}
        if len(known) > _LINES:
            counts = Counter(in_words(record["state"], record["status"]) for record in known.values())
            return [f"{len(known)} {label}s: {', '.join(f'{n} {state}' for state, n in counts.items())}."]
        return [
            f"{label} {task_id} is {in_words(record['state'], record['status'])}"
            + (f": {record['error']}" if record["error"] else ".")
            for task_id, record in known.items()
        ]

    def report(self, label: str, log: Log) -> None:
        """Say in a log how the tasks stand; see :meth:`lines`."""
        for line in self.lines(label):
            log.info("%s", line)

    def failure(self, label: str, *, raise_on_failure: bool, on_waiting: str) -> RemoteTaskError | None:
        """Return the error that this result is, or ``None`` for a success.

        :param label: what was waited for, for messages: ``Manus task``.
        """
        if raise_on_failure:
            for state, kind in (
                (TaskState.FAILED, TaskFailedError),
                (TaskState.CANCELLED, TaskCancelledError),
            ):
                if texts := self._texts(label, state):
                    return kind(self._sentence(texts))
        if on_waiting == "fail" and (texts := self._texts(label, TaskState.WAITING)):
            return TaskNeedsInputError(self._sentence(texts))
        if self.errors:
            return self._given_up(label)
        return WaitTimeoutError(self._timeout_text(label)) if self.timed_out else None

    def in_order(self, ids: Sequence[str]) -> list[Mapping[str, Any] | None]:
        """Return the records of ``ids``, in that order."""
        return [self.records.get(task_id) for task_id in ids]

    def _texts(self, label: str, state: TaskState) -> list[str]:
        texts = []
        for task_id, record in self.records.items():
            if record is not None and record["state"] == state:
                reason = f": {record['error']}" if record["error"] else ""
                texts.append(f"{label} {task_id} {_PHRASES[state]}{reason}{in_brackets(record['url'])}")
        return texts

    def _sentence(self, texts: Sequence[str]) -> str:
        more = f"; and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
        count = f"{len(texts)} of {len(self.records)}: " if len(self.records) > 1 else ""
        return f"{count}{'; '.join(texts[:_SHOWN])}{more}"

    def _given_up(self, label: str) -> RemoteTaskError:
        """Return the first task's error; with several tasks it says which one and how many there are."""
        task_id, data = next(iter(self.errors.items()))
        error = error_from_json(data)
        if len(self.records) == 1:
            return error
        count = f"The wait gave up {len(self.errors)} of {len(self.records)} {label}s."
        return error_from_json({**data, "message": f"{count} {label} {task_id}: {error.message}"})

    def _timeout_text(self, label: str) -> str:
        unfinished = [
            f"{label} {task_id} ({record['state'] if record else 'never seen'})"
            for task_id, record in self.records.items()
            if not _is_finished(record)
        ]
        return (
            f"Gave up after {self.waited:.0f} s ({self.timed_out}) waiting for {self._sentence(unfinished)}."
        )


def _is_finished(record: Mapping[str, Any] | None) -> bool:
    return record is not None and TaskState(record["state"]).is_terminal
