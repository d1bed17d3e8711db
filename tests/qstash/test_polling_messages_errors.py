"""Polls of messages where QStash refuses a request, or orders its entries in its own way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from remote_tasks_provider.core.errors import (
    InvalidRequestError,
    NotFoundError,
    RateLimitedError,
    RemoteTaskError,
)
from remote_tasks_provider.core.http.operation import Operation, Page
from remote_tasks_provider.core.polling.drivers import results_of
from remote_tasks_provider.core.polling.strategy import PollRequest
from remote_tasks_provider.qstash.api.v2_models import LogEntry
from remote_tasks_provider.qstash.polling import QStashMessagePollStrategy
from tests.core.build import an_api_error
from tests.poll_driver import word

REFUSED = an_api_error(InvalidRequestError, 400)
AT = 1_700_000_000_000

Answer = Callable[[Mapping[str, list[str]]], Any]


class Logs:
    """Logs whose answers a test makes up.

    :param refuses: whether a query, name to values, is answered with 400.
    :param states: message → its steps, oldest first.
    :param dlq: the answer about the DLQ.
    """

    def __init__(
        self,
        states: Mapping[str, list[str]],
        refuses: Answer = lambda query: False,
        dlq: Page[Any] | RemoteTaskError | None = None,
    ) -> None:
        self.dlq = dlq or Page([])
        self.strategy = QStashMessagePollStrategy()
        self.refuses = refuses
        self.states = dict(states)
        self.queries: list[dict[str, list[str]]] = []

    def plan(self, ids: list[str]) -> dict[str, str]:
        """Poll once; :attr:`queries` are the queries that took."""
        self.queries = []
        results = results_of(self.strategy.plan(PollRequest(ids)), self._answer)
        return {one: word(result) for one, result in results.items()}

    def _answer(self, operation: Operation[Any]) -> Page[Any] | RemoteTaskError:
        if operation.name.startswith("GET /v2/messages/"):
            return an_api_error(NotFoundError, 404)
        query: dict[str, list[str]] = {}
        for name, value in operation.request.query:
            query.setdefault(name, []).append(value)
        self.queries.append(query)
        if self.refuses(query):
            return REFUSED
        if operation.name == "GET /v2/dlq":
            return self.dlq
        return self._page(operation, query)

    def _page(self, operation: Operation[Any], query: Mapping[str, list[str]]) -> Page[LogEntry]:
        found = [
            LogEntry(message_id=one, status=state, time=AT)
            for one in query["messageIds"]
            for state in reversed(self.states.get(one, []))
            if state in query.get("state", [state])
        ]
        start, size = int(query.get("cursor", ["0"])[0]), int(query["count"][0])
        after = start + size
        if after >= len(found):
            return Page(found[start:])
        from remote_tasks_provider.qstash.api.v2 import list_logs

        filters = [pair for pair in operation.request.query if pair[0] not in ("count", "cursor")]
        return Page(found[start:after], str(after), list_logs(filters, cursor=str(after)))


def many(count: int, steps: list[str]) -> dict[str, list[str]]:
    return {f"m{number}": list(steps) for number in range(count)}


class TestRefusedStateFilter:
    def test_refused_state_filter_is_replaced_by_reading_all_entries(self) -> None:
        logs = Logs(
            many(100, ["CREATED", "ACTIVE"]) | {"m7": ["CREATED", "DELIVERED"]},
            lambda query: "state" in query,
        )
        ids = list(logs.states)

        expected = dict.fromkeys(ids, "running") | {"m7": "completed"}
        assert logs.plan(ids) == expected
        assert len(logs.queries) == 6
        assert logs.plan(ids) == expected
        assert len(logs.queries) == 5
        assert not any("state" in query for query in logs.queries)

    def test_refused_state_filter_is_logged_once(self, caplog: pytest.LogCaptureFixture) -> None:
        logs = Logs(many(100, ["CREATED"]), lambda query: "state" in query)
        with caplog.at_level("INFO"):
            for _ in range(3):
                logs.plan(list(logs.states))

        assert len([line for line in caplog.messages if "refuses to filter" in line]) == 1

    def test_refused_number_of_ids_is_reduced(self) -> None:
        logs = Logs(many(250, ["CREATED"]), lambda query: len(query["messageIds"]) > 50)
        ids = list(logs.states)

        assert logs.plan(ids) == dict.fromkeys(ids, "pending")
        assert logs.plan(ids) == dict.fromkeys(ids, "pending")

    def test_missing_message_is_not_found_without_a_state_filter(self) -> None:
        logs = Logs(many(40, ["CREATED"]), lambda query: "state" in query)
        ids = [*logs.states, "unseen"]

        assert logs.plan(ids)["unseen"] == "NotFoundError"


class TestRefusedId:
    def test_refused_id_affects_only_its_own_message(self) -> None:
        logs = Logs(many(100, ["CREATED", "DELIVERED"]), lambda query: "m13" in query.get("messageIds", []))
        ids = list(logs.states)

        assert logs.plan(ids) == dict.fromkeys(ids, "completed") | {"m13": "InvalidRequestError"}

    def test_messages_are_listed_together_again_after_a_refused_id(self) -> None:
        logs = Logs(many(100, ["CREATED"]), lambda query: "m13" in query.get("messageIds", []))
        ids = list(logs.states)
        logs.plan(ids)

        assert set(logs.plan([one for one in ids if one != "m13"]).values()) == {"pending"}
        assert len(logs.queries) == 1

    def test_refusal_of_all_requests_is_reported_to_all(self) -> None:
        logs = Logs(many(25, ["CREATED"]), lambda query: True)
        ids = list(logs.states)

        assert logs.plan(ids) == dict.fromkeys(ids, "InvalidRequestError")


class TestRefusedDlq:
    def test_failure_is_told_without_its_dlq_message_when_that_was_refused_twice(self) -> None:
        refused = an_api_error(RateLimitedError, 429, retry_after=3600)
        logs = Logs({"a": ["CREATED", "FAILED"], "b": ["CREATED"]}, dlq=refused)

        assert logs.plan(["a", "b"]) == {"b": "pending"}
        assert logs.plan(["a", "b"]) == {"a": "failed", "b": "pending"}


class TestPages:
    def test_refused_cursor_keeps_the_results_of_the_first_page(self) -> None:
        steps = ["CREATED", *["ACTIVE", "ERROR", "RETRY"] * 20]
        logs = Logs(many(3, steps), lambda query: "cursor" in query)

        assert logs.plan(["m0", "m1", "m2"]) == {"m0": "running", "m1": "running"}

    def test_terminal_entry_of_the_same_millisecond_on_the_next_page_is_found(self) -> None:
        logs = Logs({"m0": ["CREATED", *["ACTIVE"] * 97], "m1": ["FAILED", "ACTIVE", "ERROR"]})

        assert logs.plan(["m0", "m1"])["m1"] == "failed"

    def test_duplicate_entries_hide_no_message(self) -> None:
        logs = Logs(many(100, ["CREATED", "CREATED", "CREATED"]))
        ids = list(logs.states)

        assert logs.plan(ids) == dict.fromkeys(ids, "pending")

    def test_cancelled_is_asked_for_in_both_spellings(self) -> None:
        for spelled in ("CANCELED", "CANCELLED"):
            logs = Logs(many(30, ["CREATED", spelled]))
            assert set(logs.plan(list(logs.states)).values()) == {"cancelled"}


class TestMemory:
    def test_finished_wait_is_forgotten(self) -> None:
        logs = Logs({"m0": ["DELIVERED"]})
        logs.plan(["m0"])
        assert logs.strategy.outcome("m0").state == "completed"
        logs.plan(["m1"])

        assert logs.strategy.outcome("m0").state == "unknown"

    def test_finished_message_is_not_fetched_again(self) -> None:
        logs = Logs({"m0": ["DELIVERED"], "m1": ["CREATED"]})
        logs.plan(["m0", "m1"])

        assert logs.plan(["m0", "m1"]) == {"m0": "completed", "m1": "pending"}
        assert [query["messageIds"] for query in logs.queries] == [["m1"]]
