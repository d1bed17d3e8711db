"""Whether a push notification really comes from an agent, and what it tells.

Agents sign nothing: they send back the token, or the credentials, that they were given with the message. So
it is a secret of its own, and never the one that opens the agent.
https://a2a-protocol.org/latest/specification/#43-push-notification-objects. Imports no Airflow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from remote_tasks_provider.a2a.models import A2A_STATES, word_of
from remote_tasks_provider.core.push.events import (
    EventRefused,
    VerifiedEvent,
    WebhookRequest,
    Webhooks,
    digest,
    is_same,
    task_ids,
)
from remote_tasks_provider.core.states import TaskState

__all__ = ["WEBHOOKS", "verify"]

# An agent's clock is its own affair; what is older is no news to anybody.
_LONGEST_AGE = 3600.0


def verify(request: WebhookRequest, keys: Sequence[str]) -> VerifiedEvent:
    """Return what the agent tells.

    :param keys: the secret that agents were given.
    :raises EventRefused: when it is in neither header, or when the status is more than an hour old.
    """
    token = request.headers.get("x-a2a-notification-token")
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    given = (token, credentials if scheme.lower() == "bearer" else None)
    # Every comparison is made, whichever one fits.
    matches = [is_same(one, key) for key in keys for one in given]
    if True not in matches:
        raise EventRefused("it has neither the token nor the credentials that agents were given")
    body = request.content()
    about = next((body[name] for name in ("task", "statusUpdate", "artifactUpdate") if name in body), body)
    content: Mapping[str, Any] = about if isinstance(about, dict) else {}
    found = content.get("status")
    status: Mapping[str, Any] = found if isinstance(found, dict) else {}
    sent_at = _seconds(status.get("timestamp"))
    if sent_at is not None:
        request.check_age(sent_at, _LONGEST_AGE)
    ids = task_ids([content.get("taskId") or content.get("id")])
    # An agent adds to artifacts while it works.
    state = TaskState.RUNNING if "artifactUpdate" in body else _state(status.get("state"))
    return VerifiedEvent(digest(request.body), ids, state, sent_at)


def _state(word: Any) -> TaskState | None:
    state = A2A_STATES.read(word_of(word)) if isinstance(word, str) else TaskState.UNKNOWN
    return None if state is TaskState.UNKNOWN else state


def _seconds(text: Any) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    # Some agents leave the zone out and mean UTC; guessing it wrong would refuse what is new.
    return None if moment.tzinfo is None else moment.timestamp()


WEBHOOKS = Webhooks(
    verify, lambda extras: (extras.webhook_secret,) if extras.webhook_secret else (), fetch_keys=None
)
