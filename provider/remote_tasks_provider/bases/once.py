"""Acting once on a task that is there already, however many attempts Airflow makes.

A message or a confirmation has no key by which the service would recognise a repeat. So what is about to be
done is recorded in Airflow's task state store (from 3.3 on) before the request, and the outcome after it. An
attempt that finds such a record looks whether the effect is there, and acts only if it is not. Where nothing
tells, a person must look: nothing is ever done a second time by a guess. A user who clears the Airflow task
wants it done again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from remote_tasks_provider.bases.origin import Origin, is_first_attempt
from remote_tasks_provider.bases.records import TaskRecord
from remote_tasks_provider.core.clocks import rounds
from remote_tasks_provider.core.errors import OrphanedActionError, RemoteTaskError
from remote_tasks_provider.core.submission import may_have_submitted

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

__all__ = ["Effect", "Once", "appears", "send_or_find"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

log = logging.getLogger(__name__)

_RECORD = "remote_task_effect"
# Seconds within which the service shows what was done, and between two reads.
_APPEARS_WITHIN = 90.0
_BETWEEN_READS = 5.0


class Effect(Protocol[T_co]):
    """Something to be done once."""

    @property
    def subject(self) -> str:
        """What it is done to: another subject is another effect."""

    def facts(self) -> dict[str, Any]:
        """Return what identifies the effect, as it is before it is there; plain JSON values."""

    def is_there(self, facts: dict[str, Any]) -> bool:
        """Return whether the service shows the effect with these facts."""

    def send(self, facts: dict[str, Any]) -> T_co:
        """Send the request."""

    def doubt(self) -> str | None:
        """Return what the service shows that an earlier attempt may have done, if it shows anything."""


@dataclass(frozen=True, slots=True)
class _Intent:
    """What an attempt is about to do, or has done; plain JSON values.

    :param at: when the request was about to be sent; Unix seconds.
    :param attempt: Airflow's try number then; likewise ``max_tries``, another one after a clear.
    """

    subject: str
    facts: dict[str, Any]
    at: float
    attempt: int
    max_tries: int
    is_done: bool = False

    @classmethod
    def from_json(cls, data: Any) -> _Intent | None:
        if not isinstance(data, dict):
            return None
        names = [one.name for one in fields(cls)]
        return cls(**{name: data[name] for name in names if name in data})

    def is_of(self, subject: str, origin: Origin) -> bool:
        """Whether it is about the same, and no user has cleared the Airflow task since."""
        return self.subject == subject and self.max_tries == origin.max_tries


class Once:
    """Does one thing once for one Airflow task instance."""

    def __init__(self, task: BaseOperator, context: Context) -> None:
        self._record = TaskRecord(context, _RECORD, log)
        self._origin = Origin.of(context)
        self._may_be_unrecorded = not (self._record.is_kept or is_first_attempt(task, context))

    def do(self, effect: Effect[T]) -> T | None:
        """Send the request, unless an earlier attempt has; return its answer, if it was sent and answered.

        :raises OrphanedActionError: when nothing tells whether an earlier attempt has sent it.
        :raises RemoteTaskError: the request's, when its effect does not show.
        """
        intent = self._earlier(effect.subject)
        if intent is None:
            intent = self._new(effect)
        elif intent.is_done or appears(effect, intent.facts, since=intent.at):
            log.info("Attempt %d has done it already; nothing was sent again.", intent.attempt)
            self._record.note(asdict(replace(intent, is_done=True)))
            return None
        now = self._origin
        intent = replace(intent, at=time.time(), attempt=now.attempt)
        self._record.intend(asdict(intent))
        answer = send_or_find(partial(effect.send, intent.facts), partial(appears, effect, intent.facts))
        self._record.note(asdict(replace(intent, is_done=True)))
        return answer

    def _new(self, effect: Effect[Any]) -> _Intent:
        now = self._origin
        if self._may_be_unrecorded and (doubt := effect.doubt()) is not None:
            raise OrphanedActionError(
                f"{doubt} An earlier attempt of this Airflow task may have done that: below Airflow 3.3 no "
                "attempt leaves a record to the next one. Nothing was sent now. If it has, mark this task "
                "successful; otherwise clear it."
            )
        return _Intent(effect.subject, effect.facts(), time.time(), now.attempt, now.max_tries)

    def _earlier(self, subject: str) -> _Intent | None:
        found = _Intent.from_json(self._record.read())
        return found if found is not None and found.is_of(subject, self._origin) else None


def send_or_find(send: Callable[[], T], is_there: Callable[[], bool]) -> T | None:
    """Send a request; return its answer, or ``None`` where it was lost, and the effect is there.

    :raises RemoteTaskError: the request's, when its effect does not show.
    """
    try:
        return send()
    except RemoteTaskError as error:
        if not may_have_submitted(error):
            raise
        log.warning("It is not known whether the request arrived: %s", error)
        if not is_there():
            raise
    log.info("It did: the service shows its effect.")
    return None


def appears(effect: Effect[Any], facts: dict[str, Any], *, since: float | None = None) -> bool:
    """Return whether the effect shows within a while, reading at least once.

    :param since: when the request was sent, in Unix seconds; default now.
    :raises RemoteTaskError: when the service could not be read.
    """
    until = (time.time() if since is None else since) + _APPEARS_WITHIN
    for left in rounds(until, repeat(_BETWEEN_READS), time):
        try:
            if effect.is_there(facts):
                return True
        except RemoteTaskError as error:
            if not (error.retry_helps and left):
                raise
    return False
