"""The outcome of a message, from its log entries and its DLQ message; and what of them is never shown."""

from __future__ import annotations

import base64
import itertools
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.qstash.api.v2_models import (
    CreatedMessage,
    DlqMessage,
    LogEntry,
    MessageOutcome,
    PublishedMessage,
    outcome_of,
    redacted,
    snapshot_of,
)

AT = 1_686_652_644_442


def entry(state: str, at: Any = AT, **facts: Any) -> LogEntry:
    return LogEntry.model_validate_json(json.dumps({"messageId": "m", "state": state, "time": at} | facts))


def dlq_message(**facts: Any) -> DlqMessage:
    return DlqMessage.model_validate_json(json.dumps({"messageId": "m", "dlqId": "d-0"} | facts))


def state_of(*entries: LogEntry) -> TaskState:
    return outcome_of("m", entries).state


class TestEntry:
    @pytest.mark.parametrize("at", [AT, str(AT)])
    def test_time_is_a_number_or_a_text(self, at: Any) -> None:
        assert entry("CREATED", at).time == datetime(2023, 6, 13, 10, 37, 24, 442000, tzinfo=UTC)

    @pytest.mark.parametrize("at", ["soon", None, 10**18, "", {}])
    def test_entry_without_a_time_is_read(self, at: Any) -> None:
        assert entry("DELIVERED", at).time is None
        assert state_of(entry("DELIVERED", at), entry("ACTIVE", at)) == "completed"

    @pytest.mark.parametrize(
        ("words", "state"),
        [
            (("CREATED", "created", "Created"), "pending"),
            (("ACTIVE", "RETRY", "ERROR", "error", "CANCEL_REQUESTED"), "running"),
            (("DELIVERED", "delivered"), "completed"),
            (("FAILED", "failed"), "failed"),
            (("CANCELLED", "CANCELED", "cancelled", "canceled"), "cancelled"),
            (("IN_LIMBO", "", None, 5), "unknown"),
        ],
    )
    def test_states_are_read_in_both_spellings_and_any_case(self, words: tuple[Any, ...], state: str) -> None:
        assert {entry(word).state.value for word in words} == {state}

    def test_entry_without_an_id_is_refused(self) -> None:
        with pytest.raises(ValueError, match="messageId"):
            LogEntry.model_validate_json('{"state": "CREATED"}')

    def test_carried_content_is_skipped(self) -> None:
        carried = {
            "header": {"Authorization": ["hush"]},
            "body": base64.b64encode(b"hush").decode(),
            "responseBody": base64.b64encode(b"hush").decode(),
            "responseHeaders": {"X": ["hush"]},
            "responseHeader": {"X": ["hush"]},
            "callbackHeaders": {"X": ["hush"]},
            "failureCallbackHeaders": {"X": ["hush"]},
            "url": "https://user:hush@example.com/x?key=hush#hush",
            "error": "answered: token=hush",
        }
        one = entry("ERROR", **carried)

        assert one.url is not None
        for shown in (repr(one), str(one), f"{[one]}", json.dumps(one.to_json())):
            assert "hush" not in shown
            assert base64.b64encode(b"hush").decode() not in shown
        assert one.to_json()["url"] == "https://example.com/x"
        assert one.to_json()["error"] == "answered: token=***"
        left = one.model_dump(mode="json", exclude={"url", "error"})
        assert "hush" not in json.dumps(left)

    def test_facts_are_read(self) -> None:
        one = entry(
            "RETRY",
            nextDeliveryTime=AT + 12_000,
            topicName="g",
            endpointName="e",
            scheduleId="s",
            queueName="q",
            responseStatus="500",
            maxRetries=3,
            labels=["a"],
        )
        data = one.to_json()

        assert data["next_delivery_at"] == "2023-06-13T10:37:36.442000Z"
        named = ("url_group", "endpoint_name", "schedule_id", "queue")
        assert [data[name] for name in named] == ["g", "e", "s", "q"]
        assert (data["response_status"], data["max_retries"], data["labels"]) == (500, 3, ["a"])
        assert entry("RETRY", labels=None).labels == []


class TestOutcome:
    def test_outcome_without_entries_is_unknown(self) -> None:
        assert outcome_of("m", []) == MessageOutcome("m", TaskState.UNKNOWN)
        assert outcome_of("other", [entry("DELIVERED")]).state is TaskState.UNKNOWN

    @pytest.mark.parametrize("end", ["DELIVERED", "FAILED", "CANCELLED", "CANCELED"])
    def test_terminal_state_counts_at_any_place(self, end: str) -> None:
        steps = [entry("CREATED"), entry("ERROR"), entry(end), entry("ACTIVE")]
        for order in itertools.permutations(steps):
            assert state_of(*order).is_terminal

    def test_terminal_state_outweighs_newer_entries(self) -> None:
        assert state_of(entry("DELIVERED", AT), entry("ACTIVE", AT + 5000)) == "completed"

    def test_error_is_not_terminal(self) -> None:
        assert state_of(entry("CREATED"), entry("ACTIVE", AT + 1), entry("ERROR", AT + 2)) == "running"

    def test_newest_entry_counts_without_a_terminal_state(self) -> None:
        found = outcome_of("m", [entry("RETRY", AT + 9, nextDeliveryTime=AT + 99), entry("CREATED", AT)])

        assert (found.state, found.status) == ("running", "RETRY")
        assert found.next_delivery_at is not None

    def test_finished_message_has_no_next_attempt(self) -> None:
        assert outcome_of("m", [entry("FAILED", nextDeliveryTime=AT)]).next_delivery_at is None

    def test_failure_has_the_last_error_and_status(self) -> None:
        found = outcome_of(
            "m",
            [
                entry("FAILED", AT + 9),
                entry("ERROR", AT + 8, error="HTTP status 502", responseStatus=502),
                entry("ERROR", AT + 1, error="HTTP status 500", responseStatus=500),
            ],
        )

        assert (found.error, found.response_status) == ("HTTP status 502", 502)

    def test_delivery_drops_earlier_errors(self) -> None:
        found = outcome_of("m", [entry("ERROR", error="HTTP status 500"), entry("DELIVERED", AT + 1)])

        assert found.error is None

    def test_url_and_error_hold_no_secret(self) -> None:
        found = outcome_of("m", [entry("ERROR", url="https://h/x?k=hush", error="password: hush")])

        assert (found.url, found.error) == ("https://h/x", "password: ***")


class TestSnapshot:
    def test_failure_has_dlq_id_status_and_answer(self) -> None:
        outcome = outcome_of("m", [entry("FAILED"), entry("ERROR", error="HTTP status 500")])
        record = snapshot_of(
            outcome.with_dlq_message(dlq_message(responseStatus=500, responseBody='{"error":"no\nroom"}'))
        ).to_record()

        assert (record["dlq_id"], record["response_status"]) == ("d-0", 500)
        assert record["error"] == 'HTTP status 500: {"error":"no room"}'
        assert json.dumps(record)

    @pytest.mark.parametrize(
        ("facts", "error"),
        [
            ({}, None),
            ({"responseStatus": 500}, "HTTP 500"),
            ({"responseStatus": 500, "responseBody": ""}, "HTTP 500"),
            ({"responseBody": "no"}, "no"),
        ],
    )
    def test_snapshot_has_the_known_facts(self, facts: dict[str, Any], error: str | None) -> None:
        outcome = outcome_of("m", [entry("FAILED")]).with_dlq_message(dlq_message(**facts))

        assert snapshot_of(outcome).error == error

    def test_failure_without_a_dlq_message_is_a_failure(self) -> None:
        outcome = outcome_of("m", [entry("FAILED", error="gone")])

        assert snapshot_of(outcome).to_record()["dlq_id"] is None

    def test_snapshot_keeps_the_given_id(self) -> None:
        record = snapshot_of(outcome_of("m", [entry("ACTIVE", url="https://h/x?k=hush")])).to_record()

        assert (record["id"], record["message_id"], record["url"]) == ("m", "m", "https://h/x")


class TestDlqMessage:
    def test_response_may_be_in_base64(self) -> None:
        packed = base64.b64encode(b"\xffno").decode()

        assert dlq_message(responseBodyBase64=packed).response == "\ufffdno"
        assert dlq_message(responseBodyBase64="%%%").response is None
        assert dlq_message().response is None

    def test_carried_content_is_never_shown(self) -> None:
        one = dlq_message(
            header={"Authorization": ["hush"]},
            body="hush",
            bodyBase64="hush",
            responseHeader={"X": ["hush"]},
            responseBody='{"password": "hush"}',
            url="https://example.com/x?key=hush",
        )

        for shown in (repr(one), str(one), json.dumps(one.to_json())):
            assert "hush" not in shown
        assert "hush" not in json.dumps(one.model_dump(mode="json", exclude={"url"}))
        assert one.to_json()["response"] == '{"password": ***}'

    def test_dlq_message_without_its_own_id_is_read(self) -> None:
        assert DlqMessage.model_validate_json('{"messageId": "m", "state": "failed"}').dlq_id is None


class TestPublished:
    def test_query_of_the_destination_is_not_shown(self) -> None:
        one = PublishedMessage("m", url="https://h/x?k=hush")

        assert "hush" not in repr(one)
        assert one.to_json()["url"] == "https://h/x"


class TestRedacted:
    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("all\n  is\twell", "all is well"),
            ("x" * 19, "x" * 19),
            ("id eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx.abcdefgh ok", "id *** ok"),
            ("sk-0123456789abcdefghij", "***"),
            ('{"error":"bad","token":"hu\\"sh"}', '{"error":"bad","token":***}'),
            ('{"inner":"{\\"api_key\\":\\"hush\\"}"}', '{"inner":"{\\"api_key\\":***}"}'),
            ("password=hush&x=1", "password=***&x=1"),
            ("api-key = 'hush hush' rest", "api-key = *** rest"),
            ("Authorization: Bearer hush", "Authorization: ***"),
            ("sent Bearer hush there", "sent Bearer *** there"),
            ("Basic aHVzaA==", "Basic ***"),
            ("Set-Cookie: hush; Path=/", "Set-Cookie: ***; Path=/"),
            ('"password":"hush hush', '"password":***'),
            ("the key is wrong", "the key is wrong"),
        ],
    )
    def test_likely_secrets_are_removed(self, text: str, shown: str) -> None:
        assert redacted(text) == shown

    def test_long_text_is_cut(self) -> None:
        assert len(redacted("no room " * 1000)) == 300

    def test_cut_leaves_no_start_of_a_secret(self) -> None:
        long = "a" * 30 + " "
        text = long * 38 + "pad " * 4 + "HUSH567890123456789012345"
        assert len(text[:1200]) == 1200
        assert "HUSH" in text[:1200]

        assert "HUSH" not in redacted(text)

    def test_redaction_is_quick_for_any_text(self) -> None:
        for text in ("key" * 5000, '"' * 5000, "token:\\" * 2000, "a-" * 5000):
            redacted(text)


class TestContent:
    """What a message that replaces a DLQ message is recognised by."""

    @pytest.mark.parametrize(
        ("in_dlq", "in_log"),
        [
            ({"body": "text"}, {"body": "dGV4dA=="}),
            ({"bodyBase64": "/w=="}, {"body": "/w=="}),
            ({"body": "größer"}, {"body": "Z3LDtsOfZXI="}),
            ({}, {}),
            ({"body": ""}, {"body": ""}),
        ],
        ids=str,
    )
    def test_content_of_a_log_entry_is_that_of_the_dlq_message(self, in_dlq: Any, in_log: Any) -> None:
        facts = {"messageId": "m", "url": "https://example.com/hook?key=hush"}
        dlq_message = DlqMessage.model_validate(facts | in_dlq)
        entry = CreatedMessage.model_validate(facts | in_log)

        assert dlq_message.content == entry.content
        assert len(entry.content) == 16
        assert "content" not in str([dlq_message.to_json(), dlq_message, entry.to_json(), entry])

    @pytest.mark.parametrize(
        "other",
        [{"body": "dGV4dB=="}, {"body": 5}, {"body": "?"}, {"url": "https://example.com/other"}],
        ids=str,
    )
    def test_content_depends_on_destination_and_body(self, other: Any) -> None:
        facts = {"messageId": "m", "url": "https://example.com/hook", "body": "bGFuZ2Vy"}
        entries = [CreatedMessage.model_validate(one) for one in (facts, facts | other)]

        assert entries[0].content != entries[1].content
