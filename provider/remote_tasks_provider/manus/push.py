"""Whether a webhook really comes from Manus, and what it tells.

Manus signs the time, the URL and the hash of the body with its private key (RSA, PKCS#1 v1.5, SHA-256); the
public key can be asked for. https://open.manus.ai/docs/v2/webhooks-security. Imports no Airflow.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from remote_tasks_provider.core.http.operation import Operation
from remote_tasks_provider.core.push.events import (
    EventRefused,
    VerifiedEvent,
    WebhookRequest,
    Webhooks,
    digest,
    task_ids,
)
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.manus.api.webhooks import public_key

__all__ = ["WEBHOOKS", "verify"]

_LONGEST_AGE = 300.0
# Of a task that goes on. Only v1 has `task_progress`, one for each step of a plan.
_UNDER_WAY = ("task_created", "task_progress")
_STATES = {"finish": TaskState.COMPLETED, "ask": TaskState.WAITING}


def verify(request: WebhookRequest, keys: Sequence[str]) -> VerifiedEvent:
    """Return what Manus tells.

    :param keys: public keys in PEM; one of them must have signed it.
    :raises EventRefused: when none has, or longer ago than five minutes.
    """
    stamp = request.headers.get("x-webhook-timestamp", "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 16):
        raise EventRefused("it has no X-Webhook-Timestamp")
    request.check_age(int(stamp), _LONGEST_AGE)
    hashed = hashlib.sha256(request.body).hexdigest()
    _check_signature(
        request.headers.get("x-webhook-signature", ""), f"{stamp}.{request.url}.{hashed}".encode(), keys
    )
    return _event(request, float(stamp))


def _check_signature(signature: str, signed: bytes, keys: Sequence[str]) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        raw = base64.b64decode(signature, validate=True)
    except (ValueError, binascii.Error):
        raise EventRefused("its X-Webhook-Signature is no base64") from None
    for pem in keys:
        try:
            key = load_pem_public_key(pem.encode())
        except (ValueError, TypeError):
            continue
        if not isinstance(key, RSAPublicKey):
            continue
        # Manus's pages said until mid-2026 that the hash of this text is what it signs. Both forms need its
        # private key, so taking both gives nothing away.
        for content in (signed, hashlib.sha256(signed).digest()):
            try:
                key.verify(raw, content, PKCS1v15(), SHA256())
            except InvalidSignature:
                continue
            return
    raise EventRefused("its X-Webhook-Signature is not Manus's, or not for this URL and this body")


def _event(request: WebhookRequest, sent_at: float) -> VerifiedEvent:
    content = request.content()
    found = content.get("task_detail")
    detail: Mapping[str, Any] = found if isinstance(found, dict) else {}
    kind, reason = str(content.get("event_type")), str(detail.get("stop_reason"))
    state = TaskState.RUNNING if kind in _UNDER_WAY else _STATES.get(reason)
    # A body without an id of its own is told apart by its hash.
    name = content.get("event_id")
    event_id = digest(name.encode("utf-8", "replace") if isinstance(name, str) and name else request.body)
    return VerifiedEvent(event_id, task_ids([detail.get("task_id")]), state, sent_at)


def _fetch_keys(extras: Any) -> Operation[tuple[str, ...]]:
    return public_key("v1" if extras.api_version == "v1" else "v2")


def _pasted_keys(extras: Any) -> tuple[str, ...]:
    return (extras.webhook_public_key,) if extras.webhook_public_key else ()


WEBHOOKS = Webhooks(verify, _pasted_keys, _fetch_keys)
