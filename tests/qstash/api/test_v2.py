"""QStash API v2, messages: what is sent, what may be repeated, and every form of an answer and an error."""

from __future__ import annotations

import json
from typing import Any

import pytest

from remote_tasks_provider.core.errors import (
    ApiError,
    AuthenticationError,
    ConnectionConfigError,
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
)
from remote_tasks_provider.core.http.connection import ConnectionConfig, ConnectionFields
from remote_tasks_provider.core.http.operation import Idempotency, Operation, Page, Response
from remote_tasks_provider.core.http.response import read_response
from remote_tasks_provider.qstash.api import v2
from remote_tasks_provider.qstash.api.filters import (
    LOG_FILTERS,
    narrowing,
)
from remote_tasks_provider.qstash.api.options import PublishOptions
from remote_tasks_provider.qstash.api.v2_models import PublishedMessage
from remote_tasks_provider.qstash.service import QSTASH, QStashExtras
from tests.core.connections import Over
from tests.core.raw_server import RawServer, answer

URL = "https://example.com/hook"
TOKEN = "token-1234567890"
EVERY = LOG_FILTERS


def order(destination: str = URL, body: Any = None, **options: Any) -> Any:
    return PublishOptions(destination, body, **({"plan": "free"} | options))


def config(**fields: Any) -> ConnectionConfig:
    return QSTASH.config(ConnectionFields(**({"conn_id": "my_conn", "password": TOKEN} | fields)))


def read(operation: Operation[Any], body: Any, status: int = 200, **headers: str) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_response(operation, Response(status, headers, raw), config(), QSTASH.explain)


class TestConnection:
    @pytest.mark.parametrize(
        ("fields", "url"),
        [
            ({}, "https://qstash.upstash.io"),
            ({"extra": {"region": "eu"}}, "https://qstash.upstash.io"),
            ({"extra": {"region": "us"}}, "https://qstash-us-east-1.upstash.io"),
            ({"extra": {"region": ""}}, "https://qstash.upstash.io"),
            ({"host": "qstash-us-east-1.upstash.io"}, "https://qstash-us-east-1.upstash.io"),
            ({"host": "https://qstash.upstash.io/"}, "https://qstash.upstash.io"),
        ],
    )
    def test_region_is_chosen_by_word_or_host(self, fields: dict[str, Any], url: str) -> None:
        assert config(**fields).base_url == url

    @pytest.mark.parametrize(
        "pasted",
        [TOKEN, f" {TOKEN}\n", f'"{TOKEN}"', f"'{TOKEN}'", f"Bearer {TOKEN}", f'"bearer {TOKEN}"'],
    )
    def test_pasted_token_is_cleaned(self, pasted: str) -> None:
        assert config(password=pasted).auth == ("Authorization", f"Bearer {TOKEN}")

    @pytest.mark.parametrize("tail", ["/v2/publish", "/v2/publish/", "/v2", f"/v2/publish/{URL}"])
    def test_pasted_path_is_refused_with_the_fix(self, tail: str) -> None:
        with pytest.raises(ConnectionConfigError, match="leave out the API's version and path"):
            config(host=f"https://qstash.upstash.io{tail}")

    @pytest.mark.parametrize(
        ("extra", "why"),
        [
            ({"region": "mars"}, r"extra\['region'\].*'eu' or 'us'"),
            ({"plan": "gold"}, r"extra\['plan'\].*'free', 'payg' or 'fixed'"),
            ({"regoin": "us"}, "'regoin' is not known; the names are .*region, plan"),
        ],
    )
    def test_unknown_extra_is_refused(self, extra: dict[str, str], why: str) -> None:
        with pytest.raises(ConnectionConfigError, match=why):
            config(extra=extra)


class TestPublish:
    def test_destination_stands_in_the_path_unchanged(self) -> None:
        assert v2.publish(order()).request.path == f"/v2/publish/{URL}"
        assert v2.publish(order("group")).request.path == "/v2/publish/group"
        assert v2.publish(order(queue="q.1")).request.path == f"/v2/enqueue/q.1/{URL}"

    @pytest.mark.parametrize("library", ["requests", "httpx"])
    @pytest.mark.parametrize(
        "url",
        [
            "https://example.com",
            "https://example.com/a//b/?c=d&e=%2F%20&f=a+b",
            "https://example.com/ü'(x)[1]?q=~a,b;c|d",
            "http://127.0.0.1:8080/x",
            "https://example.com/100%",
        ],
    )
    def test_destination_is_sent_unchanged_by_either_transport(self, library: Any, url: str) -> None:
        made = order(url)
        with RawServer(answer(200, b'{"messageId": "m"}')) as server:
            Over(library).operation(v2.publish(made), config(host=server.url))

        line = server.requests[0].split(b"\r\n")[0].decode()
        assert line == f"POST /v2/publish/{made.target} HTTP/1.1"

    def test_publish_without_a_deduplication_id_is_not_repeated(self) -> None:
        assert v2.publish(order()).idempotency is Idempotency.NOT_IDEMPOTENT
        assert v2.publish(order(deduplication_id="a")).idempotency is Idempotency.KEYED
        assert v2.publish(order(content_based_deduplication=True)).idempotency is Idempotency.KEYED

    @pytest.mark.parametrize("status", [200, 201, 202])
    def test_answer_about_one_message_is_read(self, status: int) -> None:
        found = read(v2.publish(order()), {"messageId": "m", "deduplicated": True}, status)

        assert found == [PublishedMessage("m", deduplicated=True)]

    @pytest.mark.parametrize("as_object", [True, False])
    def test_answer_about_a_group_is_read(self, as_object: bool) -> None:
        listed = [{"messageId": "a", "url": "https://a"}, {"messageId": "b", "url": "https://b", "more": 1}]
        found = read(v2.publish(order("group")), {"messages": listed} if as_object else listed)

        assert [(one.message_id, one.url) for one in found] == [("a", "https://a"), ("b", "https://b")]

    def test_refused_message_of_a_group_hides_no_accepted_one(self) -> None:
        found = read(
            v2.publish(order("group")), [{"messageId": "a", "url": "u"}, {"error": "no", "url": "v"}]
        )

        assert [(one.message_id, one.error) for one in found] == [("a", None), ("", "no")]

    @pytest.mark.parametrize(
        "body",
        [
            {},
            [],
            {"messages": []},
            {"messageId": ""},
            {"messageId": None},
            {"error": "no"},
            [{"error": "no", "url": "u"}, {"error": "no", "url": "v"}],
            {"scheduleId": "s"},
            "OK",
            b"OK",
            None,
        ],
        ids=str,
    )
    def test_answer_without_a_message_is_refused(self, body: Any) -> None:
        with pytest.raises(InvalidResponseError, match="POST /v2/publish: expected a published message"):
            read(v2.publish(order()), body)


class TestBatch:
    def test_elements_equal_single_publishes(self) -> None:
        orders = [
            order(body={"a": 1}, delay=5, headers={"X": "1"}),
            order("group", "text", queue="q"),
            order(),
        ]

        assert json.loads(v2.publish_batch(orders).request.content or b"") == [
            {
                "destination": URL,
                "headers": {
                    "Content-Type": "application/json",
                    "Upstash-Forward-X": "1",
                    "Upstash-Method": "POST",
                    "Upstash-Delay": "5s",
                },
                "body": '{"a":1}',
            },
            {
                "destination": "group",
                "queue": "q",
                "headers": {"Content-Type": "text/plain; charset=utf-8", "Upstash-Method": "POST"},
                "body": "text",
            },
            {"destination": URL, "headers": {"Upstash-Method": "POST"}},
        ]

    def test_binary_body_is_refused_with_the_fix(self) -> None:
        with pytest.raises(ValueError, match="publish this body by itself"):
            v2.publish_batch([order(body=b"\xff")])
        assert v2.publish_batch([order(body=b"text")])

    def test_element_without_a_deduplication_id_makes_the_batch_not_idempotent(self) -> None:
        keyed = order(deduplication_id="a")

        assert v2.publish_batch([keyed, keyed]).idempotency is Idempotency.KEYED
        assert v2.publish_batch([keyed, order()]).idempotency is Idempotency.NOT_IDEMPOTENT

    def test_refused_element_hides_no_other(self) -> None:
        found = read(
            v2.publish_batch([order()] * 4),
            [
                {"messageId": "a"},
                {"error": "invalid destination url"},
                [{"messageId": "b", "url": "https://b"}, {"error": "no", "url": "https://c"}],
                {"messages": [{"messageId": "d", "url": "https://d", "deduplicated": True}]},
            ],
        )

        assert [[(one.message_id, one.error) for one in each] for each in found] == [
            [("a", None)],
            [("", "invalid destination url")],
            [("b", None), ("", "no")],
            [("d", None)],
        ]

    @pytest.mark.parametrize("body", [{}, {"messageId": "a"}, [], [{"messageId": "a"}] * 2, "OK"])
    def test_answer_of_another_shape_is_refused(self, body: Any) -> None:
        with pytest.raises(InvalidResponseError, match="POST /v2/batch"):
            read(v2.publish_batch([order()]), body)

    @pytest.mark.parametrize(
        "odd", [{}, None, 5, "OK", {"messageId": ""}, [{"messageId": "b"}, {}], {"messages": [None]}], ids=str
    )
    def test_unreadable_element_hides_no_other(self, odd: Any) -> None:
        first, second, third = read(
            v2.publish_batch([order()] * 3), [{"messageId": "a"}, odd, {"messageId": "c"}]
        )

        assert [one.message_id for one in (*first, *third)] == ["a", "c"]
        assert [one.message_id for one in second] == [""]
        assert "cannot be read" in (second[0].error or "")


class TestLogs:
    def test_entries_are_read_under_either_name(self) -> None:
        for name in ("events", "logs"):
            page = read(v2.list_logs(()), {name: [{"messageId": "m", "state": "ACTIVE"}]})
            assert [entry.status for entry in page.items] == ["ACTIVE"]

    def test_name_with_entries_counts(self) -> None:
        found = read(v2.list_logs(()), {"events": None, "logs": [{"messageId": "m"}]})

        assert len(found.items) == 1

    @pytest.mark.parametrize(
        "body", [{}, {"cursor": "x"}, [], {"events": None, "logs": None}, {"events": {}}]
    )
    def test_answer_without_entries_is_refused(self, body: Any) -> None:
        with pytest.raises(InvalidResponseError, match="GET /v2/logs"):
            read(v2.list_logs(()), body)

    @pytest.mark.parametrize("make", [v2.list_logs, v2.list_dlq_messages])
    @pytest.mark.parametrize("end", [{}, {"cursor": None}, {"cursor": ""}, {"cursor": 0}, {"cursor": "0"}])
    def test_last_page_is_recognised_in_every_spelling(self, make: Any, end: dict[str, Any]) -> None:
        page: Page[Any] = read(make(()), {"events": [], "messages": [], **end})

        assert (page.cursor, page.next) == (None, None)

    @pytest.mark.parametrize("make", [v2.list_logs, v2.list_dlq_messages])
    @pytest.mark.parametrize(("cursor", "sent"), [("1-2", "1-2"), (17, "17"), ("9" * 40, "9" * 40)])
    def test_next_page_keeps_the_filters(self, make: Any, cursor: Any, sent: str) -> None:
        page = read(
            make((("a", "1"), ("a", "2")), page_size=7), {"events": [], "messages": [], "cursor": cursor}
        )

        assert page.next.request.query == (("a", "1"), ("a", "2"), ("count", "7"), ("cursor", sent))

    def test_probe_is_small_and_read_only(self) -> None:
        request = QSTASH.probe(QStashExtras()).request

        assert (request.method, request.query) == ("GET", (("count", "1"),))

    def test_answer_without_dlq_messages_is_refused(self) -> None:
        with pytest.raises(InvalidResponseError, match=r"GET /v2/dlq.*'messages' is missing"):
            read(v2.list_dlq_messages(()), {"events": []})


class TestBulk:
    @pytest.mark.parametrize("make", [v2.cancel_messages, narrowing])
    @pytest.mark.parametrize("filters", [(), (("count", "5"),), (("cursor", "x"),), (("messageIds", ""),)])
    def test_bulk_operation_without_a_filter_is_refused(self, make: Any, filters: Any) -> None:
        with pytest.raises(ValueError, match="no filter is given, which would mean everything"):
            make(filters)

    @pytest.mark.parametrize("make", [v2.cancel_message, v2.delete_dlq_message, v2.retry_dlq_message])
    @pytest.mark.parametrize("one", ["", None, ".."])
    def test_invalid_id_never_becomes_a_bulk_operation(self, make: Any, one: Any) -> None:
        with pytest.raises(ValueError, match=r"message_id|dlq_id"):
            make(one)

    @pytest.mark.parametrize(
        ("operation", "path"),
        [
            (v2.cancel_message("a/b?c"), "/v2/messages/a%2Fb%3Fc"),
            (v2.delete_dlq_message("1-0"), "/v2/dlq/1-0"),
            (v2.retry_dlq_message("1-0"), "/v2/dlq/retry/1-0"),
        ],
    )
    def test_id_reaches_no_other_endpoint(self, operation: Operation[Any], path: str) -> None:
        assert operation.request.path == path

    @pytest.mark.parametrize("body", [b"OK", b"", b'{"cancelled": 1}', b'"accepted"'])
    @pytest.mark.parametrize("operation", [v2.cancel_message("m"), v2.delete_dlq_message("d")])
    def test_acknowledgement_may_have_any_body(self, operation: Operation[Any], body: bytes) -> None:
        assert read(operation, body, 202) is None

    @pytest.mark.parametrize(("body", "count"), [({"cancelled": 10}, 10), ({"cancelled": "3"}, 3), ({}, 0)])
    def test_cancellation_is_counted(self, body: Any, count: int) -> None:
        assert read(v2.cancel_messages((("label", "a"),)), body) == count
        assert read(v2.cancel_by_ids(["a", "b"]), body) == (count or None)

    @pytest.mark.parametrize("make", [v2.cancel_by_ids, v2.delete_dlq_messages, v2.retry_dlq_messages])
    def test_empty_list_of_ids_is_never_sent(self, make: Any) -> None:
        with pytest.raises(ValueError, match="_ids is empty"):
            make([])

    @pytest.mark.parametrize(
        ("make", "method"), [(v2.delete_dlq_messages, "DELETE"), (v2.retry_dlq_messages, "POST")]
    )
    def test_dlq_messages_are_named_by_their_ids(self, make: Any, method: str) -> None:
        request = make(["1-0", "2-0"]).request

        assert (request.method, request.query) == (method, (("dlqIds", "1-0"), ("dlqIds", "2-0")))

    @pytest.mark.parametrize(("body", "count"), [({"deleted": 10}, 10), ({"deleted": "3"}, 3), ({}, 0)])
    def test_deletion_is_counted(self, body: Any, count: int) -> None:
        assert read(v2.delete_dlq_messages(["1-0"]), body) == count

    def test_retry_answers_with_new_messages_and_refusals(self) -> None:
        operation = v2.retry_dlq_messages(["1-0", "2-0"])
        good, bad, odd = read(
            operation, {"cursor": "", "responses": [{"messageId": "m"}, {"error": "no"}, 5]}, 201
        )

        assert good == PublishedMessage("m")
        assert (bad.message_id, bad.error) == ("", "no")
        assert "cannot be read" in odd.error
        assert read(operation, {"cursor": ""}, 201) == []

    def test_bulk_retry_is_keyed_by_its_ids(self) -> None:
        assert v2.retry_dlq_messages(["1-0"]).idempotency is Idempotency.KEYED

    def test_retried_dlq_message_is_a_new_message(self) -> None:
        operation = v2.retry_dlq_message("1-0")

        assert read(operation, {"messageId": "new"}, 201) == PublishedMessage("new")


class TestErrors:
    def _error(
        self, status: int, text: str, operation: Operation[Any] | None = None, **headers: str
    ) -> ApiError:
        with pytest.raises(ApiError) as caught:
            read(operation or v2.list_logs(()), {"error": text}, status, **headers)
        assert TOKEN not in str(caught.value)
        return caught.value

    @pytest.mark.parametrize("operation", [v2.list_logs(()), v2.cancel_message("m")])
    def test_token_of_another_region_is_named(self, operation: Operation[Any]) -> None:
        error = self._error(404, "user not found in this region (eu-central-1)", operation)

        assert isinstance(error, AuthenticationError)
        assert "eu-central-1" in str(error)
        assert "'my_conn'" in str(error)
        assert "https://qstash.upstash.io" in str(error)
        assert "https://qstash-us-east-1.upstash.io" in str(error)

    def test_status_404_is_otherwise_about_the_id(self) -> None:
        error = self._error(404, "message m not found", v2.cancel_message("m"))

        assert isinstance(error, NotFoundError)
        assert "Is the id right?" in str(error)

    def test_status_404_without_an_id_is_about_the_host(self) -> None:
        assert "Check the host" in str(self._error(404, "not found"))

    def test_refused_token_names_field_and_regions(self) -> None:
        error = self._error(401, "unable to authenticate: invalid token")

        assert isinstance(error, AuthenticationError)
        assert "password (token) of connection 'my_conn'" in str(error)
        assert "regions are separate" in str(error)

    def test_read_only_token_may_not_write(self) -> None:
        error = self._error(403, "forbidden: readonly token", v2.publish(order()))

        assert isinstance(error, PermissionDeniedError)
        assert "not allowed to do this" in str(error)

    def test_plain_text_is_read_too(self) -> None:
        with pytest.raises(ApiError, match="Method Not Allowed"):
            read(v2.list_logs(()), b"Method Not Allowed", 405)

    def test_status_429_has_a_retry_after(self) -> None:
        error = self._error(429, "slow down", **{"burst-ratelimit-reset": "9" * 11})

        assert isinstance(error, RateLimitedError)
        assert error.retry_after == 3600
