"""Starting a remote task once, however many attempts Airflow makes.

What an attempt decides is decided in :mod:`remote_tasks_provider.core.submission`; this module keeps the
record (in Airflow's task state store, from 3.3 on), asks the service, and carries the decision out. Below 3.3
there is nowhere to keep a record: there, the service's tasks are searched on every attempt but the first.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from remote_tasks_provider.bases.compat import first_try_number
from remote_tasks_provider.core.errors import NotFoundError, RemoteTaskError
from remote_tasks_provider.core.submission import (
    Attempt,
    Candidate,
    Decision,
    SubmissionPolicy,
    SubmissionRecord,
    decide_from_record,
    decide_from_search,
    may_have_submitted,
)

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

__all__ = ["CorrelationTag", "Submission", "Submitter"]

_RECORD = "remote_task_start"
_BETWEEN_SEARCHES = 5.0
_DAY = 24 * 60 * 60.0
# How far back a search goes at most, so that a run of long ago does not list years of tasks.
_LONGEST_SEARCH = 30 * _DAY


@dataclass(frozen=True, slots=True)
class CorrelationTag:
    """What makes the task that one attempt starts recognisable: text to be put into its title.

    :param key: the same for all attempts of one Airflow task instance.
    :param attempt: which of them.
    """

    key: str
    attempt: int

    def __str__(self) -> str:
        return f"[af-{self.key}-{self.attempt}]"

    def attempt_in(self, title: str | None, attempts: range) -> int | None:
        """Return which of ``attempts`` of the same task instance has left its mark in ``title``."""
        return next(
            (number for number in attempts if str(CorrelationTag(self.key, number)) in (title or "")), None
        )


class Submission(Protocol):
    """How one vendor's task is started and found again."""

    def prepare(self) -> None:
        """Do what comes before the start and costs nothing, such as uploading files."""

    def create(self, tag: CorrelationTag) -> Candidate:
        """Start the task; ask once, and raise if that fails."""

    def standing(self, task_id: str) -> Candidate:
        """Return where a task stands.

        :raises NotFoundError: if the service does not know it.
        """

    def search(self, tag: CorrelationTag, attempts: range, since: float) -> Sequence[Candidate]:
        """Return the tasks that one of ``attempts`` may have started since that moment."""

    def stop(self, task_id: str) -> None:
        """Stop a task that is to be replaced by another."""

    @property
    def sees_all(self) -> bool:
        """Whether :meth:`search` would find any task that asks the same."""

    @property
    def goes_by_marks(self) -> bool:
        """Whether it would find one that asks something else, too."""


class Submitter:
    """Starts one task, or finds the one that was started.

    :param task: the operator, for its ``retries`` and its log.
    :param appears_within: seconds after which a task that was started is listed.
    """

    def __init__(
        self,
        task: BaseOperator,
        context: Context,
        *,
        policy: SubmissionPolicy,
        appears_within: float,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        ti: Any = context["ti"]
        self._log = task.log
        self._policy = policy
        self._appears_within = appears_within
        self._sleep = sleep
        self._store: Any = context.get("task_state_store")
        number = int(getattr(ti, "try_number", 1) or 1)
        self.attempt = Attempt(number, min(number, first_try_number(context, task)))
        run: Any = context.get("dag_run")
        # A clear moves the start of a run that had ended; the other two stay.
        moments = [getattr(run, name, None) for name in ("start_date", "queued_at", "run_after")]
        self._run_began = min((moment.timestamp() for moment in moments if moment), default=None)
        names = (ti.dag_id, ti.task_id, ti.run_id, str(ti.map_index))
        self.tag = CorrelationTag(hashlib.sha256("\n".join(names).encode()).hexdigest()[:10], number)

    @property
    def remembers(self) -> bool:
        """Whether a record of this start outlives the attempt."""
        return self._store is not None

    def ensure(self, starting: Submission, fingerprint: str) -> Candidate:
        """Return the task to wait for: an earlier attempt's, or a new one.

        :raises RemoteTaskError: when it could not be started, or when that is for a person to decide.
        """
        record = SubmissionRecord.from_json(self._store.get(_RECORD)) if self._store is not None else None
        decision = self._decide(starting, record, fingerprint)
        self._log.info("%s", decision.why)
        if decision.reattach_to is not None:
            record = record or SubmissionRecord(fingerprint, time.time(), self.attempt.number)
            self._write(record.kept_by(decision.reattach_to, self.attempt))
            return decision.reattach_to
        if decision.stop is not None:
            starting.stop(decision.stop)
        return self._start(starting, fingerprint, record.task_id if record else None)

    def forget(self) -> None:
        """Drop the record: the task was stopped by this side, and a later attempt must start another."""
        if self._store is not None:
            self._store.delete(_RECORD)

    def _decide(self, starting: Submission, record: SubmissionRecord | None, fingerprint: str) -> Decision:
        if record is not None and record.task_id is not None:
            standing = self._standing(starting, record)
            return decide_from_record(record, standing, fingerprint, self.attempt, self._policy)
        if record is None and self.attempt.number == 1:
            return Decision("This is the first attempt.")
        if record is None and self.remembers and not (starting.goes_by_marks or self.attempt.is_first):
            # What merely asks the same is more likely another's.
            return Decision("No earlier attempt has started a task.")
        decision = self._decide_from_search(starting, record, fingerprint)
        if record is None or decision.reattach_to is None:
            return decision
        # What the lost request asked for may be something else.
        return decide_from_record(record, decision.reattach_to, fingerprint, self.attempt, self._policy)

    def _decide_from_search(
        self, starting: Submission, record: SubmissionRecord | None, fingerprint: str
    ) -> Decision:
        asks_the_same = record is None or record.fingerprint == fingerprint
        return decide_from_search(
            self._search(starting, record),
            self.attempt,
            self._policy,
            lost=record,
            sees_all=starting.sees_all and (asks_the_same or starting.goes_by_marks),
            remembers=self.remembers,
        )

    def _standing(self, starting: Submission, record: SubmissionRecord) -> Candidate | None:
        try:
            return starting.standing(record.task_id or "")
        except NotFoundError:
            # A fresh task answers 404 for a while, too.
            if time.time() - record.intended_at < self._appears_within:
                raise
            return None

    def _began(self) -> float:
        now = time.time()
        began = now - _DAY if self._run_began is None else self._run_began
        return max(began, now - _LONGEST_SEARCH)

    def _search(self, starting: Submission, lost: SubmissionRecord | None) -> Sequence[Candidate]:
        """Search for a task that was started; for a lost one, until it would be listed if there were one."""
        if lost is None:
            return starting.search(self.tag, range(1, self.attempt.number + 1), self._began())
        attempts, since = range(lost.attempt, lost.attempt + 1), lost.intended_at
        while True:
            found = starting.search(self.tag, attempts, since)
            left = since + self._appears_within - time.time()
            if found or left <= 0:
                return found
            self._log.info("No task is listed yet that the lost request may have started; looking on.")
            self._sleep(min(_BETWEEN_SEARCHES, left))

    def _start(self, starting: Submission, fingerprint: str, replaces: str | None) -> Candidate:
        starting.prepare()
        record = SubmissionRecord(fingerprint, time.time(), self.attempt.number, replaces=replaces)
        self._write(record)
        try:
            started = starting.create(self.tag)
        except RemoteTaskError as error:
            if not may_have_submitted(error):
                self.forget()
                raise
            self._log.warning("It is not known whether this request started a task: %s", error)
            started = self._look_for_lost(starting, record, error)
        self._write(record.started(started.task_id, started.url))
        return started

    def _look_for_lost(
        self, starting: Submission, record: SubmissionRecord, error: RemoteTaskError
    ) -> Candidate:
        decision = self._decide_from_search(starting, record, record.fingerprint)
        if decision.reattach_to is None:
            # All tasks were seen, and it is not among them.
            self.forget()
            raise error
        return decision.reattach_to

    def _write(self, record: SubmissionRecord) -> None:
        if self._store is not None:
            self._store.set(_RECORD, record.to_json())
