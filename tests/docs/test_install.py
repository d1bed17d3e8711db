"""What the pages and the messages tell a reader to install can be installed today.

The distributions are on no package index yet: their names alone install nothing.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.docs import pages

FILES = [
    *pages.pages(),
    *sorted((pages.ROOT / "provider").rglob("*.py")),
    pages.ROOT / "sandbox" / "README.md",
]
PROJECTS = {
    "airflow_provider_remote_tasks": tomllib.loads(pages.read("pyproject.toml"))["project"],
    "remote_tasks_sandbox": tomllib.loads(pages.read("sandbox/pyproject.toml"))["project"],
}


def commands(path: Path) -> Iterator[list[str]]:
    """Yield the arguments of each `pip install` and `pip wheel` of a file."""
    for command in re.findall(r"\bpip (?:install|wheel) ([^`\n#]+)", path.read_text(encoding="utf-8")):
        text = command.strip()
        # In a Python string, the quotation mark that ends it belongs to the string.
        yield shlex.split(re.sub(r"[\"'],?$", "", text) if path.suffix == ".py" else text)


def arguments(path: Path) -> list[str]:
    """Return what a file tells to install: no options, no folder to write to."""
    found = []
    for command in commands(path):
        words = iter(command)
        for word in words:
            if word == "--wheel-dir":
                next(words)
            elif not word.startswith("-"):
                found.append(word)
    return found


def what_is_wrong(argument: str) -> str | None:
    place, _, extras = argument.rstrip("]").partition("[")
    project = PROJECTS["airflow_provider_remote_tasks"]
    if place.endswith(".whl"):
        name, version = Path(place).name.split("-")[:2]
        if name not in PROJECTS:
            return "no distribution of this project"
        project = PROJECTS[name]
        if version not in ("*.whl", project["version"]):
            return f"the version is {project['version']}"
    elif place.startswith("."):
        if not (pages.ROOT / place / "pyproject.toml").is_file():
            return "no distribution in that folder"
    else:
        if Requirement(argument).name.replace("-", "_") in PROJECTS:
            return "on no package index"
        return None
    known = project.get("optional-dependencies", {})
    return None if set(filter(None, extras.split(","))) <= set(known) else f"the extras are {set(known)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(pages.ROOT).as_posix())
def test_install_commands_name_what_there_is(path: Path) -> None:
    assert {one: what_is_wrong(one) for one in arguments(path) if what_is_wrong(one)} == {}


def test_install_commands_are_found_on_pages_and_in_messages() -> None:
    found = {argument for path in FILES for argument in arguments(path)}

    assert {".", "./sandbox", ".[ai]", ".[socks]", "pysocks", "apache-airflow-providers-common-ai"} <= found


@pytest.mark.parametrize(
    "argument",
    [
        "airflow-provider-remote-tasks[socks]",
        "remote-tasks-sandbox",
        ".[sandbox]",
        "./nowhere",
        "dist/airflow_provider_remote_tasks-0.0.9-py3-none-any.whl",
        "dist/other-1.0-py3-none-any.whl",
    ],
)
def test_install_commands_that_would_fail_are_refused(argument: str) -> None:
    assert what_is_wrong(argument)
