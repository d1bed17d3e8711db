"""Sessions of requests whose requests end in time and say whether they were sent.

requests has timeouts for silence only: an answer that trickles is read for ever. So each request is an
:class:`Attempt`, which the connection beneath tells how far it is, and whose time limit shuts the connection.

Imported when a session is needed, as it imports requests.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool

from remote_tasks_provider.core.http.environment import NetworkSettings

__all__ = ["FAILURES", "Attempt", "attempt", "make_session"]

# requests lets some errors of urllib3 through.
FAILURES = (requests.RequestException, urllib3.exceptions.HTTPError)

_SHUT_AGAIN_AFTER = 0.05


class Attempt:
    """One request on its way, as its connection sees it.

    ``sent`` is ``False`` while the request has provably not left, and ``None`` when that is not known.
    ``overran`` is whether the time was up before the end.
    """

    def __init__(self, total_timeout: float) -> None:
        self.sent: bool | None = None
        self.overran = False
        self._connection: Any = None
        self._sock: Any = None
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._timer = threading.Timer(total_timeout, self._shut)
        self._timer.daemon = True
        self._timer.start()

    def use(self, connection: Any) -> None:
        """Take the connection in use; again when it is made."""
        self._connection = connection
        # A connection drops its socket when an answer that ends with it has begun.
        self._sock = connection.sock

    def end(self) -> None:
        """Leave the connection alone from now on: another request may use it."""
        self._timer.cancel()
        with self._lock:
            self._ended.set()

    def _shut(self) -> None:
        """Shut the connection, and shut it again if it is only being made."""
        while True:
            with self._lock:
                if self._ended.is_set():
                    return
                self.overran = True
                sock = getattr(self._connection, "sock", None) or self._sock
                if sock is not None:
                    # Not the method of an SSL socket, which would drop the encryption under its reader. TLS
                    # within TLS is a wrapper around its socket.
                    with suppress(OSError):
                        socket.socket.shutdown(getattr(sock, "socket", sock), socket.SHUT_RDWR)
            self._ended.wait(_SHUT_AGAIN_AFTER)


_CURRENT: ContextVar[Attempt] = ContextVar("current_attempt")


@contextmanager
def attempt(total_timeout: float) -> Iterator[Attempt]:
    """Give the attempt that the one request made meanwhile is.

    :param total_timeout: seconds after which its connection is shut.
    """
    made = Attempt(total_timeout)
    token = _CURRENT.set(made)
    try:
        yield made
    finally:
        _CURRENT.reset(token)
        made.end()


class _Reporting:
    """What every connection here has in addition: it tells the attempt how far it is."""

    def connect(self) -> None:
        current = _CURRENT.get()
        current.use(self)
        current.sent = False
        super().connect()  # type: ignore[misc]
        current.use(self)
        if current.overran:
            raise TimeoutError
        current.sent = None

    def request(self, *args: Any, **kwargs: Any) -> None:
        _CURRENT.get().use(self)
        super().request(*args, **kwargs)  # type: ignore[misc]


@cache
def _reporting(pool: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
    connection = type("Connection", (_Reporting, pool.ConnectionCls), {})
    return type(pool.__name__, (pool,), {"ConnectionCls": connection})


class _Adapter(HTTPAdapter):
    """Connects as the settings say."""

    def __init__(self, settings: NetworkSettings) -> None:
        self._context = settings.ssl_context
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)
        self._report(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        if proxy.startswith("https:"):
            kwargs["proxy_ssl_context"] = self._context
        manager = super().proxy_manager_for(proxy, ssl_context=self._context, **kwargs)
        self._report(manager)
        return manager

    @staticmethod
    def _report(manager: Any) -> None:
        classes = manager.pool_classes_by_scheme
        manager.pool_classes_by_scheme = {scheme: _reporting(pool) for scheme, pool in classes.items()}

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: requests would load its own certificates into the context, for each connection."""


def make_session(settings: NetworkSettings, user_agent: str) -> requests.Session:
    """Return a session that takes nothing from the environment, ``.netrc`` included, and sees no redirect.

    Even with redirects off, requests would read a redirect's whole body and fail on a bad target. Each of its
    requests must be made within :func:`attempt`.
    """
    session = requests.Session()
    session.trust_env = False
    session.headers["User-Agent"] = f"{user_agent} requests/{requests.__version__}"
    session.get_redirect_target = lambda resp: None  # type: ignore[method-assign] # noqa: ARG005
    adapter = _Adapter(settings)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    if settings.proxy is not None:
        # Names are resolved by the proxy, as httpx has it.
        session.proxies = {"all": settings.proxy.url.replace("socks5:", "socks5h:", 1)}
    return session
