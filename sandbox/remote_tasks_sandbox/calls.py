"""One call to an emulated API and its answer, as plain data.

The emulated APIs are ordinary functions from one to the other; only ``app`` knows about ASGI and sockets.
Imports nothing of the sandbox.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

__all__ = ["Answer", "Call", "Later", "Refused", "dump_json", "is_loopback", "is_same", "json_answer"]


@dataclass(frozen=True)
class Call:
    """A request to an emulated API.

    :param vendor: the first part of the path
    :param path: decoded path, with the vendor's prefix
    :param segments: path parts after the vendor, each decoded on its own, so an id may hold a slash
    :param query: decoded pairs in their order, empty values kept
    :param headers: lower-case name to value; of repeated headers the last one
    :param raw_segments: path parts after the vendor, as they were sent
    :param raw_query: the query as it was sent
    """

    vendor: str
    method: str
    path: str
    segments: tuple[str, ...]
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: bytes = b""
    raw_segments: tuple[str, ...] = ()
    raw_query: str = ""

    @classmethod
    def from_scope(cls, scope: MutableMapping[str, Any], body: bytes = b"") -> Call:
        """Read a call from an ASGI HTTP scope and the body that came with it."""
        # ``path`` is decoded as a whole, which would turn the %2F inside an id into a separator.
        raw = scope.get("raw_path") or scope["path"].encode()
        raw_parts = raw.decode("latin-1").split("/")[1:]
        parts = [unquote(part) for part in raw_parts]
        raw_query = scope["query_string"].decode("latin-1")
        query = parse_qsl(raw_query, keep_blank_values=True)
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        return cls(
            *(parts[0], scope["method"], scope["path"], tuple(parts[1:]), tuple(query), headers, body),
            raw_segments=tuple(raw_parts[1:]),
            raw_query=raw_query,
        )

    def values(self, *names: str) -> list[str]:
        """Return the values of all query parameters with one of ``names``."""
        return [value for name, value in self.query if name in names]


@dataclass(frozen=True)
class Answer:
    """A response: status, body and headers (``content-type`` is set on its own)."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Later:
    """Stands for an answer that needs what takes time, such as a request to somebody else.

    :param work: done in a thread, without the sandbox's lock
    :param end: makes the answer of what came of it, with the lock
    """

    work: Callable[[], Any]
    end: Callable[[Any], Any]

    def within(self, frame: Callable[[Callable[[], Any]], Any]) -> Later:
        """Return the same with an end that runs in ``frame``, which may catch what it raises."""
        return Later(self.work, lambda done: frame(lambda: self.end(done)))


class Refused(Exception):
    """Carries the refusal of a request out of whatever reads it.

    :param status: HTTP status
    :param message: the text of the error
    :param headers: sent along
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})


def is_same(secret: str, expected: str) -> bool:
    """Whether a key, token or signature is the expected one."""
    return hmac.compare_digest(secret.encode(), expected.encode())


def is_loopback(host: str) -> bool:
    """Whether a host name or address without port means this machine only."""
    bare = host.strip("[]")
    try:
        return bare == "localhost" or ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False


def dump_json(value: Any) -> bytes:
    """Write JSON without blanks, as both vendors do."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Wrap ``value`` as a JSON answer."""
    return Answer(status, dump_json(value), headers=headers or {})
