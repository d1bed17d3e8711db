"""Answers of agents in the spellings that are about."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from remote_tasks_provider.a2a.models import A2AAgentCard, A2APart, A2ATask, snapshot
from remote_tasks_provider.core.states import TaskState


def task(**facts: Any) -> A2ATask:
    return A2ATask.model_validate({"id": "a", "status": {"state": "TASK_STATE_WORKING"}} | facts)


class TestState:
    @pytest.mark.parametrize(
        ("word", "state"),
        [
            ("TASK_STATE_COMPLETED", TaskState.COMPLETED),
            ("completed", TaskState.COMPLETED),
            ("input-required", TaskState.WAITING),
            ("TASK_STATE_AUTH_REQUIRED", TaskState.WAITING),
            ("TASK_STATE_CANCELLED", TaskState.CANCELLED),
            ("canceled", TaskState.CANCELLED),
            ("rejected", TaskState.FAILED),
            ("TASK_STATE_UNSPECIFIED", TaskState.UNKNOWN),
            ("brand-new", TaskState.UNKNOWN),
            (None, TaskState.UNKNOWN),
        ],
    )
    def test_words_of_all_versions_are_known(self, word: str | None, state: TaskState) -> None:
        assert task(status={"state": word}).state is state


class TestTask:
    @pytest.mark.parametrize("status", [None, "working", [], {}])
    def test_odd_status_is_unknown_or_read(self, status: Any) -> None:
        assert task(status=status).state in (TaskState.UNKNOWN, TaskState.RUNNING)

    @pytest.mark.parametrize("moment", ["2026-11-01T09:00:00", "", None, "soon"])
    def test_time_without_a_zone_is_none(self, moment: str | None) -> None:
        assert task(status={"state": "working", "timestamp": moment}).updated_at is None

    def test_odd_parts_spoil_nothing_else(self) -> None:
        artifacts = [{"parts": [{"text": "a"}, 5, {"text": 7}]}, {"parts": None}, "odd"]

        found = task(artifacts=artifacts)

        assert [[part.text for part in one.parts] for one in found.artifacts] == [["a", None], []]

    def test_json_holds_no_file_and_no_link(self) -> None:
        parts = [
            {"url": "https://example.com/?key=secret", "filename": "a"},
            {"raw": "c2VjcmV0"},
            {"file": {"uri": "https://example.com/?key=secret"}},
        ]
        message = {"role": "ROLE_AGENT", "parts": parts}
        found = task(artifacts=[{"parts": parts}], history=[message], status={"message": message})

        assert "secret" not in str(found.to_json(include_history=True)) + str(found.to_json())
        assert "c2VjcmV0" not in str(found.to_json(include_history=True))
        assert "history" not in found.to_json()

    def test_json_holds_no_link_of_a_message_with_the_old_name_of_its_parts(self) -> None:
        message = {"messageId": "m", "content": [{"text": "a"}, {"url": "https://files/a?key=secret"}]}
        task = A2ATask.model_validate({"id": "t", "history": [message], "status": {"message": message}})

        assert [one.text for one in (*task.history, task.message) if one] == ["a", "a"]
        assert "secret" not in str(task.to_json(include_history=True))

    def test_snapshot_has_what_a_wait_needs(self) -> None:
        message = {"parts": [{"text": "no "}, {"text": "luck"}]}
        found = snapshot(task(contextId="c", status={"state": "failed", "message": message}))

        assert (found.error, found.details) == ("no luck", {"context_id": "c"})


class TestPart:
    def test_file_of_an_older_version_is_read(self) -> None:
        file = {"bytes": "YQ==", "name": "a.txt", "mimeType": "text/plain"}
        found = A2APart.model_validate({"kind": "file", "file": file})

        assert (found.raw, found.filename, found.media_type) == ("YQ==", "a.txt", "text/plain")

    def test_value_that_the_official_server_has_wrapped_is_unwrapped(self) -> None:
        wrapped = {"data": {"value": 3}, "metadata": {"data_part_compat": True}}

        assert A2APart.model_validate(wrapped).data == 3
        assert A2APart.model_validate({"data": {"value": 3}}).data == {"value": 3}


class TestCard:
    def test_object_that_describes_no_agent_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="describes no agent"):
            A2AAgentCard.model_validate({"detail": "Not found"})

    def test_odd_fields_spoil_nothing(self) -> None:
        odd = {"name": "A", "capabilities": "many", "supportedInterfaces": {"a": 1}, "skills": None}

        found = A2AAgentCard.model_validate(odd)

        assert (found.name, found.required_extensions, found.streams) == ("A", [], False)
