"""Paths that a user gives are tried before anything is sent, and nothing that is there is touched."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from fsspec.implementations.local import LocalFileSystem

from remote_tasks_provider.bases.paths import location, locations, try_file, try_folder

log = logging.getLogger(__name__)


def test_file_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text("old")

    try_file(f"file://{tmp_path}/r.json", "result_path", log)

    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("r.json", "old")]


@pytest.mark.parametrize("kind", [str, Path, lambda path: ObjectStoragePath(f"file://{path}")])
def test_missing_folder_is_made_and_nothing_else(tmp_path: Path, kind: Any) -> None:
    try_file(kind(tmp_path / "a" / "b" / "r.json"), "result_path", log)

    assert [one.name for one in tmp_path.rglob("*")] == ["a", "b"]


def test_folder_is_tried_in_itself(tmp_path: Path) -> None:
    try_folder(f"file://{tmp_path}/files", "output_path", log)

    assert [one.name for one in tmp_path.rglob("*")] == ["files"]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("file://{0}", "is a folder; name a file"),
        ("file://{0}/file/r.json", "file"),
        ("no-such-scheme://bucket/r.json", "no-such-scheme"),
        ("", "must be a path"),
        (None, "must be a path"),
        (5, "must be a path"),
    ],
)
def test_file_that_cannot_be_written_is_refused_by_name(tmp_path: Path, path: Any, why: str) -> None:
    (tmp_path / "file").write_text("")
    given = path.format(tmp_path) if isinstance(path, str) else path

    with pytest.raises(ValueError, match=rf"result_path is .*{why}"):
        try_file(given, "result_path", log)


def test_folder_that_is_a_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ValueError, match=r"output_path is .*is a file; name a folder"):
        try_folder(f"file://{tmp_path}/file", "output_path", log)


@pytest.mark.parametrize(
    "trouble", [PermissionError("denied"), OSError(30, "Read-only file system"), ImportError("s3fs")]
)
def test_file_system_that_takes_nothing_is_refused_with_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise trouble

    monkeypatch.setattr(LocalFileSystem, "open", refuse)

    with pytest.raises(ValueError, match="result_path is ") as caught:
        try_file(f"file://{tmp_path}/r.json", "result_path", log)

    assert str(trouble) in str(caught.value)
    assert "Nothing was sent" in str(caught.value)
    assert caught.value.__cause__ is trouble


def test_locations_name_the_place_of_a_wrong_one() -> None:
    assert locations("a", "attachments") == "a"
    with pytest.raises(ValueError, match=r"attachments\[1\]"):
        locations(["a", ""], "attachments")


def test_location_of_another_type_is_refused() -> None:
    with pytest.raises(ValueError, match="output_path"):
        location(b"a", "output_path")
