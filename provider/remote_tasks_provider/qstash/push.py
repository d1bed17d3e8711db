"""Whether a callback really comes from QStash, and what it tells.

QStash signs its callbacks as every delivery: :mod:`~remote_tasks_provider.qstash.signature`.
https://upstash.com/docs/qstash/features/callbacks. Imports no Airflow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from remote_tasks_provider.core.push.events import (
    EventRefused,
    VerifiedEvent,
    WebhookRequest,
    Webhooks,
    digest,
    task_ids,
)
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.qstash.api.settings import signing_keys
from remote_tasks_provider.qstash.signature import SignatureError
from remote_tasks_provider.qstash.signature import verify as verify_signature

__all__ = ["WEBHOOKS", "verify"]


def verify(request: WebhookRequest, keys: Sequence[str]) -> VerifiedEvent:
    """Return what QStash tells.

    :param keys: the current signing key, and the next one if it is known.
    :raises EventRefused: when neither signed it, for another URL or body, or when it has expired.
    """
    current, *following = keys
    try:
        claims = verify_signature(
            request.headers.get("upstash-signature"),
            request.body,
            current_key=current,
            next_key=following[0] if following else None,
            url=request.url,
        )
    except SignatureError as error:
        # Its message may quote the request.
        kind = type(error.__cause__ or error).__name__
        raise EventRefused(f"its Upstash-Signature is not valid here and now ({kind})") from None
    sent_at = claims.get("iat")
    # Of a delivery that QStash repeats, each attempt is signed again.
    name = claims.get("jti") or request.headers["upstash-signature"]
    return VerifiedEvent(
        digest(str(name).encode("utf-8", "replace")),
        *_told(request.content()),
        float(sent_at) if isinstance(sent_at, int | float) else None,
    )


def _told(content: Mapping[str, Any]) -> tuple[tuple[str, ...], TaskState | None]:
    """Return the ids and the state; after a failed attempt that another one follows, there is no state."""
    status = content.get("status")
    if content.get("dlqId"):
        state: TaskState | None = TaskState.FAILED
    else:
        is_good = isinstance(status, int) and 200 <= status < 300
        state = TaskState.COMPLETED if is_good else None
    return task_ids([content.get("sourceMessageId")]), state


def _pasted_keys(extras: Any) -> tuple[str, ...]:
    return tuple(word for word in re.split(r"[\s,]+", extras.webhook_secret or "") if word)


WEBHOOKS = Webhooks(verify, _pasted_keys, lambda _extras: signing_keys())
