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

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {"remote_tasks_provider": ROOT / "provider", "remote_tasks_sandbox": ROOT / "sandbox"}
#: The modules of ``core/polling`` that decide; the others send requests.
POLLING_RULES = ["policy", "result", "strategy", "tracker"]
MOST_LINES = 450
MOST_NAMES = 30
#: Classes with more names than that, and why.
LARGE_CLASSES = {
    "remote_tasks_provider.qstash.hooks.QStashHook": "a method for each operation that users can call",
    "remote_tasks_sandbox.qstash.engine.QStashEngine": "the steps of a delivery, all under one lock",
}


def modules(package: str) -> dict[str, Path]:
    """Return the modules of a package by their dotted name."""
    source = SOURCES[package]
    found = {}
    for path in sorted((source / package).rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported_names(path: Path) -> Iterator[str]:
    """Yield the dotted names that a module imports, for type checkers too; ``from a import b`` as ``a.b``."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def import_graph(package: str) -> dict[str, set[str]]:
    """Return module → the modules of the same package that it imports."""
    known = modules(package)

    def home(name: str) -> str | None:
        while name and name not in known:
            name = name.rpartition(".")[0]
        return name or None

    return {
        name: {found for used in imported_names(path) if (found := home(used)) and found != name}
        for name, path in known.items()
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

    def test_import_reader_sees_imports_for_type_checkers(self, tmp_path: Path) -> None:
        module = tmp_path / "module.py"
        module.write_text("from a.b import c\nif TYPE_CHECKING:\n    import d.e\ndef f():\n    import g\n")

        assert set(imported_names(module)) == {"a.b.c", "d.e", "g"}

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
        used = set(imported_names(path))

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


class TestSize:
    @pytest.mark.parametrize("package", SOURCES)
    def test_module_has_a_readable_number_of_lines(self, package: str) -> None:
        lines = {name: len(path.read_text().splitlines()) for name, path in modules(package).items()}

        assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}

    def test_class_has_a_readable_number_of_own_names(self) -> None:
        assert dict(large_classes()).keys() == LARGE_CLASSES.keys()
