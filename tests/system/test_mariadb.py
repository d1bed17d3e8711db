"""Whatever a service writes can be stored in MariaDB too, and comes back as it was.

It stands in for MySQL, which Airflow supports and Debian does not have.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.good_answers import ANSWERS
from tests.system.mariadb import MariaDB, is_installed
from tests.system.test_postgresql import REFUSED, store_every_answer, texts

pytestmark = pytest.mark.skipif(
    not is_installed(),
    reason="MariaDB is not installed; install it, for example: apt-get install mariadb-server",
)

#: MariaDB takes JSON of 31 levels; MySQL takes a hundred, which is what the provider keeps to.
NOT_DEEP = [odd for odd in REFUSED if not odd.startswith(b"[[")]


@pytest.fixture(scope="module")
def store() -> Iterator[Any]:
    """A function that stores a value as Airflow does: as JSON, and its texts as text."""
    with MariaDB() as server:
        connection = server.connect()
        cursor = connection.cursor()
        cursor.execute(
            "CREATE TABLE kept (id INT AUTO_INCREMENT PRIMARY KEY, value JSON, text LONGTEXT) "
            "CHARACTER SET utf8mb4"
        )

        def keep(value: Any) -> Any:
            text = "\n".join(texts(value))
            cursor.execute(
                "INSERT INTO kept (value, text) VALUES (%s, %s)", (json.dumps(value, allow_nan=True), text)
            )
            cursor.execute("SELECT value, text FROM kept WHERE id = LAST_INSERT_ID()")
            found, read = cursor.fetchone()
            assert read == text
            return json.loads(found)

        yield keep
        cursor.close()
        connection.close()


@pytest.mark.parametrize("value", ["a\ud800b", float("nan"), float("inf")], ids=ascii)
def test_mariadb_refuses_what_is_replaced(store: Any, value: Any) -> None:
    import pymysql

    with pytest.raises((pymysql.MySQLError, ValueError)):
        store(value)


@pytest.mark.parametrize("name", ANSWERS)
def test_mariadb_stores_events_xcoms_forms_and_errors(store: Any, name: str) -> None:
    store_every_answer(store, name, NOT_DEEP)
