"""The shape of the code: no import circle, polling rules without a client, classes and modules not too large.

``tests/test_layers.py`` holds which part may import which.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.imports import SOURCES, import_graph, imported_names, modules, tree

#: The modules of ``core/polling`` that decide; the others send requests.
POLLING_RULES = ["policy", "result", "strategy", "tracker"]
MOST_LINES = 450
MOST_NAMES = 30
#: Classes with more names than that, and why.
LARGE_CLASSES = {
    "remote_tasks_sandbox.qstash.engine.QStashEngine": "the steps of a delivery, all under one lock",
}
#: Modules that raise a bare ``ValueError``, and why; everywhere else it would be an argument's, which has a
#: class of its own, so that Airflow does not retry it.
RAISE_VALUE_ERRORS = {
    "a2a.api.extras": "an extra that cannot be right; pydantic takes nothing else",
    "a2a.api.wire": "a response of another shape",
    "a2a.models": "a response of another shape",
    "bases.files": "a file that is not yet written to the end: a retry may help",
    "bases.paths": "a file system that may recover",
    "core.http.parsing": "a response of another shape; the client makes an InvalidResponseError of it",
    "core.push.rest_bell": "a response of another shape",
    "manus.api.v1": "a response of another shape",
    "manus.api.v2": "a response of another shape",
    "manus.api.v2_envelope": "a response of another shape",
    "manus.attachments": "a file system that may recover",
    "manus.service": "extras that do not fit together; pydantic takes nothing else",
    "qstash.api.v2": "a response of another shape",
    "qstash.api.workflows": "a response of another shape",
    "qstash.models": "a response of another shape",
}


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Return the sets of nodes that reach each other (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(node: str) -> None:
        index[node] = lowest[node] = len(index)
        stack.append(node)
        for after in graph[node]:
            if after not in index:
                visit(after)
            if after in stack:
                lowest[node] = min(lowest[node], lowest[after])
        if lowest[node] == index[node]:
            group = set(stack[stack.index(node) :])
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(group)

    for node in graph:
        if node not in index:
            visit(node)
    return found


def own_names(kind: ast.ClassDef) -> set[str]:
    """Return the methods and attributes that a class defines itself, in its body or on ``self``."""
    found: set[str] = set()
    for node in kind.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    for node in ast.walk(kind):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
        ):
            found.add(node.attr)
    return {name for name in found if not name.startswith("__")}


def constructor_parameters(kind: ast.ClassDef) -> set[str]:
    """Return the parameters of a class's constructor, which are the fields of a dataclass."""
    if any("dataclass" in ast.unparse(decorator) for decorator in kind.decorator_list):
        return {
            node.target.id
            for node in kind.body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        }
    return {
        argument.arg
        for node in kind.body
        if isinstance(node, ast.FunctionDef) and node.name == "__init__"
        for argument in (*node.args.args, *node.args.kwonlyargs)
    }


def large_classes() -> Iterator[tuple[str, int]]:
    for package in SOURCES:
        for module, path in modules(package).items():
            for node in ast.walk(tree(path)):
                if isinstance(node, ast.ClassDef):
                    # A parameter that the constructor keeps is part of the interface, not of the machinery.
                    count = len(own_names(node) - constructor_parameters(node))
                    if count > MOST_NAMES:
                        yield f"{module}.{node.name}", count


class TestReaders:
    """The rules below are worth what their readers are worth."""

    def test_circle_finder_finds_a_circle_through_a_third_module(self) -> None:
        graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"d"}}

        assert circles(graph) == [{"a", "b", "c"}]

    def test_import_reader_finds_every_kind_of_import(self, tmp_path: Path) -> None:
        module = tmp_path / "module.py"
        module.write_text(
            "import a.b\nfrom c.d import e as x\nif TYPE_CHECKING:\n    import t\nelse:\n    import f\n"
            "def g():\n    try:\n        from h import i\n    except ImportError:\n        import j as k\n"
        )

        assert imported_names(module) == {"a.b", "c.d.e", "t", "f", "h.i", "j"}

    def test_name_counter_counts_what_a_class_defines_itself(self) -> None:
        (kind,) = ast.parse(
            "class A:\n    x = 1\n    y: int\n    def __init__(self, z):\n        self.z = z\n"
            "    def m(self):\n        self.n = 1\n        self.x = self.unset\n"
        ).body
        assert isinstance(kind, ast.ClassDef)

        assert own_names(kind) == {"x", "y", "z", "m", "n"}
        assert constructor_parameters(kind) == {"self", "z"}

    def test_name_counter_takes_fields_of_a_dataclass_for_parameters(self) -> None:
        (kind,) = ast.parse("@dataclass(frozen=True)\nclass A:\n    x: int\n    def m(self): ...\n").body
        assert isinstance(kind, ast.ClassDef)

        assert own_names(kind) - constructor_parameters(kind) == {"m"}


class TestImports:
    @pytest.mark.parametrize("package", SOURCES)
    def test_package_has_no_import_circle(self, package: str) -> None:
        assert circles(import_graph(package)) == []

    def test_provider_imports_neither_sandbox_nor_dev_nor_tests(self) -> None:
        used = {
            name.split(".")[0]
            for path in modules("remote_tasks_provider").values()
            for name in imported_names(path)
        }

        assert not used & {"remote_tasks_sandbox", "sandbox", "dev", "tests"}

    @pytest.mark.parametrize("module", POLLING_RULES)
    def test_polling_rule_names_no_client_not_even_in_its_types(self, module: str) -> None:
        path = (
            SOURCES["remote_tasks_provider"] / "remote_tasks_provider" / "core" / "polling" / f"{module}.py"
        )
        used = imported_names(path)

        assert not {
            name for name in used if re.search(r"\.http\.(client|transport)\b|^(tenacity|httpx)", name)
        }

    @pytest.mark.parametrize("module", POLLING_RULES)
    def test_polling_rule_loads_no_client_and_no_transport(self, module: str) -> None:
        code = f"import sys, remote_tasks_provider.core.polling.{module}; print(*sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        loaded = set(done.stdout.split())

        assert not loaded & {"tenacity", "requests", "httpx", "airflow"}
        assert not {name for name in loaded if name.endswith((".http.client", ".http.transport"))}


class TestErrors:
    def test_value_error_of_an_argument_has_a_class_of_its_own(self) -> None:
        found = {
            name.removeprefix("remote_tasks_provider.")
            for name, path in modules("remote_tasks_provider").items()
            if re.search(r"raise ValueError\b", path.read_text())
        }

        assert found == RAISE_VALUE_ERRORS.keys()


class TestSize:
    @pytest.mark.parametrize("package", SOURCES)
    def test_module_has_a_readable_number_of_lines(self, package: str) -> None:
        lines = {name: len(path.read_text().splitlines()) for name, path in modules(package).items()}

        assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}

    def test_class_has_a_readable_number_of_own_names(self) -> None:
        assert dict(large_classes()).keys() == LARGE_CLASSES.keys()
