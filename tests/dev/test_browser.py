"""``dev/browser/pages`` and what a person is told while Airflow starts. These tests need no browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev.airflow.connections import connection_fields, sandbox_connections
from dev.airflow.progress import Progress
from dev.browser.pages import CONNECT, FIRST_DAG, INSTALL, README, BrokenPromiseError, block, commands, inline
from dev.environments import ROOT
from remote_tasks_sandbox import SandboxServer


def test_commands_of_the_first_hour_are_found() -> None:
    assert commands(ROOT / README, "Try it") == ["make demo", "make airflow"]
    assert commands(ROOT / INSTALL, "Install") == ["pip install .", "pip install ./sandbox"]


def test_commands_without_an_account_are_found() -> None:
    assert inline(ROOT / CONNECT, "remote-tasks-sandbox").endswith("--seed-demo")
    assert "AIRFLOW_CONN_QSTASH_DEFAULT" in block(ROOT / CONNECT, "Without an account", "shell")
    assert "test_connection()" in block(ROOT / CONNECT, "Does it work?", "python")
    assert commands(ROOT / FIRST_DAG, "Run it")[-1] == "airflow dags trigger first_dag"


def test_first_dag_is_found() -> None:
    assert 'DAG("first_dag"' in block(ROOT / FIRST_DAG, "Your first DAG", "python")


def test_page_without_the_block_is_named(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Other\n\n```shell\nmake\n```\n")

    with pytest.raises(BrokenPromiseError, match=r"page\.md has no shell block under 'Try it'"):
        commands(page, "Try it")
    with pytest.raises(BrokenPromiseError, match=r"page\.md has no command that begins with 'make'"):
        inline(page, "make")


class TestProgress:
    def test_part_is_named_once_when_it_becomes_healthy(self) -> None:
        said: list[str] = []
        now = [0.0]
        progress = Progress(said.append, lambda: now[0])

        progress.note({})
        now[0] = 7.4
        progress.note(
            {"scheduler": {"status": "healthy"}, "triggerer": {"status": None}, "dag_processor": None}
        )
        now[0] = 9.0
        progress.note({"scheduler": {"status": "healthy"}, "dag_processor": {"status": "healthy"}})
        assert said == ["    7 s  scheduler is healthy", "    9 s  dag processor is healthy"]

    def test_wait_without_news_is_said_every_ten_seconds(self) -> None:
        said: list[str] = []
        now = [0.0]
        progress = Progress(said.append, lambda: now[0])

        for now[0] in (5.0, 10.0, 15.0, 20.0):
            progress.still_waiting()
        progress.note({"scheduler": {"status": "healthy"}})
        now[0] = 29.0
        progress.still_waiting()
        now[0] = 30.0
        progress.still_waiting()
        assert said == [
            "   10 s  still starting; the API server does not answer yet",
            "   20 s  still starting; the API server does not answer yet",
            "   20 s  scheduler is healthy",
            "   30 s  still starting",
        ]


def test_connections_of_the_playground_can_be_tested_in_the_list() -> None:
    with SandboxServer() as server:
        fields = connection_fields(server)

    # Airflow 3.3.2 tests no saved connection without a port.
    assert {one["port"] for one in fields.values()} == {int(server.url.rpartition(":")[2])}
    assert sandbox_connections(server).keys() == fields.keys()
