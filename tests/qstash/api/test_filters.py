"""Filters narrow something down, in QStash's own words, or nothing is sent."""

from __future__ import annotations

from typing import Any

import pytest

from remote_tasks_provider.core.errors import InvalidArgumentError
from remote_tasks_provider.qstash.api.filters import (
    DLQ_FILTERS,
    LOG_FILTERS,
    MESSAGE_FILTERS,
    dlq_queries,
    filters_of,
)


class TestFilters:
    def test_filters_are_named_and_repeated_as_qstash_expects(self) -> None:
        since = 1_780_000_000
        given = {
            **{"message_ids": ["a", "b"], "state": "failed", "labels": "x", "queue": None},
            **{"host": "h", "path": "/p", "caller_ip": "10.0.0.1", "flow_control_key": "user:1"},
            "from_date": since,
        }

        assert filters_of(given, LOG_FILTERS) == (
            ("messageIds", "a"),
            ("messageIds", "b"),
            ("state", "FAILED"),
            ("label", "x"),
            ("host", "h"),
            ("path", "/p"),
            ("callerIp", "10.0.0.1"),
            ("flowControlKey", "user:1"),
            ("fromDate", "1780000000000"),
        )

    @pytest.mark.parametrize("name", ["from_date", "to_date"])
    @pytest.mark.parametrize("known", [LOG_FILTERS, DLQ_FILTERS, MESSAGE_FILTERS])
    @pytest.mark.parametrize("moment", [0, 86400, -1, "86400", 1_780_000_000_000, float("inf")])
    def test_moment_that_cannot_be_meant_is_refused(self, name: str, known: Any, moment: Any) -> None:
        """Each would match everything, or nothing."""
        with pytest.raises(InvalidArgumentError, match=f"{name} is .* must be an aware datetime"):
            filters_of({name: moment}, known)

    def test_moment_in_milliseconds_is_named_as_such(self) -> None:
        with pytest.raises(
            InvalidArgumentError, match=r"a Unix time in seconds\. It looks like milliseconds"
        ):
            filters_of({"from_date": 1_780_000_000_000}, LOG_FILTERS)

    @pytest.mark.parametrize("name", ["host", "path"])
    def test_dlq_takes_no_filter_by_place(self, name: str) -> None:
        with pytest.raises(InvalidArgumentError, match=f"'{name}' is no filter here"):
            filters_of({name: "a"}, DLQ_FILTERS)

    @pytest.mark.parametrize("known", [LOG_FILTERS, DLQ_FILTERS, MESSAGE_FILTERS])
    def test_queue_is_taken_by_the_name_of_the_operators(self, known: Any) -> None:
        assert filters_of({"qstash_queue": "q"}, known) == filters_of({"queue": "q"}, known)

    def test_queue_under_both_names_is_refused(self) -> None:
        """Two values of one filter would match more than either."""
        with pytest.raises(InvalidArgumentError, match="qstash_queue and queue are the same"):
            filters_of({"queue": "a", "qstash_queue": "b"}, MESSAGE_FILTERS)

    def test_dlq_query_names_one_message(self) -> None:
        filters = filters_of({"message_ids": ["a", "b", "a"], "labels": "x"}, DLQ_FILTERS)

        assert dlq_queries(filters) == [
            (("messageId", "a"), ("label", "x")),
            (("messageId", "b"), ("label", "x")),
        ]

    @pytest.mark.parametrize("given", [{"message_ids": "a"}, {"labels": ["x", "y"]}, {}])
    def test_dlq_query_holds_several_values_of_other_filters(self, given: Any) -> None:
        filters = filters_of(given, DLQ_FILTERS)

        assert dlq_queries(filters) == [filters]

    def test_dlq_filters_have_their_own_names(self) -> None:
        given = {"message_ids": ["a", "b"], "dlq_ids": "d", "response_status": [500, "502"]}

        assert filters_of(given, DLQ_FILTERS) == (
            ("messageId", "a"),
            ("messageId", "b"),
            ("dlqIds", "d"),
            ("responseStatus", "500"),
            ("responseStatus", "502"),
        )

    @pytest.mark.parametrize(("word", "sent"), [("canceled", "CANCELLED"), ("Cancelled", "CANCELLED")])
    def test_states_are_accepted_in_both_spellings(self, word: str, sent: str) -> None:
        assert filters_of({"state": word}, LOG_FILTERS) == (("state", sent),)

    @pytest.mark.parametrize(
        ("known", "name"),
        [
            (MESSAGE_FILTERS, "state"),
            (MESSAGE_FILTERS, "dlq_ids"),
            (MESSAGE_FILTERS, "response_status"),
            (DLQ_FILTERS, "state"),
            (LOG_FILTERS, "dlq_ids"),
            (LOG_FILTERS, "urls"),
        ],
    )
    def test_filter_unknown_to_the_endpoint_is_refused(self, known: Any, name: str) -> None:
        with pytest.raises(ValueError, match=f"'{name}' is no filter here; the filters are message_ids|url"):
            filters_of({name: "500"}, known)

    @pytest.mark.parametrize("value", ["", [], (), set(), ["a", None]])
    @pytest.mark.parametrize("name", ["labels", "url", "queue", "message_ids"])
    def test_empty_filter_is_refused(self, name: str, value: Any) -> None:
        with pytest.raises(ValueError, match=f"{name} is"):
            filters_of({"url": "https://example.com", name: value}, LOG_FILTERS)

    @pytest.mark.parametrize(
        ("name", "value"),
        [("state", "DONE"), ("from_date", "yesterday"), ("response_status", 99), ("response_status", "x")],
    )
    def test_invalid_filter_is_refused(self, name: str, value: Any) -> None:
        with pytest.raises(ValueError, match=f"{name} is"):
            filters_of({name: value}, {**LOG_FILTERS, **DLQ_FILTERS})
