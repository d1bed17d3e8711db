"""The extras of an A2A connection."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from remote_tasks_provider.core.http.connection import ConnectionExtras

__all__ = ["A2AExtras"]

_SECRET = re.compile(r"[!-~]{16,256}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_RESERVED = frozenset({"host", "content-type", "content-length", "a2a-version", "accept", "user-agent"})


class A2AExtras(ConnectionExtras):
    """The extras of an A2A connection."""

    protocol_version: Literal["auto", "1.0", "0.3"] = "auto"
    """The version of the protocol to speak."""
    binding: Literal["auto", "rest", "jsonrpc"] = "auto"
    """How to speak it."""
    card_path: str | None = None
    """Where the agent's card is, below the base URL."""
    tenant: str | None = None
    """The tenant to name in every request. Default: the one in the card."""
    auth: Literal["bearer", "basic", "api_key"] = "bearer"
    """What the password is: a bearer token, ``user:password``, or an API key."""
    api_key_header: str = "X-API-Key"
    """With ``auth`` ``api_key``: the header that carries the key."""
    use_card_host: bool = False
    """Whether to call the host that the card names, if it is another one; the key does not go there."""

    webhook_secret: str | None = Field(default=None, repr=False)
    """What agents are given to send with their push notifications, 16 characters or more; never the
    connection's own token. Default: none, and agents are asked for no notifications; see
    ``docs/how-to/webhooks.md``."""

    @field_validator("webhook_secret")
    @classmethod
    def _is_a_secret(cls, secret: str | None) -> str | None:
        if secret is not None and not _SECRET.fullmatch(secret):
            raise ValueError("it must be 16 or more ASCII characters without spaces")
        return secret

    @field_validator("api_key_header")
    @classmethod
    def _is_a_header(cls, name: str) -> str:
        if not _HEADER.fullmatch(name) or name.lower() in _RESERVED:
            raise ValueError("it is the name of no header that may carry a key")
        return name
