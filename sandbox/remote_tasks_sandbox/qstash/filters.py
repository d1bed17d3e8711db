"""The filters of QStash's logs, dead letter queue and bulk cancellation.

https://upstash.com/docs/qstash: several values of one filter are alternatives, several filters must all fit.
Values come as repeated parameters or in a list with commas; an address may hold commas, so it is not split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from remote_tasks_sandbox.calls import Call, Refused
from remote_tasks_sandbox.qstash.message import Message
from remote_tasks_sandbox.qstash.parsing import json_body, whole
from remote_tasks_sandbox.qstash.wire import CALLER_IP

__all__ = ["CANCEL_FILTERS", "DLQ_FILTERS", "LOG_FILTERS", "Filters", "Page", "from_query", "from_request"]

_UNSPLIT = frozenset({"url", "path"})
_ALIASES = {"messageIds": "messageId", "callerIP": "callerIp", "flowControlKeys": "flowControlKey"}
#: What each filter of messages compares its values with.
_FACTS: dict[str, Callable[[Message], set[str | None]]] = {
    "messageId": lambda message: {message.id},
    "url": lambda message: {message.url},
    "host": lambda message: {urlsplit(message.url).netloc, urlsplit(message.url).hostname},
    "path": lambda message: {urlsplit(message.url).path},
    "topicName": lambda message: {message.options.topic},
    "scheduleId": lambda message: {message.options.schedule_id},
    "queueName": lambda message: {message.options.queue},
    "label": lambda message: set(message.options.labels),
    "flowControlKey": lambda message: {message.options.flow.key if message.options.flow else None},
    "callerIp": lambda _: {CALLER_IP},
    "source": lambda _: {"qstash"},
}
_DATES = frozenset({"fromDate", "toDate"})
#: The filters of each kind of operation. The dead letter queue refuses ``host`` and ``path``.
LOG_FILTERS = (_DATES | _FACTS.keys()) - {"source"}
CANCEL_FILTERS = LOG_FILTERS
DLQ_FILTERS = (_DATES | _FACTS.keys() | {"dlqIds", "responseStatus"}) - {"host", "path"}
#: Parameters of a query that choose nothing.
_NO_FILTERS = frozenset({"count", "cursor", "order", "qstash_token"})


class Filters:
    """What was asked for, by name.

    :param values: each filter that was sent, its alternatives
    """

    def __init__(self, values: Mapping[str, list[str]]) -> None:
        self.values = dict(values)
        self.from_ms = _date(self.values, "fromDate", 0)
        self.to_ms = _date(self.values, "toDate", 2**62)
        self._wanted = {name: frozenset(values[name]) for name in _FACTS if name in values}

    def __bool__(self) -> bool:
        return bool(self.values)

    def get(self, name: str) -> frozenset[str] | None:
        """Return the alternatives of one filter, or ``None`` when it was not sent."""
        return frozenset(self.values[name]) if name in self.values else None

    def fit(self, message: Message) -> bool:
        """Whether a message is one of those asked for, dates left aside."""
        return all(wanted & _FACTS[name](message) for name, wanted in self._wanted.items())


class Page:
    """Which part of a list was asked for.

    :param most: the largest ``count``
    """

    def __init__(self, call: Call, *, most: int = 100) -> None:
        count = _single(call, "count")
        self.count = most if count is None else whole("count", count, least=1, most=most)
        cursor = _single(call, "cursor")
        self.after = None if cursor in (None, "", "0") else _cursor(cursor or "")

    @staticmethod
    def order(call: Call, default: str) -> str:
        """Return the order asked for."""
        order = _single(call, "order") or default
        if order not in ("latestFirst", "earliestFirst"):
            raise Refused(400, f"invalid order: {order!r} is neither latestFirst nor earliestFirst")
        return order


def from_query(call: Call, names: frozenset[str] | None = None) -> Filters:
    """Read the filters of a query.

    :param names: the filters of this operation; every other name is refused, since one that is ignored lets
        everything through. By default those of the log, where other parameters are left to the caller
    """
    values: dict[str, list[str]] = {}
    for sent, value in call.query:
        name = _ALIASES.get(sent, sent)
        if names is not None and sent not in _NO_FILTERS:
            _check_known(sent, names)
        if name in (LOG_FILTERS if names is None else names) and value:
            values.setdefault(name, []).extend(_split(name, value))
    return Filters(values)


def from_request(call: Call, names: frozenset[str]) -> Filters:
    """Read the filters of a bulk operation from its query and its JSON body; an empty list is no filter.

    :param names: the filters of this operation; every other name is refused
    """
    values = dict(from_query(call, names).values)
    body: dict[str, Any] = json_body(call, optional=True)
    if not isinstance(body, dict):
        raise Refused(400, "invalid request body: it must be an object")
    for sent, value in body.items():
        _check_known(sent, names)
        items = [str(one) for one in (value if isinstance(value, list) else [value]) if one not in (None, "")]
        if items:
            values.setdefault(_ALIASES.get(sent, sent), []).extend(items)
    return Filters(values)


def _check_known(name: str, names: frozenset[str]) -> None:
    if _ALIASES.get(name, name) not in names:
        raise Refused(400, f"invalid filter: {name!r} is not known here")


def _split(name: str, value: str) -> Iterable[str]:
    return [value] if name in _UNSPLIT else [part.strip() for part in value.split(",") if part.strip()]


def _single(call: Call, name: str) -> str | None:
    return next(iter(call.values(name)), None)


def _date(values: Mapping[str, list[str]], name: str, default: int) -> int:
    return whole(name, values[name][0]) if name in values else default


def _cursor(cursor: str) -> tuple[int, int]:
    time_ms, dash, number = cursor.partition("-")
    if not (dash and time_ms.isascii() and time_ms.isdecimal() and number.isascii() and number.isdecimal()):
        raise Refused(400, "invalid cursor")
    return int(time_ms), int(number)
