"""Both libraries' errors become the same: whether the request was sent, and in which words it is told.

All on real sockets, as what the libraries raise differs by version.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from remote_tasks_provider.core.errors import TransportError
from remote_tasks_provider.core.http.connection_errors import connection_failure
from remote_tasks_provider.core.http.operation import Request
from tests.core.build import SECRET, a_config
from tests.core.connections import Over
from tests.core.raw_server import RawServer, answer, free_port, hang_up, reset, say_nothing

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


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and its certificate for 127.0.0.1, which nobody trusts by default."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "loopback.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def _trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


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

    def test_proxy_that_is_not_there(self, over: Over, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")

        assert _lost(over, "https://nowhere.invalid") == (False, "Connection refused")

    def test_proxy_that_refuses_the_tunnel(self, over: Over, monkeypatch: pytest.MonkeyPatch) -> None:
        with RawServer(answer(403)) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            sent, reason = _lost(over, "https://nowhere.invalid")

        assert sent is False
        assert "403" in reason
        assert proxy.requests[0].startswith(b"CONNECT nowhere.invalid:443")


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
        return connection_failure(error, connect_timeout=1, read_timeout=2, scrub=scrub).reason

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
