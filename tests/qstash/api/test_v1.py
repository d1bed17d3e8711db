"""QStash's calls: what is sent, how a page leads to the next, and what an error means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from remote_tasks_provider.core.errors import AuthenticationError
from remote_tasks_provider.core.http.connection import ConnectionFields
from remote_tasks_provider.core.http.operation import Idempotency, Page, Response
from remote_tasks_provider.qstash.api.v1 import get_task, list_message_tasks
from remote_tasks_provider.qstash.models import QStashTask
from remote_tasks_provider.qstash.service import QSTASH


def _page(body: Any) -> Page[QStashTask]:
    return list_message_tasks("m1").parse(Response(200, {}, json.dumps(body).encode()))


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
        with pytest.raises(ValueError, match="message_id"):
            list_message_tasks("")


class TestPages:
    def test_path_names_the_message(self) -> None:
        request = list_message_tasks("a/b").request

        assert (request.path, request.query) == ("/v1/messages/a%2Fb/tasks", ())

    @pytest.mark.parametrize("end", [{}, *({"cursor": end} for end in (None, 0, "0", "", False))], ids=str)
    def test_list_ends_with_every_spelling_of_an_absent_cursor(self, end: dict[str, Any]) -> None:
        page = _page({"tasks": [{"taskId": "t1"}]} | end)

        assert (page.cursor, page.next) == (None, None)

    @pytest.mark.parametrize("cursor", [[], {"at": 5}, 1.5, True])
    def test_odd_cursor_does_not_end_the_list(self, cursor: Any) -> None:
        with pytest.raises(ValueError, match="'cursor' is neither a text nor a whole number"):
            _page({"tasks": [{"taskId": "t1"}], "cursor": cursor})

    @pytest.mark.parametrize("cursor", [1678901234567, "1678901234567"])
    def test_cursor_may_be_a_number_or_a_string(self, cursor: Any) -> None:
        page = _page({"tasks": [], "cursor": cursor})

        assert page.cursor == "1678901234567"
        assert page.next is not None
        assert page.next.request.path == "/v1/messages/m1/tasks"

    def test_null_tasks_are_an_empty_list(self) -> None:
        assert list(_page({"tasks": None}).items) == []

    @pytest.mark.parametrize(
        ("body", "complaint"),
        [
            ({}, "at tasks"),
            ({"error": "x"}, "at tasks"),
            ([], "top level"),
            ({"tasks": {}}, "at tasks"),
            ({"tasks": [{"state": "active"}, {}]}, "none of the 2 items is readable at tasks"),
        ],
        ids=str,
    )
    def test_answer_that_is_no_task_list_is_refused(self, body: Any, complaint: str) -> None:
        with pytest.raises(ValueError, match=complaint):
            _page(body)


class TestService:
    config = QSTASH.config(ConnectionFields("my_conn", password="token"))

    def test_token_is_sent_as_a_bearer_token(self) -> None:
        assert self.config.auth == ("Authorization", "Bearer token")

    def test_status_404_about_the_region_is_about_the_token(self) -> None:
        hint = QSTASH.explain(
            get_task("t1"), 404, "User not found in this Region (eu-central-1)", self.config
        )

        assert hint is not None
        assert hint.error_type is AuthenticationError
        assert "https://qstash-us-east-1.upstash.io" in hint.text

    @pytest.mark.parametrize(
        ("status", "text"),
        [(401, "Check the password (token) of connection 'my_conn'"), (404, "Is the id right?")],
    )
    def test_known_statuses_have_hints(self, status: int, text: str) -> None:
        hint = QSTASH.explain(get_task("t1"), status, "no", self.config)

        assert hint is not None
        assert hint.error_type is None
        assert text in hint.text

    def test_unknown_statuses_have_no_hint(self) -> None:
        assert QSTASH.explain(get_task("t1"), 500, "no", self.config) is None
        assert QSTASH.explain(QSTASH.probe(self.config.extras), 404, "no such page", self.config) is None
