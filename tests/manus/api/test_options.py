"""What is asked of the agent is checked before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from remote_tasks_provider.core.errors import InvalidArgumentError
from remote_tasks_provider.manus.api import v1, v2
from remote_tasks_provider.manus.api.options import TaskOptions, check_files, check_prompt

SCHEMA = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


# What version 0.1.0 wrote into records and tags.
OLD_FINGERPRINTS = {
    "plain": "f2c86fa7e6376d39fa267f63c39a2083",
    "connectors": "fb8210276c186f520fae4608896b9fd7",
}


class TestPrompt:
    @pytest.mark.parametrize("prompt", ["", " ", "\n\t"])
    def test_empty_prompt_is_refused(self, prompt: str) -> None:
        with pytest.raises(ValueError, match="prompt is empty: did a template or an XCom come out empty"):
            TaskOptions(prompt)

    @pytest.mark.parametrize("prompt", [None, 5, b"Hello", ["Hello"]])
    def test_prompt_that_is_no_text_is_refused(self, prompt: Any) -> None:
        with pytest.raises(ValueError, match=r"prompt is a .*; it must be a text"):
            TaskOptions(prompt)

    @pytest.mark.parametrize(
        "long",
        ["ab " * 5000, "a" * 20_000, "x, " * 2500, "語" * 5000, "a b\n" * 2500],
        ids=["words", "letters", "punctuation", "ideographs", "lines"],
    )
    def test_prompt_of_five_thousand_tokens_is_refused(self, long: str) -> None:
        with pytest.raises(ValueError, match=r"prompt has about 5000 tokens.*Put the long part into a file"):
            TaskOptions(long)

    @pytest.mark.parametrize(
        "fits",
        ["ab " * 4999, "a" * 19_999, "語" * 4999, "Hello"],
        ids=["words", "letters", "ideographs", "one"],
    )
    def test_shorter_prompt_is_sent_unchanged(self, fits: str) -> None:
        assert TaskOptions(fits).prompt == fits

    def test_parameter_name_appears_in_the_error(self) -> None:
        with pytest.raises(ValueError, match="content is empty"):
            check_prompt("", "content")


class TestTaskOptions:
    def test_prompt_alone_is_enough(self) -> None:
        assert TaskOptions("Hello") == TaskOptions("Hello", agent_profile="manus-1.6")

    def test_iterables_are_read_once(self) -> None:
        order = TaskOptions(
            "Hello",
            files=iter([{"file_id": "f1"}]),
            connectors=iter(["c1"]),
            enable_skills="s1",
            force_skills={"s2"},
            task_references=(one for one in ["t1"]),
        )

        assert (order.files, order.connectors) == (({"file_id": "f1"},), ("c1",))
        assert (order.enable_skills, order.force_skills, order.task_references) == (("s1",), ("s2",), ("t1",))

    def test_references_are_limited_to_twenty(self) -> None:
        assert len(TaskOptions("Hello", task_references=["t"] * 20).task_references) == 20
        with pytest.raises(ValueError, match="task_references has 21 ids; Manus takes at most 20"):
            TaskOptions("Hello", task_references=["t"] * 21)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("task_references", ["t1", ""]),
            ("connectors", [None]),
            ("enable_skills", [5]),
            ("force_skills", ["None"]),
            ("project_id", " "),
            ("locale", "en\n"),
            ("agent_profile", " manus"),
            ("share_visibility", "friends"),
            ("structured_output_schema", {"type": "string"}),
            ("structured_output_schema", {}),
            ("files", [{"filename": "a"}]),
        ],
    )
    def test_invalid_option_is_refused_by_name(self, name: str, value: Any) -> None:
        with pytest.raises(ValueError, match=name):
            TaskOptions("Hello", **{name: value})

    def test_empty_option_counts_as_not_given(self) -> None:
        order = TaskOptions(
            "Hello", agent_profile="", project_id="", locale="", title="", share_visibility=""
        )

        assert order == TaskOptions("Hello")

    @pytest.mark.parametrize("title", [5, 5.5])
    def test_title_may_be_a_number_as_native_templates_give_it(self, title: float) -> None:
        assert TaskOptions("Hello", title=title).title == str(title)  # type: ignore[arg-type]

    def test_empty_list_of_connectors_is_not_the_default(self) -> None:
        assert TaskOptions("Hello").connectors is None
        assert TaskOptions("Hello", connectors=[]).connectors == ()

    def test_fingerprint_is_that_of_versions_without_the_newer_options(self) -> None:
        """A retry after an upgrade asks for the same."""
        assert TaskOptions("Hello", connectors=["c1"]).fingerprint("a.txt") == OLD_FINGERPRINTS["connectors"]
        assert TaskOptions("Hello").fingerprint() == OLD_FINGERPRINTS["plain"]
        assert TaskOptions("Hello", connectors=[]).fingerprint() != OLD_FINGERPRINTS["plain"]
        assert TaskOptions("Hello", extra_body={"a": 1}).fingerprint() != OLD_FINGERPRINTS["plain"]


class TestFiles:
    @pytest.mark.parametrize(
        "file",
        [
            {"file_id": "f1"},
            {"file_id": "f1", "filename": "a.csv"},
            {"file_url": f"https://example.com/{'x' * 2000}", "mime_type": "text/csv"},
            {"file_data": "data:text/plain;base64,SGk=", "filename": "c.txt"},
        ],
        ids=str,
    )
    def test_file_has_one_source(self, file: dict[str, str]) -> None:
        assert check_files([file]) == (file,)

    @pytest.mark.parametrize(
        ("file", "fault"),
        [
            ("a.csv", r"files\[1\] must be a dict with one of file_id"),
            ({}, r"files\[1\] must be a dict"),
            ({"filename": "a.csv"}, r"files\[1\] must be a dict"),
            ({"file_id": "f1", "file_url": "https://example.com"}, r"files\[1\] must be a dict"),
            (
                {"file_id": "f1", "name": "a"},
                r"files\[1\]: 'name' is not known, only filename, mime_type are",
            ),
            ({"file_id": "f1", "type": "voice"}, "'type' is not known"),
            ({"file_id": ""}, r"files\[1\]: file_id is ''"),
            ({"file_id": None}, r"files\[1\]: file_id is None"),
            ({"file_id": "f1", "filename": " "}, "filename is ' '"),
        ],
        ids=str,
    )
    def test_invalid_attachment_is_refused(self, file: Any, fault: str) -> None:
        with pytest.raises(ValueError, match=fault):
            check_files([{"file_id": "good"}, file])


class TestFingerprint:
    def test_equal_options_have_the_same_fingerprint(self) -> None:
        first = TaskOptions("Hello", structured_output_schema=SCHEMA, connectors=["c1"])
        again = TaskOptions(
            "Hello", structured_output_schema=dict(reversed(SCHEMA.items())), connectors=["c1"]
        )

        assert first.fingerprint("b", "a") == again.fingerprint("a", "b")

    def test_title_is_not_part_of_the_fingerprint(self) -> None:
        assert TaskOptions("Hello", title="a").fingerprint() == TaskOptions("Hello").fingerprint()

    @pytest.mark.parametrize(
        "other",
        [
            {"prompt": "Bye"},
            {"agent_profile": "manus-1.6-max"},
            {"project_id": "p1"},
            {"connectors": ["c1"]},
            {"task_references": ["t1"]},
            {"structured_output_schema": SCHEMA},
            {"interactive_mode": True},
            {"files": [{"file_id": "f1"}]},
            {"locale": "en"},
            {"share_visibility": "public"},
            {"hide_in_task_list": True},
        ],
        ids=str,
    )
    def test_changed_options_change_the_fingerprint(self, other: dict[str, Any]) -> None:
        assert (
            TaskOptions(**({"prompt": "Hello"} | other)).fingerprint() != TaskOptions("Hello").fingerprint()
        )

    def test_changed_files_change_the_fingerprint(self) -> None:
        assert TaskOptions("Hello").fingerprint("a.csv") != TaskOptions("Hello").fingerprint("b.csv")
        assert TaskOptions("Hello").fingerprint("a.csv") != TaskOptions("Hello").fingerprint()


class TestExtraBody:
    @pytest.mark.parametrize("api", [v1, v2])
    def test_field_that_is_not_known_is_sent(self, api: Any) -> None:
        operation = api.create_task(TaskOptions("Hello", extra_body={"new_field": {"a": 1}}))

        assert operation.request.json["new_field"] == {"a": 1}

    @pytest.mark.parametrize(
        "name",
        [
            *("agentProfile", "agent_profile", "connectors", "message", "prompt", "title"),
            *("projectId", "project_id", "taskId", "task_id", "createShareableLink", "create_shareable_link"),
        ],
    )
    def test_field_that_has_a_parameter_is_refused_in_both_spellings(self, name: str) -> None:
        with pytest.raises(ValueError, match=f"extra_body has '{name}', which this provider sends itself"):
            TaskOptions("Hello", extra_body={name: 1})
        with pytest.raises(ValueError, match=f"extra_body has '{name}', which this provider sends itself"):
            v2.send_message("t1", "Hello", extra_body={name: 1})

    def test_field_that_any_request_has_is_refused(self) -> None:
        full = TaskOptions("Hello", connectors=["c1"], files=[{"file_id": "f1", "filename": "a"}])
        sent = {
            *v1.create_task(full).request.json,
            *v1.continue_task("t1", full).request.json,
            *v2.create_task(full).request.json,
            *v2.send_message("t1", "Hello", agent_profile="manus-1.6").request.json,
        }

        for name in sent:
            with pytest.raises(ValueError, match="which this provider sends itself"):
                TaskOptions("Hello", extra_body={name: 1})

    @pytest.mark.parametrize("value", [{1, 2}, float("nan"), object()])
    def test_value_that_is_not_json_is_refused(self, value: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="extra_body cannot be written as JSON"):
            TaskOptions("Hello", extra_body={"new_field": [value]})

    def test_message_takes_it_too(self) -> None:
        operation = v2.send_message("t1", "Hello", extra_body={"new_field": 1})

        assert operation.request.json["new_field"] == 1
