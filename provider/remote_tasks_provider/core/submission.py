"""Whether an attempt starts a remote task, or goes on with one that an earlier attempt started.

Starting a task can cost money, and a service without idempotency keys would take a repeated request for a
second order. So each start leaves a :class:`SubmissionRecord`: the intent before the request, the id after
it. The next attempt decides from the record, from what the service says of the task, and from the user's
policies. Nothing here does I/O.

The rules:

* A recorded task is gone on with, finished or not, as long as Airflow merely retries. After a user has
  *cleared* the Airflow task, a finished remote task is history; one that is still at work is gone on with.
* If the inputs have changed since, ``on_stale_state`` decides about a task that would be gone on with.
* An intent without an id means that a request was lost. The service's tasks are searched for it: one that
  matches is it; more than one is for a person to judge; for none, ``on_orphaned_intent`` decides. A user who
  clears the task then has judged.
* Where nothing was recorded, the tasks of all attempts are searched, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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
    """What a start leaves for later attempts; plain JSON values.

    :param fingerprint: a hash of what was asked for.
    :param intended_at: when the request was about to be sent; Unix seconds.
    :param attempt: Airflow's try number then.
    :param task_id: ``None`` until the service has answered.
    :param replaces: the task of an earlier start, which is not the one that comes of this.
    """

    fingerprint: str
    intended_at: float
    attempt: int
    task_id: str | None = None
    url: str | None = None
    replaces: str | None = None

    def started(self, task_id: str, url: str | None) -> SubmissionRecord:
        """Return the record with the task that came of it."""
        return replace(self, task_id=task_id, url=url)

    def kept_by(self, candidate: Candidate, attempt: Attempt) -> SubmissionRecord:
        """Return the record of an attempt that goes on with ``candidate``: from now on it is its task."""
        return replace(self.started(candidate.task_id, candidate.url), attempt=attempt.number)

    def to_json(self) -> dict[str, Any]:
        """Return the record as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> SubmissionRecord | None:
        """Return the record in ``data``, ``None`` if there is none or another version wrote it."""
        if not isinstance(data, Mapping):
            return None
        try:
            return cls(**data)
        except TypeError:
            return None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A remote task that an attempt may have started.

    :param attempt: which one, where the task tells.
    """

    task_id: str
    url: str | None
    state: TaskState
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class SubmissionPolicy:
    """What the user wants where there is a choice.

    :param on_stale_state: an earlier attempt's task answers other inputs: ``fail``, ``restart`` (stop that
        one, start another) or ``reattach`` (go on with it all the same).
    :param on_orphaned_intent: a request was lost, and no task is found that came of it: ``search`` trusts a
        search that sees all tasks and starts one then, ``start`` starts one in any case, ``fail`` never does.
    """

    on_stale_state: OnStaleState = "fail"
    on_orphaned_intent: OnOrphanedIntent = "search"


@dataclass(frozen=True, slots=True)
class Decision:
    """What an attempt does.

    :param go_on_with: the task to go on with; ``None`` to start one.
    :param stop: a task to stop before another is started.
    :param why: a sentence for the log.
    """

    why: str
    reattach_to: Candidate | None = None
    stop: str | None = None


def may_have_submitted(error: RemoteTaskError) -> bool:
    """Whether a request to start that ended in ``error`` may have been carried out all the same."""
    if isinstance(error, TransportError):
        return error.sent is not False
    if isinstance(error, (ConnectionConfigError, RateLimitedError, RedirectError)):
        return False
    return not isinstance(error, ApiError) or isinstance(error, ServerError)


def decide_from_record(
    record: SubmissionRecord,
    standing: Candidate | None,
    fingerprint: str,
    attempt: Attempt,
    policy: SubmissionPolicy,
) -> Decision:
    """Return what to do about the task that ``record`` names.

    :param standing: where that task stands; ``None`` if the service does not know it any more.
    :param fingerprint: of what is asked for now.
    :raises StaleStartError: when the inputs have changed and the policy is to fail.
    """
    if standing is None:
        return Decision(f"The service no longer knows task {record.task_id} of an earlier attempt.")
    was_cleared = record.attempt < attempt.first
    if was_cleared and standing.state.is_terminal:
        return Decision(f"Task {standing.task_id} had ended before this task was cleared.")
    is_same = record.fingerprint == fingerprint
    if is_same or policy.on_stale_state == "reattach":
        return Decision(f"Going on with task {standing.task_id} of attempt {record.attempt}.", standing)
    if policy.on_stale_state == "restart":
        running = None if standing.state.is_terminal else standing.task_id
        return Decision(f"The inputs have changed since task {standing.task_id} was started.", stop=running)
    raise StaleStartError(
        f"Attempt {record.attempt} started task {standing.task_id} ({standing.state}) with other inputs"
        f"{_place(standing)}. It was left as it is. Set on_stale_state='reattach' to take its result, or "
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
    """Return what to do after the service's tasks were searched for one that this Airflow task started.

    :param found: the tasks that match.
    :param lost: the record of a request whose answer never came.
    :param sees_all: whether a task that exists would have been found.
    :param remembers: whether an earlier attempt that started a task would have left a record.
    :raises OrphanedStartError: when only a person can tell.
    """
    if lost is not None and lost.attempt < attempt.first:
        # A user has cleared the task since: there is nothing left to be judged.
        lost, remembers = None, True
    if lost is None:
        found = [one for one in found if not _is_history(one, attempt)]
    else:
        found = [one for one in found if one.task_id != lost.replaces]
    if len(found) > 1:
        ids = ", ".join(one.task_id for one in found)
        raise OrphanedStartError(
            f"{len(found)} tasks may be the one that an earlier attempt started: {ids}. Nothing more was "
            "started. Stop those that are not wanted in the vendor's app, then clear this task."
        )
    if found:
        return Decision(f"Found task {found[0].task_id}, which an earlier attempt had started.", found[0])
    is_open = lost is not None or not (remembers or attempt.is_first or sees_all)
    if is_open and (
        policy.on_orphaned_intent == "fail" or (policy.on_orphaned_intent == "search" and not sees_all)
    ):
        raise OrphanedStartError(
            "An earlier request to start a task was lost, and it is not known whether a task came of it. "
            "Nothing more was started. Look in the vendor's app: stop the task if there is one. Then clear "
            "this task, or set on_orphaned_intent='start' to start one in such a case."
        )
    return Decision("No earlier attempt has started a task.")


def _is_history(one: Candidate, attempt: Attempt) -> bool:
    """Whether a task had ended before a user cleared this one, as far as can be told."""
    was_before = attempt.is_first if one.attempt is None else one.attempt < attempt.first
    return one.state.is_terminal and was_before


def _place(standing: Candidate) -> str:
    return f" ({standing.url})" if standing.url else ""
