"""The kill matrix on the newest Airflow; `make kills` runs it on all of them."""

from __future__ import annotations

import sys

import pytest

from dev.compat import NEWEST
from dev.kill_matrix import ROWS
from dev.kills import Column, run_column


@pytest.fixture(scope="module")
def column() -> Column:
    return run_column(NEWEST, sys.executable)


@pytest.mark.parametrize("name", ROWS)
def test_what_becomes_of_the_remote_task(column: Column, name: str) -> None:
    assert column.fates[name] == ROWS[name].cell(NEWEST), column.logs[name]
