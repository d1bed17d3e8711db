"""The words for what a request that got no answer met: one mapping for requests and httpx.

Whether the request had been sent is not told by the error but by its way; the transports watch that.

Knows the libraries' errors by name, so that neither library nor urllib3 is imported here.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator

from remote_tasks_provider.core.http.environment import NetworkSettings
from remote_tasks_provider.core.http.parsing import one_line

__all__ = ["failure_reason", "through"]

_CLOSED = frozenset(
    {
        "RemoteDisconnected", "BadStatusLine", "IncompleteRead",
        "RemoteProtocolError", "ReadError", "WriteError",
    }
)  # fmt: skip


def failure_reason(
    error: BaseException,
    settings: NetworkSettings,
    *,
    sent: bool | None,
    seconds: float,
    scrub: Callable[[str], str] | None = None,
) -> str:
    """Return in a few words why no answer came: ``Connection refused``.

    :param error: raised by ``requests`` or ``httpx``.
    :param sent: whether the request had been sent; ``None`` if that is not known.
    :param seconds: the timeout that was in force, should it be one.
    :param scrub: takes the key out of the error's own text. Without it that text is not shown at all, as it
        can hold a signed link.
    """
    reasons = _reasons(error)
    names = [type(one).__name__ for one in reasons]
    if any("Timeout" in name for name in names):
        return f"{'no connection within' if sent is False else 'silent for'} {seconds:g} s"
    if reason := _system_reason(error):
        return reason + _advice(error, settings)
    if not _CLOSED.isdisjoint(names):
        return "the connection closed before a whole HTTP answer had come"
    text = one_line(scrub(str(reasons[-1])), 120) if scrub else ""
    return f"{names[-1]}: {text}" if text else names[-1]


def through(settings: NetworkSettings) -> str:
    """Return the words that name the proxy, empty without one."""
    proxy = settings.proxy
    return f" through the proxy {proxy.label} of {proxy.variable}" if proxy else ""


def _advice(error: BaseException, settings: NetworkSettings) -> str:
    if not any(isinstance(one, ssl.SSLCertVerificationError) for one in _chain(error)):
        return ""
    return f"; trusted are the certificates of {settings.trusted}, set REQUESTS_CA_BUNDLE to trust others"


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


def _system_reason(error: BaseException) -> str:
    """Return what the operating system said, such as *Connection refused*, below the libraries' wrappings."""
    for one in _chain(error):
        if isinstance(one, ConnectionError) and one.errno:
            return os.strerror(one.errno)  # asyncio puts words of its own into strerror
        if isinstance(one, OSError) and one.strerror:
            return one.strerror
    return ""
