"""Both libraries' errors become the same: whether the request was sent, and in which words it is told.

All on real sockets, as what the libraries raise differs by version.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator

import pytest

from remote_tasks_provider.core.errors import TransportError
from remote_tasks_provider.core.http.connection_errors import failure_reason
from remote_tasks_provider.core.http.environment import network_settings
from remote_tasks_provider.core.http.operation import Request
from tests.core.build import SECRET, a_config
from tests.core.connections import Over
from tests.core.raw_server import RawServer, answer, free_port, hang_up, reset, say_nothing
from tests.core.tls import certificate, server_tls

GET = Request("GET", "/x")
CLOSED = "the connection closed before a whole HTTP answer had come"


@pytest.fixture(params=["requests", "httpx"])
def over(request: pytest.FixtureRequest) -> Over:
    return Over(request.param)


def _lost(over: Over, url: str, **extras: float) -> tuple[bool | None, str]:
    """Send a request that gets no answer; return whether it was sent, and the reason in the message."""
    with pytest.raises(TransportError) as caught:
        over.send(GET, a_config(url, **extras))
    text = str(caught.value)
    before, _, after = text.partition(" (")
    assert before == f"Example GET /x: no answer from {url}"
    assert after.endswith("check the host of connection 'example_default' and the network.")
    assert SECRET not in text
    assert caught.value.__cause__ is None
    return caught.value.sent, after.partition("). If this stays")[0]


@pytest.fixture
def full_listener() -> Iterator[str]:
    """The URL of a listener whose queue is full: further connections wait."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for one in waiting:
            one.close()


@pytest.fixture
def _trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate()))


@pytest.fixture
def tls() -> ssl.SSLContext:
    return server_tls()


class TestNotSent:
    def test_refused_connection(self, over: Over) -> None:
        assert _lost(over, f"http://127.0.0.1:{free_port()}") == (False, "Connection refused")

    def test_host_without_an_address(self, over: Over) -> None:
        sent, reason = _lost(over, "https://nowhere.invalid")

        assert sent is False
        assert "Name or service not known" in reason or "resol" in reason

    def test_connection_that_takes_too_long(self, over: Over, full_listener: str) -> None:
        found = _lost(over, full_listener, connect_timeout=0.2)

        assert found == (False, "no connection within 0.2 s")

    def test_certificate_that_nobody_trusts(self, over: Over, tls: ssl.SSLContext) -> None:
        with RawServer(answer(), tls=tls) as server:
            sent, reason = _lost(over, server.url)

        assert sent is False
        assert "certificate verify failed" in reason
        assert server.requests == []

    def test_server_that_does_not_speak_tls(self, over: Over) -> None:
        with RawServer(answer(400), reads=False) as server:
            sent, reason = _lost(over, server.url.replace("http:", "https:"))

        assert sent is False
        assert "WRONG_VERSION_NUMBER" in reason or "RECORD_LAYER" in reason

    @pytest.mark.parametrize("way", [hang_up, reset])
    def test_connection_that_closes_in_the_handshake(
        self, over: Over, way: Callable[[socket.socket], None]
    ) -> None:
        def after_the_greeting(connection: socket.socket) -> None:
            connection.recv(65536)
            way(connection)

        with RawServer(after_the_greeting, reads=False) as server:
            assert _lost(over, server.url.replace("http:", "https:"))[0] is False

    def test_handshake_that_takes_too_long(self, over: Over) -> None:
        with RawServer(say_nothing, reads=False) as server:
            url = server.url.replace("http:", "https:")
            found = _lost(over, url, connect_timeout=0.2, read_timeout=0.3)

        assert found == (False, "no connection within 0.2 s")


class TestMayHaveBeenSent:
    @pytest.mark.parametrize("handler", [hang_up, answer(200, b"{", content_length="99")])
    def test_connection_that_closes(self, over: Over, handler: Callable[[socket.socket], None]) -> None:
        with RawServer(handler) as server:
            assert _lost(over, server.url) == (None, CLOSED)

    def test_connection_that_is_reset(self, over: Over) -> None:
        with RawServer(reset) as server:
            assert _lost(over, server.url) == (None, "Connection reset by peer")

    @pytest.mark.usefixtures("_trusted")
    def test_encrypted_connection_that_closes(self, over: Over, tls: ssl.SSLContext) -> None:
        with RawServer(hang_up, tls=tls) as server:
            sent, _ = _lost(over, server.url)

        assert sent is None
        assert len(server.requests) == 1

    def test_server_that_stays_silent(self, over: Over) -> None:
        with RawServer(say_nothing) as server:
            assert _lost(over, server.url, read_timeout=0.2) == (None, "silent for 0.2 s")

    def test_server_that_falls_silent_within_its_answer(self, over: Over) -> None:
        def stall(connection: socket.socket) -> None:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")

        with RawServer(stall) as server:
            assert _lost(over, server.url, read_timeout=0.2) == (None, "silent for 0.2 s")

    def test_server_that_does_not_speak_http(self, over: Over) -> None:
        def greet(connection: socket.socket) -> None:
            connection.sendall(b"SSH-2.0-nope\r\n\r\n")
            connection.close()

        with RawServer(greet) as server:
            assert _lost(over, server.url) == (None, CLOSED)

    def test_body_that_cannot_be_decoded(self, over: Over) -> None:
        with RawServer(answer(200, b"not gzip", content_encoding="gzip")) as server:
            assert _lost(over, server.url)[0] is None


class TestReason:
    def _of(self, error: Exception, scrub: Callable[[str], str] | None = None) -> str:
        settings = network_settings("http://127.0.0.1")
        return failure_reason(error, settings, sent=None, seconds=2, scrub=scrub)

    def test_reason_is_the_errors_kind_where_it_has_no_text(self) -> None:
        assert self._of(RuntimeError(), str) == "RuntimeError"

    def test_reason_has_the_errors_text_only_where_it_can_be_scrubbed(self) -> None:
        error = RuntimeError("https://host/file?signature=hush")

        assert self._of(error) == "RuntimeError"
        assert self._of(error, lambda text: text.replace("hush", "***")).endswith("signature=***")

    def test_error_that_is_its_own_cause_is_read_once(self) -> None:
        error = RuntimeError("x")
        error.args = (error,)
        error.__cause__ = error

        assert self._of(error) == "RuntimeError"
