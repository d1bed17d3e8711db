"""The operations about webhooks, one function each: what is sent, and how the response is read. No I/O.

https://open.manus.ai/docs/v2/webhooks-overview
"""

from __future__ import annotations

from collections.abc import Callable

from remote_tasks_provider.core import validation
from remote_tasks_provider.core.http.operation import Idempotency, Operation, Request, Response
from remote_tasks_provider.core.http.parsing import Reader
from remote_tasks_provider.manus.api.v1 import KEY_HEADER
from remote_tasks_provider.manus.api.v2_envelope import (
    PublicKey,
    read_object,
    read_public_key,
    read_webhook,
    read_webhooks,
)
from remote_tasks_provider.manus.webhooks import ManusWebhook

__all__ = ["create_webhook", "delete_webhook", "list_webhooks", "public_key"]

_read_public_key_v1 = Reader(PublicKey)


def create_webhook(url: str) -> Operation[ManusWebhook]:
    """``POST /v2/webhook.create``; twice would add two. Manus first calls the URL, which must answer 200."""
    return Operation(
        "POST /v2/webhook.create",
        Request("POST", "/v2/webhook.create", json={"url": url}),
        "a webhook",
        lambda response: read_webhook(response).webhook,
        Idempotency.NOT_IDEMPOTENT,
    )


def list_webhooks() -> Operation[list[ManusWebhook]]:
    """``GET /v2/webhook.list``: all of them, there are no pages."""
    return Operation(
        "GET /v2/webhook.list",
        Request("GET", "/v2/webhook.list"),
        "webhooks",
        lambda response: read_webhooks(response).data or [],
    )


def delete_webhook(webhook_id: str) -> Operation[None]:
    """``POST /v2/webhook.delete``."""

    def read(response: Response) -> None:
        read_object(response)

    body = {"webhook_id": validation.object_id(webhook_id, "webhook_id")}
    request = Request("POST", "/v2/webhook.delete", json=body)
    return Operation("POST /v2/webhook.delete {webhook_id}", request, "an acknowledgement", read)


def public_key(version: str) -> Operation[tuple[str, ...]]:
    """``GET /v2/webhook.publicKey`` or ``GET /v1/webhook/public_key``: what webhooks are signed with, in PEM.

    :param version: ``v1`` or ``v2``.
    """
    request = Request("GET", "/v2/webhook.publicKey")
    read: Callable[[Response], PublicKey] = read_public_key
    if version == "v1":
        request = Request("GET", "/v1/webhook/public_key", key_header=KEY_HEADER)
        read = _read_public_key_v1
    return Operation(
        f"GET {request.path}", request, "a public key", lambda response: (read(response).public_key,)
    )
