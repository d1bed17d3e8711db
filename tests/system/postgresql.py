"""A real PostgreSQL on this machine, with an empty database, for as long as a `with` block lasts."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
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

    :param settings: settings of the server, by name.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self._programs = folder
        self._settings = dict(settings or {})
        self._port = free_port()
        self._home = Path()
        self._server: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql+psycopg2://airflow@127.0.0.1:{self._port}/airflow"

    def connect(self, database: str = "postgres") -> Any:
        """Return a connection."""
        import psycopg2

        return psycopg2.connect(host="127.0.0.1", port=self._port, user="airflow", dbname=database)

    def query(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows that Airflow's database gives for a query."""
        with closing(self.connect("airflow")) as connection:
            cursor = connection.cursor()
            cursor.execute(text, values)
            return list(cursor.fetchall())

    def cut_connections(self) -> int:
        """Cut every connection to Airflow's database; return how many there were."""
        with closing(self.connect()) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'airflow'"
            )
            return int(cursor.fetchone()[0])

    def restart(self) -> None:
        """Stop the server, whose clients are disconnected, and start it again."""
        self._end()
        self._serve()

    def dump(self) -> bytes:
        """Return Airflow's database as text."""
        address = ["-h", "127.0.0.1", "-p", str(self._port), "-U", "airflow", "airflow"]
        return subprocess.run(
            [self._programs / "pg_dump", "--data-only", *address], check=True, capture_output=True
        ).stdout

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
        if os.geteuid() == 0:
            shutil.chown(self._home, SERVICE_USER, SERVICE_USER)
        init = [
            self._programs / "initdb",
            "-D",
            self._home / "data",
            "-U",
            "airflow",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
        ]
        subprocess.run([*init, "--no-locale"], check=True, capture_output=True, **self._options())
        self._serve()
        with closing(self.connect()) as connection:
            # A database is made outside of a transaction.
            connection.autocommit = True
            connection.cursor().execute("CREATE DATABASE airflow")

    def _options(self) -> Any:
        user = {"user": SERVICE_USER, "group": SERVICE_USER, "extra_groups": []} if os.geteuid() == 0 else {}
        return {"cwd": self._home, "stdin": subprocess.DEVNULL, **user}

    def _serve(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self._port,
            "unix_socket_directories": "",
            "fsync": "off",
            **self._settings,
        }
        given = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [self._programs / "postgres", "-D", self._home / "data", *given]
        with (self._home / "log").open("ab") as log:
            self._server = subprocess.Popen(command, stdout=log, stderr=log, **self._options())
        self._wait()

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
        self._end()
        shutil.rmtree(self._home, ignore_errors=True)

    def _end(self) -> None:
        if self._server is not None:
            # Fast: clients are disconnected.
            self._server.send_signal(signal.SIGINT)
            try:
                self._server.wait(20)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
