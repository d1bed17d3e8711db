"""Submitting a remote task once, however many attempts Airflow makes.

:mod:`remote_tasks_provider.core.submission` decides what an attempt does. This module keeps the record (in
Airflow's task state store, from 3.3 on), asks the service, and carries the decision out. Below 3.3 there is
no place for a record: there, every attempt but the first searches the service's tasks.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
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

_RECORD = "remote_task_submission"
_BETWEEN_SEARCHES = 5.0
_DAY = 24 * 60 * 60.0
# How far back a search goes at most, so that a run of long ago does not list years of tasks.
_LONGEST_SEARCH = 30 * _DAY


@dataclass(frozen=True, slots=True)
class CorrelationTag:
    """What makes the task of one attempt findable: text that is put into its title.

    :param key: the same for all attempts of one Airflow task instance.
    :param attempt: which of them.
    """

    key: str
    attempt: int

    def __str__(self) -> str:
        return f"[af-{self.key}-{self.attempt}]"

    def attempt_in(self, title: str | None, attempts: range) -> int | None:
        """Return which of ``attempts`` of the same task instance has put its tag into ``title``."""
        return next(
            (number for number in attempts if str(CorrelationTag(self.key, number)) in (title or "")), None
        )


class Submission(Protocol):
    """How a service's task is submitted and found again."""

    def prepare(self) -> None:
        """Do what comes before the submission and costs nothing, such as uploading files."""

    def submit(self, tag: CorrelationTag) -> Candidate:
        """Submit the task: one request, without a retry."""

    def read(self, task_id: str) -> Candidate:
        """Return a task as it is now.

        :raises NotFoundError: if the service does not know it.
        """

    def search(self, tag: CorrelationTag, attempts: range, since: float) -> Sequence[Candidate]:
        """Return the tasks that one of ``attempts`` may have submitted since that moment."""

    def cancel(self, task_id: str) -> None:
        """Cancel a task that another one replaces."""

    @property
    def sees_all(self) -> bool:
        """Whether :meth:`search` finds any task with the same inputs."""

    @property
    def finds_tags(self) -> bool:
        """Whether it finds one with other inputs, too: by its correlation tag."""


class Submitter:
    """Submits one task, or finds the one that was submitted.

    :param task: the operator, for its ``retries`` and its log.
    :param appears_within: seconds after which a submitted task is listed.
    """

    def __init__(
        self, task: BaseOperator, context: Context, *, policy: SubmissionPolicy, appears_within: float
    ) -> None:
        ti: Any = context["ti"]
        self._log = task.log
        self._policy = policy
        self._appears_within = appears_within
        self._store: Any = context.get("task_state_store")
        number = int(getattr(ti, "try_number", 1) or 1)
        self.attempt = Attempt(number, min(number, first_try_number(context, task)))
        run: Any = context.get("dag_run")
        # A clear moves the start of a finished run; the other two stay.
        moments = [getattr(run, name, None) for name in ("start_date", "queued_at", "run_after")]
        self._run_began = min((moment.timestamp() for moment in moments if moment), default=None)
        names = (ti.dag_id, ti.task_id, ti.run_id, str(ti.map_index))
        self.tag = CorrelationTag(hashlib.sha256("\n".join(names).encode()).hexdigest()[:10], number)

    @property
    def remembers(self) -> bool:
        """Whether a record of this submission outlives the attempt."""
        return self._store is not None

    def ensure(self, submission: Submission, fingerprint: str) -> Candidate:
        """Return the task to wait for: an earlier attempt's, or a new one.

        :raises RemoteTaskError: when the submission failed, or when a person must decide.
        """
        record = SubmissionRecord.from_json(self._store.get(_RECORD)) if self._store is not None else None
        decision = self._decide(submission, record, fingerprint)
        self._log.info("%s", decision.why)
        if decision.reattach_to is not None:
            record = record or SubmissionRecord(fingerprint, time.time(), self.attempt.number)
            self._write(record.with_task(decision.reattach_to, self.attempt))
            return decision.reattach_to
        if decision.cancel is not None:
            submission.cancel(decision.cancel)
        return self._submit(submission, fingerprint, record.task_id if record else None)

    def forget(self) -> None:
        """Drop the record: this side cancelled the task, and a later attempt must submit another."""
        if self._store is not None:
            self._store.delete(_RECORD)

    def _decide(self, submission: Submission, record: SubmissionRecord | None, fingerprint: str) -> Decision:
        if record is not None and record.task_id is not None:
            recorded = self._read(submission, record)
            return decide_from_record(record, recorded, fingerprint, self.attempt, self._policy)
        if record is None and self.attempt.number == 1:
            return Decision("This is the first attempt.")
        if record is None and self.remembers and not (submission.finds_tags or self.attempt.is_first):
            # A task that merely has the same prompt is more likely another's.
            return Decision("No earlier attempt has submitted a task.")
        decision = self._decide_from_search(submission, record, fingerprint)
        if record is None or decision.reattach_to is None:
            return decision
        # What the lost request asked for may be something else.
        return decide_from_record(record, decision.reattach_to, fingerprint, self.attempt, self._policy)

    def _decide_from_search(
        self, submission: Submission, record: SubmissionRecord | None, fingerprint: str
    ) -> Decision:
        same_inputs = record is None or record.fingerprint == fingerprint
        return decide_from_search(
            self._search(submission, record),
            self.attempt,
            self._policy,
            lost=record,
            sees_all=submission.sees_all and (same_inputs or submission.finds_tags),
            remembers=self.remembers,
        )

    def _read(self, submission: Submission, record: SubmissionRecord) -> Candidate | None:
        try:
            return submission.read(record.task_id or "")
        except NotFoundError:
            # A fresh task answers 404 for a while, too.
            if time.time() - record.intended_at < self._appears_within:
                raise
            return None

    def _search(self, submission: Submission, lost: SubmissionRecord | None) -> Sequence[Candidate]:
        """Search for a submitted task; for a lost one, until it would be listed if there were one."""
        if lost is None:
            now = time.time()
            began = now - _DAY if self._run_began is None else self._run_began
            attempts = range(1, self.attempt.number + 1)
            return submission.search(self.tag, attempts, max(began, now - _LONGEST_SEARCH))
        attempts, since = range(lost.attempt, lost.attempt + 1), lost.intended_at
        while True:
            found = submission.search(self.tag, attempts, since)
            left = since + self._appears_within - time.time()
            if found or left <= 0:
                return found
            self._log.info("The task of the lost request is not listed yet; searching again.")
            time.sleep(min(_BETWEEN_SEARCHES, left))

    def _submit(self, submission: Submission, fingerprint: str, replaces: str | None) -> Candidate:
        submission.prepare()
        record = SubmissionRecord(fingerprint, time.time(), self.attempt.number, replaces=replaces)
        self._write(record)
        try:
            task = submission.submit(self.tag)
        except RemoteTaskError as error:
            if not may_have_submitted(error):
                self.forget()
                raise
            self._log.warning("It is not known whether this request submitted a task: %s", error)
            found = self._decide_from_search(submission, record, fingerprint).reattach_to
            if found is None:
                # The search saw all tasks, and it is not among them.
                self.forget()
                raise
            task = found
        self._write(record.with_task(task, self.attempt))
        return task

    def _write(self, record: SubmissionRecord) -> None:
        if self._store is not None:
            self._store.set(_RECORD, asdict(record))
