"""Moves files from and to signed links. Anyone who has such a link may use it, so it must not leak.

This module knows no connection and no key, so it can't send a key to the storage behind a link. The query of
a link is its key: no message, log line, repr or chained exception shows it, so the exceptions of ``requests``
are dropped. Files pass in chunks; one that breaks off starts again.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.client import responses
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import SplitResult, urlsplit

import tenacity

from remote_tasks_provider.core.errors import (
    InvalidResponseError,
    LinkExpiredError,
    RedirectError,
    TransferError,
    TransportError,
)
from remote_tasks_provider.core.http.connection import is_loopback
from remote_tasks_provider.core.http.connection_errors import failure_reason, through
from remote_tasks_provider.core.http.environment import NetworkSettings, network_settings
from remote_tasks_provider.core.http.operation import Idempotency
from remote_tasks_provider.core.http.response import error_type_of, retry_after
from remote_tasks_provider.core.http.retry import RetryPolicy
from remote_tasks_provider.core.http.transport import user_agent
from remote_tasks_provider.core.storable import storable_text

if TYPE_CHECKING:
    import requests

    from remote_tasks_provider.core.http.session import Attempt

__all__ = ["ByteReader", "ByteWriter", "OnBytes", "Transferred", "download", "upload"]

T = TypeVar("T")
OnBytes = Callable[[int], Any]

_CHUNK_BYTES = 256 * 1024
# Storage services send an error as a small XML document, with the code near the start.
_ERROR_BYTES = 2000
_STORAGE_CODE = re.compile(rb"<Code>\s*([A-Za-z0-9.]{1,60})\s*</Code>")
# Google Cloud Storage, and S3 for a link made with temporary credentials, answer 400 with this code.
_EXPIRED_CODES = frozenset({"ExpiredToken"})
_EXPIRED_STATUSES = frozenset({401, 403, 410})

# Seconds to wait for a connection, seconds without a byte, and seconds for one attempt at a whole file.
_CONNECT_TIMEOUT, _READ_TIMEOUT, _TOTAL_TIMEOUT = 10.0, 60.0, 3600.0
# Half an hour, as an attempt may take many minutes before it breaks.
_RETRIES = RetryPolicy(give_up_after=1800.0)


class ByteWriter(Protocol):
    """Where a file goes."""

    def write(self, data: bytes, /) -> Any:
        """Write the next bytes."""


class ByteReader(Protocol):
    """Where a file comes from."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, none at the end."""


@dataclass(frozen=True, slots=True)
class Transferred:
    """What was downloaded.

    :param size: bytes.
    :param sha256: in lower-case hexadecimal.
    :param content_type: from the host.
    """

    size: int
    sha256: str
    content_type: str | None = None


def download(
    url: str,
    open_writer: Callable[[], AbstractContextManager[ByteWriter]],
    *,
    max_bytes: int,
    from_loopback: bool = False,
    on_bytes: OnBytes = lambda _size: None,
) -> Transferred:
    """Download the file of a signed link.

    :param url: ``https://``; ``http://`` only to this machine, and only with ``from_loopback``.
    :param open_writer: opens an empty destination. It is called for each attempt, and its context exits with
        an exception when the file did not arrive whole.
    :param max_bytes: a longer file is refused, at the latest when one byte more has arrived.
    :param from_loopback: whether the service that gave the link is on this machine. One elsewhere must not
        reach what listens here.
    :param on_bytes: is told of each chunk how long it is; those of an attempt that failed count, too.
    :raises ConnectionConfigError: the machine's proxy or certificates cannot be used.
    :raises LinkExpiredError: the link is no longer valid; the caller may get a fresh one.
    :raises TransferError: the link is unsafe or the file too long. A retry cannot help.
    :raises RedirectError: the link leads to another one, which is not followed.
    :raises InvalidResponseError: the response is good but holds no file. A retry may help.
    :raises TransportError, ServerError, RateLimitedError: all attempts failed. A retry may help.
    :raises NotFoundError, InvalidRequestError: the host has no such file, or refuses the link.
    """
    link = _link(url, "download from", from_loopback)
    return _with_retries(partial(_receive, link, open_writer, max_bytes, on_bytes), link)


def upload(
    url: str,
    open_reader: Callable[[], AbstractContextManager[ByteReader]],
    size: int,
    content_type: str,
    *,
    from_loopback: bool = False,
    on_bytes: OnBytes = lambda _size: None,
) -> None:
    """``PUT`` a file's bytes to a signed link. Raises like :func:`download`, or what the reader raises.

    :param open_reader: opens the file. It is called for each attempt.
    :param size: bytes that the file holds; not 0, which ``requests`` would take for an unknown length.
    :param content_type: sent as it is; a link may be signed for one type only.
    :param on_bytes: as in :func:`download`.
    :raises TransferError: also when the file holds more or less than ``size``.
    """
    link = _link(url, "upload to", from_loopback)
    _with_retries(partial(_send, link, open_reader, size, content_type, on_bytes), link)


# ------------------------------------------------------------------------------------------- the attempts


@dataclass(frozen=True, slots=True)
class _Link:
    """A checked link and its label for messages: ``download from files.example.com``."""

    url: str = field(repr=False)
    host: str
    label: str
    settings: NetworkSettings


def _link(url: str, action: str, from_loopback: bool) -> _Link:
    parts, port = _split(url)
    host = parts.hostname or ""
    if not parts.scheme and not host:
        raise TransferError(
            f"{action} a link that names no host: the service sent the end of a URL, or none. Only whole "
            "https:// URLs are followed."
        )
    if parts.scheme not in ("http", "https") or not host:
        raise TransferError(
            f"{action} a link that is no https:// URL: the service sent none that can be used."
        )
    name = f"{host}:{port}" if port else host
    if parts.scheme == "http" and not (from_loopback and is_loopback(host)):
        raise TransferError(
            f"{action} {name}: the link is http://, so anyone in between could read the file and the link. "
            "Only https:// is used, and http:// to this machine if the service itself is on it."
        )
    if parts.username is not None or parts.password is not None:
        raise TransferError(f"{action} {name}: the link holds a user or password, which is not sent.")
    return _Link(url, name, f"{action} {name}", network_settings(url))


def _split(url: str) -> tuple[SplitResult, int | None]:
    """Return the parts of ``url`` and its port; empty parts where it is no URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return urlsplit(""), None
    return parts, port


def _with_retries(attempt: Callable[[], T], link: _Link) -> T:
    """Make attempts as ``_RETRIES`` allows; a request to a signed link is idempotent."""
    logging.getLogger("urllib3.connectionpool").addFilter(_WITHOUT_QUERY)
    token = _IN_TRANSFER.set(True)
    try:
        rules = _RETRIES.tenacity(Idempotency.IDEMPOTENT, link.label, time.sleep)
        answer: T = tenacity.Retrying(**rules)(attempt)
        return answer
    finally:
        _IN_TRANSFER.reset(token)


def _receive(
    link: _Link,
    open_writer: Callable[[], AbstractContextManager[ByteWriter]],
    max_bytes: int,
    on_bytes: OnBytes,
) -> Transferred:
    with ExitStack() as stack:
        answer, attempt = _request(stack, "GET", link)
        _check_status(answer, link)
        if answer.status_code != HTTPStatus.OK:
            raise InvalidResponseError(f"{link.label}: HTTP {answer.status_code} instead of the file.")
        length = _length(answer)
        _check_size(length or 0, max_bytes, link)
        size, digest = 0, hashlib.sha256()
        writer = stack.enter_context(open_writer())
        for chunk in _chunks(answer, attempt, link):
            size += len(chunk)
            _check_size(size, max_bytes, link)
            digest.update(chunk)
            writer.write(chunk)
            on_bytes(len(chunk))
        # Bytes on the wire, not bytes written: the host may have compressed the file.
        if length is not None and (received := answer.raw.tell()) != length:
            raise TransportError(f"{link.label}: the file broke off after {received} of {length} bytes.")
        content_type = answer.headers.get("content-type")
        return Transferred(size, digest.hexdigest(), content_type and storable_text(content_type))


def _send(
    link: _Link,
    open_reader: Callable[[], AbstractContextManager[ByteReader]],
    size: int,
    content_type: str,
    on_bytes: OnBytes,
) -> None:
    with ExitStack() as stack:
        source = _Source(stack.enter_context(open_reader()), size, link, on_bytes)
        try:
            answer, _ = _request(stack, "PUT", link, data=source, headers={"Content-Type": content_type})
        except TransportError:
            if source.failure is not None:
                raise source.failure from None
            raise
        _check_status(answer, link)


def _request(stack: ExitStack, method: str, link: _Link, **sent: Any) -> tuple[requests.Response, Attempt]:
    """Send one request by a session of its own, which has no cookie and no key."""
    from remote_tasks_provider.core.http import session as library

    attempt = stack.enter_context(library.attempt(_TOTAL_TIMEOUT))
    session = stack.enter_context(library.make_session(link.settings, user_agent()))
    # The file itself, so that its bytes can be counted.
    session.headers["Accept-Encoding"] = "identity"
    try:
        answer = session.request(
            method,
            link.url,
            timeout=(_CONNECT_TIMEOUT, _READ_TIMEOUT),
            allow_redirects=False,
            stream=True,
            **sent,
        )
        return stack.enter_context(answer), attempt
    except library.FAILURES as error:
        lost = _lost(error, attempt, link)
    raise lost


def _chunks(answer: requests.Response, attempt: Attempt, link: _Link) -> Iterator[bytes]:
    from remote_tasks_provider.core.http import session as library

    lost = None
    try:
        yield from answer.iter_content(_CHUNK_BYTES)
    except library.FAILURES as error:
        lost = _lost(error, attempt, link)
    if attempt.overran:
        lost = _lost(TimeoutError(), attempt, link)
    if lost is not None:
        raise lost


class _Source:
    """Passes a reader of ``size`` bytes to ``requests`` in chunks; an error if it holds more or less.

    An ``OSError`` of the reader would look like one of the network, so it is kept in ``failure``.
    """

    def __init__(self, reader: ByteReader, size: int, link: _Link, on_bytes: OnBytes) -> None:
        self._reader = reader
        self._on_bytes = on_bytes
        self._size = size
        self._link = link
        self.failure: Exception | None = None

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        left = self._size
        try:
            while chunk := self._reader.read(_CHUNK_BYTES):
                left -= len(chunk)
                if left < 0:
                    break
                yield chunk
                self._on_bytes(len(chunk))
            if left:
                raise TransferError(
                    f"{self._link.label}: the file holds {'more' if left < 0 else 'less'} than the "
                    f"{self._size} bytes that were announced; did it change meanwhile?"
                )
        except Exception as error:
            self.failure = error
            raise


# ------------------------------------------------------------------------------------------ the responses


def _check_status(answer: requests.Response, link: _Link) -> None:
    status = answer.status_code
    if 300 <= status < 400:
        parts, _ = _split(answer.headers.get("location", ""))
        target = storable_text(parts.hostname or f"another path of {link.host}")
        raise RedirectError(
            f"{link.label}: HTTP {status}, a redirect to {target}. A link must lead to the file "
            "itself; redirects are not followed."
        )
    if 200 <= status < 300:
        return
    code = _storage_code(answer)
    if status in _EXPIRED_STATUSES or code in _EXPIRED_CODES:
        raise LinkExpiredError(
            f"{link.label}: HTTP {status}{f' {code}' if code else ''}: the link has expired or was revoked. "
            "Ask the service for a fresh one."
        )
    headers = {name.lower(): value for name, value in answer.headers.items()}
    raise error_type_of(status)(
        # Not the body: storage services repeat the signature in it.
        responses.get(status, "an unknown status"),
        status_code=status,
        code=code,
        retry_after=retry_after(headers, time.time()),
        endpoint=link.label,
    )


def _storage_code(answer: requests.Response) -> str | None:
    from remote_tasks_provider.core.http import session as library

    try:
        start = next(answer.iter_content(_ERROR_BYTES), b"")
    except library.FAILURES:
        return None
    found = _STORAGE_CODE.search(start)
    return found.group(1).decode() if found else None


def _length(answer: requests.Response) -> int | None:
    length = answer.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else None


def _check_size(size: int, max_bytes: int, link: _Link) -> None:
    if size > max_bytes:
        raise TransferError(
            f"{link.label}: the file has more than the {max_bytes} bytes that are allowed. Raise the limit "
            "if files of this size are meant to be saved."
        )


def _lost(error: Exception, attempt: Attempt, link: _Link) -> TransportError:
    if attempt.overran:
        reason = f"not done within {_TOTAL_TIMEOUT:g} s"
    else:
        seconds = _CONNECT_TIMEOUT if attempt.sent is False else _READ_TIMEOUT
        reason = failure_reason(error, link.settings, sent=attempt.sent, seconds=seconds)
    return TransportError(f"{link.label}{through(link.settings)}: {reason}.", sent=attempt.sent)


# ----------------------------------------------------------------------------------------------- the log

_IN_TRANSFER: ContextVar[bool] = ContextVar("in_transfer", default=False)


class _WithoutQuery(logging.Filter):
    """Removes queries from the requests that urllib3 logs at level ``DEBUG``.

    It stays on the logger, as a filter cannot be removed while another thread logs, but acts only in the
    thread of a transfer.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if _IN_TRANSFER.get() and isinstance(record.args, tuple):
            record.args = tuple(
                part.partition("?")[0] if isinstance(part, str) else part for part in record.args
            )
        return True


_WITHOUT_QUERY = _WithoutQuery()
