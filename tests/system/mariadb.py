"""A real MariaDB on this machine, with an empty database, for as long as a `with` block lasts."""

from __future__ import annotations

import getpass
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from dev.airflow.standalone import free_port

__all__ = ["MariaDB", "is_installed"]

START_SECONDS = 120.0


def is_installed() -> bool:
    """Return whether MariaDB's programs are there."""
    return all(shutil.which(name) for name in ("mariadbd", "mariadb-install-db"))


class MariaDB:
    """A server on the loopback address; a context manager. Whoever connects is let in."""

    def __init__(self) -> None:
        self._port = free_port()
        self._home = Path()
        self._server: subprocess.Popen[bytes] | None = None

    def connect(self) -> Any:
        """Return a connection to the empty database."""
        import pymysql

        options = {"user": "root", "charset": "utf8mb4", "autocommit": True}
        connection = pymysql.connect(host="127.0.0.1", port=self._port, **options)
        # As Airflow's documentation sets a database up.
        connection.cursor().execute("CREATE DATABASE IF NOT EXISTS airflow CHARACTER SET utf8mb4")
        connection.select_db("airflow")
        return connection

    def __enter__(self) -> MariaDB:
        self._home = Path(tempfile.mkdtemp(prefix="mariadb-"))
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _start(self) -> None:
        user = f"--user={getpass.getuser()}"
        data = f"--datadir={self._home / 'data'}"
        init = ["mariadb-install-db", "--no-defaults", data, user, "--skip-test-db"]
        answer = subprocess.run(
            [*init, "--auth-root-authentication-method=normal"], capture_output=True, check=False
        )
        if answer.returncode:
            raise RuntimeError(f"mariadb-install-db failed\n{answer.stdout!r}{answer.stderr!r}")
        command = [
            *("mariadbd", "--no-defaults", data, user, "--bind-address=127.0.0.1", f"--port={self._port}"),
            *(f"--socket={self._home / 'socket'}", "--skip-log-bin"),
        ]
        with (self._home / "log").open("wb") as log:
            self._server = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._wait()

    def _wait(self) -> None:
        import pymysql

        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return self.connect().close()
            except pymysql.OperationalError as error:
                log = (self._home / "log").read_text(errors="replace")
                if time.monotonic() > deadline or self._server is None or self._server.poll() is not None:
                    raise RuntimeError(f"MariaDB did not start: {error}\n{log}") from error
                time.sleep(0.2)

    def _stop(self) -> None:
        if self._server is not None:
            self._server.send_signal(signal.SIGTERM)
            try:
                self._server.wait(30)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        shutil.rmtree(self._home, ignore_errors=True)
