"""What a request that got no answer met, and whether it had been sent: one mapping for requests and httpx.

A request that costs money is repeated only when it was provably not sent: no connection came about, a proxy
refused it, or the TLS handshake failed. After that it is not known how far the request got.

Knows the libraries' errors by name, so that neither library nor urllib3 is imported here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from traceback import walk_tb

from remote_tasks_provider.core.http.parsing import one_line

__all__ = ["ConnectionFailure", "connection_failure"]

# ConnectTimeout and ProxyError are in both libraries. NewConnectionError and its child are urllib3's, and the
# reason of a requests.ConnectionError; the others are httpx's.
_NOT_SENT = frozenset(
    {
        "ConnectTimeout", "ConnectTimeoutError", "ProxyError",
        "NewConnectionError", "NameResolutionError",
        "ConnectError", "PoolTimeout",
    }
)  # fmt: skip
_CLOSED = frozenset(
    {
        "RemoteDisconnected", "BadStatusLine", "IncompleteRead",
        "RemoteProtocolError", "ReadError", "WriteError",
    }
)  # fmt: skip
# Functions of the standard library's ssl module.
_HANDSHAKE_FRAMES = frozenset({"do_handshake", "wrap_socket"})


@dataclass(frozen=True, slots=True)
class ConnectionFailure:
    """Why no answer came.

    :param reason: a few words for a message: ``Connection refused``.
    :param sent: ``False`` when the request provably never left, ``None`` when that is not known.
    """

    reason: str
    sent: bool | None


def connection_failure(
    error: BaseException,
    *,
    connect_timeout: float,
    read_timeout: float,
    scrub: Callable[[str], str] | None = None,
) -> ConnectionFailure:
    """Return what ``error``, raised by ``requests`` or ``httpx``, means.

    :param scrub: takes the key out of the error's own text. Without it that text is not shown at all, as it
        can hold a signed link.
    """
    reasons = _reasons(error)
    names = [type(one).__name__ for one in reasons]
    sent = False if _is_in_handshake(error) or not _NOT_SENT.isdisjoint(names) else None
    if any("Timeout" in name for name in names):
        if sent is False:
            return ConnectionFailure(f"no connection within {connect_timeout:g} s", sent)
        return ConnectionFailure(f"silent for {read_timeout:g} s", sent)
    if reason := _system_reason(error):
        return ConnectionFailure(reason, sent)
    if not _CLOSED.isdisjoint(names):
        return ConnectionFailure("the connection closed before a whole HTTP answer had come", sent)
    text = one_line(scrub(str(reasons[-1])), 120) if scrub else ""
    return ConnectionFailure(f"{names[-1]}: {text}" if text else names[-1], sent)


def _reasons(error: BaseException) -> list[BaseException]:
    """Return ``error`` and the errors that requests and urllib3 have wrapped into it, outermost first."""
    found: list[BaseException] = []
    todo = [error]
    while todo:
        one = todo.pop(0)
        if one not in found:
            found.append(one)
            parts = (*one.args, getattr(one, "reason", None))
            todo += [part for part in parts if isinstance(part, BaseException)]
    return found


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield ``error``, what it wraps, and what was being handled when it was raised."""
    seen: list[BaseException] = []
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop(0)
        if one is not None and one not in seen:
            seen.append(one)
            yield one
            todo += [*_reasons(one)[1:], one.__cause__, one.__context__]


def _is_in_handshake(error: BaseException) -> bool:
    """Whether the error was raised in a TLS handshake, before any request.

    The stack frames show it; urllib3 raises the same errors for a connection that breaks later.
    """
    return any(
        frame.f_code.co_name in _HANDSHAKE_FRAMES
        for one in _chain(error)
        for frame, _ in walk_tb(one.__traceback__)
    )


def _system_reason(error: BaseException) -> str:
    """Return what the operating system said, such as *Connection refused*, below the libraries' wrappings."""
    for one in _chain(error):
        if isinstance(one, ConnectionError) and one.errno:
            return os.strerror(one.errno)  # asyncio puts words of its own into strerror
        if isinstance(one, OSError) and one.strerror:
            return one.strerror
    return ""
