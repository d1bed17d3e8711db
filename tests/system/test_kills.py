"""The kill matrix on the newest Airflow; `make kills` runs it on all of them."""

from __future__ import annotations

import sys

import pytest

from dev.compat import NEWEST
from dev.kills.matrix import ROWS
from dev.kills.run import VersionResult, run_version


@pytest.fixture(scope="module")
def column() -> VersionResult:
    return run_version(NEWEST, sys.executable)


@pytest.mark.parametrize("name", ROWS)
def test_what_becomes_of_the_remote_task(column: VersionResult, name: str) -> None:
    assert column.outcomes[name] == ROWS[name].cell(NEWEST), column.logs[name]
