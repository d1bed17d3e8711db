"""A real PostgreSQL on this machine, with an empty database, for as long as a `with` block lasts."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.system.local_server import LocalServer

__all__ = ["PostgreSQL", "server_folder"]

#: PostgreSQL refuses to run as root.
SERVICE_USER = "postgres"


def server_folder() -> Path | None:
    """Return the folder of PostgreSQL's own programs; ``None`` if it is not installed."""
    # Debian keeps each version's out of the search path.
    places = [*map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), os.environ["PATH"]]
    found = shutil.which("initdb", path=os.pathsep.join(places))
    return Path(found).parent if found else None


class PostgreSQL(LocalServer):
    """Whoever connects is let in.

    ``url`` is that of an empty database for Airflow, ``connect`` leads to another one.

    :param settings: settings of the server, by name.
    """

    name = "PostgreSQL"
    # Fast: clients are disconnected.
    stopped_by = signal.SIGINT

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._programs = folder
        self._settings = dict(settings or {})
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

    def execute(self, *statements: str) -> None:
        """Execute statements in Airflow's database, each for itself."""
        with closing(self.connect("airflow")) as connection:
            connection.autocommit = True
            for statement in statements:
                connection.cursor().execute(statement)

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
        return {"cwd": self._home, **user}

    def _serve(self) -> None:
        import psycopg2

        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self._port,
            "unix_socket_directories": "",
            "fsync": "off",
            **self._settings,
        }
        given = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [self._programs / "postgres", "-D", self._home / "data", *given]
        self._run(command, self.connect, psycopg2.OperationalError, **self._options())
