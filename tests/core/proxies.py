"""What a proxy does with a connection, as handlers of :class:`~tests.core.raw_server.RawServer`."""

from __future__ import annotations

import select
import socket
import ssl
from contextlib import closing, suppress

from tests.core.raw_server import Handler, RawServer

__all__ = ["socks_to", "tunnel_to"]


def tunnel_to(origin: RawServer) -> Handler:
    """Answer a ``CONNECT`` and pass everything on to ``origin``, whatever host was asked for."""

    def handle(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        _pass_on(connection, origin)

    return handle


def socks_to(origin: RawServer, asked: list[bytes], login: tuple[bytes, bytes] | None = None) -> Handler:
    """Speak SOCKS 5 and pass everything on to ``origin``; for a server that reads no request.

    :param asked: gets the address that each connection asks for: its kind, and the name with its length.
    :param login: the user and password to insist on.
    """

    def handle(connection: socket.socket) -> None:
        connection.recv(64)
        connection.sendall(b"\x05\x02" if login else b"\x05\x00")
        if login:
            sent = connection.recv(600)
            user = sent[2 : 2 + sent[1]]
            ok = (user, sent[3 + len(user) :]) == login
            connection.sendall(b"\x01\x00" if ok else b"\x01\x01")
            if not ok:
                connection.close()
                return
        asked.append(connection.recv(600)[3:])
        connection.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        _pass_on(connection, origin)

    return handle


def _pass_on(connection: socket.socket, origin: RawServer) -> None:
    host, _, port = origin.url.rpartition("/")[2].partition(":")
    with suppress(OSError), closing(connection), socket.create_connection((host, int(port))) as onward:
        other = {connection: onward, onward: connection}
        while True:
            for one in select.select(list(other), [], [])[0]:
                data = one.recv(65536)
                while isinstance(one, ssl.SSLSocket) and one.pending():
                    data += one.recv(65536)
                if not data:
                    return
                other[one].sendall(data)
