"""The two transports on real sockets: what is sent, and what is refused."""

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
from tests.core.build import SECRET, a_call, a_config
from tests.core.connections import Over
from tests.core.raw_server import Handler, RawServer, answer, hang_up

GET = Request("GET", "/x")


@pytest.fixture(params=["requests", "httpx"])
def over(request: pytest.FixtureRequest) -> Over:
    return Over(request.param)


class TestRequest:
    def test_request_carries_key_agent_and_types_and_no_other_credentials(self, over: Over) -> None:
        with RawServer(answer()) as server:
            over.send(GET, a_config(server.url))

        headers = server.header_lines()
        named = dict(headers)
        assert [value for name, value in headers if name == "api_key"] == [SECRET]
        assert named["accept"] == "application/json"
        assert named["content-type"] == "application/json"
        assert named["user-agent"].startswith(f"airflow-provider-remote-tasks/{__version__} {over.library}/")
        assert not {"authorization", "cookie", "proxy-authorization"} & set(named)

    def test_operation_names_the_header_of_its_key(self, over: Over) -> None:
        with RawServer(answer()) as server:
            over.send(Request("GET", "/x", key_header="X-Key"), a_config(server.url))

        named = dict(server.header_lines())
        assert named["x-key"] == SECRET
        assert "api_key" not in named

    def test_key_does_not_go_to_another_host_than_that_of_the_connection(self, over: Over) -> None:
        with RawServer(answer()) as server:
            over.send(Request("GET", "/x", base_url=server.url), a_config("https://api.example.com"))

        assert SECRET not in str(server.header_lines())

    def test_key_goes_to_another_path_of_the_same_host(self, over: Over) -> None:
        with RawServer(answer()) as server:
            elsewhere = Request("GET", "/x", base_url=f"{server.url}/other")
            over.send(elsewhere, a_config(f"{server.url}/base"))

        assert dict(server.header_lines())["api_key"] == SECRET

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

    def test_redirect_is_not_followed(self, over: Over) -> None:
        with RawServer(answer()) as other, RawServer(answer(302, b"", location=other.url)) as server:
            response = over.send(GET, a_config(server.url))

        assert response.status == 302
        assert other.requests == []

    @pytest.mark.parametrize("squeeze", [False, True])
    def test_body_over_the_cap_is_dropped_however_small_it_travels(
        self, over: Over, squeeze: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transport, "_MAX_BODY_BYTES", 1 << 20)
        body = b" " * ((1 << 20) + 1)
        handler = answer(200, gzip.compress(body), content_encoding="gzip") if squeeze else answer(200, body)
        with RawServer(handler) as server, pytest.raises(InvalidResponseError, match="exceeds 1 MiB"):
            over.send(GET, a_config(server.url))

    def test_body_of_exactly_the_cap_passes(self, over: Over, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(transport, "_MAX_BODY_BYTES", 1 << 20)
        with RawServer(answer(200, b" " * (1 << 20))) as server:
            assert len(over.send(GET, a_config(server.url)).body) == 1 << 20


def _stream(*chunks: bytes, chunked: bool = True, then: bytes | None = None) -> Handler:
    """Send a stream of events, and keep it open or say ``then`` and close."""

    def handle(connection: socket.socket) -> None:
        coding = b"transfer-encoding: chunked\r\n" if chunked else b""
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n" + coding + b"\r\n"
        )
        for chunk in chunks:
            connection.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk) if chunked else chunk)
        if then is not None:
            connection.sendall(then)
            connection.close()

    return handle


class TestFirstEvent:
    STREAM = Request("POST", "/x", json={}, only_first_event=True)

    @pytest.mark.parametrize("chunked", [True, False])
    @pytest.mark.parametrize(
        "chunks",
        [
            pytest.param((b'data: {"a": 1}\n\n',), id="one chunk"),
            pytest.param(
                (b": ping\n\n", b"id: 1\ndata:", b' {"a": 1}\n', b"\n"), id="several, after a comment"
            ),
            pytest.param((b'data: {"a": 1}\r\n\r\n', b'data: {"a": 2}\r\n\r\n'), id="further events"),
            pytest.param((b'data: {"a": 1}\n\ndata: {"a"',), id="half of the next one"),
            pytest.param((b'event: e\rdata:{"a":\rdata: 1}\r\r',), id="two lines"),
        ],
    )
    def test_first_event_is_the_answer_though_the_stream_goes_on(
        self, over: Over, chunks: tuple[bytes, ...], chunked: bool
    ) -> None:
        with RawServer(_stream(*chunks, chunked=chunked)) as server:
            response = over.send(self.STREAM, a_config(server.url, read_timeout=3))

        assert (response.status, json.loads(response.body)) == (200, {"a": 1})

    def test_answer_that_is_no_stream_is_read_as_a_whole(self, over: Over) -> None:
        with RawServer(answer(400, b'{\n\n"error": 1}')) as server:
            response = over.send(self.STREAM, a_config(server.url))

        assert (response.status, response.body) == (400, b'{\n\n"error": 1}')

    def test_stream_is_read_as_a_whole_unless_its_first_event_is_asked_for(self, over: Over) -> None:
        with RawServer(_stream(b"data: 1\n\n", b"data: 2\n\n", then=b"0\r\n\r\n")) as server:
            assert over.send(GET, a_config(server.url)).body == b"data: 1\n\ndata: 2\n\n"

    def test_stream_that_ends_before_an_event_is_what_it_is(self, over: Over) -> None:
        with RawServer(_stream(b": ping\n\n", then=b"0\r\n\r\n")) as server:
            assert over.send(self.STREAM, a_config(server.url)).body == b": ping\n\n"

    @pytest.mark.parametrize("limit", ["read_timeout", "total_timeout"])
    def test_silent_stream_meets_its_timeouts(self, over: Over, limit: str) -> None:
        silent = _stream(b": ping\n\n")
        with RawServer(silent) as server, pytest.raises(TransportError) as caught:
            over.send(self.STREAM, a_config(server.url, **{limit: 0.3}))

        assert caught.value.sent is None

    def test_event_over_the_cap_is_dropped(self, over: Over, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(transport, "_MAX_BODY_BYTES", 1000)
        endless = _stream(b"data: " + b"x" * 1000)
        with RawServer(endless) as server, pytest.raises(InvalidResponseError, match="exceeds"):
            over.send(self.STREAM, a_config(server.url, read_timeout=3))


class TestFreshConnection:
    def test_fresh_request_does_not_meet_a_connection_that_went_stale(self) -> None:
        # The server keeps the first connection open and never reads from it again.
        def keep(connection: socket.socket) -> None:
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

        with RawServer(keep, answer()) as server:
            made = transport.RequestsTransport(a_config(server.url, read_timeout=1))
            made.send(GET)
            answered = made.send(Request("POST", "/x", json={}), fresh=True)
            made.close()

        assert answered.status == 200
        assert [one.split()[0] for one in server.requests] == [b"GET", b"POST"]


def _post(over: Over, *headers: tuple[str, str], **request: object) -> tuple[list[tuple[str, str]], bytes]:
    """Send a request; return the headers and the body that arrive."""
    made = Request("POST", "/publish", headers=headers, **request)  # type: ignore[arg-type]
    with RawServer(answer()) as server:
        over.send(made, a_config(server.url))
    return server.header_lines(), server.requests[0].partition(b"\r\n\r\n")[2]


class TestContent:
    def test_bytes_are_sent_unchanged(self, over: Over) -> None:
        headers, body = _post(over, content=bytes(range(256)))

        assert body == bytes(range(256))
        assert ("content-length", "256") in headers

    @pytest.mark.parametrize("content", [None, b""])
    def test_empty_body_has_length_zero(self, over: Over, content: bytes | None) -> None:
        headers, body = _post(over, content=content)

        assert body == b""
        assert ("content-length", "0") in headers

    def test_body_without_a_type_gets_none(self, over: Over) -> None:
        headers, _ = _post(over, content=b"")

        assert "content-type" not in dict(headers)

    def test_json_is_still_json(self, over: Over) -> None:
        headers, body = _post(over, json={"a": 1})

        assert json.loads(body) == {"a": 1}
        assert dict(headers)["content-type"] == "application/json"


class TestHeaders:
    def test_request_headers_stand_beside_the_common_ones(self, over: Over) -> None:
        headers, _ = _post(over, ("Upstash-Delay", "5s"), ("Upstash-Forward-X", "a, b"), content=b"x")

        assert {("upstash-delay", "5s"), ("upstash-forward-x", "a, b"), ("api_key", SECRET)} <= set(headers)
        assert dict(headers)["user-agent"].startswith("airflow-provider-remote-tasks/")

    @pytest.mark.parametrize("name", ["Content-Type", "content-type"])
    def test_request_headers_replace_common_ones_of_the_same_name(self, over: Over, name: str) -> None:
        headers, _ = _post(over, (name, "text/plain"), content=b"x")

        assert [value for key, value in headers if key == "content-type"] == ["text/plain"]

    def test_request_headers_stay_with_their_request(self, over: Over) -> None:
        first = a_call(method="POST", headers=(("Upstash-Delay", "5s"),), content=b"x")
        with RawServer(answer()) as server:
            over.calls([first, a_call()], a_config(server.url))

        assert [("upstash-delay", "5s") in server.header_lines(number) for number in (0, 1)] == [True, False]

    def test_headers_and_body_are_in_no_repr(self) -> None:
        request = Request("POST", "/x", content=b"hidden body", headers=(("X", "hidden header"),))

        assert "hidden" not in repr(request)


class TestRedaction:
    """A destination stands in the path, and its query often holds a key."""

    def test_lost_answer_does_not_show_the_query_of_a_path(self, over: Over) -> None:
        request = Request("POST", "/v2/publish/https://example.com/hook?token=hush")
        with RawServer(hang_up) as server, pytest.raises(TransportError) as caught:
            over.send(request, a_config(server.url))

        assert "/v2/publish/https://example.com/hook" in str(caught.value)
        assert "hush" not in str(caught.value)

    def test_oversized_answer_does_not_show_the_query_of_a_path(
        self, over: Over, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("remote_tasks_provider.core.http.transport._MAX_BODY_BYTES", 10)
        request = Request("POST", "/v2/publish/https://example.com/hook?token=hush")
        with (
            RawServer(answer(200, b"x" * 11)) as server,
            pytest.raises(InvalidResponseError, match="exceeds") as caught,
        ):
            over.send(request, a_config(server.url))

        assert "hush" not in str(caught.value)


class TestGuards:
    """What keeps the tests themselves on this machine."""

    def test_foreign_address_cannot_be_reached(self) -> None:
        with pytest.raises(AssertionError, match="only loopback is allowed"):
            socket.create_connection(("192.0.2.1", 80), timeout=0.1)

    def test_foreign_name_is_not_resolved(self) -> None:
        with pytest.raises(AssertionError, match="only loopback is allowed"):
            socket.create_connection(("example.com", 80), timeout=0.1)
