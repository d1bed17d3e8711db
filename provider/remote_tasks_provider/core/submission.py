"""Whether an attempt submits a remote task, or re-attaches to one that an earlier attempt submitted.

A submission can cost money, and a service without idempotency keys would take a repeated request for a second
one. So each submission leaves a :class:`SubmissionRecord`: the intent before the request, the id after it.
The next attempt decides from the record, from what the service says of the task, and from the user's
policies. Nothing here does I/O.

The rules:

* An attempt re-attaches to a recorded task, finished or not, as long as Airflow merely retries. After a user
  has *cleared* the Airflow task, a finished remote task is history; an attempt still re-attaches to a running
  one.
* If the inputs have changed since, ``on_stale_state`` decides about a task to re-attach to.
* An intent without an id means that a request was lost. The service's tasks are searched for it: one that
  matches is it; with more than one, a person must judge; for none, ``on_orphaned_intent`` decides. A user who
  clears the task then has judged.
* Where nothing was recorded, the tasks of all attempts are searched, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from remote_tasks_provider.core.errors import (
    ApiError,
    ConnectionConfigError,
    OrphanedStartError,
    RateLimitedError,
    RedirectError,
    RemoteTaskError,
    ServerError,
    StaleStartError,
    TransportError,
)
from remote_tasks_provider.core.states import TaskState

__all__ = [
    "Attempt",
    "Candidate",
    "Decision",
    "OnOrphanedIntent",
    "OnStaleState",
    "SubmissionPolicy",
    "SubmissionRecord",
    "decide_from_record",
    "decide_from_search",
    "may_have_submitted",
]

OnStaleState = Literal["fail", "restart", "reattach"]
OnOrphanedIntent = Literal["search", "start", "fail"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """Which attempt of the Airflow task this is.

    :param number: Airflow's try number.
    :param first: the number of the first attempt since the task was made or last cleared.
    """

    number: int
    first: int

    @property
    def is_first(self) -> bool:
        """Whether no attempt came before, or a user has just cleared the task."""
        return self.number <= self.first


@dataclass(frozen=True, slots=True)
class SubmissionRecord:
    """What a submission leaves for later attempts; plain JSON values.

    :param fingerprint: a hash of what was asked for.
    :param intended_at: when the request was about to be sent; Unix seconds.
    :param attempt: Airflow's try number then.
    :param task_id: ``None`` until the service has answered.
    :param replaces: the task of an earlier submission, which this one replaces.
    """

    fingerprint: str
    intended_at: float
    attempt: int
    task_id: str | None = None
    url: str | None = None
    replaces: str | None = None

    def with_task(self, task: Candidate, attempt: Attempt) -> SubmissionRecord:
        """Return the record of an attempt that has submitted ``task``, or re-attaches to it."""
        return replace(self, task_id=task.task_id, url=task.url, attempt=attempt.number)

    @classmethod
    def from_json(cls, data: Any) -> SubmissionRecord | None:
        """Return the record in ``data``, a JSON object; ``None`` if there is none or it cannot be read."""
        if not isinstance(data, Mapping):
            return None
        try:
            return cls(**data)
        except TypeError:
            return None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A remote task that an attempt may have submitted.

    :param attempt: which attempt, where the task shows it.
    """

    task_id: str
    url: str | None
    state: TaskState
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class SubmissionPolicy:
    """What the user wants where there is a choice.

    :param on_stale_state: an earlier attempt's task has other inputs: ``fail``, ``restart`` (cancel it and
        submit another) or ``reattach`` (take it all the same).
    :param on_orphaned_intent: a request was lost, and the search finds no task: ``search`` submits one if the
        search sees all tasks, ``start`` submits one in any case, ``fail`` never does.
    """

    on_stale_state: OnStaleState = "fail"
    on_orphaned_intent: OnOrphanedIntent = "search"


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


def may_have_submitted(error: RemoteTaskError) -> bool:
    """Whether a submission that ended in ``error`` may have reached the service all the same."""
    if isinstance(error, TransportError):
        return error.sent is not False
    if isinstance(error, (ConnectionConfigError, RateLimitedError, RedirectError)):
        return False
    return not isinstance(error, ApiError) or isinstance(error, ServerError)


def decide_from_record(
    record: SubmissionRecord,
    recorded: Candidate | None,
    fingerprint: str,
    attempt: Attempt,
    policy: SubmissionPolicy,
) -> Decision:
    """Return what to do about the task that ``record`` names.

    :param recorded: that task as it is now; ``None`` if the service does not know it any more.
    :param fingerprint: of what is asked for now.
    :raises StaleStartError: when the inputs have changed and the policy is to fail.
    """
    if recorded is None:
        return Decision(f"The service no longer knows task {record.task_id} of an earlier attempt.")
    was_cleared = record.attempt < attempt.first
    if was_cleared and recorded.state.is_terminal:
        return Decision(f"Task {recorded.task_id} was finished before this task was cleared.")
    is_same = record.fingerprint == fingerprint
    if is_same or policy.on_stale_state == "reattach":
        return Decision(f"Re-attaching to task {recorded.task_id} of attempt {record.attempt}.", recorded)
    if policy.on_stale_state == "restart":
        running = None if recorded.state.is_terminal else recorded.task_id
        why = f"The inputs have changed since task {recorded.task_id} was submitted."
        return Decision(why, cancel=running)
    place = f" ({recorded.url})" if recorded.url else ""
    raise StaleStartError(
        f"Attempt {record.attempt} submitted task {recorded.task_id} ({recorded.state}) with other inputs"
        f"{place}. It was left as it is. Set on_stale_state='reattach' to take its result, or "
        "'restart' to stop it and pay for a new one; or make the inputs the same on every attempt."
    )


def decide_from_search(
    found: Sequence[Candidate],
    attempt: Attempt,
    policy: SubmissionPolicy,
    *,
    lost: SubmissionRecord | None,
    sees_all: bool,
    remembers: bool = True,
) -> Decision:
    """Return what to do after the service's tasks were searched for one that this Airflow task submitted.

    :param found: the tasks that match.
    :param lost: the record of a request whose answer never came.
    :param sees_all: whether a task that exists would have been found.
    :param remembers: whether an earlier attempt that submitted a task would have left a record.
    :raises OrphanedStartError: when only a person can decide.
    """
    if lost is not None and lost.attempt < attempt.first:
        # A user has cleared the task since, and so has judged.
        lost, remembers = None, True
    if lost is None:
        found = [one for one in found if not _is_history(one, attempt)]
    else:
        found = [one for one in found if one.task_id != lost.replaces]
    if len(found) > 1:
        ids = ", ".join(one.task_id for one in found)
        raise OrphanedStartError(
            f"{len(found)} tasks may be the one that an earlier attempt submitted: {ids}. Nothing more was "
            "submitted. Stop those that are not wanted in the vendor's app, then clear this task."
        )
    if found:
        return Decision(f"Found task {found[0].task_id}, which an earlier attempt had submitted.", found[0])
    is_open = lost is not None or not (remembers or attempt.is_first or sees_all)
    if is_open and (
        policy.on_orphaned_intent == "fail" or (policy.on_orphaned_intent == "search" and not sees_all)
    ):
        raise OrphanedStartError(
            "The answer to an earlier submission was lost, and it is not known whether there is a task. "
            "Nothing more was submitted. Check the vendor's app, and stop the task if there is one. Then "
            "clear this task, or set on_orphaned_intent='start' to submit one in such a case."
        )
    return Decision("No earlier attempt has submitted a task.")


def _is_history(one: Candidate, attempt: Attempt) -> bool:
    """Whether a task was finished before a user cleared this one, as far as is known."""
    was_before = attempt.is_first if one.attempt is None else one.attempt < attempt.first
    return one.state.is_terminal and was_before
