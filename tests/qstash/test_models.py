"""What QStash answers, read; and what of it a wait may keep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from remote_tasks_provider.core.http.operation import Response
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.qstash.api.v1 import get_task, list_message_tasks
from remote_tasks_provider.qstash.models import QSTASH_STATES, QStashTask, public_url, snapshot

SAMPLES = Path(__file__).resolve().parents[1] / "samples" / "qstash"

SOURCES = {
    "task_reference_example": "github.com/upstash/docs, QStash v1 page Get Task (the example)",
    "task_typed_as_documented": "the same page's list of fields, which gives some numbers as strings",
    "message_tasks_reference_example": "github.com/upstash/docs, QStash v1 page Get Message Tasks (example)",
    "delivered_after_an_error": "github.com/upstash/docs, QStash page Debug Logs of 2022 (a printed answer)",
}


def _body(name: str) -> Response:
    return Response(200, {}, (SAMPLES / f"{name}.json").read_bytes())


def _sample(name: str) -> QStashTask:
    return get_task("x").parse(_body(name))


def _task(**fields: Any) -> QStashTask:
    return get_task("x").parse(Response(200, {}, json.dumps({"taskId": "t1"} | fields).encode()))


class TestSamples:
    def test_samples_name_their_source(self) -> None:
        assert {path.stem for path in SAMPLES.glob("*.json")} == set(SOURCES)

    def test_reference_example_is_read(self) -> None:
        task = _sample("task_reference_example")

        assert (task.task_id, task.message_id, task.status, task.state) == (
            "tsk_123",
            "msg_123",
            "retrying",
            "running",
        )
        assert (task.max_retry, task.retried, task.error) == (5, 4, "Connection timeout")
        assert task.next_process_at is not None
        assert task.next_process_at.isoformat() == "2023-03-15T17:41:40+00:00"

    def test_numbers_documented_as_strings_are_read(self) -> None:
        task = _sample("task_typed_as_documented")

        assert (task.max_retry, task.retried, task.state) == (5, 4, "failed")
        assert task.last_error_at is not None
        assert task.last_error_at.timestamp() == 1678901800
        assert task.deadline is not None
        assert task.deadline.timestamp() == 1678902700

    def test_delivered_task_may_have_an_error_time_and_no_completion(self) -> None:
        task = _sample("delivered_after_an_error")

        assert (task.state, task.completed_at) == ("completed", None)
        assert task.last_error_at is not None

    def test_list_page_continues_at_its_cursor_with_any_ids(self) -> None:
        page = list_message_tasks("msg_123").parse(_body("message_tasks_reference_example"))

        assert [task.message_id for task in page.items] == ["abc123", "def456"]
        assert page.items[0].last_error_at is None
        assert page.cursor == "1678901234567"
        assert page.next is not None
        assert page.next.request.query == (("cursor", "1678901234567"),)


class TestStates:
    @pytest.mark.parametrize(
        ("word", "state"),
        [
            ("created", "pending"),
            ("planned", "pending"),
            ("pending", "pending"),
            ("active", "running"),
            ("processing", "running"),
            ("error", "running"),
            ("retrying", "running"),
            ("retry", "running"),
            ("delivered", "completed"),
            ("completed", "completed"),
            ("failed", "failed"),
            ("canceled", "cancelled"),
            ("cancelled", "cancelled"),
            ("in limbo", "unknown"),
            ("", "unknown"),
            (None, "unknown"),
        ],
    )
    def test_words_map_to_states_in_any_case(self, word: str | None, state: str) -> None:
        for spelled in {word, word and word.upper(), word and word.title()}:
            assert QSTASH_STATES.read(spelled) is TaskState(state)
            assert _task(state=spelled).state is TaskState(state)


class TestTolerance:
    @pytest.mark.parametrize("never", [0, "0", "", None])
    def test_absent_time_is_read_in_many_spellings(self, never: Any) -> None:
        task = _task(completedAt=never, lastErrorAt=never, nextProcessAt=never, deadline=never)

        assert (task.completed_at, task.last_error_at, task.next_process_at, task.deadline) == (None,) * 4

    @pytest.mark.parametrize(
        "odd",
        [
            {"completedAt": 10**20, "deadline": "soon"},
            {"maxRetry": "many", "retried": None},
            {"url": None, "error": {"text": "x"}, "messageId": 5},
            {"state": 5},
        ],
        ids=str,
    )
    def test_odd_field_never_costs_the_task(self, odd: dict[str, Any]) -> None:
        assert json.dumps(_task(**odd).to_json())

    def test_added_field_is_kept(self) -> None:
        assert _task(callerIP="127.0.0.1").to_json()["callerIP"] == "127.0.0.1"


class TestPublicUrl:
    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("https://h/a/b", "https://h/a/b"),
            ("https://h/a?token=s3cret", "https://h/a"),
            ("https://h?token=s3cret", "https://h"),
            ("https://h?next=a/b@s3cret", "https://h"),
            ("https://h?mail=a@s3cret", "https://h"),
            ("https://h/a#s3cret", "https://h/a"),
            ("https://h#s3cret", "https://h"),
            ("https://h#s3cret/x", "https://h"),
            ("https://user:s3cret@h:8443/a", "https://h:8443/a"),
            ("https://user:s3cret@h?token=s3cret", "https://h"),
            ("https://h/a@b", "https://h/a@b"),
            ("my-queue?s3cret", "my-queue"),
            ("my-queue#s3cret", "my-queue"),
            ("user:s3cret@h/a", "h/a"),
            ("", None),
            (None, None),
        ],
    )
    def test_user_query_and_fragment_are_not_shown(self, url: str | None, shown: str | None) -> None:
        assert public_url(url) == shown
        assert _task(url=url).to_json()["url"] == shown
        assert snapshot(_task(url=url)).url == shown


class TestSnapshot:
    def test_snapshot_holds_the_facts_to_branch_on(self) -> None:
        assert snapshot(_sample("task_reference_example")).to_record() == {
            "id": "tsk_123",
            "state": "running",
            "status": "retrying",
            "url": "https://example.com",
            "title": None,
            "error": "Connection timeout",
            "created_at": None,
            "updated_at": "2023-03-15T17:21:16.543000Z",
            "credit_usage": None,
            "message_id": "msg_123",
            "retried": 4,
            "max_retry": 5,
        }

    def test_last_error_is_the_last_change_without_a_completion(self) -> None:
        assert (
            snapshot(_sample("delivered_after_an_error")).updated_at
            == _sample("delivered_after_an_error").last_error_at
        )

    def test_unknown_facts_are_not_in_the_snapshot(self) -> None:
        record = snapshot(
            _task(state="failed", body="s3cret", header={"Authorization": ["s3cret"]})
        ).to_record()

        assert "s3cret" not in json.dumps(record)

    def test_error_is_on_one_line_and_cut(self) -> None:
        assert snapshot(_task(error="a\nb")).error == "a b"
        assert len(snapshot(_task(error="x" * 5000)).error or "") == 1000
