"""The two transports on real sockets: what is sent, and what is refused."""

from __future__ import annotations

import gzip
import json
import socket
from pathlib import Path

import pytest

from remote_tasks_provider import __version__
from remote_tasks_provider.core.errors import InvalidResponseError
from remote_tasks_provider.core.http import transport
from remote_tasks_provider.core.http.operation import Request
from tests.core.build import SECRET, a_config
from tests.core.connections import Over
from tests.core.raw_server import RawServer, answer

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


class TestGuards:
    """What keeps the tests themselves on this machine."""

    def test_foreign_address_cannot_be_reached(self) -> None:
        with pytest.raises(AssertionError, match="only loopback is allowed"):
            socket.create_connection(("192.0.2.1", 80), timeout=0.1)

    def test_foreign_name_is_not_resolved(self) -> None:
        with pytest.raises(AssertionError, match="only loopback is allowed"):
            socket.create_connection(("example.com", 80), timeout=0.1)
