"""The words that vendors and transports exchange: a request, its answer, and the call that joins them.

Plain frozen data; no I/O. Paging is data too: a page knows the call for its successor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

__all__ = ["Idempotency", "Operation", "Page", "Refused", "Request", "Response", "path"]

T = TypeVar("T")


class Idempotency(Enum):
    """What a repeated request would do."""

    IDEMPOTENT = "safe"
    """It only reads, or sets what a repeat would set again."""
    KEYED = "keyed"
    """It carries a deduplication id: the service recognises the repeat."""
    NOT_IDEMPOTENT = "unsafe"
    """It would do the thing, and cost its price, a second time."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent.

    :param path: percent-encoded and with a leading slash; see :func:`path`.
    :param query: name and value pairs in order; a name may repeat.
    :param json: a body to be sent as JSON.
    :param content: a body to be sent as it is, instead.
    :param headers: name and value pairs beside those that every request has; they replace one of the same
        name.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    json: Any = None
    content: bytes | None = field(default=None, repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def place(self) -> str:
        """The method and the path, for messages: without a query, which can hold a secret."""
        return f"{self.method} {self.path.split('?')[0]}"

    def url(self, base_url: str) -> str:
        """Return the whole URL below ``base_url`` (no trailing slash)."""
        query = f"?{urlencode(self.query)}" if self.query else ""
        return f"{base_url}{self.path}{query}"


@dataclass(frozen=True, slots=True)
class Response:
    """What came back: ``headers`` have lower-case names, ``body`` is decoded from any content encoding."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """One endpoint, one time.

    :param name: method and path template, for messages: ``GET /v1/tasks/{task_id}``.
    :param expects: what a good answer is, for messages: ``a Manus task``.
    :param parse: makes a good answer's value; raises ``ValueError`` when the answer has another shape, and
        :class:`Refused` when it is an error in disguise.
    """

    name: str
    request: Request
    expects: str
    parse: Callable[[Response], T]
    idempotency: Idempotency = Idempotency.IDEMPOTENT
    is_private: bool = False
    """Whether the answer may hold what others have sent, so that no message may quote it."""

    @property
    def has_id(self) -> bool:
        """Whether the path holds an id, so that a 404 may be about that id and not about the host."""
        return "{" in self.name


class Refused(Exception):
    """Raised by a call's ``parse`` when the body tells of an error under a good HTTP status.

    :param status: the HTTP status that the error deserves.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items of a list and how to get more.

    :param cursor: what the service calls the next page; ``None`` at the end.
    :param next: the call for that page; ``None`` at the end.
    """

    items: Sequence[T]
    cursor: str | None = None
    next: Operation[Page[T]] | None = None


def path(template: str, **ids: str) -> str:
    """Fill ``template`` with ids, percent-encoding each so that no id can reach another endpoint."""
    return template.format(**{name: quote(value, safe="") for name, value in ids.items()})
