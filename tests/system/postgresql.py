"""A real PostgreSQL on this machine, with an empty database, for as long as a `with` block lasts."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any

from dev.airflow.standalone import free_port

__all__ = ["PostgreSQL", "server_folder"]

START_SECONDS = 60.0
#: PostgreSQL refuses to run as root.
SERVICE_USER = "postgres"


def server_folder() -> Path | None:
    """Return the folder of PostgreSQL's own programs; ``None`` if it is not installed."""
    # Debian keeps each version's out of the search path.
    places = [*map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), os.environ["PATH"]]
    found = shutil.which("initdb", path=os.pathsep.join(places))
    return Path(found).parent if found else None


class PostgreSQL:
    """A server on the loopback address; a context manager. Whoever connects is let in.

    ``url`` is that of an empty database for Airflow, ``connect`` leads to another one.
    """

    def __init__(self, folder: Path) -> None:
        self._programs = folder
        self._port = free_port()
        self._home = Path()
        self._server: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql+psycopg2://airflow@127.0.0.1:{self._port}/airflow"

    def connect(self) -> Any:
        """Return a connection."""
        import psycopg2

        return psycopg2.connect(host="127.0.0.1", port=self._port, user="airflow", dbname="postgres")

    def __enter__(self) -> PostgreSQL:
        self._home = Path(tempfile.mkdtemp(prefix="postgresql-"))
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
        user = {"user": SERVICE_USER, "group": SERVICE_USER, "extra_groups": []} if os.geteuid() == 0 else {}
        if user:
            shutil.chown(self._home, SERVICE_USER, SERVICE_USER)
        data = self._home / "data"
        options: Any = {"cwd": self._home, "stdin": subprocess.DEVNULL, **user}
        init = [
            self._programs / "initdb",
            "-D",
            data,
            "-U",
            "airflow",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
        ]
        subprocess.run([*init, "--no-locale"], check=True, capture_output=True, **options)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self._port,
            "unix_socket_directories": "",
            "fsync": "off",
        }
        given = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self._home / "log").open("wb") as log:
            self._server = subprocess.Popen(
                [self._programs / "postgres", "-D", data, *given], stdout=log, stderr=log, **options
            )
        self._wait()
        with closing(self.connect()) as connection:
            # A database is made outside of a transaction.
            connection.autocommit = True
            connection.cursor().execute("CREATE DATABASE airflow")

    def _wait(self) -> None:
        import psycopg2

        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return self.connect().close()
            except psycopg2.OperationalError as error:
                log = (self._home / "log").read_text(errors="replace")
                if time.monotonic() > deadline or self._server is None or self._server.poll() is not None:
                    raise RuntimeError(f"PostgreSQL did not start: {error}\n{log}") from error
                time.sleep(0.2)

    def _stop(self) -> None:
        if self._server is not None:
            # Fast: clients are disconnected.
            self._server.send_signal(signal.SIGINT)
            try:
                self._server.wait(20)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        shutil.rmtree(self._home, ignore_errors=True)
