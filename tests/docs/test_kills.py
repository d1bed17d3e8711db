"""``docs/kills.md`` shows what ``dev/kills.py`` brings about, cell by cell."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev.compat import VERSIONS
from dev.kill_matrix import DEFERRED, ON_A_WORKER, Row

PAGE = (Path(__file__).parents[2] / "docs" / "kills.md").read_text(encoding="utf-8")


def _rows(heading: str) -> list[list[str]]:
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize(
    ("heading", "expected"),
    [("While a worker waits", ON_A_WORKER), ("While it is deferred", DEFERRED)],
)
def test_the_table_is_the_one_that_is_run(heading: str, expected: dict[str, Row]) -> None:
    head, _, *rows = _rows(heading)

    assert head[1:] == list(VERSIONS)
    assert rows == [
        [row.event, *(str(row.cell(version)) for version in VERSIONS)] for row in expected.values()
    ]
