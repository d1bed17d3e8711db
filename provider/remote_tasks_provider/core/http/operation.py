"""What vendors and transports exchange: a request, its response, and the operation that joins them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

__all__ = [
    "Idempotency",
    "Operation",
    "Page",
    "Refused",
    "Request",
    "Response",
    "Steps",
    "never_sent",
    "path",
    "present",
]

T = TypeVar("T")


class Idempotency(Enum):
    """What sending a request again would do."""

    IDEMPOTENT = "idempotent"
    """The same as sending it once: it reads, or sets what is set already."""
    KEYED = "keyed"
    """Nothing: it carries a deduplication id, by which the service recognises it."""
    NOT_IDEMPOTENT = "not idempotent"
    """It would act, and cost credits, a second time."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent.

    :param path: percent-encoded and with a leading slash; see :func:`path`.
    :param query: name and value pairs in order; a name may repeat.
    :param json: a body to be sent as JSON.
    :param content: a body to be sent as it is, instead.
    :param headers: name and value pairs beside those that every request has; they replace one of the same
        name.
    :param key_header: the header that carries the key, where it is not the one of the connection: versions
        of one API may differ in it.
    :param base_url: where it goes instead of the connection's base URL: a service may say so itself. The key
        goes along only to the connection's own host.
    :param only_first_event: the answer may be a stream of events that lasts as long as a task. Only its first
        event is read: its data are then the answer's body, and the connection is closed.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    json: Any = None
    content: bytes | None = field(default=None, repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    key_header: str | None = None
    base_url: str | None = None
    only_first_event: bool = False

    @property
    def place(self) -> str:
        """The method and the path, for messages: without a query, which can hold a secret."""
        return f"{self.method} {self.path.split('?')[0]}"

    def url(self, base_url: str) -> str:
        """Return the whole URL below ``base_url`` (no trailing slash)."""
        query = f"?{urlencode(self.query)}" if self.query else ""
        return f"{base_url if self.base_url is None else self.base_url}{self.path}{query}"


@dataclass(frozen=True, slots=True)
class Response:
    """What the service answered.

    :param headers: with lower-case names.
    :param body: decoded from any content encoding.
    :param odd_items: how many items of each list were left out when the body was read, if any were.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    odd_items: list[int] = field(default_factory=list, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """One request to one endpoint of a service, and how to read the answer.

    :param name: method and path template, for messages: ``GET /v1/tasks/{task_id}``.
    :param expects: what a good answer is, for messages: ``a Manus task``.
    :param parse: returns a good answer's value; raises ``ValueError`` when the answer has another shape, and
        :class:`Refused` when it is an error under a good HTTP status.
    """

    name: str
    request: Request
    expects: str
    parse: Callable[[Response], T]
    idempotency: Idempotency = Idempotency.IDEMPOTENT
    is_private: bool = False
    """Whether the answer may hold secrets of others, so that no message may quote it."""
    steps: Callable[[Any], Steps[T]] | None = None
    """Operations to send instead, of the connection config: what is sent may depend on what the service says
    of itself, and one call may take several requests. Each is repeated by its own rules."""

    @classmethod
    def in_steps(cls, name: str, expects: str, steps: Callable[[Any], Steps[T]]) -> Operation[T]:
        """Return an operation that is nothing but its steps."""
        return cls(name, Request("GET", ""), expects, never_sent, steps=steps)

    @property
    def has_id(self) -> bool:
        """Whether the path holds an id, so that a 404 may be about that id and not about the host."""
        return "{" in self.name


Steps = Generator[Operation[Any], Any, T]
"""Yields operations; is sent the answer of each, or has its error raised. Returns the value of them all."""


def never_sent(_response: Response) -> Any:
    """Stand for the ``parse`` of an operation that has steps."""
    raise AssertionError("its steps are sent instead")


class Refused(Exception):
    """Raised by an operation's ``parse`` when the body is an error under a good HTTP status.

    :param status: the HTTP status that fits the error.
    :param code: the service's code, where it is not the one in the body.
    """

    def __init__(self, status: int, code: str | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items of a list and how to get more.

    :param cursor: where the next page begins; ``None`` at the end.
    :param next: the operation for that page; ``None`` at the end.
    :param size: the answer's bytes, where someone wants to know how heavy items are.
    """

    items: Sequence[T]
    cursor: str | None = None
    next: Operation[Page[T]] | None = None
    size: int = 0


def path(template: str, **ids: str) -> str:
    """Fill ``template`` with ids, percent-encoding each so that no id can reach another endpoint."""
    return template.format(**{name: quote(value, safe="") for name, value in ids.items()})


def present(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of ``values`` that are not ``None``: a request leaves out what is not given."""
    return {name: value for name, value in values.items() if value is not None}
