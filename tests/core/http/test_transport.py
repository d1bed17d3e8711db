"""The two transports on real sockets: what is sent, what is refused, and whether a lost request had left."""

from __future__ import annotations

import gzip
import json
import socket
from pathlib import Path

import pytest

from remote_tasks_provider import __version__
from remote_tasks_provider.core.errors import InvalidResponseError, TransportError
from remote_tasks_provider.core.http import transport
from remote_tasks_provider.core.http.operation import Request
from tests.core.build import SECRET, a_config
from tests.core.connections import Over
from tests.core.raw_server import RawServer, answer, free_port, hang_up, reset, say_nothing

GET = Request("GET", "/x")


@pytest.fixture(params=["requests", "httpx"])
def over(request: pytest.FixtureRequest) -> Over:
    return Over(request.param)


def _lost(over: Over, url: str, **extras: float) -> TransportError:
    with pytest.raises(TransportError) as caught:
        over.send(GET, a_config(url, **extras))
    assert SECRET not in str(caught.value)
    assert f"Example GET /x: no answer from {url} (" in str(caught.value)
    assert "'example_default'" in str(caught.value)
    assert caught.value.__cause__ is None
    return caught.value


class TestRequest:
    def test_it_carries_key_agent_and_types_and_no_other_credentials(self, over: Over) -> None:
        with RawServer(answer()) as server:
            over.send(GET, a_config(server.url))

        headers = server.header_lines()
        named = dict(headers)
        assert [value for name, value in headers if name == "api_key"] == [SECRET]
        assert named["accept"] == "application/json"
        assert named["content-type"] == "application/json"
        assert named["user-agent"].startswith(f"airflow-provider-remote-tasks/{__version__} {over.library}/")
        assert not {"authorization", "cookie", "proxy-authorization"} & set(named)

    def test_netrc_is_not_read(self, over: Over, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text("default login somebody password else\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        with RawServer(answer()) as server:
            over.send(GET, a_config(server.url))

        assert "authorization" not in dict(server.header_lines())

    def test_path_query_and_body_are_sent_as_given(self, over: Over) -> None:
        request = Request("POST", "/a%2Fb/%252e/%C3%BC", query=(("s", "1"), ("s", "2")), json={"prompt": "ü"})
        with RawServer(answer()) as server:
            over.send(request, a_config(f"{server.url}/prefix"))

        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        assert head.split(b"\r\n")[0] == b"POST /prefix/a%2Fb/%252e/%C3%BC?s=1&s=2 HTTP/1.1"
        assert json.loads(body) == {"prompt": "ü"}


class TestResponse:
    def test_header_names_are_lower_case_and_the_body_is_decoded(self, over: Over) -> None:
        squeezed = gzip.compress(b'{"a": 1}')
        with RawServer(answer(201, squeezed, Content_Encoding="gzip", X_Request_Id="r1")) as server:
            response = over.send(GET, a_config(server.url))

        assert (response.status, response.body, response.headers["x-request-id"]) == (201, b'{"a": 1}', "r1")

    def test_a_redirect_is_not_followed(self, over: Over) -> None:
        with RawServer(answer()) as other, RawServer(answer(302, b"", location=other.url)) as server:
            response = over.send(GET, a_config(server.url))

        assert response.status == 302
        assert other.requests == []

    @pytest.mark.parametrize("squeeze", [False, True])
    def test_a_body_over_the_cap_is_dropped_however_small_it_travels(
        self, over: Over, squeeze: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transport, "_MAX_BODY_BYTES", 1 << 20)
        body = b" " * ((1 << 20) + 1)
        handler = answer(200, gzip.compress(body), content_encoding="gzip") if squeeze else answer(200, body)
        with RawServer(handler) as server, pytest.raises(InvalidResponseError, match="exceeds 1 MiB"):
            over.send(GET, a_config(server.url))

    def test_a_body_of_just_the_cap_passes(self, over: Over, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(transport, "_MAX_BODY_BYTES", 1 << 20)
        with RawServer(answer(200, b" " * (1 << 20))) as server:
            assert len(over.send(GET, a_config(server.url)).body) == 1 << 20


class TestNotSent:
    def test_a_refused_connection_was_not_sent(self, over: Over) -> None:
        error = _lost(over, f"http://127.0.0.1:{free_port()}")

        assert error.sent is False
        assert "(Connection refused)" in str(error)

    def test_a_host_without_an_address_was_not_sent(self, over: Over) -> None:
        assert _lost(over, "https://nowhere.invalid").sent is False

    def test_a_connection_that_took_too_long_was_not_sent(self, over: Over) -> None:
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
                error = _lost(over, url, connect_timeout=0.2)
            finally:
                for one in waiting:
                    one.close()

        assert error.sent is False
        assert "(no connection within 0.2 s)" in str(error)


class TestNobodyCanTell:
    @pytest.mark.parametrize("handler", [hang_up, reset, answer(200, b"{", content_length="99")])
    def test_a_connection_that_broke_may_have_been_sent(self, over: Over, handler: object) -> None:
        with RawServer(handler) as server:  # type: ignore[arg-type]
            assert _lost(over, server.url).sent is None

    def test_so_may_one_that_stayed_silent(self, over: Over) -> None:
        with RawServer(say_nothing) as server:
            error = _lost(over, server.url, read_timeout=0.2)

        assert error.sent is None
        assert "(silent for 0.2 s)" in str(error)

    def test_what_is_not_http_is_no_answer(self, over: Over) -> None:
        with RawServer(
            lambda connection: connection.sendall(b"SSH-2.0-nope\r\n\r\n") or hang_up(connection)
        ) as server:
            assert _lost(over, server.url).sent is None

    def test_a_body_that_cannot_be_decoded_is_no_answer(self, over: Over) -> None:
        with RawServer(answer(200, b"not gzip", content_encoding="gzip")) as server:
            assert _lost(over, server.url).sent is None

    def test_an_error_without_words_is_named_by_its_kind(self) -> None:
        class WordlessError(Exception):
            pass

        error = transport._no_answer(GET, a_config(), WordlessError(), sent=None)

        assert "(WordlessError)" in str(error)


class TestGuards:
    """What keeps the tests themselves on this machine."""

    def test_no_address_elsewhere_can_be_reached(self) -> None:
        with pytest.raises(AssertionError, match="only loopback is allowed"):
            socket.create_connection(("192.0.2.1", 80), timeout=0.1)

    def test_no_name_elsewhere_is_resolved(self) -> None:
        with pytest.raises(AssertionError, match="only loopback is allowed"):
            socket.create_connection(("example.com", 80), timeout=0.1)
