"""Submitting a remote task once, however many attempts Airflow makes.

:mod:`remote_tasks_provider.core.submission` decides what an attempt does. This module keeps the record (in
Airflow's task state store, from 3.3 on), asks the service, and carries the decision out. Below 3.3 there is
no place for a record, and 3.4 drops it when a user clears the task: then the service's tasks are searched.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Protocol

from remote_tasks_provider.bases.compat import CLEARS_DROP_STATE
from remote_tasks_provider.bases.origin import Origin
from remote_tasks_provider.bases.records import TaskRecord
from remote_tasks_provider.core.clocks import rounds
from remote_tasks_provider.core.errors import NotFoundError, OrphanedStartError, RemoteTaskError
from remote_tasks_provider.core.submission import (
    Attempt,
    Candidate,
    CorrelationTag,
    Decision,
    SearchResult,
    SubmissionPolicy,
    SubmissionRecord,
    decide_from_record,
    decide_from_search,
    inputs_of,
    is_open,
    may_have_submitted,
)

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

    from remote_tasks_provider.bases.waiting import Settlement

__all__ = ["HookSubmission", "Submission", "Submitter", "start_of"]

_RECORD = "remote_task_submission"
# Seconds before the second search, twice as many before each further one, and the most of them.
_FIRST_PAUSES, _LONGEST_PAUSE = (5.0, 10.0, 20.0), 30.0
_BETWEEN_READS = 15.0
_DAY = 24 * 60 * 60.0
# How far back a search goes at most, so that a run of long ago does not list years of tasks.
_LONGEST_SEARCH = 30 * _DAY


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

    def search(self, key: str, since: float) -> Sequence[Candidate]:
        """Return the tasks created since that moment whose tag has this key.

        Where tasks carry no tags: those that were asked for the same, as far as the service tells.
        """

    def listed(self, task_id: str, since: float) -> Candidate | None:
        """Return a task that was created since that moment, if the service lists it."""

    def cancel(self, task_id: str) -> None:
        """Cancel a task that another one replaces."""

    @property
    def account(self) -> str:
        """What tells accounts apart, without the key to it."""

    @property
    def longest_request(self) -> float:
        """Seconds after which :meth:`submit` has returned at the latest."""

    @property
    def sees_all(self) -> bool:
        """Whether :meth:`search` finds any task with the same inputs."""

    @property
    def finds_tags(self) -> bool:
        """Whether it finds one with other inputs, too: by its correlation tag."""


class HookSubmission:
    """What every submission over a hook has in common."""

    _hook: Any

    def __init__(self, hook: Any) -> None:
        self._hook = hook

    @property
    def account(self) -> str:
        """A hash of the host and the key of the connection."""
        return hashlib.sha256("\n".join(self._hook.client.config.account).encode()).hexdigest()[:12]

    @property
    def longest_request(self) -> float:
        """Seconds after which the request is over at the latest."""
        seconds: float = self._hook.client.longest_send
        return seconds

    def cancel(self, task_id: str) -> None:
        """Cancel a task that another one replaces."""
        self._hook.stop_task(task_id)


class Submitter:
    """Submits one task, or finds the one that was submitted.

    :param task: the operator, for its ``retries`` and its log.
    :param appears_within: seconds after which a submitted task is listed.
    :param notes_kills: whether a task that was cancelled because a user ended the deferred Airflow task is
        settled. A trigger cannot do that.
    """

    def __init__(
        self,
        task: BaseOperator,
        context: Context,
        *,
        policy: SubmissionPolicy,
        appears_within: float,
        notes_kills: bool = True,
    ) -> None:
        self._log = task.log
        self._policy = policy
        self._appears_within = appears_within
        self._notes_kills = notes_kills
        self._record = TaskRecord(context, _RECORD, task.log)
        origin = Origin.of(context)
        self.key = origin.key
        self.attempt = Attempt(origin.attempt, origin.max_tries, task.retries or 0)
        # Airflow makes new iterations of a loop when their DAG run is cleared.
        self._is_new = origin.attempt == 1 and context.get("loop") is None
        self._run_began = start_of(context.get("dag_run"))

    @property
    def outlives_clears(self) -> bool:
        """Whether a later attempt finds the record of this one, whatever a user does in between."""
        return self._record.is_kept and not CLEARS_DROP_STATE

    def begin(self) -> None:
        """Leave a record that nothing was submitted yet, where a missing one would leave that open."""
        if CLEARS_DROP_STATE and self._is_new and self._read_record() is None:
            self._forget()

    def ensure(self, submission: Submission, fingerprint: str) -> Candidate:
        """Return the task to wait for: an earlier attempt's, or a new one.

        :raises RemoteTaskError: when the submission failed, or when a person must decide.
        """
        record = self._read_record()
        with self._telling(record or SubmissionRecord(fingerprint, self._began, 0)):
            decision = self._decide(submission, record, fingerprint)
        self._log.info("%s", decision.why)
        if decision.reattach_to is not None:
            record = record or SubmissionRecord(fingerprint, self._began, 0, account=submission.account)
            self._note(record.with_task(decision.reattach_to, self.attempt))
            return decision.reattach_to
        if decision.cancel is not None:
            submission.cancel(decision.cancel)
        return self._submit(submission, fingerprint, record.task_id if record else None)

    def settle(self, settlement: Settlement) -> None:
        """Note how far the delivery of the task's result is.

        :param settlement: see :data:`~remote_tasks_provider.bases.waiting.Settlement`.
        """
        if settlement == "cancelled":
            self._forget()
            return
        record = self._read_record()
        if record is None or record.task_id is None:
            return
        if settlement == "interrupted":
            self._note(replace(record, is_deferred=False, is_delivered=False))
        elif settlement in ("deferred", "resumed"):
            self._note(replace(record, is_deferred=settlement == "deferred"))
        else:
            self._note(replace(record, is_delivered=settlement == "delivered"))

    def settle_alive(self, settlement: Settlement, is_killed: Callable[[], bool]) -> Settlement:
        """Note it, unless a user has ended the task: Airflow takes neither a result nor a deferral then.

        :param is_killed: whether a user has, which may happen meanwhile.
        :returns: how far the delivery is.
        """
        needs_life = settlement in ("delivered", "deferred")
        if not (needs_life and is_killed()):
            self.settle(settlement)
        if needs_life and is_killed():  # before this, or during it
            self.settle("interrupted")
            return "undelivered" if settlement == "delivered" else settlement
        return settlement

    def _forget(self) -> None:
        """Note that there is no task: none was submitted, or this side has cancelled it."""
        self._note(SubmissionRecord("", 0.0, self.attempt.number, is_void=True))

    # ----------------------------------------------------------------------------------------- decisions

    def _decide(self, submission: Submission, record: SubmissionRecord | None, fingerprint: str) -> Decision:
        if record is None:
            return self._decide_without_record(submission, fingerprint)
        if record.is_void:
            return Decision(f"No {self._policy.label} of an earlier attempt is running.")
        if record.task_id is None:
            return self._decide_from_search(submission, record, fingerprint)
        return decide_from_record(
            record,
            self._recorded(submission, record.task_id, record.intended_at),
            fingerprint,
            self.attempt,
            self._policy,
            same_account=record.account in (None, submission.account),
            notes_kills=self._notes_kills,
        )

    def _decide_without_record(self, submission: Submission, fingerprint: str) -> Decision:
        if self._is_new:
            return Decision("This is the first attempt.")
        is_later = self.attempt.number > 1
        may_be_unrecorded = is_later and not self.outlives_clears
        if not (may_be_unrecorded or submission.finds_tags):
            return Decision(f"No {self._policy.label} was submitted by an earlier attempt.")
        return self._decide_from_search(submission, None, fingerprint, may_be_unrecorded=may_be_unrecorded)

    def _decide_from_search(
        self,
        submission: Submission,
        lost: SubmissionRecord | None,
        fingerprint: str,
        *,
        may_be_unrecorded: bool = False,
    ) -> Decision:
        return decide_from_search(
            self._search(submission, lost, fingerprint, may_be_unrecorded=may_be_unrecorded),
            fingerprint,
            self.attempt,
            self._policy,
            lost=lost,
            may_be_unrecorded=may_be_unrecorded,
        )

    @contextmanager
    def _telling(self, record: SubmissionRecord) -> Iterator[None]:
        """Note that a person was told to decide, if it comes to that in a block."""
        try:
            yield
        except OrphanedStartError as error:
            # Whatever ends the attempt now, its log has told.
            self._log.error("%s", error)
            self._note(replace(record, told_at=self.attempt.max_tries))
            raise

    # -------------------------------------------------------------------------------------- the service

    def _recorded(self, submission: Submission, task_id: str, since: float) -> Candidate | None:
        """Return a task as it is now; ``None`` only after the service has not shown it for a while."""
        for left in rounds(time.time() + self._appears_within, repeat(_BETWEEN_READS), time):
            try:
                return submission.read(task_id)
            except NotFoundError as error:
                if (found := submission.listed(task_id, since)) is not None:
                    return found
                if left:
                    self._log.info(
                        "%s %s of an earlier attempt is not shown now; asking again: %s",
                        self._policy.label,
                        task_id,
                        error,
                    )
        return None

    @property
    def _began(self) -> float:
        """When the first attempt may have begun, or somewhat earlier."""
        now = time.time()
        return max(now - _DAY if self._run_began is None else self._run_began, now - _LONGEST_SEARCH)

    def _search(
        self,
        submission: Submission,
        lost: SubmissionRecord | None,
        fingerprint: str,
        *,
        may_be_unrecorded: bool = False,
    ) -> SearchResult:
        """Search for a submitted task: until one that there may be would be listed."""
        if lost is None or lost.is_judged(self.attempt):
            # An attempt that left no record may have sent its request until this one began.
            end = time.time() + self._appears_within if may_be_unrecorded else 0.0
            return SearchResult(
                self._wait_for_listing(submission, self.key, self._began, end, None), submission.sees_all
            )
        sees_all = (
            submission.sees_all
            and lost.account == submission.account
            and (lost.key is not None) == submission.finds_tags
            and (submission.finds_tags or lost.fingerprint == fingerprint)
        )
        since = max(lost.intended_at, time.time() - _LONGEST_SEARCH)
        end = (lost.ends_by or lost.intended_at) + self._appears_within
        return SearchResult(
            self._wait_for_listing(submission, lost.key or self.key, since, end, lost), sees_all
        )

    def _wait_for_listing(
        self,
        submission: Submission,
        key: str,
        since: float,
        end: float,
        lost: SubmissionRecord | None,
    ) -> list[Candidate]:
        """Return the tasks that may be the one, as soon as one is listed; none at ``end``."""
        for left in rounds(end, chain(_FIRST_PAUSES, repeat(_LONGEST_PAUSE)), time):
            found = [one for one in submission.search(key, since) if is_open(one, self.attempt, lost)]
            if found:
                return found
            if left:
                self._log.info(
                    "No %s of an earlier request is listed; searching for up to %.0f s, until it would be.",
                    self._policy.label,
                    left,
                )
        return []

    def _submit(self, submission: Submission, fingerprint: str, replaces: str | None) -> Candidate:
        submission.prepare()
        now, attempt = time.time(), self.attempt
        record = SubmissionRecord(
            fingerprint,
            now,
            attempt.number,
            replaces=replaces,
            max_tries=attempt.max_tries,
            key=self.key if submission.finds_tags else None,
            account=submission.account,
            ends_by=now + submission.longest_request,
        )
        self._record.intend(asdict(record))
        try:
            task = submission.submit(
                CorrelationTag(self.key, attempt.number, attempt.max_tries, inputs_of(fingerprint))
            )
        except RemoteTaskError as error:
            if not may_have_submitted(error):
                self._forget()
                raise
            label = self._policy.label
            self._log.warning("It is not known whether this request submitted its %s: %s", label, error)
            record = replace(record, ends_by=time.time())
            self._note(record)
            with self._telling(record):
                found = self._decide_from_search(submission, record, fingerprint).reattach_to
            if found is None:
                # The search would have shown a task, and there is none.
                self._forget()
                raise
            task = found
        self._note(record.with_task(task, attempt))
        return task

    # ----------------------------------------------------------------------------------------- the record

    def _read_record(self) -> SubmissionRecord | None:
        return SubmissionRecord.from_json(self._record.read())

    def _note(self, record: SubmissionRecord) -> None:
        self._record.note(asdict(record))


def start_of(run: Any) -> float | None:
    """Return when a DAG run began, or somewhat earlier; a clear moves some of these moments."""
    names = ("start_date", "queued_at", "run_after", "data_interval_end")
    moments = [getattr(run, name, None) for name in names]
    return min((moment.timestamp() for moment in moments if moment), default=None)
