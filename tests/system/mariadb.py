"""A real MariaDB on this machine, with an empty database, for as long as a `with` block lasts."""

from __future__ import annotations

import getpass
import shutil
import subprocess
from typing import Any

from tests.system.local_server import LocalServer

__all__ = ["MariaDB", "is_installed"]


def is_installed() -> bool:
    """Return whether MariaDB's programs are there."""
    return all(shutil.which(name) for name in ("mariadbd", "mariadb-install-db"))


class MariaDB(LocalServer):
    """Whoever connects is let in."""

    name = "MariaDB"
    start_seconds = 120.0

    def connect(self) -> Any:
        """Return a connection to the empty database."""
        import pymysql

        options = {"user": "root", "charset": "utf8mb4", "autocommit": True}
        connection = pymysql.connect(host="127.0.0.1", port=self._port, **options)
        # As Airflow's documentation sets a database up.
        connection.cursor().execute("CREATE DATABASE IF NOT EXISTS airflow CHARACTER SET utf8mb4")
        connection.select_db("airflow")
        return connection

    def _start(self) -> None:
        import pymysql

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
        self._run(command, self.connect, pymysql.OperationalError)
