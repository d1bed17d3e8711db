"""Files over real sockets: what arrives, what is refused, and that a link's key is shown to nobody."""

from __future__ import annotations

import gzip
import hashlib
import io
import logging
import pickle
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import urllib3.response

from remote_tasks_provider import __version__
from remote_tasks_provider.core.errors import (
    InvalidRequestError,
    InvalidResponseError,
    LinkExpiredError,
    NotFoundError,
    RateLimitedError,
    RedirectError,
    RemoteTaskError,
    ServerError,
    TransferError,
    TransportError,
)
from remote_tasks_provider.core.files import transfer
from remote_tasks_provider.core.files.transfer import Transferred, download, upload
from remote_tasks_provider.core.http.retry import RetryPolicy
from tests.core.raw_server import Handler, RawServer, answer, free_port, hang_up, reset, say_nothing

SECRET = "top-secret-signature"
QUERY = f"Policy=abc~&Signature={SECRET}&x=%2F"
# What the product uses; the tests wait less.
GIVE_UP_AFTER = transfer._RETRIES.give_up_after
TIMEOUTS = (transfer._CONNECT_TIMEOUT, transfer._READ_TIMEOUT)
FILE = bytes(range(256)) * 4096  # 1 MiB: several chunks


class Destination:
    """Where files are written: one new buffer for each attempt."""

    def __init__(self) -> None:
        self.attempts: list[io.BytesIO] = []
        self.left_with: list[type[BaseException] | None] = []

    @contextmanager
    def __call__(self) -> Iterator[io.BytesIO]:
        self.attempts.append(io.BytesIO())
        try:
            yield self.attempts[-1]
        except BaseException as error:
            self.left_with.append(type(error))
            raise
        self.left_with.append(None)

    @property
    def content(self) -> bytes:
        return self.attempts[-1].getvalue()


class Pauses(list[float]):
    def __call__(self, seconds: float) -> None:
        self.append(seconds)


class Stream(io.RawIOBase):
    """A source that can be read once, from front to back."""

    def __init__(self, content: bytes) -> None:
        self._inner = io.BytesIO(content)
        self.largest = 0

    def read(self, size: int = -1) -> bytes:
        self.largest = max(self.largest, size)
        assert size > 0, "the whole file was asked for at once"
        return self._inner.read(size)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> Pauses:
    """The pauses between attempts, which take no time; and limits that a test can wait for."""
    found = Pauses()
    monkeypatch.setattr(transfer, "time", SimpleNamespace(sleep=found, time=time.time))
    monkeypatch.setattr(transfer, "_RETRIES", RetryPolicy(max_attempts=3))
    monkeypatch.setattr(transfer, "_CONNECT_TIMEOUT", 2.0)
    monkeypatch.setattr(transfer, "_READ_TIMEOUT", 2.0)
    return found


@pytest.fixture
def short_timeouts(pauses: Pauses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_CONNECT_TIMEOUT", 0.1)
    monkeypatch.setattr(transfer, "_READ_TIMEOUT", 0.1)


@pytest.fixture
def to() -> Destination:
    return Destination()


def _link(server: RawServer | str) -> str:
    base = server if isinstance(server, str) else server.url
    return f"{base}/private/report.pdf?{QUERY}"


def _get(server: RawServer | str, to: Destination, max_bytes: int = 1 << 24) -> Transferred:
    return download(_link(server), to, max_bytes=max_bytes, from_loopback=True)


def _put(server: RawServer, source: bytes | Callable[[], Any], size: int | None = None) -> None:
    """Upload some bytes, or what ``source`` opens."""
    opens = partial(io.BytesIO, source) if isinstance(source, bytes) else source
    upload(_link(server), opens, len(FILE) if size is None else size, "text/csv", from_loopback=True)


def _keeps_the_secret(error: BaseException) -> None:
    told = [*traceback.format_exception(error), repr(error)]
    if isinstance(error, RemoteTaskError):
        told += [str(error.to_json()), str(vars(pickle.loads(pickle.dumps(error))))]
    seen: list[BaseException | None] = [error]
    while (one := seen.pop()) is not None:
        told += [str(one), repr(one), str(vars(one))]
        seen += [None, one.__cause__, one.__context__]
        seen = [each for each in seen if each is not None] or [None]
    for text in told:
        assert SECRET not in text
        assert "Policy=" not in text


def _fails(kind: type[RemoteTaskError], do: Callable[[], Any]) -> Any:
    with pytest.raises(kind) as caught:
        do()
    assert type(caught.value) is kind
    _keeps_the_secret(caught.value)
    return caught.value


def _raw(head: bytes, body: bytes = b"", then: Handler = hang_up) -> Handler:
    """Answer exactly so."""

    def handle(connection: socket.socket) -> None:
        connection.sendall(head.replace(b"\n", b"\r\n") + b"\r\n\r\n" + body)
        then(connection)

    return handle


def _endless(connection: socket.socket) -> None:
    """Send until the client leaves, but not for ever."""
    for _ in range(4096):
        connection.sendall(b"x" * 65536)


class TestDownload:
    def test_file_arrives_whole_with_size_hash_and_type(self, to: Destination) -> None:
        with RawServer(answer(200, FILE, content_type="application/pdf")) as server:
            done = _get(server, to)

        assert to.content == FILE
        assert to.left_with == [None]
        assert done == Transferred(len(FILE), hashlib.sha256(FILE).hexdigest(), "application/pdf")

    def test_file_without_size_and_type_is_read_to_the_end(self, to: Destination) -> None:
        with RawServer(_raw(b"HTTP/1.1 200 OK", b"abc")) as server:
            done = _get(server, to)

        assert (to.content, done.size, done.content_type) == (b"abc", 3, None)

    def test_type_that_cannot_be_stored_is_replaced(self, to: Destination) -> None:
        with RawServer(_raw(b"HTTP/1.1 200 OK\nContent-Type: text/\x00html", b"abc")) as server:
            done = _get(server, to)

        assert done.content_type == "text/\ufffdhtml"

    def test_http_chunks_are_put_together(self, to: Destination) -> None:
        body = b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"
        with RawServer(_raw(b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked", body)) as server:
            assert _get(server, to).size == 5

        assert to.content == b"abcde"

    def test_empty_file_is_a_file(self, to: Destination) -> None:
        with RawServer(answer(200, b"")) as server:
            assert _get(server, to).size == 0

        assert to.content == b""
        assert to.left_with == [None]

    def test_compressed_file_is_written_uncompressed(self, to: Destination) -> None:
        with RawServer(answer(200, gzip.compress(FILE), content_encoding="gzip")) as server:
            done = _get(server, to)

        assert to.content == FILE
        assert done.size == len(FILE)

    def test_memory_holds_only_some_chunks(self, to: Destination, monkeypatch: pytest.MonkeyPatch) -> None:
        sizes: list[int] = []
        written = io.BytesIO.write

        class Watched(io.BytesIO):
            def write(self, data: Any) -> int:
                sizes.append(len(data))
                return written(self, data)

        with RawServer(answer(200, FILE)) as server:
            download(_link(server), Watched, max_bytes=len(FILE), from_loopback=True)

        assert sum(sizes) == len(FILE)
        assert max(sizes) <= 256 * 1024

    @pytest.mark.parametrize("status", [202, 204, 206])
    def test_answer_that_is_no_file_is_not_written(self, status: int, to: Destination) -> None:
        with RawServer(_raw(f"HTTP/1.1 {status} X\nContent-Length: 0".encode())) as server:
            error = _fails(InvalidResponseError, lambda: _get(server, to))

        assert f"HTTP {status} instead of the file" in str(error)
        assert to.attempts == []

    def test_destination_error_is_raised_and_not_retried(self) -> None:
        class Full(io.BytesIO):
            def write(self, data: Any) -> int:
                raise OSError(28, "No space left on device")

        with RawServer(answer(200, FILE)) as server:
            with pytest.raises(OSError, match="No space left"):
                download(_link(server), Full, max_bytes=1 << 24, from_loopback=True)

            assert len(server.requests) == 1


class TestRequest:
    def test_link_is_sent_as_given_without_key_cookie_or_netrc(
        self, to: Destination, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text("default login somebody password else\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        with RawServer(answer(503, b"", set_cookie="session=1; Path=/"), answer(200, FILE)) as server:
            _get(server, to)

        assert len(server.requests) == 2
        for number in range(2):
            assert server.requests[number].startswith(
                f"GET /private/report.pdf?{QUERY} HTTP/1.1\r\n".encode()
            )
            headers = dict(server.header_lines(number))
            assert headers.keys() == {"host", "user-agent", "accept-encoding", "accept", "connection"}
            assert headers["accept-encoding"] == "identity"
            assert headers["user-agent"].startswith(f"airflow-provider-remote-tasks/{__version__} requests/")

    @pytest.mark.parametrize(
        "url",
        [
            f"http://files.example.com/a?{QUERY}",
            f"http://10.0.0.1/a?{QUERY}",
            f"http://127.0.0.1.example.com/a?{QUERY}",
            f"ftp://127.0.0.1/a?{QUERY}",
            f"file:///etc/passwd?{QUERY}",
            f"https:///a?{QUERY}",
            f"https://user:{SECRET}@127.0.0.1/a",
            f"https://{SECRET}@127.0.0.1/a",
            f"https://[broken/a?{QUERY}",
            f"https://127.0.0.1:port/a?{QUERY}",
            f"/relative?{QUERY}",
            "",
        ],
    )
    def test_unsafe_link_is_refused_before_any_socket(
        self, url: str, to: Destination, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def touched(*args: Any, **kwargs: Any) -> Any:
            raise AssertionError("a socket was touched")

        monkeypatch.setattr(socket, "socket", touched)
        monkeypatch.setattr(socket, "getaddrinfo", touched)

        error = _fails(TransferError, lambda: download(url, to, max_bytes=1))

        assert "download from" in str(error)
        _fails(TransferError, lambda: upload(url, io.BytesIO, 1, "text/csv"))

    @pytest.mark.parametrize(
        "host",
        [
            "127.0.0.1",
            "localhost",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "127.9.9.9",
            "2130706433",
            "0x7f.1",
            "127.1",
        ],
    )
    def test_link_to_this_machine_from_a_service_elsewhere_is_refused(
        self, host: str, to: Destination, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with RawServer(answer()) as server:
            link = f"{server.url.replace('127.0.0.1', host)}/x?{QUERY}"
            error = _fails(TransferError, lambda: download(link, to, max_bytes=1))
            _fails(TransferError, lambda: upload(link, io.BytesIO, 1, "text/csv"))

        assert "Only https:// is used" in str(error)
        assert server.requests == []

    @pytest.mark.parametrize("host", ["10.0.0.1", "192.168.0.1", "169.254.169.254", "2130706433", "0.0.0.0"])
    def test_service_on_this_machine_may_not_name_other_hosts_in_clear(
        self, host: str, to: Destination
    ) -> None:
        link = f"http://{host}/x?{QUERY}"
        _fails(TransferError, lambda: download(link, to, max_bytes=1, from_loopback=True))

    def test_https_link_is_never_sent_in_clear(self, to: Destination, short_timeouts: None) -> None:
        # The server cannot read a TLS greeting, so it hears nothing that looks like a request.
        with RawServer(answer()) as server:
            _fails(TransportError, lambda: _get(server.url.replace("http:", "https:"), to))

        assert server.requests == []


class TestRedirect:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_redirect_is_not_followed_and_names_its_target(self, status: int, to: Destination) -> None:
        location = f"https://elsewhere.example.com/x?{QUERY}"
        with RawServer(answer(status, b"", location=location)) as server:
            error = _fails(RedirectError, lambda: _get(server, to))

            assert len(server.requests) == 1
        assert "a redirect to elsewhere.example.com." in str(error)
        assert to.attempts == []

    @pytest.mark.parametrize("headers", [{}, {"location": "/x?y"}, {"location": f"https://[x?{QUERY}"}])
    def test_redirect_without_a_host_is_reported(self, headers: dict[str, str], to: Destination) -> None:
        with RawServer(answer(302, b"", **headers)) as server:
            error = _fails(RedirectError, lambda: _get(server, to))

        assert "a redirect to another path of 127.0.0.1:" in str(error)

    def test_redirect_to_a_host_that_cannot_be_stored_is_reported(self, to: Destination) -> None:
        with RawServer(_raw(b"HTTP/1.1 302 Found\nLocation: https://a\x00b.example.com/x", b"")) as server:
            error = _fails(RedirectError, lambda: _get(server, to))

        assert "a redirect to a\ufffdb.example.com." in str(error)

    def test_body_of_a_redirect_is_not_read(self, to: Destination) -> None:
        head = b"HTTP/1.1 302 X\nLocation: https://elsewhere.example.com/"
        with RawServer(_raw(head, then=_endless)) as server:
            _fails(RedirectError, lambda: _get(server, to))


class TestCap:
    def test_file_of_exactly_the_cap_passes(self, to: Destination) -> None:
        with RawServer(answer(200, FILE)) as server:
            assert _get(server, to, max_bytes=len(FILE)).size == len(FILE)

    def test_announced_size_over_the_cap_is_refused_before_the_body(self, to: Destination) -> None:
        with RawServer(_raw(b"HTTP/1.1 200 OK\nContent-Length: 1001", then=say_nothing)) as server:
            error = _fails(TransferError, lambda: _get(server, to, max_bytes=1000))

            assert len(server.requests) == 1
        assert "more than the 1000 bytes that are allowed" in str(error)
        assert to.attempts == []

    @pytest.mark.parametrize("told", [b"", b"\nContent-Length: 5x", "\nContent-Length: ²".encode("latin-1")])
    def test_unannounced_size_over_the_cap_stops_the_transfer(self, told: bytes, to: Destination) -> None:
        with RawServer(_raw(b"HTTP/1.1 200 OK" + told, then=_endless)) as server:
            _fails(TransferError, lambda: _get(server, to, max_bytes=1 << 20))

        assert len(to.content) <= 1 << 20
        assert to.left_with == [TransferError]

    def test_unpacked_size_over_the_cap_stops_the_transfer(self, to: Destination) -> None:
        squeezed = gzip.compress(b" " * (1 << 22))
        with RawServer(answer(200, squeezed, content_encoding="gzip")) as server:
            _fails(TransferError, lambda: _get(server, to, max_bytes=1 << 20))

        assert len(to.content) <= 1 << 20


class TestBrokenDownload:
    @pytest.mark.parametrize(
        "first",
        [
            hang_up,
            reset,
            answer(503, b"busy"),
            answer(500, b"oops"),
            answer(429, b""),
            _raw(b"HTTP/1.1 200 OK\nContent-Length: 99", b"only this"),
            _raw(b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"2\r\nab\r\n"),
            _raw(b"HTTP/1.1 200 OK\nContent-Encoding: gzip", b"not gzip at all"),
        ],
        ids=["hang up", "reset", "503", "500", "429", "short", "short chunks", "not gzip"],
    )
    def test_broken_download_begins_anew(self, first: Handler, to: Destination, pauses: Pauses) -> None:
        with RawServer(first, answer(200, FILE)) as server:
            _get(server, to)

        assert to.content == FILE
        assert to.left_with[-1] is None
        assert len(pauses) == 1

    @pytest.mark.parametrize("connects", [True, False])
    def test_truncated_file_is_an_error_whatever_urllib3_thinks(
        self, connects: bool, to: Destination, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # urllib3 1 took what came for the whole.
        made = urllib3.response.HTTPResponse.__init__

        def lax(self: Any, *args: Any, **kwargs: Any) -> None:
            made(self, *args, **(kwargs | {"enforce_content_length": connects}))

        monkeypatch.setattr(urllib3.response.HTTPResponse, "__init__", lax)
        with RawServer(_raw(b"HTTP/1.1 200 OK\nContent-Length: 99", b"only this")) as server:
            error = _fails(TransportError, lambda: _get(server, to))

            assert len(server.requests) == 3
        assert to.left_with == [TransportError] * 3
        assert error.retry_helps
        assert ("broke off after 9 of 99 bytes" in str(error)) is not connects

    def test_silence_ends_with_the_read_timeout(self, to: Destination, short_timeouts: None) -> None:
        with RawServer(say_nothing) as server:
            error = _fails(TransportError, lambda: _get(server, to))

        assert "silent for 0.1 s" in str(error)

    @pytest.mark.parametrize("length", [b"", b"Content-Length: 100000\r\n"])
    def test_trickling_file_is_ended(
        self, to: Destination, length: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def trickle(connection: socket.socket) -> None:
            with suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n")
                while True:
                    connection.sendall(b"x")
                    threading.Event().wait(0.02)

        monkeypatch.setattr(transfer, "_TOTAL_TIMEOUT", 0.3)
        with RawServer(trickle) as server:
            error = _fails(TransportError, lambda: _get(server, to))

        assert "not done within 0.3 s" in str(error)
        assert to.left_with[-1] is TransportError

    def test_silence_within_a_file_ends_with_the_read_timeout(
        self, to: Destination, short_timeouts: None
    ) -> None:
        stalls = _raw(b"HTTP/1.1 200 OK\nContent-Length: 9", b"abc", then=say_nothing)
        with RawServer(stalls) as server:
            error = _fails(TransportError, lambda: _get(server, to))

        assert "silent for 0.1 s" in str(error)
        assert len(to.attempts) == 3

    def test_refused_connection_is_reported_in_the_words_of_the_system(self, to: Destination) -> None:
        port = free_port()
        error = _fails(TransportError, lambda: _get(f"http://127.0.0.1:{port}", to))

        assert str(error) == f"download from 127.0.0.1:{port}: Connection refused."
        assert error.sent is False

    def test_slow_connection_is_given_up(self, to: Destination, short_timeouts: None) -> None:
        # A listener whose queue is full lets further connections wait.
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            waiting = [socket.socket() for _ in range(4)]
            try:
                for one in waiting:
                    one.setblocking(False)
                    one.connect_ex(listener.getsockname())
                url = f"http://127.0.0.1:{listener.getsockname()[1]}"
                error = _fails(TransportError, lambda: _get(url, to))
            finally:
                for one in waiting:
                    one.close()

        assert "no connection within 0.1 s" in str(error)

    def test_answer_that_is_not_http_is_no_file(self, to: Destination) -> None:
        with RawServer(_raw(b"SSH-2.0-nope")) as server:
            error = _fails(TransportError, lambda: _get(server, to))

        assert "the connection closed before a whole HTTP answer had come" in str(error)

    def test_host_may_set_the_pause(self, to: Destination, pauses: Pauses) -> None:
        with RawServer(answer(503, b"", retry_after="7"), answer(200, FILE)) as server:
            _get(server, to)

        assert 7 <= pauses[0] <= 7.5

    @pytest.mark.parametrize(("status", "kind"), [(503, ServerError), (429, RateLimitedError)])
    def test_lasting_error_is_reported_with_its_status(
        self, status: int, kind: type[RemoteTaskError], to: Destination
    ) -> None:
        with RawServer(answer(status, f"<Signature>{SECRET}</Signature>".encode())) as server:
            error = _fails(kind, lambda: _get(server, to))

            assert len(server.requests) == 3
        assert error.status_code == status
        assert str(error).startswith(
            f"download from 127.0.0.1:{server.url.rpartition(':')[2]}: HTTP {status}"
        )


class TestRefusedDownload:
    @pytest.mark.parametrize(
        ("status", "body", "shown"),
        [
            (403, b"", "HTTP 403: the link"),
            (403, b"<Error><Code>AccessDenied</Code></Error>", "HTTP 403 AccessDenied: the link"),
            (410, b"gone", "HTTP 410: the link"),
            (401, b"", "HTTP 401: the link"),
            (400, b"<Error><Code>ExpiredToken</Code></Error>", "HTTP 400 ExpiredToken: the link"),
        ],
    )
    def test_expired_link_has_its_own_error(
        self, status: int, body: bytes, shown: str, to: Destination
    ) -> None:
        with RawServer(answer(status, body)) as server:
            error = _fails(LinkExpiredError, lambda: _get(server, to))

            assert len(server.requests) == 1
        assert f"{shown} has expired" in str(error)
        assert "Ask the service for a fresh one" in str(error)
        assert to.attempts == []

    def test_missing_file_is_not_found(self, to: Destination) -> None:
        with RawServer(answer(404, b"<Error><Code>NoSuchKey</Code></Error>")) as server:
            error = _fails(NotFoundError, lambda: _get(server, to))

            assert len(server.requests) == 1
        assert (error.code, error.message) == ("NoSuchKey", "Not Found")

    def test_body_of_an_error_is_not_shown(self, to: Destination) -> None:
        body = f"<Error><Code>SignatureDoesNotMatch</Code><Sent>{SECRET}</Sent></Error>".encode()
        with RawServer(answer(400, body)) as server:
            error = _fails(InvalidRequestError, lambda: _get(server, to))

        assert str(error).endswith("HTTP 400 SignatureDoesNotMatch: Bad Request.")

    def test_unknown_status_is_judged_by_its_class(self, to: Destination) -> None:
        with RawServer(answer(499, b"")) as server:
            error = _fails(InvalidRequestError, lambda: _get(server, to))

        assert error.message == "an unknown status"

    def test_error_with_a_broken_body_is_judged_by_its_status(self, to: Destination) -> None:
        with RawServer(_raw(b"HTTP/1.1 404 X\nTransfer-Encoding: chunked", b"zz")) as server:
            assert _fails(NotFoundError, lambda: _get(server, to)).code is None


class TestProgress:
    def test_bytes_are_told_as_they_arrive(self, to: Destination) -> None:
        told: list[int] = []
        with RawServer(answer(200, FILE)) as server:
            download(_link(server), to, max_bytes=1 << 24, from_loopback=True, on_bytes=told.append)

        assert sum(told) == len(FILE)
        assert max(told) <= 256 * 1024


class TestUpload:
    def test_bytes_are_put_with_size_and_type_only(self) -> None:
        with RawServer(answer(200, b"")) as server:
            _put(server, FILE)

        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        assert head.startswith(f"PUT /private/report.pdf?{QUERY} HTTP/1.1\r\n".encode())
        assert body == FILE
        headers = dict(server.header_lines())
        assert headers.keys() == {
            *("host", "user-agent", "accept-encoding", "accept", "connection"),
            *("content-length", "content-type"),
        }
        assert (headers["content-length"], headers["content-type"]) == (str(len(FILE)), "text/csv")

    def test_bytes_are_told_as_they_are_sent(self) -> None:
        told: list[int] = []
        with RawServer(answer(200, b"")) as server:
            opens = partial(io.BytesIO, FILE)
            upload(_link(server), opens, len(FILE), "a/b", from_loopback=True, on_bytes=told.append)

        assert (sum(told), len(told)) == (len(FILE), 4)

    def test_file_is_read_in_chunks_and_closed(self) -> None:
        stream = Stream(FILE)
        with RawServer(answer(200, b"")) as server:
            _put(server, lambda: stream)

        assert server.requests[0].endswith(b"\r\n\r\n" + FILE)
        assert stream.largest <= 256 * 1024
        assert stream.closed

    @pytest.mark.parametrize("first", [answer(503, b""), hang_up, answer(429, b"")])
    def test_file_is_sent_again_from_its_beginning(self, first: Handler, pauses: Pauses) -> None:
        with RawServer(first, answer(200, b"")) as server:
            _put(server, lambda: Stream(FILE))

        assert server.requests[1].endswith(b"\r\n\r\n" + FILE)
        assert len(pauses) == 1

    @pytest.mark.parametrize("size", [len(FILE) + 1, len(FILE) - 1])
    def test_file_of_another_size_is_not_taken_for_sent(self, size: int) -> None:
        with RawServer(answer(200, b"")) as server:
            error = _fails(TransferError, lambda: _put(server, FILE, size))

        assert f"{'less' if size > len(FILE) else 'more'} than the {size} bytes" in str(error)

    @pytest.mark.parametrize("failure", [OSError(5, "Input/output error"), ValueError("closed file")])
    def test_source_error_is_raised_unchanged(self, failure: Exception) -> None:
        class Broken(Stream):
            def read(self, size: int = -1) -> bytes:
                raise failure

        with RawServer(answer(200, b"")) as server, pytest.raises(type(failure)) as caught:
            _put(server, lambda: Broken(b""))

        assert caught.value is failure
        _keeps_the_secret(caught.value)

    @pytest.mark.parametrize("status", [403, 410])
    def test_expired_link_has_its_own_error(self, status: int) -> None:
        with RawServer(answer(status, b"")) as server:
            error = _fails(LinkExpiredError, lambda: _put(server, FILE))

        assert str(error).startswith("upload to 127.0.0.1:")

    def test_redirect_is_not_followed(self) -> None:
        with RawServer(answer(200, b"")) as other, RawServer(answer(307, b"", location=other.url)) as server:
            _fails(RedirectError, lambda: _put(server, FILE))

        assert other.requests == []


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextmanager
def _all_that_is_logged() -> Iterator[list[str]]:
    root, heard = logging.getLogger(), _Heard()
    level = root.level
    root.addHandler(heard)
    root.setLevel(logging.DEBUG)
    try:
        yield heard.lines
    finally:
        root.removeHandler(heard)
        root.setLevel(level)


class TestLog:
    def test_log_lines_never_hold_the_key_of_the_link(self, to: Destination) -> None:
        with (
            _all_that_is_logged() as lines,
            RawServer(answer(503, b""), hang_up, answer(200, FILE)) as server,
        ):
            _get(server, to)
            _put(server, FILE)

        assert any("GET /private/report.pdf" in line for line in lines), "urllib3 says nothing any more"
        assert any("PUT /private/report.pdf" in line for line in lines)
        assert any("attempt 1 of 3 failed" in line for line in lines)
        assert not [line for line in lines if SECRET in line or "Policy=" in line]

    def test_log_lines_of_other_requests_stay_whole(self, to: Destination) -> None:
        with RawServer(answer(200, FILE)) as server:
            _get(server, to)
            with _all_that_is_logged() as lines, urllib3.PoolManager() as pool:
                pool.request("GET", f"{server.url}/x?query=stays")
                logging.getLogger("urllib3.connectionpool").debug("a line without arguments")

        assert any("/x?query=stays" in line for line in lines)
        assert "a line without arguments" in lines

    def test_log_line_without_arguments_passes_during_a_transfer(self) -> None:
        def speak() -> Any:
            logging.getLogger("urllib3.connectionpool").debug("now?")
            return io.BytesIO()

        with _all_that_is_logged() as lines, RawServer(answer(200, FILE)) as server:
            download(_link(server), speak, max_bytes=1 << 24, from_loopback=True)

        assert "now?" in lines

    def test_repr_never_holds_the_key_of_the_link(self) -> None:
        assert SECRET not in repr(transfer._link(_link("https://files.example.com"), "download from", False))


class TestDefaults:
    def test_transfer_outlasts_the_timeout_of_a_single_call(self) -> None:
        assert RetryPolicy().give_up_after < GIVE_UP_AFTER
        assert TIMEOUTS == (10.0, 60.0)
