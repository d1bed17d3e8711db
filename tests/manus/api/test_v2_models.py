"""What API v2 tells of a task: its words, what its events add to them, and the same names as with v1."""

from __future__ import annotations

import json
from typing import Any

import pytest

from remote_tasks_provider.core.http.operation import Response
from remote_tasks_provider.core.http.parsing import Reader
from remote_tasks_provider.manus.api.v2_models import (
    ManusEvent,
    ManusTaskV2,
    as_message,
    how_it_finished,
    latest_turn,
)
from remote_tasks_provider.manus.models import snapshot
from tests.manus.events import asked, event, failed, file, said, stopped, told

# Composed from https://open.manus.ai/docs/v2/task.detail.
TASK = {
    "id": "TeBim6FDQf9peS52xHtAyh",
    "status": "running",
    "created_at": 1764187286,
    "updated_at": 1764187298,
    "task_type": "standard",
    "share_visibility": "private",
    "title": "Sums",
    "credit_usage": 22,
    "task_url": "https://manus.im/app/TeBim6FDQf9peS52xHtAyh",
    "created_by_api_key": {"id": "key_1", "name": "airflow-prod"},
    "agent_profile": "manus-1.6",
    "has_running_background_jobs": False,
}


def task(**changes: Any) -> ManusTaskV2:
    body = json.dumps(TASK | changes).encode()
    found: ManusTaskV2 = Reader(ManusTaskV2)(Response(200, {}, body))
    return found


class TestTask:
    def test_task_has_the_names_of_a_v1_task(self) -> None:
        found = snapshot(task())

        assert found.to_record() == {
            "id": "TeBim6FDQf9peS52xHtAyh",
            "state": "running",
            "status": "running",
            "url": "https://manus.im/app/TeBim6FDQf9peS52xHtAyh",
            "title": "Sums",
            "error": None,
            "created_at": "2025-11-26T20:01:26Z",
            "updated_at": "2025-11-26T20:01:38Z",
            "credit_usage": 22,
            "model": "manus-1.6",
        }

    @pytest.mark.parametrize(
        ("status", "state"),
        [
            ("running", "running"),
            ("waiting", "waiting"),
            ("stopped", "completed"),
            ("STOPPED ", "completed"),
            ("error", "failed"),
            ("pending", "unknown"),
            ("completed", "unknown"),
            ("dreaming", "unknown"),
            ("", "unknown"),
            (None, "unknown"),
            (5, "unknown"),
        ],
    )
    def test_words_map_to_states(self, status: Any, state: str) -> None:
        assert task(status=status).state == state

    @pytest.mark.parametrize(
        ("jobs", "state"),
        [
            (True, "running"),
            ("true", "running"),
            (False, "completed"),
            (None, "completed"),
            ({}, "completed"),
        ],
    )
    def test_background_jobs_keep_a_stopped_task_running(self, jobs: Any, state: str) -> None:
        assert task(status="stopped", has_running_background_jobs=jobs).state == state

    def test_missing_background_jobs_are_none(self) -> None:
        without = {name: value for name, value in TASK.items() if name != "has_running_background_jobs"}

        assert ManusTaskV2.model_validate(without | {"status": "stopped"}).state == "completed"

    @pytest.mark.parametrize("status", ["running", "waiting", "error"])
    def test_background_jobs_change_no_other_state(self, status: str) -> None:
        with_jobs = task(status=status, has_running_background_jobs=True)

        assert with_jobs.state == task(status=status).state != "completed"

    @pytest.mark.parametrize(
        ("field", "sent", "name", "read"),
        [
            ("credit_usage", "22", "credit_usage", 22),
            ("credit_usage", None, "credit_usage", None),
            ("created_at", "1764187286", "created_at", task().created_at),
            ("created_at", 10**30, "created_at", None),
            ("title", "", "title", None),
            ("title", {"text": "x"}, "title", None),
            ("task_url", None, "url", None),
            ("agent_profile", 16, "model", None),
        ],
    )
    def test_odd_field_costs_only_itself(self, field: str, sent: Any, name: str, read: Any) -> None:
        assert getattr(task(**{field: sent}), name) == read

    def test_unknown_fields_are_kept(self) -> None:
        assert task(new={"a": 1}).to_json()["new"] == {"a": 1}


class TestTurns:
    def test_turn_begins_with_a_message_to_the_agent(self) -> None:
        old, new = said("old"), said("new")

        assert latest_turn([asked(), old, told("stopped"), asked("more"), new]) == [new]
        assert latest_turn([asked(), old]) == [old]
        assert latest_turn([old]) == [old]
        assert latest_turn([asked()]) == []
        assert latest_turn([]) == []

    def test_earlier_turn_does_not_decide(self) -> None:
        assert how_it_finished([asked(), stopped(), failed("no"), asked(), said("done")]) == (None, False)

    def test_last_error_counts(self) -> None:
        assert how_it_finished([asked(), failed("first"), failed("last")]) == ("last", False)
        assert how_it_finished([asked(), failed(None)]) == (None, False)

    def test_stop_by_a_user_is_reported(self) -> None:
        assert how_it_finished(iter([asked(), stopped(), told("stopped")])) == (None, True)


class TestFromEvents:
    def test_failed_task_gets_the_text_of_its_error(self) -> None:
        assert task(status="error").with_events([asked(), failed("no credits")]).error == "no credits"

    def test_recovered_error_is_ignored(self) -> None:
        assert task(status="stopped").with_events([asked(), failed("again"), said("done")]).error is None

    def test_task_stopped_by_a_user_is_cancelled(self) -> None:
        found = task(status="stopped").with_events([asked(), stopped(), told("stopped")])

        assert found.state == "cancelled"
        assert task(status="running").with_events([asked(), stopped()]).state == "running"

    def test_conversation_is_that_of_a_v1_task(self) -> None:
        found = task(status="stopped").with_events([asked("2+2?"), told("running"), said("4", file("a.txt"))])

        assert [(one.role, [part.text for part in one.content]) for one in found.output] == [
            ("user", ["2+2?"]),
            ("assistant", ["4", None]),
        ]
        assert found.output[1].content[1].file_name == "a.txt"

    def test_events_replace_an_earlier_conversation(self) -> None:
        before = task(status="stopped")
        assert before.output == []

        assert len(before.with_events([asked("2+2?")]).output) == 1

    def test_links_are_in_no_json_and_no_repr(self) -> None:
        events = [asked(), said("4", file("a.txt", "https://x.example.com/a?Signature=secret"))]
        found = task(status="stopped").with_events(events)

        assert "secret" not in json.dumps(found.to_json(include_output=True))
        assert "secret" not in repr(found) + repr(events)


class TestEvents:
    @pytest.mark.parametrize(
        "odd",
        [
            {},
            {"type": None, "timestamp": "soon"},
            {"type": "assistant_message"},
            {"type": "assistant_message", "assistant_message": "hello"},
            {"type": "assistant_message", "assistant_message": {"content": ["a"], "attachments": "none"}},
            {"type": "status_update", "status_update": {"status_detail": []}},
            {"type": "status_update", "status_update": {"status_detail": {"confirm_input_schema": None}}},
            {"type": "structured_output_result", "structured_output_result": {"success": "maybe"}},
            {"type": "from_the_future", "from_the_future": {"x": 1}},
        ],
        ids=str,
    )
    def test_odd_event_is_read_as_far_as_possible(self, odd: dict[str, Any]) -> None:
        found = ManusEvent.model_validate(odd)

        assert found.type == odd.get("type")
        json.dumps(as_message(found))

    def test_milliseconds_are_read(self) -> None:
        found = ManusEvent.model_validate({"timestamp": 1764187286000}).timestamp

        assert found is not None
        assert found.timestamp() == 1764187286

    def test_messages_alone_count_as_messages(self) -> None:
        assert as_message(told("running")) is None
        assert as_message(event("explanation", content="because")) is None
        greeting = asked("hi")
        assert as_message(greeting) == {
            "id": greeting.id,
            "role": "user",
            "type": "message",
            "content": [{"type": "output_text", "text": "hi"}],
        }
