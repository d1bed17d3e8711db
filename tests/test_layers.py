"""Which part may import which: the arrows that keep rules in one place and vendors apart.

Read from the source, so that an import inside a function counts as well as one at the top. The one exception
is an import under ``if TYPE_CHECKING``, which never runs.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import remote_tasks_provider
from remote_tasks_provider.get_provider_info import manifests

PACKAGE = "remote_tasks_provider"
ROOT = Path(next(iter(remote_tasks_provider.__path__)))
SANDBOX = ROOT.parents[1] / "sandbox" / "remote_tasks_sandbox"
VENDORS = sorted(manifest.folder for manifest in manifests())
PARTS = {"core", "bases", *VENDORS}


def _files(part: str) -> list[Path]:
    return sorted((ROOT / part).rglob("*.py"))


def _running(nodes: list[ast.stmt]) -> Iterator[ast.AST]:
    """Yield all nodes except those that only a type checker reads."""
    pending: list[ast.AST] = list(nodes)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            pending += node.orelse
            continue
        yield node
        pending += ast.iter_child_nodes(node)


def _imports(path: Path) -> set[str]:
    """Return the dotted names that a module imports, ``from a import b`` as ``a.b``."""
    found: set[str] = set()
    for node in _running(ast.parse(path.read_text()).body):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _tops(part: str) -> set[str]:
    return {name.split(".")[0] for path in _files(part) for name in _imports(path)}


def _parts_used(part: str) -> set[str]:
    names = {name for path in _files(part) for name in _imports(path)}
    return {name.split(".")[1] for name in names if name.startswith(f"{PACKAGE}.")} & PARTS


class TestReader:
    """The rules below are worth what the reader of imports is worth."""

    def test_reader_finds_all_kinds_of_import(self, tmp_path: Path) -> None:
        module = tmp_path / "module.py"
        module.write_text(
            "import a.b\nfrom c.d import e as x\nif TYPE_CHECKING:\n    import never\nelse:\n    import f\n"
            "def g():\n    try:\n        from h import i\n    except ImportError:\n        import j as k\n"
        )

        assert _imports(module) == {"a.b", "c.d.e", "f", "h.i", "j"}

    def test_parts_exist(self) -> None:
        assert {"manus", "qstash"} <= set(VENDORS)
        assert all(_files(part) for part in PARTS)


class TestArrows:
    def test_core_imports_neither_airflow_nor_another_part(self) -> None:
        assert _parts_used("core") == {"core"}
        assert "airflow" not in _tops("core")

    def test_bases_import_core_and_no_vendor(self) -> None:
        assert _parts_used("bases") == {"bases", "core"}

    @pytest.mark.parametrize("vendor", VENDORS)
    def test_vendor_imports_neither_another_vendor_nor_the_sandbox(self, vendor: str) -> None:
        assert _parts_used(vendor) == {vendor, "bases", "core"}

    @pytest.mark.parametrize("vendor", VENDORS)
    def test_models_api_and_service_of_a_vendor_import_no_airflow(self, vendor: str) -> None:
        for path in _files(vendor):
            if path.stem in ("models", "service", "manifest") or path.parent.name == "api":
                names = _imports(path)
                assert not {name for name in names if name.split(".")[0] == "airflow"}, path
                assert not {name for name in names if name.startswith(f"{PACKAGE}.bases")}, path

    def test_sandbox_and_provider_do_not_import_each_other(self) -> None:
        sandbox = {name for path in SANDBOX.rglob("*.py") for name in _imports(path)}

        assert not {part for part in PARTS if "remote_tasks_sandbox" in _tops(part)}
        assert not {name.split(".")[0] for name in sandbox} & {"airflow", PACKAGE}

    def test_modules_beside_the_parts_import_only_core_manifest(self) -> None:
        for path in ROOT.glob("*.py"):
            own = {name for name in _imports(path) if name.startswith(f"{PACKAGE}.")}
            assert own <= {f"{PACKAGE}.core.manifest.Manifest"}, path


class TestSockets:
    def test_http_libraries_are_imported_only_by_the_transports(self) -> None:
        users = {
            path.relative_to(ROOT).as_posix()
            for part in PARTS
            for path in _files(part)
            if {name.split(".")[0] for name in _imports(path)} & {"requests", "httpx", "urllib3", "aiohttp"}
        }

        assert users == {"core/http/transport.py", "core/files/transfer.py"}


class TestMetadata:
    @pytest.mark.parametrize(
        "path",
        [ROOT / "__init__.py", ROOT / "get_provider_info.py", ROOT / "core" / "manifest.py"]
        + [ROOT / vendor / name for vendor in VENDORS for name in ("__init__.py", "manifest.py")]
        + [ROOT / "core" / "__init__.py"],
        ids=lambda path: path.relative_to(ROOT).as_posix(),
    )
    def test_metadata_modules_import_only_the_standard_library_and_manifests(self, path: Path) -> None:
        own = {PACKAGE, f"{PACKAGE}.core.manifest.Manifest", f"{PACKAGE}.core.manifest.FormField"}
        others = _imports(path) - own

        assert {name.split(".")[0] for name in others} <= sys.stdlib_module_names

    def test_provider_info_loads_no_airflow_no_http_library_and_no_hook(self) -> None:
        code = (
            "import sys\n"
            f"from {PACKAGE}.get_provider_info import get_provider_info\n"
            "get_provider_info()\n"
            "print(*sorted(sys.modules))\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        loaded = set(done.stdout.split())

        assert not {name.split(".")[0] for name in loaded} & {
            "airflow",
            "requests",
            "httpx",
            "pydantic",
            "tenacity",
        }
        assert {name for name in loaded if name.startswith(f"{PACKAGE}.")} == {
            f"{PACKAGE}.get_provider_info",
            f"{PACKAGE}.core",
            f"{PACKAGE}.core.manifest",
            *(f"{PACKAGE}.{vendor}" for vendor in VENDORS),
            *(f"{PACKAGE}.{vendor}.manifest" for vendor in VENDORS),
        }
