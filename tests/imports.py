"""What the modules of this repository import, read from their source.

Imports inside functions and for type checkers count too.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {"remote_tasks_provider": ROOT / "provider", "remote_tasks_sandbox": ROOT / "sandbox"}


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


def imported_names(path: Path) -> set[str]:
    """Return the dotted names that a module imports; ``from a import b`` as ``a.b``."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


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
