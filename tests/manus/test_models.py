"""What Manus answers, read; and what of it a wait may keep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from remote_tasks_provider.core.http.operation import Response
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.manus.api.filters import task_filter
from remote_tasks_provider.manus.api.v1 import get_task, list_tasks
from remote_tasks_provider.manus.models import MANUS_STATES, ManusTask, snapshot

SAMPLES = Path(__file__).resolve().parents[1] / "samples" / "manus"

SOURCES = {
    "completed_with_file": "github.com/ivanleo-manus/manus-api-workshop, notebook 3 (printed in 2025-11)",
    "pending_asks_the_user": "github.com/ivanleo-manus/manus-api-workshop, notebook 1 (printed in 2025-11)",
    "reference_example": "https://open.manus.ai/docs/v1/get-tasks (the example)",
    "running_without_optional_fields": "https://open.manus.ai/docs/v1/get-tasks (optional fields left away)",
    "empty_list": "github.com/ivanleo-manus/manus-api-workshop (an empty list comes without data)",
}


def _sample(name: str) -> ManusTask:
    return get_task("x").parse(Response(200, {}, (SAMPLES / f"{name}.json").read_bytes()))


def _task(**fields: Any) -> ManusTask:
    return get_task("x").parse(Response(200, {}, json.dumps({"id": "t1"} | fields).encode()))


class TestSamples:
    def test_samples_name_their_source(self) -> None:
        assert {path.stem for path in SAMPLES.glob("*.json")} == set(SOURCES)

    def test_completed_task_with_a_file_is_read(self) -> None:
        task = _sample("completed_with_file")

        assert (task.state, task.status, task.credit_usage) == ("completed", "completed", 22)
        assert (task.title, task.url) == ("Sums", "https://manus.im/app/9rP8DLRXVC9fkKBKEELXkg")
        assert task.created_at is not None
        assert task.created_at.isoformat() == "2025-11-18T23:04:31+00:00"
        assert [message.role for message in task.output] == ["user", "assistant"]
        part = task.output[1].content[1]
        assert (part.file_name, part.mime_type) == ("answer.md", "text/markdown")
        assert part.file_url is not None
        assert part.file_url.endswith("Signature=s1gned")

    def test_asking_task_is_waiting_whatever_its_word(self) -> None:
        task = _sample("pending_asks_the_user")

        assert (task.status, task.state, task.title) == ("pending", "waiting", None)

    def test_reference_example_is_read(self) -> None:
        task = _sample("reference_example")

        assert (task.max_output_tokens, task.instructions, task.locale) == (123, "<string>", "<string>")

    def test_absent_fields_are_empty(self) -> None:
        task = _sample("running_without_optional_fields")

        assert (task.state, task.output, task.metadata, task.credit_usage) == ("running", [], {}, None)
        assert (task.title, task.url, task.error, task.updated_at) == (None, None, None, None)

    def test_empty_list_has_no_data(self) -> None:
        page = list_tasks(task_filter()).parse(Response(200, {}, (SAMPLES / "empty_list.json").read_bytes()))

        assert (list(page.items), page.cursor, page.next) == ([], None, None)


class TestStates:
    @pytest.mark.parametrize(
        ("word", "state"),
        [
            ("running", "running"),
            ("pending", "waiting"),
            ("completed", "completed"),
            ("failed", "failed"),
            ("error", "failed"),
            ("stopped", "unknown"),
            ("", "unknown"),
            (None, "unknown"),
        ],
    )
    def test_words_map_to_states_in_any_case(self, word: str | None, state: str) -> None:
        for spelled in {word, word and word.upper(), word and word.title()}:
            assert MANUS_STATES.read(spelled) is TaskState(state)
            assert _task(status=spelled).state is TaskState(state)


class TestTolerance:
    @pytest.mark.parametrize(
        "odd",
        [
            {"created_at": 10**18, "updated_at": "soon"},
            {"credit_usage": "many", "max_output_tokens": {}},
            {"metadata": None, "output": None, "error": 5},
            {"metadata": {"task_title": 5, "task_url": ""}},
            {"output": "nothing"},
            {"output": [{"content": None}, {"content": [{"type": 7}]}]},
            {"status": None, "model": ["x"]},
        ],
        ids=str,
    )
    def test_odd_field_never_costs_the_task(self, odd: dict[str, Any]) -> None:
        task = _task(**odd)

        assert task.id == "t1"
        assert (task.title, task.url) == (None, None)
        assert json.dumps(task.to_json(include_output=True))

    def test_added_field_is_kept(self) -> None:
        assert (
            _task(share_url="https://manus.im/share/x").to_json()["share_url"] == "https://manus.im/share/x"
        )


class TestSnapshot:
    def test_snapshot_holds_the_facts_to_branch_on(self) -> None:
        assert snapshot(_sample("completed_with_file")).to_record() == {
            "id": "9rP8DLRXVC9fkKBKEELXkg",
            "state": "completed",
            "status": "completed",
            "url": "https://manus.im/app/9rP8DLRXVC9fkKBKEELXkg",
            "title": "Sums",
            "error": None,
            "created_at": "2025-11-18T23:04:31Z",
            "updated_at": "2025-11-18T23:05:00Z",
            "credit_usage": 22,
            "model": "manus-1.5-agent",
        }

    @pytest.mark.parametrize("name", sorted(set(SOURCES) - {"empty_list"}))
    def test_snapshot_holds_neither_conversation_nor_file_links(self, name: str) -> None:
        text = json.dumps(snapshot(_sample(name)).to_record())

        for word in ("answer", "Which day", "fileUrl", "file_url", "Signature", "output"):
            assert word not in text

    @pytest.mark.parametrize(
        ("fields", "error"),
        [
            ({"error": "out of\n credits"}, "out of credits"),
            ({"incomplete_details": "stopped"}, "stopped"),
            ({"error": "first", "incomplete_details": "second"}, "first"),
            ({"error": "x" * 5000}, "x" * 999 + "…"),
            ({"error": ""}, None),
        ],
        ids=lambda value: str(value)[:30],
    )
    def test_error_is_the_text_of_the_service_on_one_line(
        self, fields: dict[str, Any], error: str | None
    ) -> None:
        assert snapshot(_task(status="failed", **fields)).error == error


class TestToJson:
    def test_conversation_is_left_out_unless_requested(self) -> None:
        data = _sample("completed_with_file").to_json()

        assert "output" not in data
        assert (data["state"], data["title"], data["created_at"]) == (
            "completed",
            "Sums",
            "2025-11-18T23:04:31Z",
        )

    def test_file_links_are_always_left_out(self) -> None:
        text = json.dumps(_sample("completed_with_file").to_json(include_output=True))

        assert "The answer is 4." in text
        assert "answer.md" in text
        assert "Signature" not in text

    def test_repr_shows_no_link(self) -> None:
        assert "Signature" not in repr(_sample("completed_with_file"))
