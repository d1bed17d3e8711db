"""The words of log lines."""

from __future__ import annotations

import pytest

from remote_tasks_provider.core.log import counted, in_brackets, in_bytes


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 files"), (1, "1 file"), (2, "2 files"), (12345, "12,345 files")]
)
def test_number_stands_with_its_noun(number: int, text: str) -> None:
    assert counted(number, "file") == text


@pytest.mark.parametrize(("found", "text"), [("https://x/t1", " (https://x/t1)"), ("", ""), (None, "")])
def test_brackets_hold_what_is_known(found: str | None, text: str) -> None:
    assert f"Manus task t1{in_brackets(found)}." == f"Manus task t1{text}."


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_940, "999.9 kB"),
        (999_960, "1.0 MB"),
        (3_210_000, "3.2 MB"),
        (5_000_000_000, "5.0 GB"),
        (5_000_000_000_000, "5000.0 GB"),
    ],
)
def test_amount_of_data_has_a_unit(number: int, text: str) -> None:
    assert in_bytes(number) == text
