"""Each request ends within its total timeout, however the answer trickles; on real sockets."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from remote_tasks_provider.core.errors import TransportError
from remote_tasks_provider.core.http.operation import Request, Response
from remote_tasks_provider.core.http.transport import HttpxTransport, RequestsTransport
from tests.core.build import a_config
from tests.core.connections import Over
from tests.core.proxies import tunnel_to
from tests.core.raw_server import Handler, RawServer, answer, free_port, say_nothing
from tests.core.tls import HIDDEN, certificate, server_tls

GET = Request("GET", "/x")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
# How much longer than its total timeout a request may take on a busy machine.
SLACK = 2.0


@pytest.fixture(params=["requests", "httpx"])
def over(request: pytest.FixtureRequest) -> Over:
    return Over(request.param)


def _trickle(first: bytes, piece: bytes = b"x") -> Handler:
    """Send ``first``, then ``piece`` again and again as long as anyone is there."""

    def handle(connection: socket.socket) -> None:
        with suppress(OSError):
            connection.sendall(first)
            while True:
                connection.sendall(piece)
                threading.Event().wait(0.02)

    return handle


ENDLESS = {
    "body": _trickle(HEAD),
    "body without a length": _trickle(b"HTTP/1.1 200 OK\r\n\r\n"),
    "chunks": _trickle(CHUNKED, b"1\r\nx\r\n"),
    "size of a chunk": _trickle(CHUNKED, b"0"),
    "headers": _trickle(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "one header": _trickle(b"HTTP/1.1 200 OK\r\nX: "),
    "status": _trickle(b"HTTP/1.1 200 "),
    "interim answers": _trickle(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "nothing": say_nothing,
}


def _overruns(over: Over, url: str, timeout: float | None = None, **extras: float) -> TransportError:
    before = time.monotonic()
    with pytest.raises(TransportError) as caught:
        over.send(GET, a_config(url, **extras), timeout)
    assert time.monotonic() - before < SLACK
    return caught.value


class TestTotalTimeout:
    @pytest.mark.parametrize("way", ENDLESS)
    def test_trickling_answer_is_ended(self, over: Over, way: str) -> None:
        with RawServer(ENDLESS[way]) as server:
            error = _overruns(over, server.url, total_timeout=0.3)

        assert error.sent is None
        assert "no whole answer within 0.3 s (total_timeout)" in str(error)

    @pytest.mark.parametrize("way", ["body", "headers", "nothing"])
    def test_trickling_encrypted_answer_is_ended(
        self, over: Over, way: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate()))
        with RawServer(ENDLESS[way], tls=server_tls()) as server:
            error = _overruns(over, server.url, total_timeout=0.3)

        assert (error.sent, "no whole answer within 0.3 s" in str(error)) == (None, True)

    @pytest.mark.parametrize("secure", [False, True])
    def test_trickling_proxy_is_ended_with_nothing_sent(
        self, over: Over, secure: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate()))
        with RawServer(ENDLESS["headers"], tls=server_tls() if secure else None) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            error = _overruns(over, f"https://{HIDDEN}", total_timeout=0.3)

        assert (error.sent, "no connection within 0.3 s" in str(error)) == (False, True)

    def test_trickling_answer_behind_an_encrypted_proxy_is_ended(
        self, over: Over, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate()))
        with (
            RawServer(ENDLESS["body"], tls=server_tls()) as origin,
            RawServer(tunnel_to(origin), tls=server_tls()) as proxy,
        ):
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            error = _overruns(over, f"https://{HIDDEN}", total_timeout=0.5)

        assert (error.sent, "no whole answer within 0.5 s" in str(error)) == (None, True)

    def test_silent_handshake_is_ended_with_nothing_sent(self, over: Over) -> None:
        with RawServer(say_nothing, reads=False) as server:
            error = _overruns(over, server.url.replace("http:", "https:"), total_timeout=0.3)

        assert (error.sent, "no connection within 0.3 s" in str(error)) == (False, True)

    def test_answer_in_time_is_whole(self, over: Over) -> None:
        with RawServer(answer(200, b"x" * 3_000_000)) as server:
            assert len(over.send(GET, a_config(server.url, total_timeout=60)).body) == 3_000_000


class TestTimeLeft:
    def test_time_left_bounds_one_request(self, over: Over) -> None:
        with RawServer(ENDLESS["body"]) as server:
            error = _overruns(over, server.url, 0.3)

        assert error.sent is None
        assert "no whole answer within 0.3 s)" in str(error)

    def test_time_left_never_extends_the_total_timeout(self, over: Over) -> None:
        with RawServer(ENDLESS["body"]) as server:
            error = _overruns(over, server.url, 60, total_timeout=0.3)

        assert "no whole answer within 0.3 s (total_timeout)" in str(error)

    @pytest.mark.parametrize("timeout", [0, -1.5])
    def test_request_without_time_is_not_sent(self, over: Over, timeout: float) -> None:
        error = _overruns(over, f"http://127.0.0.1:{free_port()}", timeout)

        assert (error.sent, "there was no time left for it" in str(error)) == (False, True)


class TestConnectionAfterwards:
    """An overrun ends its own connection, and no other request's."""

    def test_next_request_of_requests_gets_a_new_connection(self) -> None:
        with RawServer(ENDLESS["body"], answer(200, b"here")) as server:
            transport = RequestsTransport(a_config(server.url))
            with pytest.raises(TransportError):
                transport.send(GET, 0.2)
            response = transport.send(GET)
            transport.close()

        assert response.body == b"here"

    def test_next_request_of_httpx_gets_a_new_connection(self) -> None:
        async def both(url: str) -> Response:
            transport = HttpxTransport(a_config(url))
            with pytest.raises(TransportError):
                await transport.send(GET, 0.2)
            response = await transport.send(GET)
            await transport.aclose()
            return response

        with RawServer(ENDLESS["body"], answer(200, b"here")) as server:
            assert asyncio.run(both(server.url)).body == b"here"

    def test_kept_connection_is_watched_too(self, over: Over) -> None:
        def answer_and_trickle(connection: socket.socket) -> None:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            connection.recv(65536)
            ENDLESS["headers"](connection)

        with RawServer(answer_and_trickle) as server:
            config = a_config(server.url, total_timeout=0.3)
            if over.library == "requests":
                transport = RequestsTransport(config)
                transport.send(GET)
                with pytest.raises(TransportError, match="no whole answer") as caught:
                    transport.send(GET)
                transport.close()
            else:

                async def both() -> None:
                    transport = HttpxTransport(config)
                    await transport.send(GET)
                    try:
                        await transport.send(GET)
                    finally:
                        await transport.aclose()

                with pytest.raises(TransportError, match="no whole answer") as caught:
                    asyncio.run(both())

        assert caught.value.sent is None
        assert len(server.requests) == 1

    def test_timer_ends_with_its_request(self) -> None:
        with RawServer(answer()) as server:
            transport = RequestsTransport(a_config(server.url))
            transport.send(GET)
            transport.close()
        for thread in threading.enumerate():
            if isinstance(thread, threading.Timer):
                thread.join(SLACK)

        assert not [one for one in threading.enumerate() if isinstance(one, threading.Timer)]


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


class TestConnecting:
    def test_connecting_is_part_of_the_total(self, over: Over, full_listener: str) -> None:
        error = _overruns(over, full_listener, total_timeout=0.3)

        assert (error.sent, "no connection within 0.3 s" in str(error)) == (False, True)


class TestCancellation:
    """httpx passes a cancellation on, wherever it comes, and leaves nothing open."""

    async def _cancelled(self, url: str) -> HttpxTransport:
        transport = HttpxTransport(a_config(url))
        task = asyncio.create_task(transport.send(GET))
        await asyncio.sleep(0.1)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return transport

    @pytest.mark.parametrize("way", ["body", "headers", "nothing"])
    def test_cancellation_ends_a_request(self, way: str) -> None:
        async def cancel_and_send(url: str) -> Response:
            transport = await self._cancelled(url)
            response = await transport.send(GET)
            await transport.aclose()
            return response

        with RawServer(ENDLESS[way], answer(200, b"here")) as server:
            assert asyncio.run(cancel_and_send(server.url)).body == b"here"

    @pytest.mark.parametrize("scheme", ["http", "socks5"])
    def test_cancellation_ends_the_way_to_a_proxy(self, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
        async def cancel() -> None:
            transport = await self._cancelled(f"https://{HIDDEN}")
            await transport.aclose()

        with RawServer(say_nothing, reads=scheme == "http") as proxy:
            monkeypatch.setenv("ALL_PROXY", proxy.url.replace("http", scheme))
            asyncio.run(cancel())

    def test_cancellation_ends_a_handshake(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def cancel(url: str) -> None:
            transport = await self._cancelled(url)
            await transport.aclose()

        with RawServer(say_nothing, reads=False) as server:
            asyncio.run(cancel(server.url.replace("http:", "https:")))
