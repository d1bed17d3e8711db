"""Where a result goes, and how much of it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from remote_tasks_provider.bases.output import MAX_XCOM_CHARACTERS, XCOM_KEYS, hand_over, result_to_xcom

LOG = logging.getLogger(__name__)
MOST = MAX_XCOM_CHARACTERS


def a_result(text: str | None = "Done.", structured: Any = None) -> dict[str, Any]:
    return {"id": "t1", "text": text, "structured": structured, "files": []}


class TestHandOver:
    def pushed(self, value: Any, *, do_xcom_push: bool = True) -> dict[str, Any]:
        xcoms: dict[str, Any] = {}
        ti = SimpleNamespace(xcom_push=lambda key, value: xcoms.update({key: value}))

        assert hand_over(SimpleNamespace(do_xcom_push=do_xcom_push), {"ti": ti}, value) is value
        return xcoms

    def test_parts_of_an_object_are_xcoms_of_their_own(self) -> None:
        value = {"id": "t1", "state": "completed", "structured": {"n": 1}, "dlq_id": None, "files": []}

        assert self.pushed(value) == {key: value[key] for key in XCOM_KEYS if key in value}
        assert self.pushed(value).keys() == {"id", "state", "structured", "dlq_id"}

    @pytest.mark.parametrize("value", [None, "t1", [{"id": "t1"}], 5])
    def test_value_that_is_no_object_has_no_parts(self, value: Any) -> None:
        assert self.pushed(value) == {}

    def test_user_who_wants_no_xcom_gets_none(self) -> None:
        assert self.pushed({"id": "t1"}, do_xcom_push=False) == {}


class TestToXCom:
    @pytest.mark.parametrize("text", [None, "", "Done.", "x" * MOST])
    def test_short_text_is_left_unchanged(self, text: str | None) -> None:
        assert result_to_xcom(a_result(text), None, LOG) == a_result(text)

    def test_long_text_ends_in_a_marker(self, caplog: pytest.LogCaptureFixture) -> None:
        found = result_to_xcom(a_result("x" * (MOST + 1)), None, LOG)

        assert len(found["text"]) == MOST
        assert found["text"].startswith("xxx")
        assert found["text"].endswith(f"[cut: {MOST + 1} characters in all; set result_path for the whole]")
        assert found["truncated"] == ["text"]
        assert "result_path" in caplog.text

    def test_structured_value_below_the_limit_is_whole(self) -> None:
        value = {"rows": ["x" * 1000] * 100}

        assert result_to_xcom(a_result(structured=value), "", LOG) == a_result(structured=value)

    def test_structured_value_over_the_limit_is_left_away_and_named(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        found = result_to_xcom(a_result(structured={"rows": ["x" * 1000] * 300}), "", LOG)

        assert found == {**a_result(), "truncated": ["structured"]}
        assert "structured" in caplog.text

    def test_limit_counts_characters_not_bytes(self) -> None:
        value = {"row": "ü" * (MOST - len('{"row": ""}'))}

        assert result_to_xcom(a_result(structured=value), "", LOG)["structured"] == value


class TestToAFile:
    def test_file_holds_the_whole_and_xcom_the_rest(self, tmp_path: Path) -> None:
        result = a_result("ü" * (MOST + 1), {"city": "Zürich"})

        found = result_to_xcom(result, f"file://{tmp_path}/a/b/result.json", LOG)

        assert json.loads((tmp_path / "a/b/result.json").read_text("utf-8")) == result
        assert found == {
            "id": "t1",
            "text": None,
            "structured": None,
            "files": [],
            "result_path": f"file://{tmp_path}/a/b/result.json",
        }
        json.dumps(found)

    def test_later_attempt_replaces_the_file(self, tmp_path: Path) -> None:
        path = f"file://{tmp_path}/result.json"
        result_to_xcom(a_result("long " * 100), path, LOG)
        result_to_xcom(a_result("new"), path, LOG)

        assert json.loads((tmp_path / "result.json").read_text())["text"] == "new"
