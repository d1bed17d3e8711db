"""``docs/concepts/killing-and-clearing.md`` shows the table that ``dev/kills`` runs, row by row."""

from __future__ import annotations

import pytest

from dev.compat import VERSIONS
from dev.kills.matrix import DEFERRED, ON_A_WORKER, PAID_ONCE, Row
from tests.docs import pages

PAGE = "docs/concepts/killing-and-clearing.md"


@pytest.mark.parametrize(
    ("heading", "expected"),
    [
        ("## While a worker waits", ON_A_WORKER),
        ("## While the task is deferred", DEFERRED),
        ("## Paid once", PAID_ONCE),
    ],
)
def test_kill_table_shows_the_rows_that_are_run(heading: str, expected: dict[str, Row]) -> None:
    rows = pages.table(pages.section(PAGE, heading), "what happens")

    assert [list(row.values()) for row in rows] == [
        [
            row.event,
            str(row.outcome),
            row.exceptions,
        ]
        for row in expected.values()
    ]


def test_kill_page_names_every_version_that_is_run() -> None:
    assert ", ".join(list(VERSIONS)[:-1]) + f" and {list(VERSIONS)[-1]}" in pages.read(PAGE)
