"""Manus API v2: what is sent, the filters it does not have, its cursors, and every form of its errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from remote_tasks_provider.core.errors import (
    ApiError,
    AuthenticationError,
    ConnectionConfigError,
    InvalidArgumentError,
    InvalidRequestError,
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    ServerError,
)
from remote_tasks_provider.core.http.connection import ConnectionConfig, ConnectionFields
from remote_tasks_provider.core.http.operation import Idempotency, Operation, Page, Response
from remote_tasks_provider.core.http.response import read_response
from remote_tasks_provider.manus.api import v1, v2
from remote_tasks_provider.manus.api.filters import task_filter
from remote_tasks_provider.manus.api.options import TaskOptions
from remote_tasks_provider.manus.service import MANUS

START = 1_764_000_000
KEY = "sk-very-secret-key-1234567890"


def config(**extra: Any) -> ConnectionConfig:
    extra = {"api_version": "v2"} | extra
    return MANUS.config(ConnectionFields("my_conn", password=KEY, extra=extra))


def read(operation: Operation[Any], body: Any, status: int = 200) -> Any:
    response = Response(status, {}, json.dumps(body).encode())
    return read_response(operation, response, config(), MANUS.explain)


class TestAuthentication:
    @pytest.mark.parametrize(
        ("extra", "header"),
        [
            ({"api_version": "v2"}, ("x-manus-api-key", KEY)),
            ({"api_version": "v2", "auth": "api_key"}, ("x-manus-api-key", KEY)),
            ({"api_version": "v2", "auth": "oauth"}, ("Authorization", f"Bearer {KEY}")),
            ({"auth": "oauth"}, ("Authorization", f"Bearer {KEY}")),
            ({}, ("x-manus-api-key", KEY)),
        ],
        ids=str,
    )
    def test_credentials_have_one_header_each(self, extra: dict[str, str], header: tuple[str, str]) -> None:
        fields = ConnectionFields("my_conn", password=KEY, extra=extra)

        assert MANUS.config(fields).auth_for(v2.stop_task("t1").request) == header

    @pytest.mark.parametrize("extra", [{}, {"api_version": "v1"}], ids=str)
    def test_operation_of_v1_has_the_header_of_v1(self, extra: dict[str, str]) -> None:
        fields = ConnectionFields("my_conn", password=KEY, extra=extra)

        assert MANUS.config(fields).auth_for(v1.get_task("t1").request) == ("API_KEY", KEY)

    @pytest.mark.parametrize(
        ("connectors", "fault"),
        [
            (" ", "names none"),
            (",", "names none"),
            ("c1, none", "ids and the word none"),
            ("none,None", "none"),
        ],
    )
    def test_connectors_that_say_neither_are_refused(self, connectors: str, fault: str) -> None:
        with pytest.raises(ConnectionConfigError, match=fault):
            config(connectors=connectors)

    @pytest.mark.parametrize(
        ("connectors", "allowed"),
        [("", None), ("none", ()), (" NONE ", ()), ("c1, c2,", ("c1", "c2"))],
    )
    def test_connectors_are_ids_or_the_word_none(
        self, connectors: str, allowed: tuple[str, ...] | None
    ) -> None:
        assert config(connectors=connectors).extras.allowed_connectors == allowed

    def test_oauth_is_refused_with_v1(self) -> None:
        with pytest.raises(ConnectionConfigError, match="auth 'oauth' needs api_version v2"):
            config(api_version="v1", auth="oauth")


class TestRequests:
    @pytest.mark.parametrize(
        ("operation", "idempotency"),
        [
            (v2.create_task(TaskOptions("x")), Idempotency.NOT_IDEMPOTENT),
            (v2.send_message("t1", "x"), Idempotency.NOT_IDEMPOTENT),
            (v2.confirm_action("t1", "e1", {}), Idempotency.NOT_IDEMPOTENT),
            (v2.stop_task("t1"), Idempotency.IDEMPOTENT),
            (v2.get_task("t1"), Idempotency.IDEMPOTENT),
            (v2.update_task("t1", title="x", share_visibility=None, visible=None), Idempotency.IDEMPOTENT),
        ],
        ids=lambda value: getattr(value, "name", value),
    )
    def test_operations_that_would_act_twice_are_not_repeated(
        self, operation: Operation[Any], idempotency: Idempotency
    ) -> None:
        assert operation.idempotency is idempotency

    @pytest.mark.parametrize(
        "make",
        [
            v2.get_task,
            v2.stop_task,
            v2.delete_task,
            v2.list_messages,
            lambda one: v2.send_message(one, "x"),
            lambda one: v2.confirm_action(one, "e1", {}),
            lambda one: v2.update_task(one, title="x", share_visibility=None, visible=None),
        ],
    )
    def test_empty_task_id_is_refused_before_any_request(self, make: Any) -> None:
        with pytest.raises(ValueError, match="remote_task_id"):
            make("")

    @pytest.mark.parametrize(
        "make",
        [
            lambda: v2.get_file(""),
            lambda: v2.delete_file("None"),
            lambda: v2.confirm_action("t1", "", {}),
        ],
    )
    def test_invalid_ids_of_other_objects_are_refused(self, make: Any) -> None:
        with pytest.raises(ValueError, match=r"file_id|event_id"):
            make()

    def test_text_alone_is_sent_as_a_text(self) -> None:
        assert v2.create_task(TaskOptions("Hello")).request.json["message"] == {"content": "Hello"}

    def test_files_follow_the_text(self) -> None:
        message = v2.send_message("t1", "Hello", files=[{"file_id": "f1"}]).request.json["message"]

        assert message["content"] == [
            {"type": "text", "text": "Hello"},
            {"type": "file", "file_id": "f1"},
        ]

    def test_absent_options_are_not_sent(self) -> None:
        assert set(v2.create_task(TaskOptions("Hello")).request.json) == {
            *("message", "agent_profile", "interactive_mode", "hide_in_task_list")
        }
        assert set(v2.send_message("t1", "Hello").request.json) == {"task_id", "message"}
        assert set(v2.confirm_action("t1", "e1", None).request.json) == {"task_id", "event_id"}

    def test_false_or_empty_options_are_sent(self) -> None:
        update = v2.update_task("t1", title="", share_visibility=None, visible=False)

        assert update.request.json == {"task_id": "t1", "title": "", "enable_visible_in_task_list": False}
        assert v2.confirm_action("t1", "e1", {}).request.json["input"] == {}

    @pytest.mark.parametrize("schema", [{}, {"type": "string"}, {"type": "object"}], ids=str)
    def test_message_with_an_invalid_schema_is_refused(self, schema: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="structured_output_schema"):
            v2.send_message("t1", "x", structured_output_schema=schema)

    def test_message_with_an_invalid_file_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"files\[0\]"):
            v2.send_message("t1", "x", files=[{"filename": "a"}])


def task(number: int, **facts: Any) -> dict[str, Any]:
    return {"id": f"t{number}", "status": "running", "created_at": START + number} | facts


def page(*tasks: dict[str, Any], following: str | None = None) -> dict[str, Any]:
    more = {"has_more": True, "next_cursor": following} if following else {"has_more": False}
    return {"ok": True, "request_id": "req_1", "data": list(tasks)} | more


def ids(found: Page[Any]) -> list[str]:
    return [one.id for one in found.items]


class TestListFilters:
    @pytest.mark.parametrize(
        ("filters", "found"),
        [
            ({}, "t4 t3 t2 t1"),
            ({"status": "running"}, "t4"),
            ({"status": ["completed", "failed"]}, "t3 t2"),
            ({"status": "waiting"}, "t1"),
            ({"status": "pending"}, "t1"),
            ({"query": "NORTH"}, "t4 t2"),
            ({"query": "nothing"}, ""),
            ({"created_after": START + 2}, "t4 t3"),
            ({"created_before": START + 3}, "t2 t1"),
            ({"created_after": START + 1, "created_before": START + 4}, "t3 t2"),
            ({"status": "running", "query": "north"}, "t4"),
            ({"after": "t3"}, "t2 t1"),
            ({"after": "t1"}, ""),
        ],
        ids=str,
    )
    def test_filters_are_applied_to_the_answer(self, filters: dict[str, Any], found: str) -> None:
        body = page(
            task(4, title="Go North"),
            task(3, status="stopped"),
            task(2, status="error", title="north"),
            task(1, status="waiting"),
        )

        assert ids(read(v2.list_tasks(task_filter(**filters)), body)) == found.split()

    def test_task_without_a_creation_time_passes_no_time_filter(self) -> None:
        body = page(task(1, created_at=None))

        assert ids(read(v2.list_tasks(task_filter()), body)) == ["t1"]
        assert ids(read(v2.list_tasks(task_filter(created_after=1)), body)) == []
        assert ids(read(v2.list_tasks(task_filter(created_before=START * 2)), body)) == []

    def test_background_jobs_count_as_running(self) -> None:
        body = page(task(1, status="stopped", has_running_background_jobs=True))

        assert ids(read(v2.list_tasks(task_filter(status="completed")), body)) == []
        assert ids(read(v2.list_tasks(task_filter(status="running")), body)) == ["t1"]

    def test_project_filter_is_sent(self) -> None:
        query = dict(v2.list_tasks(task_filter(project_id="p1")).request.query)

        assert (query["scope"], query["project_id"]) == ("project", "p1")

    @pytest.mark.parametrize(
        ("filters", "limit"),
        [
            ({}, "100"),
            ({"page_size": 1000}, "100"),
            ({"page_size": 7}, "7"),
            ({"limit": 3}, "3"),
            ({"page_size": 7, "created_after": 1}, "7"),
            # Most of such a page may be left out.
            ({"page_size": 7, "status": "failed"}, "100"),
            ({"limit": 1, "query": "x"}, "100"),
            ({"page_size": 7, "created_before": 1}, "100"),
            ({"page_size": 7, "after": "t9"}, "100"),
        ],
        ids=str,
    )
    def test_page_size_follows_the_limit(self, filters: dict[str, Any], limit: str) -> None:
        assert dict(v2.list_tasks(task_filter(**filters)).request.query)["limit"] == limit

    def test_order_by_update_is_refused(self) -> None:
        with pytest.raises(ValueError, match="order_by is 'updated_at': API v2 lists by created_at only"):
            v2.list_tasks(task_filter(order_by="updated_at"))


class TestListPages:
    @staticmethod
    def _read(body: dict[str, Any], **filters: Any) -> Page[Any]:
        found: Page[Any] = read(v2.list_tasks(task_filter(**filters)), body)
        return found

    def test_cursor_continues_with_the_same_filters(self) -> None:
        found = self._read(page(task(1), following="abc"), order="asc", project_id="p1", page_size=7)

        assert found.cursor == "abc"
        assert found.next is not None
        assert found.next.request.query == (
            ("limit", "7"),
            ("order", "asc"),
            ("scope", "project"),
            ("project_id", "p1"),
            ("cursor", "abc"),
        )

    def test_page_without_a_match_has_a_successor(self) -> None:
        found = self._read(page(task(1), following="abc"), status="failed")

        assert ids(found) == []
        assert found.next is not None

    @pytest.mark.parametrize(
        "end", [{"has_more": False}, {"has_more": False, "next_cursor": "abc"}, {"next_cursor": "abc"}, {}]
    )
    def test_list_ends_without_more_pages(self, end: dict[str, Any]) -> None:
        assert self._read({"ok": True, "data": []} | end).next is None

    @pytest.mark.parametrize("body", [{"ok": True}, {"ok": True, "data": None}, {"data": []}], ids=str)
    def test_empty_list_may_be_absent(self, body: dict[str, Any]) -> None:
        assert ids(self._read(body)) == []

    @pytest.mark.parametrize("cursor", [{}, {"next_cursor": ""}, {"next_cursor": None}], ids=str)
    def test_more_pages_without_a_cursor_are_refused(self, cursor: dict[str, Any]) -> None:
        with pytest.raises(InvalidResponseError, match="'has_more' is true but there is no 'next_cursor'"):
            self._read({"ok": True, "data": [], "has_more": True} | cursor)

    @pytest.mark.parametrize(
        ("filters", "numbers", "goes_on"),
        [
            ({"created_after": START + 5}, (7, 6), True),
            ({"created_after": START + 5}, (7, 6, 5), False),
            ({"created_after": START + 5}, (7, 6, 4), False),
            ({"created_before": START + 5}, (7, 6, 4), True),
            ({"created_before": START + 5, "order": "asc"}, (3, 4), True),
            ({"created_before": START + 5, "order": "asc"}, (3, 4, 5), False),
            ({"created_after": START + 5, "order": "asc"}, (3, 4), True),
        ],
        ids=str,
    )
    def test_list_ends_early_outside_the_time_range(
        self, filters: dict[str, Any], numbers: tuple[int, ...], goes_on: bool
    ) -> None:
        found = self._read(page(*(task(number) for number in numbers), following="abc"), **filters)

        assert (found.next is not None) is goes_on

    def test_listing_after_a_task_skips_up_to_it(self) -> None:
        first = self._read(page(task(9), task(8), following="abc"), after="t7")
        assert (ids(first), first.next is not None) == ([], True)
        second = read(first.next, page(task(7), task(6), following="def"))  # type: ignore[arg-type]
        assert ids(second) == ["t6"]
        assert ids(read(second.next, page(task(5), task(4)))) == ["t5", "t4"]

    def test_listing_after_a_task_that_is_nowhere_is_refused(self) -> None:
        first = self._read(page(task(9), task(8), following="abc"), after="t77")

        with pytest.raises(InvalidArgumentError, match="after is 't77', and the list does not show"):
            read(first.next, page(task(7), task(6)))  # type: ignore[arg-type]


class TestMessagePages:
    def test_cursor_continues_the_list(self) -> None:
        body = {"ok": True, "messages": [{"id": "e1"}], "has_more": True, "next_cursor": "abc"}
        found = read(v2.list_messages("t1", order="desc", page_size=50), body)

        assert [one.id for one in found.items] == ["e1"]
        assert dict(found.next.request.query) == {
            **{"task_id": "t1", "order": "desc", "limit": "50"},
            "cursor": "abc",
        }

    def test_messages_come_oldest_first_in_the_largest_pages(self) -> None:
        query = dict(v2.list_messages("t1").request.query)

        assert query == {"task_id": "t1", "order": "asc", "limit": "200"}

    def test_answer_of_another_shape_is_refused(self) -> None:
        with pytest.raises(InvalidResponseError, match="neither 'messages' nor 'ok' is there"):
            read(v2.list_messages("t1"), {"data": []})


def failure(code: str | None, message: str = "no") -> dict[str, Any]:
    return {"ok": False, "request_id": "req_abc123", "error": {"code": code, "message": message}}


CALLS: list[Operation[Any]] = [
    v2.get_task("t1"),
    v2.list_tasks(task_filter()),
    v2.create_task(TaskOptions("x")),
    v2.stop_task("t1"),
    v2.available_credits(),
]


class TestErrors:
    @pytest.mark.parametrize(
        ("code", "kind"),
        [
            ("invalid_argument", InvalidRequestError),
            ("unauthenticated", AuthenticationError),
            ("permission_denied", PermissionDeniedError),
            ("not_found", NotFoundError),
            ("rate_limited", RateLimitedError),
            ("internal", ServerError),
            ("unavailable", ServerError),
            ("QuotaExceededError", InvalidRequestError),
            (None, InvalidRequestError),
        ],
    )
    def test_error_under_a_good_status_is_an_error(self, code: str | None, kind: type[ApiError]) -> None:
        with pytest.raises(kind, match="no") as caught:
            read(v2.get_task("t1"), failure(code))
        assert (type(caught.value), caught.value.code) == (kind, code)
        assert caught.value.request_id == "req_abc123"

    @pytest.mark.parametrize("operation", CALLS, ids=lambda operation: operation.name)
    def test_error_names_its_operation(self, operation: Operation[Any]) -> None:
        with pytest.raises(InvalidRequestError, match=operation.name):
            read(operation, failure("invalid_argument"))

    @pytest.mark.parametrize(
        "body",
        [{"ok": False}, {"ok": "false"}, {"ok": False, "error": "no"}, {"ok": False, "data": [], "task": {}}],
    )
    @pytest.mark.parametrize("operation", CALLS, ids=lambda operation: operation.name)
    def test_error_without_details_is_an_error(self, body: dict[str, Any], operation: Operation[Any]) -> None:
        with pytest.raises(InvalidRequestError):
            read(operation, body)

    @pytest.mark.parametrize("operation", CALLS, ids=lambda operation: operation.name)
    def test_oauth_error_without_an_envelope_is_an_error(self, operation: Operation[Any]) -> None:
        body = {"code": "permission_denied", "message": "insufficient_scope: required one of [create_task]"}

        for status in (403, 200):
            with pytest.raises(PermissionDeniedError, match="was not granted this scope") as caught:
                read(operation, body, status)
            assert caught.value.code == "permission_denied"

    def test_error_status_overrides_the_http_status(self) -> None:
        with pytest.raises(RateLimitedError) as caught:
            read(v2.get_task("t1"), failure("rate_limited"), 429)
        assert caught.value.request_id == "req_abc123"
        with pytest.raises(ServerError):
            read(v2.get_task("t1"), failure("not_found"), 500)

    def test_wrong_key_is_recognised_by_its_text(self) -> None:
        with pytest.raises(AuthenticationError, match="Check the password"):
            read(v2.get_task("t1"), failure("permission_denied", "Invalid or missing API key"), 403)

    def test_missing_task_may_be_too_new(self) -> None:
        with pytest.raises(NotFoundError, match="just created can take some seconds"):
            read(v2.get_task("t1"), failure("not_found"), 404)

    @pytest.mark.parametrize("body", [[], "x", None, {"ok": True}, {"ok": True, "task": {}}], ids=str)
    def test_answer_of_another_shape_is_refused(self, body: Any) -> None:
        with pytest.raises(InvalidResponseError, match="expected a Manus task as JSON"):
            read(v2.get_task("t1"), body)


class TestOtherAnswers:
    @pytest.mark.parametrize(("confirmed", "taken"), [(True, True), (False, False), ("false", False)])
    def test_confirmation_is_read(self, confirmed: Any, taken: bool) -> None:
        assert read(v2.confirm_action("t1", "e1", {}), {"ok": True, "confirmed": confirmed}) is taken

    def test_credits_are_read(self) -> None:
        assert read(v2.available_credits(), {"ok": True, "data": {"total_credits": "120"}}) == 120
        assert read(v2.available_credits(), {"ok": True}) is None

    def test_upload_has_an_id_and_an_address_that_no_repr_shows(self) -> None:
        body = {"ok": True, "file": {"id": "f1"}, "upload_url": "https://x.example.com/?Signature=secret"}

        assert read(v2.create_upload("a.csv"), body) == ("f1", body["upload_url"])
