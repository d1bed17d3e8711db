"""Attachments are sorted and looked at before anything is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from remote_tasks_provider.manus.attachments import check_attachments, sort_attachments


def test_kinds_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")

    known, sources = sort_attachments(
        [f"file://{tmp_path}/a.txt", tmp_path / "a.txt", "https://example.com/b.pdf", {"file_id": "f1"}]
    )

    assert known == [{"file_url": "https://example.com/b.pdf", "filename": "b.pdf"}, {"file_id": "f1"}]
    assert [one.name for one in sources] == ["a.txt", "a.txt"]


def test_attachments_may_be_none() -> None:
    assert sort_attachments(None) == ([], [])


@pytest.mark.parametrize(
    "value",
    [
        "",
        "http://example.com/a",
        "https://",
        "https:///a",
        "https://[/a",
        {},
        {"file_url": "ftp://a"},
        5,
        None,
        b"a",
    ],
)
def test_value_that_cannot_be_one_is_refused_by_its_place(value: Any) -> None:
    for check in (lambda: check_attachments(["a", value], "attachments"), lambda: sort_attachments([value])):
        with pytest.raises(ValueError, match=r"attachments\[[01]\]"):
            check()


@pytest.mark.parametrize("name", ["folder", "empty.txt"])
def test_file_that_cannot_be_sent_is_refused_by_its_place(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.txt").write_text("")

    with pytest.raises(ValueError, match=r"attachments\[0\] is .*cannot be read"):
        sort_attachments(f"file://{tmp_path}/{name}")


def test_file_system_that_is_not_known_is_refused_by_its_place() -> None:
    with pytest.raises(ValueError, match=r"attachments\[0\] is .*cannot be read"):
        sort_attachments("no-such-scheme://bucket/a.txt")


def test_missing_file_may_still_be_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"attachments\[0\]"):
        sort_attachments(f"file://{tmp_path}/missing.txt")
