"""What lies beside the code: GitHub's workflows and forms, the hooks, and the version in all its places.

`make check-workflows` checks the form of GitHub's files. This module checks that they say what the project
does.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.version import Version

from dev.compat import NEWEST, VERSIONS
from dev.pythons import NEWEST_PYTHON, PYTHONS

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def project(path: str = "pyproject.toml") -> dict[str, Any]:
    return tomllib.loads((ROOT / path).read_text())["project"]


def jobs(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())["jobs"]


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in jobs(path).values() for step in job["steps"]]


class TestPythons:
    def test_classifiers_are_the_supported_pythons(self) -> None:
        found = [
            re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", c) for c in project()["classifiers"]
        ]

        assert tuple(match[1] for match in found if match) == PYTHONS
        assert project()["requires-python"] == f">={PYTHONS[0]}"

    def test_workflow_tests_every_python(self) -> None:
        (matrix,) = [job["strategy"]["matrix"] for name, job in jobs_of_the_tests().items() if name == "test"]

        assert tuple(matrix["python"]) == PYTHONS

    def test_workflow_tests_every_airflow_on_its_oldest_and_newest_python(self) -> None:
        rows = jobs_of_the_tests()["compat"]["strategy"]["matrix"]["include"]

        wanted = [(v, python) for v in VERSIONS for python in (PYTHONS[0], NEWEST_PYTHON[v])]
        assert [(row["airflow"], row["python"]) for row in rows] == wanted

    def test_newest_python_is_known_for_each_airflow(self) -> None:
        assert list(NEWEST_PYTHON) == list(VERSIONS)
        assert set(NEWEST_PYTHON.values()) <= set(PYTHONS)
        assert NEWEST_PYTHON[NEWEST] == PYTHONS[-1]

    def test_readme_names_every_python(self) -> None:
        (row,) = [
            line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| Python |")
        ]

        assert re.findall(r"3\.\d+", row) == list(PYTHONS)

    def test_versions_page_has_the_newest_python_of_each_airflow(self) -> None:
        text = (ROOT / "docs" / "concepts" / "versions.md").read_text()
        rows = re.findall(r"^\| ([\d., b]+) \| (3\.\d+) \|$", text, flags=re.MULTILINE)

        assert {v: python for airflows, python in rows for v in airflows.split(", ")} == NEWEST_PYTHON


def jobs_of_the_tests() -> dict[str, Any]:
    return jobs(ROOT / ".github" / "workflows" / "test.yml")


class TestVersion:
    def test_version_is_the_same_in_both_distributions(self) -> None:
        assert project("sandbox/pyproject.toml")["version"] == project()["version"]

    def test_version_is_the_first_of_the_changelog(self) -> None:
        text = (ROOT / "docs" / "changelog.md").read_text()
        (version, *_) = re.findall(r"^## (\S+)", text, flags=re.MULTILINE)

        assert Version(version) == Version(project()["version"])

    def test_licence_of_the_sandbox_is_that_of_the_project(self) -> None:
        assert (ROOT / "sandbox" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
class TestWorkflows:
    def test_workflow_runs_existing_make_commands(self, workflow: Path) -> None:
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
        commands = [
            match[1]
            for step in steps(workflow)
            if (match := re.match(r"make ([a-z-]+)", step.get("run", "")))
        ]

        assert set(commands) <= targets

    def test_workflow_pins_an_action_to_one_commit_and_names_its_version(self, workflow: Path) -> None:
        lines = [line for line in workflow.read_text().splitlines() if "uses:" in line]

        assert [
            line for line in lines if not re.search(r"uses: [\w/.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line)
        ] == []

    def test_workflow_has_a_time_limit_for_every_job(self, workflow: Path) -> None:
        assert [name for name, job in jobs(workflow).items() if "timeout-minutes" not in job] == []


def test_actions_have_the_same_commit_in_every_workflow() -> None:
    uses = {step["uses"] for path in WORKFLOWS for step in steps(path) if "uses" in step}

    assert len(uses) == len({action.partition("@")[0] for action in uses})


def test_pre_commit_hooks_run_what_the_environment_has() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    hooks = [hook for repo in yaml.safe_load(text)["repos"] for hook in repo["hooks"]]

    assert {hook["entry"].split()[0] for hook in hooks} <= {
        ".venv/bin/ruff",
        ".venv/bin/mypy",
        ".venv/bin/python",
        "make",
    }
