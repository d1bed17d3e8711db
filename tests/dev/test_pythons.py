"""Which Pythons `make test-pythons` finds, and on which it runs the tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dev import pythons

THIS = f"{sys.version_info.major}.{sys.version_info.minor}"


def program(folder: Path, version: str, *, works: bool) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"python{version}"
    path.write_text(f"#!/bin/sh\nexit {0 if works else 127}\n")
    path.chmod(0o755)
    return path


class TestFind:
    @pytest.fixture(autouse=True)
    def places(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Path, "home", lambda: tmp_path)
        monkeypatch.setenv("PATH", f"{tmp_path / 'first'}:{tmp_path / 'second'}")

    def test_python_on_the_path_is_found(self, tmp_path: Path) -> None:
        assert pythons.find("3.14") is None
        wanted = program(tmp_path / "second", "3.14", works=True)

        assert pythons.find("3.14") == wanted

    def test_program_that_does_not_work_is_passed_over(self, tmp_path: Path) -> None:
        program(tmp_path / "first", "3.14", works=False)

        assert pythons.find("3.14") is None

        wanted = program(tmp_path / ".pyenv" / "versions" / "3.14.2" / "bin", "3.14", works=True)
        assert pythons.find("3.14") == wanted


class TestMain:
    @pytest.fixture(autouse=True)
    def ran(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Record the versions instead of running their tests; those of 3.97 fail, 3.99 is not there."""
        ran: list[str] = []

        def passes(version: str, *_arguments: object) -> bool:
            ran.append(version)
            return version != "3.97"

        monkeypatch.setattr(pythons, "PYTHONS", ("3.0", THIS, "3.97", "3.98", "3.99"))
        monkeypatch.setattr(pythons, "find", lambda version: None if version == "3.99" else Path(version))
        monkeypatch.setattr(pythons, "passes", passes)
        return ran

    def run(self, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["make test-pythons", *arguments])
        return pythons.main()

    def test_pythons_are_run_one_by_one_and_a_failure_counts(
        self, ran: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.run(monkeypatch) == 1
        assert ran == ["3.0", "3.97", "3.98"]
        said = capsys.readouterr().out.splitlines()
        assert said[0] == "[1/3] Python 3.0: tests/core tests/bases ..."
        assert said[-2:] == [
            "Tested on Python 3.0, 3.97, 3.98; not on this machine: 3.99",
            "The tests failed on Python 3.97",
        ]

    def test_newest_python_of_the_machine_is_run_alone(
        self, ran: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self.run(monkeypatch, "--newest") == 0
        assert ran == ["3.98"]

    def test_newest_python_is_not_run_twice(self, ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pythons, "PYTHONS", ("3.0", THIS))

        assert self.run(monkeypatch, "--newest") == 0
        assert ran == []

    def test_python_asked_for_by_name_must_be_there(
        self, ran: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self.run(monkeypatch, "--only", "3.99") == 1
        assert ran == []
