"""Both transports reach the same hosts by the same proxy and trust the same certificates, on real sockets."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest

from remote_tasks_provider.core.errors import ConnectionConfigError, TransportError
from remote_tasks_provider.core.http.operation import Request
from tests.core.build import SECRET, a_config
from tests.core.connections import Over
from tests.core.proxies import socks_to, tunnel_to
from tests.core.raw_server import RawServer, answer, free_port, hang_up, reset, say_nothing
from tests.core.tls import HIDDEN, certificate, server_tls

GET = Request("GET", "/x")
HIDDEN_URL = f"https://{HIDDEN}"


@pytest.fixture(params=["requests", "httpx"])
def over(request: pytest.FixtureRequest) -> Over:
    return Over(request.param)


@pytest.fixture
def origin() -> Iterator[RawServer]:
    """A host that only a proxy can reach."""
    with RawServer(answer(200, b"here"), tls=server_tls()) as server:
        yield server


@pytest.fixture
def _trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate()))


def _lost(over: Over, url: str = HIDDEN_URL, **extras: float) -> TransportError:
    with pytest.raises(TransportError) as caught:
        over.send(GET, a_config(url, **extras))
    assert SECRET not in str(caught.value)
    return caught.value


@pytest.mark.usefixtures("_trusted")
class TestWay:
    @pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
    def test_proxy_is_used(
        self, over: Over, origin: RawServer, variable: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with RawServer(tunnel_to(origin)) as proxy:
            monkeypatch.setenv(variable, proxy.url)
            response = over.send(GET, a_config(HIDDEN_URL))

        assert response.body == b"here"
        assert proxy.requests[0].startswith(f"CONNECT {HIDDEN}:443".encode())

    @pytest.mark.parametrize(
        ("login", "sent"), [("me:p%40ss", "me:p@ss"), ("me", "me:"), ("me:", "me:"), ("me:a:b@c", "me:a:b@c")]
    )
    def test_user_and_password_go_to_the_proxy_only(
        self, over: Over, origin: RawServer, login: str, sent: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with RawServer(tunnel_to(origin)) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", f"//{login}@"))
            over.send(GET, a_config(HIDDEN_URL))

        expected = f"Basic {base64.b64encode(sent.encode()).decode()}"
        assert dict(proxy.header_lines())["proxy-authorization"] == expected
        assert SECRET.encode() not in proxy.requests[0]
        assert "proxy-authorization" not in dict(origin.header_lines())

    def test_proxy_may_be_encrypted(
        self, over: Over, origin: RawServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with RawServer(tunnel_to(origin), tls=server_tls()) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            assert over.send(GET, a_config(HIDDEN_URL)).body == b"here"

    @pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
    def test_socks_proxy_resolves_the_name(
        self, over: Over, origin: RawServer, scheme: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[bytes] = []
        with RawServer(socks_to(origin, asked), reads=False) as proxy:
            monkeypatch.setenv("ALL_PROXY", proxy.url.replace("http", scheme))
            assert over.send(GET, a_config(HIDDEN_URL)).body == b"here"

        assert asked == [b"\x03" + bytes([len(HIDDEN)]) + HIDDEN.encode() + (443).to_bytes(2, "big")]

    def test_socks_proxy_gets_user_and_password(
        self, over: Over, origin: RawServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with RawServer(socks_to(origin, [], (b"me", b"p@ss")), reads=False) as proxy:
            monkeypatch.setenv("ALL_PROXY", proxy.url.replace("http://", "socks5://me:p%40ss@"))
            assert over.send(GET, a_config(HIDDEN_URL)).body == b"here"

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    def test_request_to_this_machine_goes_through_no_proxy(
        self, over: Over, host: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with RawServer(answer()) as proxy, RawServer(answer(200, b"here")) as server:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, proxy.url)
            response = over.send(GET, a_config(server.url.replace("127.0.0.1", host)))

        assert response.body == b"here"
        assert proxy.requests == []

    @pytest.mark.parametrize("exempt", ["invalid", ".invalid", HIDDEN, "*", f"x, {HIDDEN}:443"])
    def test_exempt_host_is_reached_directly(
        self, over: Over, exempt: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
        monkeypatch.setenv("NO_PROXY", exempt)
        error = _lost(over)

        assert "proxy" not in str(error)

    @pytest.mark.parametrize(
        "exempt", ["fd00::/8", "[::1]", "::1", "10.0.0.0/99", "[", "http://x", ",,", "."]
    )
    def test_odd_exemptions_are_no_error(
        self, over: Over, origin: RawServer, exempt: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with RawServer(tunnel_to(origin)) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            monkeypatch.setenv("NO_PROXY", exempt)
            assert over.send(GET, a_config(HIDDEN_URL)).body == b"here"


class TestLostAtTheProxy:
    """Nothing was sent, and the message names the proxy without its password."""

    def _is_told(self, error: TransportError, proxy: str, reason: str) -> None:
        assert error.sent is False
        assert f"through the proxy {proxy} of HTTPS_PROXY" in str(error)
        assert "hush" not in str(error)
        assert reason in str(error)

    def test_proxy_that_is_not_there(self, over: Over, monkeypatch: pytest.MonkeyPatch) -> None:
        proxy = f"127.0.0.1:{free_port()}"
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:hush@{proxy}")

        self._is_told(_lost(over), f"http://{proxy}", "Connection refused")

    def test_proxy_without_an_address(self, over: Over, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://me:hush@proxy.invalid:3128")

        self._is_told(_lost(over), "http://proxy.invalid:3128", "Name or service not known")

    @pytest.mark.parametrize("status", [302, 403, 407, 502])
    def test_proxy_that_refuses_the_tunnel(
        self, over: Over, status: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with RawServer(answer(status)) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//me:hush@"))
            self._is_told(_lost(over), proxy.url, str(status))

    @pytest.mark.parametrize("way", [hang_up, reset])
    def test_proxy_that_closes(self, over: Over, way: object, monkeypatch: pytest.MonkeyPatch) -> None:
        with RawServer(way) as proxy:  # type: ignore[arg-type]
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            self._is_told(_lost(over), proxy.url, "")

    def test_proxy_that_stays_silent(self, over: Over, monkeypatch: pytest.MonkeyPatch) -> None:
        with RawServer(say_nothing) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            error = _lost(over, connect_timeout=0.2, read_timeout=0.2)
            self._is_told(error, proxy.url, "no connection within 0.2 s")

    def test_proxy_whose_certificate_nobody_trusts(self, over: Over, monkeypatch: pytest.MonkeyPatch) -> None:
        with RawServer(answer(), tls=server_tls()) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            self._is_told(_lost(over), proxy.url, "set REQUESTS_CA_BUNDLE to trust others")

    def test_certificate_behind_the_proxy_that_nobody_trusts(
        self, over: Over, origin: RawServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with RawServer(tunnel_to(origin)) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            self._is_told(_lost(over), proxy.url, "trusted are the certificates of certifi")

        assert origin.requests == []

    def test_connection_behind_the_proxy_that_closes_in_the_handshake(
        self, over: Over, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def connect_and_close(connection: socket.socket) -> None:
            connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            connection.recv(65536)
            connection.close()

        with RawServer(connect_and_close) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            self._is_told(_lost(over), proxy.url, "")

    @pytest.mark.parametrize("reply", [b"", b"\x04", b"\x05\xff", b"\x05", b"HTTP/1.1 400 Bad\r\n\r\n"])
    def test_socks_proxy_that_answers_nonsense(
        self, over: Over, reply: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def reply_and_close(connection: socket.socket) -> None:
            connection.recv(64)
            connection.sendall(reply)
            connection.shutdown(socket.SHUT_WR)

        with RawServer(reply_and_close, reads=False) as proxy:
            url = proxy.url.replace("http", "socks5")
            monkeypatch.setenv("HTTPS_PROXY", url)
            self._is_told(_lost(over), url, "")

    def test_socks_proxy_that_refuses_the_host(self, over: Over, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(connection: socket.socket) -> None:
            connection.recv(64)
            connection.sendall(b"\x05\x00")
            connection.recv(600)
            connection.sendall(b"\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00")
            connection.close()

        with RawServer(refuse, reads=False) as proxy:
            url = proxy.url.replace("http", "socks5")
            monkeypatch.setenv("HTTPS_PROXY", url)
            self._is_told(_lost(over), url, "")

    def test_socks_proxy_that_stays_silent(self, over: Over, monkeypatch: pytest.MonkeyPatch) -> None:
        with RawServer(say_nothing, reads=False) as proxy:
            url = proxy.url.replace("http", "socks5")
            monkeypatch.setenv("HTTPS_PROXY", url)
            error = _lost(over, connect_timeout=0.2, read_timeout=0.2, total_timeout=0.3)
            self._is_told(error, url, "no connection within 0.")

    def test_socks_proxy_that_wants_another_password(
        self, over: Over, origin: RawServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with RawServer(socks_to(origin, [], (b"me", b"right")), reads=False) as proxy:
            url = proxy.url.replace("http", "socks5")
            monkeypatch.setenv("HTTPS_PROXY", url.replace("//", "//me:hush@"))
            self._is_told(_lost(over), url, "")


@pytest.mark.usefixtures("_trusted")
class TestLostBehindTheProxy:
    @pytest.mark.parametrize("way", [hang_up, reset])
    def test_request_that_went_through_may_have_been_sent(
        self, over: Over, way: object, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with (
            RawServer(way, tls=server_tls()) as origin,  # type: ignore[arg-type]
            RawServer(tunnel_to(origin)) as proxy,
        ):
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            error = _lost(over)

        assert error.sent is None
        assert len(origin.requests) == 1


class TestCertificates:
    @pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
    def test_file_is_trusted(
        self, over: Over, origin: RawServer, variable: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(variable, str(certificate()))

        assert over.send(GET, a_config(origin.url)).body == b"here"

    def test_path_may_be_relative(
        self, over: Over, origin: RawServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(certificate().parent)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate().name)

        assert over.send(GET, a_config(origin.url)).body == b"here"

    @pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR"])
    def test_folder_is_trusted(
        self, over: Over, origin: RawServer, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(variable, str(_hashed(tmp_path)))

        assert over.send(GET, a_config(origin.url)).body == b"here"

    def test_file_and_folder_of_openssl_are_both_trusted(
        self, over: Over, origin: RawServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
        monkeypatch.setenv("SSL_CERT_DIR", os.pathsep.join(["/nowhere", str(_hashed(tmp_path))]))

        assert over.send(GET, a_config(origin.url)).body == b"here"

    def test_variables_of_requests_come_first(
        self, over: Over, origin: RawServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate()))
        error = _lost(over, origin.url)

        assert error.sent is False
        assert "trusted are the certificates of REQUESTS_CA_BUNDLE" in str(error)

    def test_missing_file_is_found_when_the_transport_is_made(
        self, over: Over, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
        with pytest.raises(ConnectionConfigError, match=r"REQUESTS_CA_BUNDLE: .*/nowhere/ca\.pem"):
            over.send(GET, a_config(HIDDEN_URL))

    def test_missing_file_does_no_harm_where_nothing_is_encrypted(
        self, over: Over, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
        with RawServer(answer(200, b"here")) as server:
            assert over.send(GET, a_config(server.url)).body == b"here"


def _hashed(folder: Path) -> Path:
    """Return ``folder`` with the certificate under its hashed name."""
    shutil.copy(certificate(), folder / "ca.pem")
    subprocess.run(["openssl", "rehash", str(folder)], check=True)
    return folder
