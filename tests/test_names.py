"""Names of tests: each test starts with its subject, so that a list of failures reads as a list of facts.

A test file is named after the module that it tests. Both rules are checked here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ["tests", "sandbox/tests"]

#: Words that stand in for a subject, or before it: articles, pronouns, conjunctions, prepositions, verbs.
NO_SUBJECT = re.compile(
    r"""test_(
    a|an|the
    |it|its|they|their|this|that|these|those|such|there|here|ones?|none|so|some|others?|another
    |who|whom|whose|which|what|nobody|nothing|somebody|something|everybody|everything
    |all|both|each|either|every|neither|no|nor|not|only|even|also|two
    |and|but|or|if|unless|when|where|while|after|before|because|as|than|though|until
    |about|at|behind|below|beside|by|for|from|in|into|of|on|to|with|without
    |can|cannot|could|does|has|have|is|may|must|was|were
    )_""",
    re.VERBOSE,
)


def _tests(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
            yield node.name


def _misnamed(tree: ast.AST) -> list[str]:
    return [name for name in _tests(tree) if NO_SUBJECT.match(name)]


@pytest.mark.parametrize("folder", FOLDERS)
def test_names_start_with_their_subject(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("test_*.py"))
    misnamed = [
        f"{path.relative_to(ROOT)}::{name}"
        for path in files
        for name in _misnamed(ast.parse(path.read_text()))
    ]

    assert files
    assert not misnamed, "start the names of these tests with their subject"


def test_misnamed_tests_are_found_in_functions_and_classes() -> None:
    code = "class TestX:\n    def {}(self): ...\n    def {}(self): ...\nasync def {}(): ...\ndef {}(): ...\n"
    names = ("test_it_works", "test_sensor_works", "test_when_late", "it_helps")

    assert _misnamed(ast.parse(code.format(*names))) == ["test_when_late", "test_it_works"]


@pytest.mark.parametrize("part", ["core", "bases", "manus", "qstash", "receiver", "page"])
def test_files_are_named_after_the_module_they_test(part: str) -> None:
    package, folder = ROOT / "provider" / "remote_tasks_provider" / part, ROOT / "tests" / part
    files = [path.relative_to(folder) for path in sorted(folder.rglob("test_*.py"))]
    modules = {path: {one.stem for one in (package / path.parent).glob("*")} for path in files}

    assert files
    assert not [
        str(path)
        for path, known in modules.items()
        if not any(f"{path.stem}_".startswith(f"test_{name}_") for name in known)
    ], "name these files test_<module>.py or test_<module>_<aspect>.py"
