"""One vocabulary for every vendor's words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from remote_tasks_provider.core.states import StateTable, TaskSnapshot, TaskState, in_words


class TestTaskState:
    def test_members_compare_equal_to_their_lower_case_names(self) -> None:
        assert [str(state) for state in TaskState] == [state.name.lower() for state in TaskState]
        assert TaskState.COMPLETED == "completed"

    @pytest.mark.parametrize("state", list(TaskState))
    def test_terminal_states_are_completed_failed_and_cancelled(self, state: TaskState) -> None:
        assert state.is_terminal == (state in {"completed", "failed", "cancelled"})


class TestStateTable:
    table = StateTable({"Done": TaskState.COMPLETED, "busy": TaskState.RUNNING})

    def test_table_lists_its_words(self) -> None:
        assert self.table.words == ("done", "busy")

    @pytest.mark.parametrize("word", ["done", "DONE", "Done", " done\n"])
    def test_words_are_read_in_any_case_and_with_blanks_around(self, word: str) -> None:
        assert self.table.read(word) is TaskState.COMPLETED

    @pytest.mark.parametrize("word", ["", None, "finished", "do ne"])
    def test_unlisted_word_is_unknown(self, word: str | None) -> None:
        assert self.table.read(word) is TaskState.UNKNOWN


class TestWords:
    @pytest.mark.parametrize(
        ("status", "text"),
        [
            ("DELIVERED", "completed (delivered)"),
            ("completed", "completed"),
            ("Completed ", "completed"),
            ("", "completed"),
            (None, "completed"),
        ],
    )
    def test_state_is_said_with_the_services_own_word_if_it_differs(
        self, status: str | None, text: str
    ) -> None:
        assert in_words(TaskState.COMPLETED, status) == text


class TestRecord:
    def test_absent_facts_are_none(self) -> None:
        assert TaskSnapshot("t1", TaskState.RUNNING, "busy").to_record() == {
            "id": "t1",
            "state": "running",
            "status": "busy",
            "url": None,
            "title": None,
            "error": None,
            "created_at": None,
            "updated_at": None,
            "credit_usage": None,
        }

    def test_times_are_iso_8601_in_utc(self) -> None:
        cet = timezone(timedelta(hours=1))
        record = TaskSnapshot(
            "t1",
            TaskState.RUNNING,
            "busy",
            created_at=datetime(2025, 11, 18, 22, 30, 39, tzinfo=cet),
            updated_at=datetime(2025, 11, 18, 21, 31, tzinfo=UTC),
        ).to_record()

        assert record["created_at"] == "2025-11-18T21:30:39Z"
        assert record["updated_at"] == "2025-11-18T21:31:00Z"

    def test_vendor_details_stand_beside_the_common_fields(self) -> None:
        record = TaskSnapshot("t1", TaskState.RUNNING, "busy", details={"retried": 2}).to_record()

        assert record["retried"] == 2

    def test_very_long_texts_are_cut(self) -> None:
        long = "x" * 5000
        record = TaskSnapshot(
            "t1", TaskState.RUNNING, long, long, long, long, details={"model": long, "n": 5}
        ).to_record()

        assert {len(record[name]) for name in ("status", "url", "title", "error", "model")} == {2000}
        assert record["n"] == 5

    def test_state_is_a_plain_string(self) -> None:
        assert type(TaskSnapshot("t1", TaskState.RUNNING, "busy").to_record()["state"]) is str
