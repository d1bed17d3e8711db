"""A loopback server that does to a connection whatever a test wants: what no well-behaved server would."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

__all__ = ["Handler", "RawServer", "answer", "free_port", "hang_up", "reset", "say_nothing"]

Handler = Callable[[socket.socket], None]


class RawServer:
    """Handles the n-th request by the n-th handler, the last one for all that follow.

    :param handlers: what to do with a connection whose request was read.
    :param port: 0 takes a free one.
    :param tls: with it, connections are encrypted and the URL is ``https://``.
    :param reads: whether a request is read before a handler gets the connection.
    """

    def __init__(
        self, *handlers: Handler, port: int = 0, tls: ssl.SSLContext | None = None, reads: bool = True
    ) -> None:
        self._handlers = handlers
        self._tls = tls
        self._reads = reads
        self._listener = socket.create_server(("127.0.0.1", port))
        self._open: list[socket.socket] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="raw-server", daemon=True)
        self.requests: list[bytes] = []
        """Every request as it came, head and body."""
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._listener.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if self._stopping.is_set():
                connection.close()
                return
            self._open.append(connection)
            connection.settimeout(5)
            with suppress(OSError):
                if self._tls is not None:
                    connection = self._tls.wrap_socket(connection, server_side=True)
                    self._open[-1] = connection
                self.requests.append(_read_request(connection) if self._reads else b"")
                self._handlers[min(len(self.requests), len(self._handlers)) - 1](connection)

    def __enter__(self) -> RawServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        with suppress(OSError):
            socket.create_connection(self._listener.getsockname(), timeout=1).close()
        self._thread.join(5)
        self._listener.close()
        for connection in self._open:
            connection.close()

    def header_lines(self, number: int = 0) -> list[tuple[str, str]]:
        """Return the headers of a request as sent, in order, names in lower case."""
        head = self.requests[number].split(b"\r\n\r\n")[0].decode("latin-1")
        pairs = (line.partition(":") for line in head.split("\r\n")[1:])
        return [(name.lower(), value.strip()) for name, _, value in pairs]


def _read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            while len(body) < int(line.split(b":")[1]):
                body += _more(connection)
        if line == b"transfer-encoding: chunked":
            while not body.endswith(b"0\r\n\r\n"):
                body += _more(connection)
    return head + b"\r\n\r\n" + body


def _more(connection: socket.socket) -> bytes:
    chunk = connection.recv(65536)
    if not chunk:
        raise OSError("the client left")
    return chunk


def answer(status: int = 200, body: bytes = b"{}", **headers: str) -> Handler:
    """Answer properly and close."""
    named = {"content_length": str(len(body)), "connection": "close"} | headers
    lines = [f"HTTP/1.1 {status} X", *(f"{name.replace('_', '-')}: {value}" for name, value in named.items())]

    def handle(connection: socket.socket) -> None:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        connection.close()

    return handle


def hang_up(connection: socket.socket) -> None:
    """Close without an answer."""
    connection.close()


def reset(connection: socket.socket) -> None:
    """Answer with a TCP reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def say_nothing(connection: socket.socket) -> None:
    """Keep the connection open and silent until the server stops."""


def free_port() -> int:
    """Return a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
