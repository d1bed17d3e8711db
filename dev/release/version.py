"""Whether the version, the changelog and the tag of a commit fit together."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from datetime import UTC, date, datetime

from dev.release.facts import DISTRIBUTIONS, CheckError, Release, run

CHANGELOG = "docs/changelog.md"


def check_version(release: Release) -> str:
    """The version is the same everywhere, and the changelog begins with it."""
    versions = {
        name: tomllib.loads(run("git", "show", f"HEAD:{_path(folder, 'pyproject.toml')}"))["project"][
            "version"
        ]
        for folder, name in DISTRIBUTIONS.items()
    }
    if len(set(versions.values())) > 1:
        raise CheckError(f"The distributions have different versions: {versions}")
    release.version = next(iter(versions.values()))
    title, release.notes = changelog_head(run("git", "show", f"HEAD:{CHANGELOG}"))
    if title.split()[0] != release.version:
        raise CheckError(f"{CHANGELOG} begins with {title!r}, pyproject.toml has {release.version}")
    return f"{release.version}, {len(release.notes.splitlines())} lines of notes"


def changelog_head(text: str) -> tuple[str, str]:
    """Return the title and the text of a changelog's first section."""
    sections = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    if len(sections) < 3:
        raise CheckError(f"{CHANGELOG} has no section")
    return sections[1].strip(), sections[2].strip()


def check_tag(release: Release) -> str:
    """The commit can be tagged: nothing is uncommitted, the changelog has a date, the tag is free."""
    problems = list(tag_problems(release))
    if problems and not release.draft:
        raise CheckError("; ".join(problems) + " (ARGS=--draft checks the rest all the same)")
    return f"v{release.version}" if not problems else "not yet: " + "; ".join(problems)


def tag_problems(release: Release) -> Iterator[str]:
    """Yield what speaks against a tag on this commit."""
    wanted = f"v{release.version}"
    if release.tag not in (None, wanted):
        yield f"the tag is {release.tag}, the version wants {wanted}"
    if changed := run("git", "status", "--porcelain").splitlines():
        yield f"{len(changed)} files are not committed, {changed[0].split()[-1]} among them"
    title, _ = changelog_head(run("git", "show", f"HEAD:{CHANGELOG}"))
    if not (day := _day(title)) or day > datetime.now(tz=UTC).date():
        yield f"the title {title!r} in {CHANGELOG} does not end in ' - ' and the day of the release"
    tagged = run("git", "tag", "--list", wanted, "--format", "%(objectname) %(*objectname)").split()
    if tagged and run("git", "rev-parse", "HEAD").strip() not in tagged:
        yield f"{wanted} is the tag of another commit"


def _path(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"


def _day(title: str) -> date | None:
    """Return the day that ends a title of the changelog."""
    try:
        return datetime.strptime(title.partition(" - ")[2], "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None
