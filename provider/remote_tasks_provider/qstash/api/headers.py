"""HTTP headers that QStash is given with a message: those it forwards, and those for itself. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import InvalidArgumentError

__all__ = ["check_headers", "extra_headers", "secrets_of"]

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# Sent by this provider or its HTTP libraries, or carrying the account's key.
_KEPT = frozenset(
    {
        "accept",
        "accept-encoding",
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "upstash-content-based-deduplication",
        "upstash-cron",
        "upstash-deduplication-id",
        "upstash-queue-name",
        "upstash-schedule-id",
    }
)
# Names of headers that carry a credential have one of these.
_SECRET_NAMES = ("auth", "cookie", "credential", "key", "pass", "secret", "session", "signature", "token")


def check_headers(headers: Any, content_type: str | None) -> tuple[tuple[str, str], ...]:
    """Return the headers for the destination, as they are sent to QStash."""
    if not isinstance(headers, Mapping):
        raise InvalidArgumentError(
            f"headers is a {type(headers).__name__}; it must be a dict of names and values"
        )
    sent: dict[str, str] = {"Content-Type": content_type} if content_type else {}
    seen: set[str] = set()
    for name, value in headers.items():
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise InvalidArgumentError(f"headers has the name {name!r}, which no HTTP header can have")
        if name.casefold().startswith("upstash-"):
            raise InvalidArgumentError(
                f"headers has {name!r}, which is QStash's own: give it by its parameter (delay, retries, …)"
            )
        text = _header_value(name, value)
        if name.casefold() in seen:
            raise InvalidArgumentError(f"headers has {name!r} twice, in different case")
        seen.add(name.casefold())
        is_type = name.casefold() == "content-type"
        sent["Content-Type" if is_type else f"Upstash-Forward-{name}"] = text
    return tuple(sent.items())


def _header_value(name: str, value: Any) -> str:
    """Return a header's value as it is sent; it may be a secret, so no error shows it."""
    if value is None:
        raise InvalidArgumentError(f"the header {name!r} is None: leave it out, or give it a value")
    text = str(value)
    if not text.isprintable() or not text.isascii() or text != text.strip():
        raise InvalidArgumentError(
            f"the header {name!r} has a value with a line break, a space around it or no ASCII"
        )
    return text


def extra_headers(given: Any, sent: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Return headers that QStash may know and this provider does not; nobody checks what they mean.

    :param sent: the headers that the message has without them.
    :raises InvalidArgumentError: for one that this provider sends itself, or that carries a key.
    """
    taken = {name.casefold() for name in sent} | _KEPT
    for name, value in validation.mapping({} if given is None else given, "extra_headers").items():
        if not _TOKEN.fullmatch(name):
            raise InvalidArgumentError(f"extra_headers has the name {name!r}, which no HTTP header can have")
        if name.casefold() in taken:
            raise InvalidArgumentError(
                f"extra_headers has {name!r}, which this provider sends itself: give it by its parameter"
            )
        taken.add(name.casefold())
        yield name, _header_value(name, value)


def secrets_of(options: Any) -> Iterator[str]:
    """Yield what nobody may read of a message's options: the values of headers that carry a credential.

    :param options: a message's options by their names, or a callback's; what cannot be right is left out.
    """
    if not isinstance(options, Mapping):
        return
    for name in ("headers", "extra_headers"):
        headers = options.get(name)
        for header, value in headers.items() if isinstance(headers, Mapping) else ():
            if isinstance(value, str) and any(word in str(header).casefold() for word in _SECRET_NAMES):
                yield value
                # Of "Bearer …" the second part is the secret, with which another text may show it.
                yield from value.split()[1:]
    for name in ("callback_options", "failure_callback_options"):
        yield from secrets_of(options.get(name))
