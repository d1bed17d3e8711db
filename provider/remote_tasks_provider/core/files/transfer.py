"""Moves files from and to signed links. Whoever has such a link may use it, so it must not leak.

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
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from http.client import responses
from typing import TYPE_CHECKING, Any, Protocol
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
from remote_tasks_provider.core.http.connection_errors import connection_failure
from remote_tasks_provider.core.http.operation import Idempotency
from remote_tasks_provider.core.http.response import error_kind, retry_after
from remote_tasks_provider.core.http.retry import RetryPolicy
from remote_tasks_provider.core.http.transport import plain_session

if TYPE_CHECKING:
    import requests

__all__ = ["ByteReader", "ByteWriter", "TransferPolicy", "Transferred", "download", "upload"]

_CHUNK_BYTES = 256 * 1024
# Storage services send an error as a small XML document, with the code near the start.
_ERROR_BYTES = 2000
_STORAGE_CODE = re.compile(rb"<Code>\s*([A-Za-z0-9.]{1,60})\s*</Code>")
# Google Cloud Storage, and S3 for a link made with temporary credentials, answer 400 with this code.
_EXPIRED_CODES = frozenset({"ExpiredToken"})
_EXPIRED_STATUSES = frozenset({401, 403, 410})
# A storage that accepts no body of unknown length answers with one of these.
_WANTS_LENGTH = frozenset({411, 501})

# Half an hour, as an attempt may take many minutes before it breaks.
_RETRIES = RetryPolicy(give_up_after=1800.0)


class ByteWriter(Protocol):
    """Where a file goes."""

    def write(self, data: bytes, /) -> Any:
        """Write the next bytes."""


class ByteReader(Protocol):
    """Where a file comes from. With ``seekable() -> True``, ``tell`` and ``seek`` it can be sent again."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, none at the end."""


@dataclass(frozen=True, slots=True)
class TransferPolicy:
    """The timeouts of a transfer, and how often it is retried.

    :param connect_timeout: seconds to wait for a connection to the host.
    :param read_timeout: seconds without a byte after which an attempt counts as failed.
    :param retries: which failures are retried, and when.
    :param sleep: waits between attempts.
    """

    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    retries: RetryPolicy = _RETRIES
    sleep: Callable[[float], Any] = time.sleep


@dataclass(frozen=True, slots=True)
class Transferred:
    """What was transferred.

    :param size: bytes.
    :param sha256: in lower-case hexadecimal.
    :param content_type: from the host or, for an upload, from the caller.
    """

    size: int
    sha256: str
    content_type: str | None = None


_POLICY = TransferPolicy()


def download(
    url: str,
    open_writer: Callable[[], AbstractContextManager[ByteWriter]],
    *,
    max_bytes: int,
    policy: TransferPolicy = _POLICY,
) -> Transferred:
    """Download the file of a signed link.

    :param url: ``https://``; ``http://`` only to this machine.
    :param open_writer: opens an empty destination. It is called for each attempt, and its context exits with
        an exception when the file did not arrive whole.
    :param max_bytes: a longer file is refused, at the latest when one byte more has arrived.
    :raises LinkExpiredError: the link is no longer valid; the caller may get a fresh one.
    :raises TransferError: the link is unsafe or the file too long. A retry cannot help.
    :raises RedirectError: the link leads to another one, which is not followed.
    :raises InvalidResponseError: the response is good but holds no file. A retry may help.
    :raises TransportError, ServerError, RateLimitedError: all attempts failed. A retry may help.
    :raises NotFoundError, InvalidRequestError: the host has no such file, or refuses the link.
    """
    link = _link(url, "download from")
    return _with_retries(partial(_receive, link, open_writer, max_bytes, policy), link, policy)


def upload(
    url: str,
    reader: ByteReader,
    size: int | None = None,
    content_type: str | None = None,
    *,
    policy: TransferPolicy = _POLICY,
) -> Transferred:
    """``PUT`` a file's bytes to a signed link. Raises like :func:`download`, or what ``reader`` raises.

    :param reader: is read from its position. It is sent again after a failure only if it is seekable.
    :param size: bytes that ``reader`` holds. If unknown, the body is sent in HTTP chunks, which not every
        storage accepts.
    :param content_type: sent as it is; a link may be signed for one type only.
    :raises TransferError: also when ``reader`` holds more or less than ``size``.
    """
    link = _link(url, "upload to")
    start = _position(reader)
    if start is None:
        policy = replace(policy, retries=replace(policy.retries, max_attempts=1))
    elif size is None:
        size = _seek(reader, 0, 2) - start
    return _with_retries(partial(_send, link, reader, start, size, content_type, policy), link, policy)


# ------------------------------------------------------------------------------------------- the attempts


@dataclass(frozen=True, slots=True)
class _Link:
    """A checked link and its label for messages: ``download from files.example.com``."""

    url: str = field(repr=False)
    host: str
    label: str


def _link(url: str, action: str) -> _Link:
    parts, port = _split(url)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host:
        raise TransferError(
            f"{action} a link that is no https:// URL: the service sent none that can be used."
        )
    name = f"{host}:{port}" if port else host
    if parts.scheme == "http" and not is_loopback(host):
        raise TransferError(
            f"{action} {name}: the link is http://, so anyone in between could read the file and the link. "
            "Only https:// is used."
        )
    if parts.username is not None or parts.password is not None:
        raise TransferError(f"{action} {name}: the link holds a user or password, which is not sent.")
    return _Link(url, name, f"{action} {name}")


def _split(url: str) -> tuple[SplitResult, int | None]:
    """Return the parts of ``url`` and its port; empty parts where it is no URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return urlsplit(""), None
    return parts, port


def _with_retries(attempt: Callable[[], Transferred], link: _Link, policy: TransferPolicy) -> Transferred:
    """Make attempts as the policy allows; a request to a signed link is idempotent."""
    logging.getLogger("urllib3.connectionpool").addFilter(_WITHOUT_QUERY)
    token = _IN_TRANSFER.set(True)
    try:
        rules = policy.retries.tenacity(Idempotency.IDEMPOTENT, link.label, policy.sleep)
        transferred: Transferred = tenacity.Retrying(**rules)(attempt)
        return transferred
    finally:
        _IN_TRANSFER.reset(token)


def _receive(
    link: _Link,
    open_writer: Callable[[], AbstractContextManager[ByteWriter]],
    max_bytes: int,
    policy: TransferPolicy,
) -> Transferred:
    with ExitStack() as stack:
        answer = _request(stack, "GET", link, policy)
        _check_status(answer, link)
        if answer.status_code != HTTPStatus.OK:
            raise InvalidResponseError(f"{link.label}: HTTP {answer.status_code} instead of the file.")
        length = _length(answer)
        _check_size(length or 0, max_bytes, link)
        size, digest = 0, hashlib.sha256()
        writer = stack.enter_context(open_writer())
        for chunk in _chunks(answer, link, policy):
            size += len(chunk)
            _check_size(size, max_bytes, link)
            digest.update(chunk)
            writer.write(chunk)
        # Bytes on the wire, not bytes written: the host may have compressed the file.
        if length is not None and (received := answer.raw.tell()) != length:
            raise TransportError(f"{link.label}: the file broke off after {received} of {length} bytes.")
        return Transferred(size, digest.hexdigest(), answer.headers.get("content-type"))


def _send(
    link: _Link,
    reader: ByteReader,
    start: int | None,
    size: int | None,
    content_type: str | None,
    policy: TransferPolicy,
) -> Transferred:
    if start is not None:
        _seek(reader, start)
    source = _Source(reader, link) if size is None else _SizedSource(reader, link, size)
    with ExitStack() as stack:
        # An empty body is sent at once, as requests would take it for one of unknown length.
        body: Any = iter(source) if size is None else source if size else b"".join(source)
        headers = {"Content-Type": content_type} if content_type else {}
        try:
            answer = _request(stack, "PUT", link, policy, data=body, headers=headers)
        except TransportError:
            if source.failure is not None:
                raise source.failure from None
            raise
        hint = "Pass the size: the host may take no body of unknown length." if size is None else ""
        _check_status(answer, link, hint)
    return Transferred(source.size, source.digest.hexdigest(), content_type)


def _request(
    stack: ExitStack, method: str, link: _Link, policy: TransferPolicy, **sent: Any
) -> requests.Response:
    """Send one request by a session of its own, which has no cookie and no key."""
    import requests

    session = stack.enter_context(plain_session())
    # The file itself, so that its bytes can be counted.
    session.headers["Accept-Encoding"] = "identity"
    try:
        answer = session.request(
            method,
            link.url,
            timeout=(policy.connect_timeout, policy.read_timeout),
            allow_redirects=False,
            stream=True,
            **sent,
        )
        return stack.enter_context(answer)
    except requests.RequestException as error:
        lost = _lost(error, link, policy)
    raise lost


def _chunks(answer: requests.Response, link: _Link, policy: TransferPolicy) -> Iterator[bytes]:
    import requests

    lost = None
    try:
        yield from answer.iter_content(_CHUNK_BYTES)
    except requests.RequestException as error:
        lost = _lost(error, link, policy)
    if lost is not None:
        raise lost


class _Source:
    """Passes a reader to ``requests`` in chunks.

    An ``OSError`` of the reader would look like one of the network, so it is kept in ``failure``.
    """

    def __init__(self, reader: ByteReader, link: _Link) -> None:
        self._reader = reader
        self._link = link
        self.size = 0
        self.digest = hashlib.sha256()
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._read():
            self.size += len(chunk)
            self.digest.update(chunk)
            yield chunk

    def _read(self) -> bytes:
        try:
            return self._reader.read(_CHUNK_BYTES)
        except Exception as error:
            self.failure = error
            raise


class _SizedSource(_Source):
    """A source whose size the host knows, so that it must be neither longer nor shorter."""

    def __init__(self, reader: ByteReader, link: _Link, size: int) -> None:
        super().__init__(reader, link)
        self._expected = size

    def __len__(self) -> int:
        return self._expected

    def _read(self) -> bytes:
        chunk = super()._read()
        size = self.size + len(chunk)
        if size > self._expected or (not chunk and size < self._expected):
            self.failure = TransferError(
                f"{self._link.label}: the file holds {'more' if chunk else 'less'} than the {self._expected} "
                "bytes that were announced; did it change meanwhile?"
            )
            raise self.failure
        return chunk


# ------------------------------------------------------------------------------------------ the responses


def _check_status(answer: requests.Response, link: _Link, hint: str = "") -> None:
    status = answer.status_code
    if 300 <= status < 400:
        parts, _ = _split(answer.headers.get("location", ""))
        target = parts.hostname or f"another path of {link.host}"
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
    raise error_kind(status)(
        # Not the body: storage services repeat the signature in it.
        responses.get(status, "an unknown status"),
        status_code=status,
        code=code,
        retry_after=retry_after(headers, time.time()),
        endpoint=link.label,
        hint=hint if status in _WANTS_LENGTH else "",
    )


def _storage_code(answer: requests.Response) -> str | None:
    import requests

    try:
        start = next(answer.iter_content(_ERROR_BYTES), b"")
    except requests.RequestException:
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


def _lost(error: requests.RequestException, link: _Link, policy: TransferPolicy) -> TransportError:
    failure = connection_failure(
        error, connect_timeout=policy.connect_timeout, read_timeout=policy.read_timeout
    )
    return TransportError(f"{link.label}: {failure.reason}.", sent=failure.sent)


def _position(reader: ByteReader) -> int | None:
    """Return the position of ``reader``, ``None`` if it cannot seek."""
    seekable = getattr(reader, "seekable", None)
    return int(reader.tell()) if seekable is not None and seekable() else None  # type: ignore[attr-defined]


def _seek(reader: ByteReader, offset: int, whence: int = 0) -> int:
    return int(reader.seek(offset, whence))  # type: ignore[attr-defined]


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
