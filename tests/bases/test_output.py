"""Where a result goes, and how much of it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from remote_tasks_provider.bases.output import MAX_XCOM_CHARACTERS, result_to_xcom

LOG = logging.getLogger(__name__)
MOST = MAX_XCOM_CHARACTERS


def a_result(text: str | None = "Done.", structured: Any = None) -> dict[str, Any]:
    return {"id": "t1", "text": text, "structured": structured, "files": []}


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
