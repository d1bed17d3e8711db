from __future__ import annotations

from typing import Any

import pytest

from remote_tasks_provider.page.waits import ORDERS, Filters, Wait, ordered, totals


def wait(**facts: Any) -> Wait:
    given = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "place": "triggerer"}
    return Wait(**{**given, **facts})


class TestFilters:
    @pytest.mark.parametrize(
        ("filters", "tasks"),
        [
            (Filters(), ["a", "b", "c"]),
            (Filters(text="ABC"), ["a"]),
            (Filters(text="which"), ["b"]),
            (Filters(service="Manus"), ["a", "b"]),
            (Filters(service="Manus", conn_id="two"), ["b"]),
            (Filters(state="waiting"), ["b"]),
            (Filters(place="worker"), ["c"]),
            (Filters(has_question=True), ["b"]),
            (Filters(text="nowhere"), []),
        ],
    )
    def test_filters_take_what_fits_all_of_them(self, filters: Filters, tasks: list[str]) -> None:
        waits = [
            wait(task_id="a", service="Manus", conn_id="one", remote_ids=["xAbCx"]),
            wait(task_id="b", service="Manus", conn_id="two", state="waiting", question="Which one?"),
            wait(task_id="c", place="worker"),
        ]

        assert [one.task_id for one in filters.take(waits)] == tasks


class TestOrder:
    @pytest.mark.parametrize("by", ORDERS)
    @pytest.mark.parametrize("descending", [False, True])
    def test_order_has_every_wait_once_and_the_unknown_last(self, by: str, descending: bool) -> None:
        waits = [
            wait(task_id="unknown", dag_id="z"),
            wait(task_id="low", since=1, service="A", conn_id="a", state="pending", polled_at=1, credits=1),
            wait(task_id="high", since=2, service="B", conn_id="b", state="running", polled_at=2, credits=2),
        ]

        found = [one.task_id for one in ordered(waits, by, descending=descending)]

        assert sorted(found) == ["high", "low", "unknown"]
        if by != "dag":
            assert found == (["high", "low", "unknown"] if descending else ["low", "high", "unknown"])

    def test_order_of_equal_waits_is_by_task_instance(self) -> None:
        waits = [wait(task_id=name, map_index=index) for name in "ba" for index in (2, 1)]

        found = [(one.task_id, one.map_index) for one in ordered(waits, "since", descending=True)]

        assert found == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]


class TestTotals:
    def test_totals_are_per_connection_and_add_up_what_is_known(self) -> None:
        waits = [
            wait(service="Manus", conn_id="m", since=5.0, state="running", credits=3, polled_at=9.0),
            wait(service="Manus", conn_id="m", since=2.0, state="running", credits=4, remote_ids=["a", "b"]),
            wait(service="Manus", conn_id="m", question="?", state="waiting", is_attended=False),
            wait(service="QStash", conn_id="m"),
        ]

        manus, qstash = totals(waits)

        assert manus == {
            "service": "Manus",
            "conn_id": "m",
            "waits": 3,
            "remote_tasks": 2,
            "questions": 1,
            "unattended": 1,
            "oldest": 2.0,
            "polled_at": 9.0,
            "credits": 7,
            "states": {"running": 2, "waiting": 1},
        }
        assert (qstash["waits"], qstash["oldest"], qstash["credits"]) == (1, None, None)

    def test_waits_whose_connection_is_not_known_have_a_total_of_their_own(self) -> None:
        (total,) = totals([wait(), wait()])

        assert (total["service"], total["conn_id"], total["waits"]) == (None, None, 2)


def test_json_of_a_wait_for_many_tasks_names_a_few_and_counts_all() -> None:
    found = wait(remote_ids=[f"t{number}" for number in range(5000)]).to_json()

    assert (found["remote_ids"], found["remote_count"]) == (["t0", "t1", "t2", "t3", "t4"], 5000)
