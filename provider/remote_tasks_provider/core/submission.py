"""Whether an attempt submits a remote task, or re-attaches to one that an earlier attempt submitted.

A submission can cost money, and a service without idempotency keys would take a repeated request for a second
one. So each submission leaves a :class:`SubmissionRecord`: the intent before the request, the id after it.
Where the service keeps a title, a :class:`CorrelationTag` in it makes the task findable without a record. The
next attempt decides from both, from what the service says of the task, and from the user's policies. Nothing
here does I/O.

The rules:

* An attempt re-attaches to a recorded task, finished or not, as long as Airflow merely retries. After a user
  has *cleared* the Airflow task, it re-attaches to a running task, and to one that has completed and whose
  result was never delivered; any other is history. A clear is known by Airflow's ``max_tries``, which the
  record and the tag hold.
* A task is re-attached to only if it was asked for what is asked for now; else ``on_stale_state`` decides.
* An intent without an id means that a request was lost. The service's tasks are searched for its tag: one
  that has it is it. A task that merely looks like it is not: a person must judge. If there is none, and the
  search would have shown it, nothing was submitted; else ``on_orphaned_intent`` decides.
* A person who was told, and who then clears the task, has judged.
* Where a record may have been lost, the tasks of all attempts are searched, too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from remote_tasks_provider.core.errors import (
    ApiError,
    ConnectionConfigError,
    InvalidArgumentError,
    OrphanedStartError,
    RateLimitedError,
    RedirectError,
    RemoteTaskError,
    ServerError,
    StaleStartError,
    TransportError,
)
from remote_tasks_provider.core.log import counted
from remote_tasks_provider.core.states import TaskState

__all__ = [
    "Attempt",
    "Candidate",
    "CorrelationTag",
    "Decision",
    "OnOrphanedIntent",
    "OnStaleState",
    "SearchResult",
    "SubmissionPolicy",
    "SubmissionRecord",
    "decide_from_record",
    "decide_from_search",
    "inputs_of",
    "is_open",
    "may_have_submitted",
]

OnStaleState = Literal["fail", "restart", "reattach"]
OnOrphanedIntent = Literal["search", "start", "fail"]

# Of a fingerprint, how many digits a tag holds.
_INPUTS_DIGITS = 8
_NEXT_STEP = (
    "Then clear this task (on Airflow 3.4 with 'Keep task state and resume') to submit one, or set "
    "on_orphaned_intent='start' for that run."
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """Which attempt of the Airflow task this is.

    :param number: Airflow's try number.
    :param max_tries: Airflow's number of the last attempt; another one after each clear.
    :param retries: those of the DAG as it is now, which may not be those it had when the task began.
    """

    number: int
    max_tries: int
    retries: int = 0

    def is_cleared_since(self, number: int, max_tries: int | None) -> bool:
        """Whether a user has cleared the task since another attempt.

        :param max_tries: what that attempt has left of it; ``None`` if nothing. Then it is guessed.
        """
        if max_tries is not None:
            return max_tries != self.max_tries
        return number <= min(self.number - 1, self.max_tries - self.retries)


@dataclass(frozen=True, slots=True)
class CorrelationTag:
    """What makes the task of one attempt findable: text that is put into its title, or into its id.

    :param key: the same for all attempts of one Airflow task instance, and for no other.
    :param attempt: which of them; ``None`` where all that ask for the same have one tag, because the service
        takes no second task with it.
    :param max_tries: Airflow's ``max_tries`` then.
    :param inputs: the beginning of the fingerprint of what was asked for.
    :param owed_by: the attempt that could not deliver the result of the finished task, where the title was
        changed to say so.
    """

    key: str
    attempt: int | None
    max_tries: int | None = None
    inputs: str | None = None
    owed_by: int | None = None

    def __str__(self) -> str:
        more = "" if self.max_tries is None else f".{self.max_tries}-{self.inputs}"
        owed = "" if self.owed_by is None else f"!{self.owed_by}"
        return f"[af-{self.key}-{self.attempt}{more}{owed}]"

    @classmethod
    def in_title(cls, title: str | None, key: str) -> CorrelationTag | None:
        """Return the tag with this key that is in ``title``."""
        form = rf"\[af-{re.escape(key)}-(\d+)(?:\.(\d+)-([0-9a-f]+))?(?:!(\d+))?\]"
        if (found := re.search(form, title or "")) is None:
            return None
        attempt, max_tries, inputs, owed_by = found.groups()
        return cls(
            key=key,
            attempt=int(attempt),
            max_tries=None if max_tries is None else int(max_tries),
            inputs=inputs,
            owed_by=None if owed_by is None else int(owed_by),
        )


@dataclass(frozen=True, slots=True)
class SubmissionRecord:
    """What a submission leaves for later attempts; plain JSON values.

    :param fingerprint: a hash of what was asked for.
    :param intended_at: when the request was about to be sent; Unix seconds.
    :param attempt: Airflow's try number then.
    :param task_id: ``None`` until the service has answered.
    :param replaces: the task of an earlier submission, which this one replaces.
    :param max_tries: Airflow's ``max_tries`` then. Older versions left neither it nor what follows.
    :param key: of the tag that the task carries; ``None`` where a task has no title.
    :param account: names the account at the service, without its key.
    :param ends_by: when the request is over at the latest; Unix seconds.
    :param is_void: nothing was submitted, or it was cancelled by this side.
    :param is_deferred: a trigger waits for the task, and no worker has taken the wait back.
    :param is_delivered: what became of the task was handed over to Airflow.
    :param told_at: Airflow's ``max_tries`` when a person was told that only they can decide.
    """

    fingerprint: str
    intended_at: float
    attempt: int
    task_id: str | None = None
    url: str | None = None
    replaces: str | None = None
    max_tries: int | None = None
    key: str | None = None
    account: str | None = None
    ends_by: float | None = None
    is_void: bool = False
    is_deferred: bool = False
    is_delivered: bool = False
    told_at: int | None = None

    def with_task(self, task: Candidate, attempt: Attempt) -> SubmissionRecord:
        """Return the record of an attempt that has submitted ``task``, or re-attaches to it."""
        return replace(
            self,
            task_id=task.task_id,
            url=task.url,
            attempt=attempt.number,
            max_tries=attempt.max_tries,
            is_deferred=False,
            is_delivered=False,
            told_at=None,
        )

    def is_before_clear(self, attempt: Attempt) -> bool:
        """Whether a user has cleared the Airflow task since."""
        return attempt.is_cleared_since(self.attempt, self.max_tries)

    def is_judged(self, attempt: Attempt) -> bool:
        """Whether a person was told to decide, and has cleared the Airflow task since."""
        return self.told_at is not None and attempt.max_tries != self.told_at

    def may_be(self, one: Candidate) -> bool:
        """Whether the lost request that this record is of may have submitted a task."""
        if one.task_id == self.replaces:
            return False
        if one.tag is not None and one.tag.attempt is None:
            return (one.tag.max_tries, one.tag.inputs) == (self.max_tries, inputs_of(self.fingerprint))
        return one.tag is None or one.tag.attempt == self.attempt

    @classmethod
    def from_json(cls, data: Any) -> SubmissionRecord | None:
        """Return the record in ``data``, a JSON object; ``None`` if there is none.

        One that cannot be read is that of a request whose answer is not known.
        """
        if data is None:
            return None
        try:
            found = cls(**{one.name: data[one.name] for one in fields(cls) if one.name in data})
            return replace(found, intended_at=float(found.intended_at), attempt=int(found.attempt))
        except (TypeError, ValueError, KeyError):
            return cls("", 0.0, 0)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A remote task that an attempt may have submitted.

    :param tag: the tag it carries; without one, all that is known is that it looks the same.
    """

    task_id: str
    url: str | None
    state: TaskState
    tag: CorrelationTag | None = None

    @property
    def place(self) -> str:
        """The id, the state and, where it has one, the page; for messages."""
        return f"{self.task_id} ({self.state}{f', {self.url}' if self.url else ''})"


@dataclass(frozen=True, slots=True)
class SubmissionPolicy:
    """What the user wants where there is a choice.

    :param on_stale_state: an earlier attempt's task has other inputs: ``fail``, ``restart`` (cancel it and
        submit another) or ``reattach`` (take it all the same).
    :param on_orphaned_intent: it is not known whether there is a task, and none is found: ``search`` submits
        one if the search would have shown it, ``start`` submits one in any case, ``fail`` never does.
    :param label: what messages call a remote task, such as ``Manus task``.
    """

    on_stale_state: OnStaleState = "fail"
    on_orphaned_intent: OnOrphanedIntent = "search"
    label: str = "task"


@dataclass(frozen=True, slots=True)
class Decision:
    """What an attempt does.

    :param reattach_to: the task to re-attach to; ``None`` to submit one.
    :param cancel: a task to cancel before another is submitted.
    :param why: a sentence for the log.
    """

    why: str
    reattach_to: Candidate | None = None
    cancel: str | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What was found at the service.

    :param found: the tasks that carry the tag or, where there are no tags, look the same.
    :param sees_all: whether a task that exists would be among them.
    """

    found: Sequence[Candidate]
    sees_all: bool


def inputs_of(fingerprint: str) -> str:
    """Return what a tag holds of a fingerprint."""
    return fingerprint[:_INPUTS_DIGITS]


def may_have_submitted(error: RemoteTaskError) -> bool:
    """Whether a submission that ended in ``error`` may have reached the service all the same."""
    if isinstance(error, TransportError):
        return error.sent is not False
    if isinstance(error, (ConnectionConfigError, InvalidArgumentError, RateLimitedError, RedirectError)):
        return False
    return not isinstance(error, ApiError) or isinstance(error, ServerError)


def is_open(one: Candidate, attempt: Attempt, lost: SubmissionRecord | None) -> bool:
    """Whether a task that was found may be the one that is looked for, and is not history.

    :param lost: the record of a request whose answer never came.
    """
    if lost is not None:
        has_failed = one.state in (TaskState.FAILED, TaskState.CANCELLED)
        return lost.may_be(one) and not (has_failed and lost.is_before_clear(attempt))
    if not one.state.is_terminal:
        return True
    if attempt.number == 1:
        # Airflow makes new iterations of a loop when their DAG run is cleared.
        return False
    # One without a tag may be that of any earlier attempt.
    number, max_tries = attempt.number - 1, None
    if one.tag is not None:
        number, max_tries = one.tag.attempt or number, one.tag.max_tries
    if one.tag is not None and one.tag.owed_by == attempt.number - 1 and one.state is TaskState.COMPLETED:
        return True
    return not attempt.is_cleared_since(number, max_tries)


def decide_from_record(
    record: SubmissionRecord,
    recorded: Candidate | None,
    fingerprint: str,
    attempt: Attempt,
    policy: SubmissionPolicy,
    *,
    same_account: bool = True,
    notes_kills: bool = True,
) -> Decision:
    """Return what to do about the task that ``record`` names.

    :param recorded: that task as it is now; ``None`` if the service has not shown it for a while.
    :param fingerprint: of what is asked for now.
    :param same_account: whether the service is asked for the account that was recorded.
    :param notes_kills: whether the record would be void if a trigger had cancelled the task for a kill. A
        service may show such a task as completed.
    :raises StaleStartError: when the inputs have changed and the policy is to fail.
    :raises OrphanedStartError: when only a person can decide.
    """
    was_cleared = record.is_before_clear(attempt)
    if recorded is None:
        return _decide_about_missing(record, policy, has_judged=was_cleared, same_account=same_account)
    is_same = record.fingerprint == fingerprint
    if was_cleared and recorded.state.is_terminal:
        # An older version has not left whether the result was delivered.
        is_owed = record.max_tries is not None and not record.is_delivered
        may_be_stopped = record.is_deferred and not notes_kills
        takes = is_same or policy.on_stale_state == "reattach"
        if not (is_owed and takes and not may_be_stopped and recorded.state is TaskState.COMPLETED):
            return Decision(f"{policy.label} {recorded.task_id} was finished before this task was cleared.")
    return _reattach(recorded, is_same, record.attempt, policy)


def decide_from_search(
    search: SearchResult,
    fingerprint: str,
    attempt: Attempt,
    policy: SubmissionPolicy,
    *,
    lost: SubmissionRecord | None,
    may_be_unrecorded: bool = False,
) -> Decision:
    """Return what to do after the service's tasks were searched for one that this Airflow task submitted.

    :param lost: the record of a request whose answer never came.
    :param may_be_unrecorded: without one: whether an earlier attempt may have submitted a task all the same.
    :raises StaleStartError: when the inputs have changed and the policy is to fail.
    :raises OrphanedStartError: when only a person can decide.
    """
    has_judged = lost is not None and lost.is_judged(attempt)
    if has_judged:
        lost = None
    own = [one for one in search.found if one.tag is not None and is_open(one, attempt, lost)]
    latest = max((one.tag.attempt for one in own if one.tag and one.tag.attempt), default=None)
    own = [one for one in own if one.tag and (one.tag.attempt == latest or not one.state.is_terminal)]
    if latest is None:
        # All attempts that ask for the same have one task.
        own = [one for one in own if _asks_the_same(one, fingerprint, lost)] or own
    if len(own) > 1:
        raise _for_a_person(f"{counted(len(own), policy.label)} carry the tag of this task", own)
    if own:
        return _reattach(own[0], _asks_the_same(own[0], fingerprint, lost), latest, policy)
    insists = policy.on_orphaned_intent == "start" or has_judged
    similar = [one for one in search.found if one.tag is None and is_open(one, attempt, lost)]
    if similar and not insists:
        why = f"The service shows only the prompt of each {policy.label}, and these have the same one"
        raise _for_a_person(why, similar)
    is_unknown = lost is not None or (may_be_unrecorded and not search.sees_all)
    if is_unknown and not insists and (policy.on_orphaned_intent == "fail" or not search.sees_all):
        raise OrphanedStartError(
            f"It is not known whether an earlier request submitted its {policy.label}: the answer was lost, "
            f"or Airflow kept no record of it.{_replaced(lost, policy.label)} Nothing more was submitted. "
            f"Check the service's app, and stop it if it is there. {_NEXT_STEP}"
        )
    return Decision(f"No {policy.label} was submitted by an earlier attempt.")


def _replaced(lost: SubmissionRecord | None, label: str) -> str:
    return f" It was to replace {label} {lost.replaces}." if lost is not None and lost.replaces else ""


def _decide_about_missing(
    record: SubmissionRecord, policy: SubmissionPolicy, *, has_judged: bool, same_account: bool
) -> Decision:
    insists = policy.on_orphaned_intent == "start" or has_judged
    if not insists and (policy.on_orphaned_intent == "fail" or not same_account):
        place = f" ({record.url})" if record.url else ""
        reason = "" if same_account else " The connection has another host or key than it had then."
        raise OrphanedStartError(
            f"The service does not know {policy.label} {record.task_id}{place} of an earlier attempt any "
            f"more.{reason} Nothing more was submitted. Check the service's app, and stop it if it is there. "
            f"{_NEXT_STEP}"
        )
    return Decision(f"The service no longer knows {policy.label} {record.task_id} of an earlier attempt.")


def _reattach(task: Candidate, is_same: bool, number: int | None, policy: SubmissionPolicy) -> Decision:
    """Return what to do about a task that is this Airflow task's, by what it was asked for."""
    attempt = "an earlier attempt" if number is None else f"attempt {number}"
    if is_same or policy.on_stale_state == "reattach":
        return Decision(f"Re-attaching to {policy.label} {task.task_id} of {attempt}.", task)
    if policy.on_stale_state == "restart":
        running = None if task.state.is_terminal else task.task_id
        why = f"The inputs have changed since {policy.label} {task.task_id} was submitted."
        return Decision(why, cancel=running)
    raise StaleStartError(
        f"{attempt.capitalize()} submitted {policy.label} {task.place} with other inputs. It was left as it "
        "is. Set on_stale_state='reattach' to take its result, or 'restart' to stop it and pay for a new "
        "one; or make the inputs the same on every attempt."
    )


def _asks_the_same(one: Candidate, fingerprint: str, lost: SubmissionRecord | None) -> bool:
    if one.tag is not None and one.tag.inputs is not None:
        return fingerprint.startswith(one.tag.inputs)
    return lost is None or lost.fingerprint == fingerprint


def _for_a_person(why: str, found: Sequence[Candidate]) -> OrphanedStartError:
    places = ", ".join(one.place for one in found)
    return OrphanedStartError(
        f"{why}: {places}. Nothing more was submitted, as only you can tell which one is wanted. If one of "
        "them is, wait for it with a sensor and mark this task successful. Otherwise stop or delete it. "
        f"{_NEXT_STEP}"
    )
