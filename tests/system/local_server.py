"""The life of a database server on the loopback address, for as long as a `with` block lasts."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from dev.airflow.standalone import free_port

__all__ = ["LocalServer"]


class LocalServer:
    """A server with a data folder of its own; a context manager."""

    name: ClassVar[str]
    start_seconds: ClassVar[float] = 60.0
    stopped_by: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self) -> None:
        self._port = free_port()
        self._home = Path()
        self._server: subprocess.Popen[bytes] | None = None

    def _start(self) -> None:
        """Make the data folder, and start the server."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._home = Path(tempfile.mkdtemp(prefix=f"{self.name.lower()}-"))
        try:
            self._start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _run(
        self, command: list[Any], connect: Callable[[], Any], refusal: type[Exception], **facts: Any
    ) -> None:
        """Start the server, and wait until it takes connections."""
        with (self._home / "log").open("ab") as log:
            self._server = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **facts
            )
        deadline = time.monotonic() + self.start_seconds
        while True:
            try:
                return connect().close()
            except refusal as error:
                log_text = (self._home / "log").read_text(errors="replace")
                if time.monotonic() > deadline or self._server.poll() is not None:
                    raise RuntimeError(f"{self.name} did not start: {error}\n{log_text}") from error
                time.sleep(0.2)

    def _end(self) -> None:
        if self._server is not None:
            self._server.send_signal(self.stopped_by)
            try:
                self._server.wait(30)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()

    def _remove(self) -> None:
        self._end()
        shutil.rmtree(self._home, ignore_errors=True)
