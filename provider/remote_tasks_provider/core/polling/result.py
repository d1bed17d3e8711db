"""How a wait ended: what the trigger sends back, and which error or result that makes on the worker.

The same object ends a wait in every mode, so that poke, reschedule and deferrable give the same result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from remote_tasks_provider.core.errors import (
    RemoteTaskError,
    TaskCancelledError,
    TaskFailedError,
    TaskNeedsInputError,
    WaitTimeoutError,
    error_from_json,
)
from remote_tasks_provider.core.polling.strategy import PollResults
from remote_tasks_provider.core.states import TaskSnapshot, TaskState

__all__ = ["TimedOut", "WaitResult"]

TimedOut = Literal["timeout", "execution_timeout"]

_SHOWN = 5
_MOST_RECORDS_IN_EVENT = 100


@dataclass(frozen=True, slots=True)
class WaitResult:
    """How a wait ended.

    :param records: id → what the last good look told (see :meth:`~.states.TaskSnapshot.to_record`), ``None``
        if none.
    :param errors: id → why a task could not be known (see :meth:`~.errors.RemoteTaskError.to_json`).
    :param timed_out: which deadline ended the wait, if one did.
    :param waited: seconds since the first attempt began.
    :param omitted: tasks that have ended and that are not in ``records``, as there are too many for an event:
        the worker asks for them again.
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
        """Return the payload of the trigger's event, which Airflow writes to its log and its database."""
        omitted = self._ended() if len(self.records) > _MOST_RECORDS_IN_EVENT else []
        left_out = set(omitted)
        return {
            "records": {one: record for one, record in self.records.items() if one not in left_out},
            "errors": self.errors,
            "timed_out": self.timed_out,
            "waited": self.waited,
            "omitted": omitted,
        }

    def _ended(self) -> list[str]:
        return [
            task_id
            for task_id, record in self.records.items()
            if record is not None and TaskState(record["state"]).is_terminal
        ]

    def completed_with(self, results: PollResults) -> WaitResult:
        """Return the report with what was found out about omitted tasks."""
        records, errors = dict(self.records), dict(self.errors)
        for task_id in self.omitted:
            result = results.get(task_id)
            if isinstance(result, TaskSnapshot):
                records[task_id] = result.to_record()
            elif isinstance(result, RemoteTaskError):
                records[task_id], errors[task_id] = None, result.to_json()
        left = [task_id for task_id in self.omitted if task_id not in records]
        return replace(self, records=records, errors=errors, omitted=left)

    @classmethod
    def from_event(cls, event: Any) -> WaitResult:
        """Return the report that a trigger's event holds.

        :raises RemoteTaskError: when the event is missing or another trigger's.
        """
        names = ("records", "errors", "timed_out", "waited")
        if not isinstance(event, Mapping) or any(name not in event for name in names):
            raise RemoteTaskError(
                "The trigger came back without a result this version understands. The remote tasks are "
                "untouched; clear the task to wait for them again."
            )
        return cls(**{name: event[name] for name in names}, omitted=event.get("omitted", ()))

    def failure(self, what: str, *, raise_on_failure: bool, on_waiting: str) -> RemoteTaskError | None:
        """Return the error that this end is, or ``None`` for a success.

        :param what: what was waited for, for messages: ``Manus task``.
        """
        if raise_on_failure:
            for state, kind in (
                (TaskState.FAILED, TaskFailedError),
                (TaskState.CANCELLED, TaskCancelledError),
            ):
                if texts := self._texts(what, state):
                    return kind(self._sentence(texts))
        if on_waiting == "fail" and (texts := self._texts(what, TaskState.WAITING)):
            return TaskNeedsInputError(self._sentence(texts))
        if self.errors:
            return self._lost(what)
        return WaitTimeoutError(self._timeout_text(what)) if self.timed_out else None

    def in_order(self, ids: Sequence[str]) -> list[Mapping[str, Any] | None]:
        """Return the records of ``ids``, in that order."""
        return [self.records.get(task_id) for task_id in ids]

    def _texts(self, what: str, state: TaskState) -> list[str]:
        phrases = {
            TaskState.FAILED: "failed",
            TaskState.CANCELLED: "was cancelled",
            TaskState.WAITING: "waits for an answer",
        }
        texts = []
        for task_id, record in self.records.items():
            if record is not None and record["state"] == state:
                reason = f": {record['error']}" if record["error"] else ""
                place = f" ({record['url']})" if record["url"] else ""
                texts.append(f"{what} {task_id} {phrases[state]}{reason}{place}")
        return texts

    def _sentence(self, texts: Sequence[str]) -> str:
        more = f"; and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
        count = f"{len(texts)} of {len(self.records)}: " if len(self.records) > 1 else ""
        return f"{count}{'; '.join(texts[:_SHOWN])}{more}"

    def _lost(self, what: str) -> RemoteTaskError:
        """Return the first task's error, told apart from the others when there are several tasks."""
        task_id, data = next(iter(self.errors.items()))
        error = error_from_json(data)
        if len(self.records) == 1:
            return error
        return error_from_json(
            {**data, "message": f"{self._count_lost()} {what} {task_id}: {error.message}"},
        )

    def _count_lost(self) -> str:
        return f"{len(self.errors)} of {len(self.records)} tasks could not be followed."

    def _timeout_text(self, what: str) -> str:
        unfinished = [
            f"{what} {task_id} ({record['state'] if record else 'never seen'})"
            for task_id, record in self.records.items()
            if record is None or not TaskState(record["state"]).is_terminal
        ]
        return (
            f"Gave up after {self.waited:.0f} s ({self.timed_out}) waiting for {self._sentence(unfinished)}."
        )
