"""What a service supplies so that its webhooks can be believed, and what a believed one tells.

A webhook is a bell, never the truth: what it says of a task is never taken for the task's state. So all that
matters is who sent it, when, and whether it came before. Imports no Airflow.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from remote_tasks_provider.core.http.operation import Operation
from remote_tasks_provider.core.states import TaskState

__all__ = [
    "EventRefused",
    "VerifiedEvent",
    "WebhookRequest",
    "Webhooks",
    "digest",
    "is_same",
    "task_ids",
]

_LONGEST_ID = 256


class EventRefused(Exception):
    """A request that does not prove who sent it, or that was sent too long ago.

    :param reason: for our log, never for who sent it; it quotes nothing of the request.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """A request to the receiver, as a service's check sees it.

    :param url: the address that the service knows, which is configured and never read from the request.
    :param headers: with lower-case names; of a header that came twice, both values, which match no signature.
    :param body: byte for byte as it came.
    :param now: Unix seconds.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    now: float

    def content(self) -> Mapping[str, Any]:
        """Return the body as a JSON object.

        :raises EventRefused: when it is none.
        """
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise EventRefused("the body is no JSON object")
        return found

    def check_age(self, sent_at: float, longest: float) -> None:
        """Refuse what was sent longer ago than ``longest`` seconds, or as long ahead of our clock."""
        if not abs(self.now - sent_at) <= longest:
            raise EventRefused(
                f"it was sent {self.now - sent_at:.0f} s ago; at most {longest:.0f} s are taken"
            )


@dataclass(frozen=True, slots=True)
class VerifiedEvent:
    """What a service has told, and has proved to have told.

    :param event_id: the same for every delivery of the event that may be a replay, and for no other event.
    :param remote_ids: the tasks that it is about, as far as it says.
    :param state: what it says of them, for who wants to be told at once; never a wait's answer.
    :param sent_at: Unix seconds, where it proves its time.
    """

    event_id: str
    remote_ids: tuple[str, ...] = ()
    state: TaskState | None = None
    sent_at: float | None = None

    @property
    def is_a_bell(self) -> bool:
        """Whether it may end a wait, or begin a question; not that a task begins or continues.

        Such news would cost a poll each and show nothing.
        """
        return self.state not in (TaskState.PENDING, TaskState.RUNNING)


@dataclass(frozen=True, slots=True)
class Webhooks:
    """How the webhooks of a service are checked.

    :param verify: returns the event, or raises :class:`EventRefused`; of the request and the keys.
    :param pasted_keys: the keys in the connection's extras, none if there are none.
    :param fetch_keys: the operation by which the service gives its keys, of the extras; ``None`` where they
        can only be pasted.
    """

    verify: Callable[[WebhookRequest, Sequence[str]], VerifiedEvent]
    pasted_keys: Callable[[Any], tuple[str, ...]]
    fetch_keys: Callable[[Any], Operation[tuple[str, ...]]] | None = None


def task_ids(found: Iterable[Any]) -> tuple[str, ...]:
    """Return what can be ids of tasks, each once: text of a sane length without control characters."""
    good = (
        one for one in found if isinstance(one, str) and one.isprintable() and 0 < len(one) <= _LONGEST_ID
    )
    return tuple(dict.fromkeys(good))


def digest(*parts: bytes) -> str:
    """Return what stands for ``parts`` in an event's id."""
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def is_same(given: str | None, secret: str) -> bool:
    """Whether a header holds the secret; takes as long whatever it holds."""
    return hmac.compare_digest((given or "").encode("utf-8", "replace"), secret.encode())
