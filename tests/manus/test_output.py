"""Where a result goes, and how much of it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from remote_tasks_provider.manus.output import result_to_xcom

LOG = logging.getLogger(__name__)
MOST = 32_768


def a_result(text: str | None = "Done.", structured: Any = None) -> dict[str, Any]:
    return {"id": "t1", "text": text, "structured": structured, "files": []}


class TestToXCom:
    @pytest.mark.parametrize("text", [None, "", "Done.", "x" * MOST])
    def test_short_text_is_left_unchanged(self, text: str | None) -> None:
        assert result_to_xcom(a_result(text), None, LOG) == a_result(text)

    def test_long_text_is_cut_and_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        found = result_to_xcom(a_result("x" * (MOST + 1)), None, LOG)

        assert found == a_result("x" * MOST)
        assert f"{MOST + 1} characters" in caplog.text
        assert "result_path" in caplog.text

    def test_structured_value_is_never_cut(self) -> None:
        value = {"rows": ["x" * 1000] * 100}

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
