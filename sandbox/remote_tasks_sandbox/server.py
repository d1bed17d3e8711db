"""The sandbox on a real socket of this machine: uvicorn in a thread, quick to start and quicker to stop.

Loopback only. The keys are published, the control plane has none, and faults serve whatever they are given.
"""

from __future__ import annotations

import asyncio
import socket
import threading

import uvicorn

from remote_tasks_sandbox.app import SandboxApp
from remote_tasks_sandbox.calls import is_loopback
from remote_tasks_sandbox.demo import DEFAULT_SEED_SECONDS, seed_demo
from remote_tasks_sandbox.state import Sandbox

__all__ = ["SandboxServer"]

_START_SECONDS = 10.0


class _Uvicorn(uvicorn.Server):
    """uvicorn that says when it listens and does not wait for anybody when it stops."""

    def __init__(self, app: SandboxApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                # Fixed, not "auto": dropping a connection reaches into this protocol (see ``app._drop``), and
                # a faster one must not be picked up because it is installed.
                http="h11",
                ws="none",
                loop="asyncio",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                log_level="error",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                # The application sends its own, by the sandbox's clock.
                date_header=False,
                backlog=2048,
                timeout_graceful_shutdown=1,
            )
        )
        self._sandbox_app = app
        self.listening = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Clients that hang, or download a huge body slowly, would hold the server open.
        self._sandbox_app.release()
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()
        # Lets the servers' tasks see that their connections are gone.
        await asyncio.sleep(0)
        await super().shutdown(sockets=sockets)


def _listen(address: tuple[str, int]) -> socket.socket:
    # Not socket.create_server: its sockets do not say that they are TCP, so asyncio would leave Nagle's
    # algorithm on, and every answer would wait 40 ms for the client's delayed acknowledgement.
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except BaseException:
        listener.close()
        raise
    return listener


class SandboxServer:
    """Serve a sandbox on 127.0.0.1, as a context manager or with :meth:`start` and :meth:`stop`.

    :param port: port to listen on; 0 takes a free one
    :param seed_demo: whether to add the demo tasks
    :param host: loopback address or ``localhost``
    :param seed_seconds: how long the demo tasks take
    :param sandbox: the state to serve; default a new one
    :raises OSError: when the port is in use (on start)
    """

    def __init__(
        self,
        port: int = 0,
        seed_demo: bool = False,
        *,
        host: str = "127.0.0.1",
        seed_seconds: float = DEFAULT_SEED_SECONDS,
        sandbox: Sandbox | None = None,
    ) -> None:
        if not is_loopback(host):
            raise ValueError(
                f"the sandbox listens on loopback only (127.0.0.1, ::1 or localhost), not on {host!r}"
            )
        self.sandbox = sandbox or Sandbox()
        self._address = ("127.0.0.1" if host == "localhost" else host.strip("[]"), port)
        self._seed_seconds = seed_seconds if seed_demo else None
        self._thread: threading.Thread | None = None
        self._uvicorn: _Uvicorn | None = None

    @property
    def url(self) -> str:
        """Return ``http://host:port`` of the running server."""
        return self.sandbox.base_url

    def __getattr__(self, name: str) -> str:
        """Return the base URL of a vendor's connection: the attribute ``<vendor>_url``."""
        vendor = name.removesuffix("_url")
        if vendor == name or vendor not in self.sandbox.vendors:
            raise AttributeError(f"the sandbox server has no {name!r}")
        return f"{self.url}/{vendor}"

    def start(self) -> None:
        """Listen and return once requests are served."""
        if self._thread is not None:
            raise RuntimeError("the sandbox server is running already")
        listener = _listen(self._address)
        host, port = listener.getsockname()[:2]
        self.sandbox.base_url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        if self._seed_seconds is not None:
            seed_demo(self.sandbox, self._seed_seconds)
            self._seed_seconds = None
        self._uvicorn = server = _Uvicorn(SandboxApp(self.sandbox))
        # A daemon, so that a test run which forgets to stop it still ends.
        self._thread = threading.Thread(
            target=lambda: asyncio.run(server.serve(sockets=[listener])),
            name="remote-tasks-sandbox",
            daemon=True,
        )
        self._thread.start()
        if not server.listening.wait(_START_SECONDS):
            self.stop()
            raise RuntimeError("the sandbox server did not start")

    def stop(self) -> None:
        """Stop serving, drop requests under way and end the thread; may be called twice."""
        if self._thread is None or self._uvicorn is None:
            return
        self._uvicorn.should_exit = True
        self._thread.join()
        self._thread = self._uvicorn = None

    def __enter__(self) -> SandboxServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
