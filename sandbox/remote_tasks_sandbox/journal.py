"""What was asked of the emulated APIs, kept without the secrets that came with it.

A test that wants to know whether a client sent its key where it must not, asked too often, or asked for the
wrong page reads it here. Calls to the control plane and the pages are not kept.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from remote_tasks_sandbox.calls import Call

__all__ = ["Journal", "RequestRecord"]

_SECRET_HEADERS = ("authorization", "cookie", "proxy-authorization")
_HIDDEN = "***"
_KEPT = 50_000


@dataclass(slots=True)
class RequestRecord:
    """One request to an emulated API.

    :param query: decoded pairs in their order
    :param headers: lower-case name to value, secrets replaced by ``***``
    :param auth: for each header that can carry a key, whether it was sent
    :param at: sandbox time of arrival, unix seconds
    :param status: what was answered; ``None`` while unanswered and for a dropped connection
    :param fault: kinds of the faults that were applied, joined by commas; ``None`` without any
    """

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    auth: dict[str, bool]
    at: float
    status: int | None = None
    fault: str | None = None

    def describe(self) -> dict[str, Any]:
        """Return the record as JSON-ready data."""
        return {name: getattr(self, name) for name in self.__slots__}


class Journal:
    """The last requests, oldest first; thread safe.

    :param key_headers: names of the headers in which clients send keys
    """

    def __init__(self, key_headers: Iterable[str]) -> None:
        self._key_headers = frozenset(key_headers)
        self._lock = threading.Lock()
        self._records: deque[RequestRecord] = deque(maxlen=_KEPT)
        #: All requests since the last clearing, also those that are no longer kept.
        self.total = 0

    def open(self, call: Call, *, at: float, secrets: Iterable[str]) -> RequestRecord:
        """Note the arrival of a call; the caller fills in ``status`` when it answers."""
        record = RequestRecord(
            method=call.method,
            path=_without(call.path, secrets),
            query=[(name, self._parameter(name, value, secrets)) for name, value in call.query],
            headers={name: self._header(name, value, secrets) for name, value in call.headers.items()},
            auth={name: name in call.headers for name in sorted(self._key_headers)},
            at=at,
        )
        with self._lock:
            self._records.append(record)
            self.total += 1
        return record

    def all(self) -> list[RequestRecord]:
        """Return the kept records, oldest first."""
        with self._lock:
            return list(self._records)

    def last(self, count: int) -> list[RequestRecord]:
        """Return the newest ``count`` records, newest first."""
        with self._lock:
            return [self._records[-1 - back] for back in range(min(count, len(self._records)))]

    def clear(self) -> None:
        """Forget all requests."""
        with self._lock:
            self._records.clear()
            self.total = 0

    def _header(self, name: str, value: str, secrets: Iterable[str]) -> str:
        # A header may be one to pass on, as in ``...-forward-authorization``.
        bare = name.rpartition("forward-")[2]
        if bare not in self._key_headers and bare not in _SECRET_HEADERS:
            return _without(value, secrets)
        # The scheme is no secret, and "Bearer where API_KEY belongs" is the commonest mistake worth seeing.
        scheme, blank, _ = value.partition(" ")
        return f"{scheme} {_HIDDEN}" if blank and scheme.lower() in ("bearer", "basic") else _HIDDEN

    def _parameter(self, name: str, value: str, secrets: Iterable[str]) -> str:
        return _HIDDEN if name.lower().endswith(("key", "token")) else _without(value, secrets)


def _without(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, _HIDDEN)
    return text
