"""The kill matrix on the newest Airflow; `make kills` runs it on all of them."""

from __future__ import annotations

import sys

import pytest

from dev.compat import NEWEST
from dev.kills.matrix import ROWS
from dev.kills.run import VersionResult, run_version


@pytest.fixture(scope="module")
def result() -> VersionResult:
    return run_version(NEWEST, sys.executable)


@pytest.mark.parametrize("name", ROWS)
def test_remote_task_has_the_expected_outcome(result: VersionResult, name: str) -> None:
    assert result.outcomes[name] == ROWS[name].cell(NEWEST), result.logs.get(name)
