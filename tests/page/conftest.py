from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dev.airflow.standalone import migrated_database


class Database:
    """A real metadata database of the installed Airflow, of which the page reads."""

    def __init__(self, path: Path) -> None:
        from sqlalchemy import create_engine, event
        from sqlalchemy.orm import sessionmaker

        shutil.copy(migrated_database(), path)
        self.engine = create_engine(f"sqlite:///{path}")
        self.queries: list[str] = []
        event.listen(
            self.engine,
            "before_cursor_execute",
            lambda _connection, _cursor, statement, *_rest: self.queries.append(statement),
        )
        self._sessions = sessionmaker(self.engine)
        self._made: set[tuple[str, ...]] = set()

    @contextmanager
    def session(self, **_options: Any) -> Iterator[Any]:
        with self._sessions() as session, session.begin():
            yield session

    def add(self, *rows: Any) -> list[Any]:
        """Insert rows of :mod:`dev.page.rows`; return the ids of the task instances."""
        from dev.page.rows import Tables

        with self.session() as session:
            tables = Tables(session, self._made)
            ids = [tables.add(row) for row in rows]
            tables.report()
            return ids


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    found = Database(tmp_path / "airflow.db")
    monkeypatch.setattr("remote_tasks_provider.page.query.create_session", found.session)
    yield found
    found.engine.dispose()
