from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.model.oracle import Asked, Earlier, why_not_pay, why_not_send

AT_WORK = Earlier(
    "task1",
    is_over=False,
    was_cleared=False,
    was_stopped=False,
    end="",
    exists=True,
    is_recorded=True,
    inputs=("p", "a"),
    age=700.0,
)
ASKED = Asked(("p", "a"), "fail", "search", has_records=True, has_tags=True)


@pytest.mark.parametrize(
    ("earlier", "asked", "may"),
    [
        ([], {}, True),
        ([{}], {}, False),
        ([{"was_cleared": True}], {}, False),
        ([{"is_over": True, "was_cleared": True}], {}, True),
        ([{"was_stopped": True}], {}, True),
        ([{"exists": False}], {}, True),
        ([{"end": "failed"}], {}, False),
        ([{"end": "failed", "was_cleared": True}], {}, True),
        ([{"end": "completed", "was_cleared": True}], {}, False),
        ([{"end": "completed", "was_cleared": True}], {"inputs": ("q", "a")}, True),
        ([{"end": "completed", "was_cleared": True}], {"has_records": False}, False),
        ([{"end": "completed", "was_cleared": True, "is_recorded": False}], {"has_records": False}, True),
        ([{"end": "completed", "is_recorded": False}], {"has_records": False}, False),
        ([{}], {"inputs": ("q", "a")}, False),
        ([{}], {"inputs": ("q", "a"), "on_stale_state": "restart"}, True),
        ([{}], {"on_stale_state": "restart"}, False),
        ([{}], {"on_orphaned_intent": "start"}, False),
        ([{"is_recorded": False}], {}, False),
        ([{"is_recorded": False}], {"on_orphaned_intent": "start"}, True),
        ([{"is_recorded": False}], vars_of := {"has_records": False, "has_tags": False}, False),
        ([{"is_recorded": False}], {**vars_of, "inputs": ("q", "a")}, True),
        ([{"is_recorded": False}], {**vars_of, "has_tags": True, "inputs": ("q", "a")}, False),
        ([{"is_over": True}, {}], {}, False),
        ([{"was_replaced": True}], {}, True),
    ],
)
def test_oracle_knows_what_may_be_paid_again(
    earlier: list[dict[str, Any]], asked: dict[str, Any], may: bool
) -> None:
    why = why_not_pay([replace(AT_WORK, **facts) for facts in earlier], replace(ASKED, **asked))

    assert (why is None) == may


@pytest.mark.parametrize(
    ("facts", "has_records", "may"),
    [
        ({}, True, False),
        ({"was_cleared": True}, True, True),
        ({}, False, True),
        ({"age": 500.0}, False, False),
        ({"was_stopped": True}, True, True),
    ],
)
def test_oracle_knows_what_may_be_sent_again(facts: dict[str, Any], has_records: bool, may: bool) -> None:
    assert (why_not_send([replace(AT_WORK, **facts)], has_records=has_records) is None) == may
