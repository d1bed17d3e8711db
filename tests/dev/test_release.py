"""What `make release-check` refuses. The command itself builds and installs: the GitHub workflows run it."""

from __future__ import annotations

import re
import subprocess
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dev.environments import ROOT
from dev.readme import Description, without_relative_links
from dev.release import build, facts, version
from dev.release.__main__ import STEPS, check
from dev.release.facts import CheckError, Release

TODAY = datetime.now(tz=UTC).date()


def git(repository: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main")
    subprocess.run(["git", *identity, *arguments], cwd=repository, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit that can be released."""
    folder = tmp_path / "repository"
    for name, text in {
        "pyproject.toml": '[project]\nname = "a"\nversion = "1.2.0"\n',
        "sandbox/pyproject.toml": '[project]\nname = "b"\nversion = "1.2.0"\n',
        "docs/changelog.md": f"# Changelog\n\n## 1.2.0 - {TODAY}\n\n- New.\n\n## 1.1.0\n\n- Old.\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "init", "-q")
    commit(folder)
    monkeypatch.setattr(version, "run", lambda *command: facts.run(*command, cwd=folder))
    return folder


def commit(repository: Path) -> None:
    git(repository, "add", "--all")
    git(repository, "commit", "-q", "-m", "A step")


def write(repository: Path, name: str, old: str, new: str) -> None:
    path = repository / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    commit(repository)


def release(*, tag: str | None = None, draft: bool = False) -> Release:
    return Release(Path(), tag, draft)


class TestVersion:
    def test_version_and_notes_come_from_the_commit(self, repository: Path) -> None:
        found = release()

        assert version.check_version(found) == "1.2.0, 1 lines of notes"
        assert (found.version, found.notes) == ("1.2.0", "- New.")

    def test_versions_of_two_distributions_must_be_equal(self, repository: Path) -> None:
        write(repository, "sandbox/pyproject.toml", "1.2.0", "1.1.0")

        with pytest.raises(CheckError, match="different versions"):
            version.check_version(release())

    @pytest.mark.parametrize("title", ["Unreleased", "1.2.1", "1.2"])
    def test_changelog_must_begin_with_the_version(self, title: str, repository: Path) -> None:
        write(repository, "docs/changelog.md", f"1.2.0 - {TODAY}", title)

        with pytest.raises(CheckError, match=title):
            version.check_version(release())

    def test_changelog_without_a_section_is_refused(self) -> None:
        with pytest.raises(CheckError, match="no section"):
            version.changelog_head("# Changelog\n")


class TestTag:
    def checked(self, repository: Path, *, tag: str | None = None, draft: bool = False) -> str:
        found = release(tag=tag, draft=draft)
        version.check_version(found)
        return version.check_tag(found)

    @pytest.mark.parametrize("tag", [None, "v1.2.0"])
    def test_clean_commit_can_be_tagged(self, tag: str | None, repository: Path) -> None:
        assert self.checked(repository, tag=tag) == "v1.2.0"

    @pytest.mark.parametrize("annotated", [True, False])
    def test_tag_of_this_commit_is_no_problem(self, annotated: bool, repository: Path) -> None:
        git(repository, "tag", *(["-a", "-m", "x"] if annotated else []), "v1.2.0")

        assert self.checked(repository) == "v1.2.0"

    def test_tag_of_another_commit_is_refused(self, repository: Path) -> None:
        git(repository, "tag", "v1.2.0")
        (repository / "new").write_text("")
        commit(repository)

        with pytest.raises(CheckError, match="another commit"):
            self.checked(repository)

    def test_tag_that_is_not_the_version_is_refused(self, repository: Path) -> None:
        with pytest.raises(CheckError, match=r"the version wants v1\.2\.0"):
            self.checked(repository, tag="v1.3.0")

    def test_tag_is_refused_while_a_file_is_not_committed(self, repository: Path) -> None:
        (repository / "forgotten").write_text("")

        with pytest.raises(CheckError, match="forgotten"):
            self.checked(repository)

    @pytest.mark.parametrize(
        "day", ["", " - soon", f" - {TODAY + timedelta(days=2)}", " 2020-01-01", " - 2020-13-40"]
    )
    def test_tag_needs_a_day_in_the_changelog(self, day: str, repository: Path) -> None:
        write(repository, "docs/changelog.md", f" - {TODAY}", day)

        with pytest.raises(CheckError, match="day of the release"):
            self.checked(repository)

    def test_draft_says_what_is_missing_and_goes_on(self, repository: Path) -> None:
        (repository / "forgotten").write_text("")

        assert self.checked(repository, draft=True).startswith("not yet: 1 files")


class TestDifferences:
    def test_differences_name_the_member(self, tmp_path: Path) -> None:
        for number in (1, 2):
            with zipfile.ZipFile(tmp_path / f"{number}.whl", "w") as archive:
                archive.writestr(zipfile.ZipInfo("same"), "x")
                archive.writestr(zipfile.ZipInfo("other"), str(number))

        assert build._differences(tmp_path / "1.whl", tmp_path / "2.whl") == ["other"]

    def test_differences_of_equal_members_are_their_order(self, tmp_path: Path) -> None:
        for number, names in enumerate((("a", "b"), ("b", "a")), start=1):
            with zipfile.ZipFile(tmp_path / f"{number}.whl", "w") as archive:
                for name in names:
                    archive.writestr(zipfile.ZipInfo(name), "x")

        assert build._differences(tmp_path / "1.whl", tmp_path / "2.whl") == ["their order"]


def test_notes_keep_only_links_that_lead_somewhere_on_another_page() -> None:
    text = "See [the\npage](xcom.md#keys), [it](../SECURITY.md) and [this](https://example.com/a)."

    assert without_relative_links(text) == "See the\npage, it and [this](https://example.com/a)."


def test_description_of_the_package_is_the_readme_without_its_links_to_files() -> None:
    metadata: dict[str, Any] = {}
    Description(str(ROOT), {}).update(metadata)
    text = metadata["readme"]["text"]

    assert "## What you can rely on" in text
    assert set(re.findall(r"\]\((\w+):", text)) == {"https"}
    assert "](docs/" not in text
    assert "<!--" not in text


class TestSteps:
    def test_steps_are_numbered_and_named(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def look(_release: Release) -> str:
            """Look at it."""
            return "fine"

        monkeypatch.setattr("dev.release.__main__.STEPS", (look, look))
        check(release())

        first, outcome, second, _ = capsys.readouterr().out.splitlines()
        assert (first, second) == ("[ 1/2] Look at it ...", "[ 2/2] Look at it ...")
        assert outcome.startswith("      fine  (")

    def test_steps_say_what_they_do(self) -> None:
        assert all(step.__doc__ for step in STEPS)

    def test_command_that_fails_shows_its_output(self) -> None:
        with pytest.raises(CheckError, match=r"failed with 3\nsaid"):
            facts.run("sh", "-c", "echo said; exit 3")


def test_builds_differ_in_what_must_not_matter() -> None:
    first, second = build.BUILDS

    assert first["umask"] != second["umask"]
    assert all(first["env"][name] != second["env"][name] for name in first["env"])
