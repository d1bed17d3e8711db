"""What the modules of the package import: nothing in a circle, and nothing of Airflow or of the provider."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import remote_tasks_sandbox

PACKAGE = "remote_tasks_sandbox"
FOLDER = Path(remote_tasks_sandbox.__file__).parent
DEPENDENCIES = {"croniter", "cryptography", "uvicorn"}


def module_name(path: Path) -> str:
    parts = [PACKAGE, *path.relative_to(FOLDER).with_suffix("").parts]
    return ".".join(parts).removesuffix(".__init__")


def imported_names(path: Path) -> set[str]:
    """Return the dotted names that a file imports anywhere, ``from a import b`` as ``a.b``."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def import_graph() -> dict[str, set[str]]:
    """Return which module imports which; the vendors that ``state`` finds at run time are imports, too."""
    modules = {module_name(path): path for path in FOLDER.rglob("*.py")}
    graph = {}
    for name, path in modules.items():
        imported = imported_names(path)
        graph[name] = {one for one in modules if one in imported}
        graph[name] |= {one.rpartition(".")[0] for one in imported} & set(modules) - {PACKAGE}
    graph[f"{PACKAGE}.state"] |= {
        name for name in modules if name.endswith(".vendor") and name.count(".") == 2
    }
    return graph


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Return the strongly connected components of more than one module."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        seen, pending = set(), list(graph[start])
        while pending:
            name = pending.pop()
            if name not in seen:
                seen.add(name)
                pending += graph[name]
        reached[start] = seen
    found = {frozenset({one, *(other for other in reached[one] if one in reached[other])}) for one in graph}
    return [set(component) for component in found if len(component) > 1]


class TestImports:
    def test_modules_import_nothing_in_a_circle(self):
        assert circles(import_graph()) == []

    def test_circles_are_found(self):
        assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]

    def test_modules_import_the_standard_library_and_the_dependencies(self):
        imported = {name for path in FOLDER.rglob("*.py") for name in imported_names(path)}
        tops = {name.partition(".")[0] for name in imported}
        assert tops - set(sys.stdlib_module_names) == {PACKAGE, *DEPENDENCIES}

    def test_package_loads_neither_airflow_nor_the_provider(self):
        code = (
            "import sys, remote_tasks_sandbox.__main__\n"
            "assert not [name for name in ('airflow', 'remote_tasks_provider') if name in sys.modules]\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


class TestVendors:
    def test_shared_modules_name_no_vendor(self):
        words = ("manus", "qstash", "upstash")
        for path in FOLDER.glob("*.py"):
            if path.name in ("__init__.py", "__main__.py"):
                continue
            code = path.read_text().lower()
            assert not [word for word in words if word in code], path.name
