"""What a task has brought, read from a v1 conversation and from v2 events."""

from __future__ import annotations

import json
from typing import Any

import pytest

from remote_tasks_provider.core.errors import OutputMissingError
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.manus.api.v2_models import ManusEvent, ManusTaskV2
from remote_tasks_provider.manus.models import ManusTask
from remote_tasks_provider.manus.results import ManusResult, failure_text, result_v1, result_v2
from tests.manus.events import asked, ended, failed, file, said, stopped, told, value


def v2(status: str, *events: ManusEvent, **facts: Any) -> ManusResult:
    task = ManusTaskV2(id="t1", status=status, **facts).with_events(events)
    return result_v2(task, events)


def message(role: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"id": f"m{len(parts)}", "role": role, "content": list(parts)}


def text(words: str) -> dict[str, Any]:
    return {"type": "output_text", "text": words}


def output_file(name: str, url: str = "https://x.example.com/a?Signature=s") -> dict[str, Any]:
    return {"type": "output_file", "fileName": name, "fileUrl": url, "mimeType": "text/markdown"}


def v1(status: str, *output: dict[str, Any], **facts: Any) -> ManusResult:
    return result_v1(ManusTask.model_validate({"id": "t1", "status": status, "output": output} | facts))


class TestV1:
    def test_text_is_that_of_the_latest_turn_and_files_are_those_of_all(self) -> None:
        found = v1(
            "completed",
            message("user", text("2+2?")),
            message("assistant", text("4"), output_file("old.md")),
            message("user", text("And 3+3?")),
            message("assistant", text("Let me see.")),
            message("assistant", text("It is"), text("6"), output_file("new.md")),
            credit_usage="22",
            metadata={"task_title": "Sums", "task_url": "https://manus.im/app/t1"},
        )

        assert (found.id, found.state, found.title) == ("t1", "completed", "Sums")
        assert (found.url, found.credit_usage) == ("https://manus.im/app/t1", 22)
        assert found.text == "It is\n6"
        assert [(one.name, one.turn) for one in found.files] == [("old.md", 1), ("new.md", 2)]
        assert (found.error, found.question, found.structured) == (None, None, None)

    def test_last_message_of_files_only_does_not_hide_the_text(self) -> None:
        found = v1("completed", message("assistant", text("4")), message("assistant", output_file("a.md")))

        assert found.text == "4"
        assert len(found.files) == 1

    @pytest.mark.parametrize("output", [[], [message("user", text("2+2?"))], [message("assistant")]])
    def test_empty_conversation_has_no_text(self, output: list[dict[str, Any]]) -> None:
        assert v1("completed", *output).text is None

    def test_last_words_of_a_waiting_task_are_its_question(self) -> None:
        question = v1("pending", message("user", text("Plan it")), message("assistant", text("Which day?")))

        assert question.question is not None
        assert (question.question.text, question.question.event_id) == ("Which day?", "m1")
        assert question.question.in_words

    def test_answered_question_is_no_question(self) -> None:
        found = v1("pending", message("assistant", text("Which day?")), message("user", text("Monday")))

        assert found.question is None

    @pytest.mark.parametrize("facts", [{"error": "no credits"}, {"incomplete_details": "no credits"}])
    def test_failure_has_its_text(self, facts: dict[str, Any]) -> None:
        assert v1("failed", **facts).error == "no credits"


class TestTextOfV2:
    def test_last_result_counts(self) -> None:
        found = v2(
            "stopped",
            *ended(
                said("Reading.", kind="progress"),
                said("Draft", kind="result"),
                said("Final", kind="result"),
                said("Tidying up.", kind="progress"),
            ),
        )

        assert found.text == "Final"

    def test_result_outranks_messages_without_a_kind(self) -> None:
        assert v2("stopped", *ended(said("Final", kind="result"), said("Bye."))).text == "Final"

    def test_last_message_that_is_no_progress_counts(self) -> None:
        events = ended(said("One"), said("Two"), said("Tidying up.", kind="progress"))

        assert v2("stopped", *events).text == "Two"

    def test_progress_is_the_last_resort(self) -> None:
        assert v2("stopped", *ended(said("Tidying up.", kind="progress"))).text == "Tidying up."

    def test_last_message_of_files_only_does_not_hide_the_text(self) -> None:
        found = v2("stopped", *ended(said("Done", kind="result"), said("", file("a.txt"), kind="result")))

        assert (found.text, len(found.files)) == ("Done", 1)

    def test_text_of_an_earlier_turn_is_forgotten_and_its_files_are_not(self) -> None:
        found = v2("stopped", *ended(said("Old", file("old.txt"))), *ended(said("New", file("new.txt"))))

        assert found.text == "New"
        assert [(one.name, one.turn) for one in found.files] == [("old.txt", 1), ("new.txt", 2)]
        assert v2("running", *ended(said("Old", file("old.txt"))), asked("More")).text is None

    def test_repeated_file_is_one_with_the_newest_link(self) -> None:
        first, again = (f"https://x.example.com/a?Signature={number}" for number in (1, 2))
        events = ended(
            said("", file("a", first), file("b")), said("", file("a", again), {"filename": "lost"})
        )

        assert [(one.name, one.url) for one in v2("stopped", *events).files] == [
            ("a", again),
            ("b", "https://files.example.com/b?Signature=x"),
        ]

    def test_files_of_the_same_name_are_both_kept(self) -> None:
        events = ended(said("", file("a", "https://x.example.com/1"), file("a", "https://x.example.com/2")))

        assert len(v2("stopped", *events).files) == 2


class TestStatesOfV2:
    def test_failure_has_the_text_of_its_event(self) -> None:
        found = v2("error", asked(), failed("no credits"), told("error"))

        assert (found.state, found.error) == ("failed", "no credits")

    def test_task_stopped_by_a_user_is_cancelled(self) -> None:
        assert v2("stopped", *ended(stopped())).state == "cancelled"

    def test_background_jobs_continue(self) -> None:
        assert v2("stopped", *ended(said("Done")), has_running_background_jobs=True).state == "running"


class TestStructuredValue:
    def test_value_is_returned(self) -> None:
        found = v2("stopped", *ended(said("Done"), value(found={"city": "Paris"})))

        assert (found.state, found.structured, found.error) == ("completed", {"city": "Paris"}, None)

    @pytest.mark.parametrize("success", [False, None])
    def test_placeholder_of_a_failed_value_is_no_value(self, success: bool | None) -> None:
        found = v2("stopped", *ended(said("Done"), value(success, {"city": ""}, "Failed to extract")))

        assert (found.state, found.structured) == ("failed", None)
        assert found.error == "the structured output could not be made: Failed to extract"

    def test_reason_is_optional(self) -> None:
        assert "no reason was given" in str(v2("stopped", *ended(value(success=False))).error)

    def test_latest_value_counts(self) -> None:
        events = ended(value(success=False), value(found={"city": "Paris"}))

        assert v2("stopped", *events).structured == {"city": "Paris"}

    def test_thanks_in_the_app_do_not_hide_the_value(self) -> None:
        first = ended(value(found={"city": "Paris"}))
        found = v2("stopped", *first, *ended(said("You are welcome.")))

        assert found.structured == {"city": "Paris"}
        assert found.structured_is_late
        assert not v2("stopped", *first).structured_is_late

    def test_failed_value_of_an_earlier_turn_does_not_hide_one_before_it(self) -> None:
        first, second = ended(value(found={"city": "Paris"})), ended(value(success=False))
        found = v2("stopped", *first, *second, *ended(said("You are welcome.")))

        assert (found.state, found.structured, found.structured_turn) == ("completed", {"city": "Paris"}, 1)

    def test_value_and_task_have_their_turn(self) -> None:
        first = ended(value(found={"city": "Paris"}))

        assert [(one.turn, one.structured_turn) for one in (v2("stopped", *first), v2("stopped"))] == [
            (1, 1),
            (1, None),
        ]
        assert v2("stopped", *first, *ended(said("Hello."))).turn == 2

    def test_value_of_the_latest_turn_replaces_an_earlier_one(self) -> None:
        first, second = ended(value(found={"city": "Paris"})), ended(value(found={"city": "Bern"}))
        found = v2("stopped", *first, *second)

        assert (found.structured, found.structured_is_late) == ({"city": "Bern"}, False)

    def test_failure_of_an_earlier_turn_does_not_fail_a_later_one(self) -> None:
        assert v2("stopped", *ended(value(success=False)), *ended(said("Done"))).state == "completed"

    @pytest.mark.parametrize("status", ["running", "waiting", "error"])
    def test_failed_value_does_not_fail_an_unfinished_or_failed_task(self, status: str) -> None:
        events = [asked(), failed("no credits"), value(success=False, error="Failed to extract")]

        assert "structured output" not in str(v2(status, *events).error)

    def test_missing_value_is_an_error_that_says_what_to_do(self) -> None:
        with pytest.raises(OutputMissingError, match=r"has not come yet\. Retry or clear") as missing:
            v2("stopped", *ended(said("Done"))).requiring_value()

        assert missing.value.retry_helps


class TestWords:
    def test_failure_without_reason_and_page_says_so(self) -> None:
        failure = failure_text(ManusResult("t1", TaskState.FAILED))

        assert failure == "Manus task t1 failed: Manus gave no reason"

    def test_failure_names_reason_and_page(self) -> None:
        failure = failure_text(ManusResult("t1", TaskState.FAILED, url="https://x/t1", error="No credits."))

        assert failure == "Manus task t1 failed: No credits (https://x/t1)"


SCHEMA = {"type": "object", "properties": {"accept": {"type": "boolean"}}}


class TestQuestionsOfV2:
    def test_question_has_its_text(self) -> None:
        detail = {"waiting_for_event_id": "evt_1", "waiting_for_event_type": "messageAskUser"}
        options = {"selection_mode": "multiple", "options": ["Mon", "Tue", 3]}
        events = [asked(), said("Which day?", question_expectation=options), told("waiting", **detail)]
        question = v2("waiting", *events).question

        assert question is not None
        assert (question.text, question.event_id, question.in_words) == ("Which day?", "evt_1", True)
        assert (question.options, question.multiple) == (("Mon", "Tue", "3"), True)

    @pytest.mark.parametrize("kind", ["messageAskUser", "cascadeAskUser"])
    def test_question_text_may_stand_in_the_description(self, kind: str) -> None:
        detail = {"waiting_for_event_type": kind, "waiting_description": "Which day?"}
        question = v2("waiting", asked(), told("waiting", **detail)).question

        assert question is not None
        assert (question.text, question.in_words) == ("Which day?", True)

    def test_action_has_its_description_and_schema(self) -> None:
        detail = {
            "waiting_for_event_id": "evt_2",
            "waiting_for_event_type": "gmailSendAction",
            "waiting_description": "Send email to user@example.com",
            "confirm_input_schema": SCHEMA,
        }
        question = v2("waiting", asked(), said("I will write."), told("waiting", **detail)).question

        assert question is not None
        assert (question.kind, question.event_id, question.in_words) == ("gmailSendAction", "evt_2", False)
        assert (question.text, question.schema) == ("Send email to user@example.com", SCHEMA)

    def test_action_without_a_description_has_the_last_message(self) -> None:
        events = [asked(), said("I will write."), told("waiting", waiting_for_event_type="newAction")]
        question = v2("waiting", *events).question

        assert question is not None
        assert (question.text, question.kind) == ("I will write.", "newAction")

    def test_waiting_event_without_details_is_a_question(self) -> None:
        question = v2("waiting", asked(), said("Which day?"), told("waiting")).question

        assert question is not None
        assert (question.text, question.event_id, question.kind) == ("Which day?", None, "messageAskUser")

    def test_paused_task_waits(self) -> None:
        assert v2("paused", asked(), said("Which day?"), told("waiting")).question is not None
        assert v1("paused", message("assistant", text("Which day?"))).question is not None

    def test_last_words_before_any_status_update_are_no_question(self) -> None:
        """They may be about something else; the events lag behind the status."""
        assert v2("waiting", asked(), said("I begin.")).question is None

    def test_questions_without_an_id_differ_by_turn_and_text(self) -> None:
        def key(*events: Any) -> str:
            question = v2("waiting", *events).question
            assert question is not None
            return question.key

        first = [asked(), said("Which day?"), told("waiting")]
        keys = [
            key(*first),
            key(*first, asked("Monday"), said("Which day?"), told("waiting")),
            key(asked(), said("Which town?"), told("waiting")),
        ]

        assert len(set(keys)) == 3
        assert key(*first) == keys[0]

    def test_latest_question_counts(self) -> None:
        events = [told("waiting", waiting_for_event_id=f"evt_{number}") for number in (1, 2)]
        question = v2("waiting", asked(), *events).question

        assert question is not None
        assert question.event_id == "evt_2"

    def test_confirmed_action_is_not_asked_again(self) -> None:
        action = told("waiting", waiting_for_event_id="evt_1", waiting_for_event_type="deployAction")

        assert v2("waiting", asked(), action, told("running")).question is None
        question = v2(
            "waiting", asked(), action, told("running"), said("Which day?"), told("waiting")
        ).question
        assert question is not None
        assert (question.kind, question.event_id) == ("messageAskUser", None)

    def test_answered_question_is_no_question(self) -> None:
        assert v2("waiting", asked(), said("Which day?"), told("waiting"), asked("Monday")).question is None

    @pytest.mark.parametrize("status", ["running", "stopped", "error"])
    def test_unfinished_task_that_does_not_wait_has_no_question(self, status: str) -> None:
        assert v2(status, asked(), told("waiting", waiting_for_event_id="evt_1")).question is None


def test_links_are_in_no_json_and_no_repr() -> None:
    found = v2("stopped", *ended(said("Done", file("a.txt", "https://x.example.com/?Signature=secret"))))

    assert found.to_json()["files"] == [{"name": "a.txt", "content_type": "text/plain", "turn": 1}]
    assert "secret" not in json.dumps(found.to_json()) + repr(found)
