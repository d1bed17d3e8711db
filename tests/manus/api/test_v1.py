"""Manus API v1: what is sent, and how a page leads to the next."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from remote_tasks_provider.core.http.connection import ConnectionFields
from remote_tasks_provider.core.http.operation import Idempotency, Page, Response
from remote_tasks_provider.manus.api.filters import TaskFilter, task_filter
from remote_tasks_provider.manus.api.v1 import get_task, list_tasks
from remote_tasks_provider.manus.models import ManusTask
from remote_tasks_provider.manus.service import MANUS


def _page(body: Any, wanted: TaskFilter | None = None) -> Page[ManusTask]:
    return list_tasks(wanted or task_filter()).parse(Response(200, {}, json.dumps(body).encode()))


class TestGetTask:
    def test_get_task_is_an_idempotent_get(self) -> None:
        operation = get_task("a/b")

        assert (operation.request.method, operation.request.path, operation.request.query) == (
            "GET",
            "/v1/tasks/a%2Fb",
            (),
        )
        assert operation.idempotency is Idempotency.IDEMPOTENT

    def test_empty_id_is_refused_before_any_request(self) -> None:
        with pytest.raises(ValueError, match="remote_task_id"):
            get_task("")


class TestFilter:
    def _query(self, **filters: Any) -> list[tuple[str, str]]:
        return list(list_tasks(task_filter(**filters)).request.query)

    def test_defaults_are_sent_plainly(self) -> None:
        assert self._query() == [("order", "desc"), ("orderBy", "created_at"), ("limit", "100")]

    @pytest.mark.parametrize(
        ("filters", "pairs"),
        [
            ({"status": "failed"}, [("status", "failed")]),
            ({"status": ["failed", "running"]}, [("status", "failed"), ("status", "running")]),
            ({"status": []}, []),
            ({"query": "north"}, [("query", "north")]),
            ({"query": ""}, []),
            ({"created_after": 1763501439}, [("createdAfter", "1763501439")]),
            (
                {"created_after": datetime(2025, 11, 18, 21, 30, 39, tzinfo=UTC)},
                [("createdAfter", "1763501439")],
            ),
            ({"created_before": "2025-11-18T21:30:39Z"}, [("createdBefore", "1763501439")]),
            ({"project_id": "p1"}, [("project_id", "p1")]),
            ({"after": "t9"}, [("after", "t9")]),
        ],
        ids=str,
    )
    def test_filters_are_sent_under_their_documented_names(
        self, filters: dict[str, Any], pairs: list[tuple[str, str]]
    ) -> None:
        assert [pair for pair in self._query(**filters) if pair not in self._query()] == pairs

    @pytest.mark.parametrize(
        ("filters", "limit"),
        [
            ({"page_size": 1}, "1"),
            ({"page_size": "1000"}, "1000"),
            ({"limit": 7}, "7"),
            ({"limit": 500}, "100"),
        ],
    )
    def test_page_is_no_larger_than_the_limit(self, filters: dict[str, Any], limit: str) -> None:
        assert ("limit", limit) in self._query(**filters)

    @pytest.mark.parametrize(
        "filters",
        [
            {"status": "done"},
            {"status": ["failed", "FAILED"]},
            {"status": 5},
            {"created_after": "yesterday"},
            {"created_before": datetime(2025, 1, 1)},  # noqa: DTZ001 - a naive time is what is refused
            {"project_id": ""},
            {"after": "None"},
            {"order": "up"},
            {"order_by": "title"},
            {"page_size": 0},
            {"page_size": 1001},
            {"page_size": None},
        ],
        ids=str,
    )
    def test_invalid_filter_is_refused_by_name(self, filters: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(filters))):
            task_filter(**filters)


class TestPages:
    def test_next_page_starts_after_the_last_task_and_keeps_the_filters(self) -> None:
        wanted = task_filter(status=["failed"], query="x", page_size=2)
        page = _page({"data": [{"id": "a"}, {"id": "b"}], "last_id": "b", "has_more": True}, wanted)

        assert page.cursor == "b"
        assert page.next is not None
        assert page.next.request.query == (
            ("status", "failed"),
            ("query", "x"),
            ("order", "desc"),
            ("orderBy", "created_at"),
            ("after", "b"),
            ("limit", "2"),
        )

    def test_missing_last_id_is_read_from_the_last_task(self) -> None:
        assert _page({"data": [{"id": "a"}, {"id": "b"}], "has_more": True}).cursor == "b"

    @pytest.mark.parametrize(
        "end", [{}, {"has_more": False}, {"has_more": None}, {"has_more": False, "last_id": "a"}], ids=str
    )
    def test_list_ends_without_more_pages(self, end: dict[str, Any]) -> None:
        page = _page({"data": [{"id": "a"}]} | end)

        assert (page.cursor, page.next) == (None, None)

    def test_empty_page_may_have_a_successor(self) -> None:
        assert _page({"object": "list", "has_more": True, "last_id": "z"}).cursor == "z"

    @pytest.mark.parametrize(
        ("body", "complaint"),
        [
            ({}, "neither 'data' nor"),
            ({"ok": True, "tasks": []}, "neither 'data' nor"),
            ({"object": "task", "id": "x"}, "neither 'data' nor"),
            ({"object": "list", "has_more": True}, "no 'last_id'"),
            ({"data": {}}, "at data"),
            ({"data": [{"status": "running"}, {}]}, "none of the 2 items is readable at data"),
            ([], "top level"),
        ],
        ids=str,
    )
    def test_answer_that_is_no_task_list_is_refused(self, body: Any, complaint: str) -> None:
        with pytest.raises(ValueError, match=complaint):
            _page(body)


class TestService:
    def test_key_is_sent_in_its_own_header(self) -> None:
        assert get_task("t1").request.key_header == "API_KEY"

    def test_status_404_alone_has_its_own_hint(self) -> None:
        config = MANUS.config(ConnectionFields("my_conn", password="sk-1"))
        hint = MANUS.explain(get_task("t1"), 404, "task not found", config)

        assert hint is not None
        assert "account of connection 'my_conn'" in hint.text
        assert MANUS.explain(get_task("t1"), 500, "", config) is None
        assert MANUS.explain(MANUS.probe(config.extras), 404, "no such page", config) is None
