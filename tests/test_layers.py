"""Which part may import which: the arrows that keep rules in one place and vendors apart.

Read from the source, so that imports inside functions and for type checkers count as well.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import remote_tasks_provider
from remote_tasks_provider.get_provider_info import manifests
from tests.imports import imported_names

PACKAGE = "remote_tasks_provider"
ROOT = Path(next(iter(remote_tasks_provider.__path__)))
SANDBOX = ROOT.parents[1] / "sandbox" / "remote_tasks_sandbox"
VENDORS = sorted(manifest.folder for manifest in manifests())
PARTS = {"core", "bases", "receiver", "page", *VENDORS}


def _files(part: str) -> list[Path]:
    return sorted((ROOT / part).rglob("*.py"))


def _tops(part: str) -> set[str]:
    return {name.split(".")[0] for path in _files(part) for name in imported_names(path)}


def _parts_used(part: str) -> set[str]:
    names = {name for path in _files(part) for name in imported_names(path)}
    return {name.split(".")[1] for name in names if name.startswith(f"{PACKAGE}.")} & PARTS


def test_parts_exist() -> None:
    assert {"manus", "qstash"} <= set(VENDORS)
    assert all(_files(part) for part in PARTS)


class TestArrows:
    def test_core_imports_neither_airflow_nor_another_part(self) -> None:
        assert _parts_used("core") == {"core"}
        assert "airflow" not in _tops("core")

    def test_bases_import_core_and_no_vendor(self) -> None:
        assert _parts_used("bases") == {"bases", "core"}

    def test_receiver_imports_no_vendor_by_name(self) -> None:
        assert _parts_used("receiver") == {"receiver", "bases", "core"}

    def test_page_imports_no_vendor_by_name_and_nothing_imports_the_page(self) -> None:
        assert _parts_used("page") == {"page", "bases", "core"}
        assert not {part for part in PARTS - {"page"} if "page" in _parts_used(part)}

    @pytest.mark.parametrize("vendor", VENDORS)
    def test_vendor_imports_neither_another_vendor_nor_the_sandbox(self, vendor: str) -> None:
        assert _parts_used(vendor) == {vendor, "bases", "core"}

    @pytest.mark.parametrize("vendor", VENDORS)
    def test_models_api_and_service_of_a_vendor_import_no_airflow(self, vendor: str) -> None:
        for path in _files(vendor):
            if path.stem in ("models", "service", "manifest") or path.parent.name == "api":
                names = imported_names(path)
                assert not {name for name in names if name.split(".")[0] == "airflow"}, path
                assert not {name for name in names if name.startswith(f"{PACKAGE}.bases")}, path

    def test_sandbox_and_provider_do_not_import_each_other(self) -> None:
        sandbox = {name for path in SANDBOX.rglob("*.py") for name in imported_names(path)}

        assert not {part for part in PARTS if "remote_tasks_sandbox" in _tops(part)}
        assert not {name.split(".")[0] for name in sandbox} & {"airflow", PACKAGE}

    def test_modules_beside_the_parts_import_only_core_manifest(self) -> None:
        for path in ROOT.glob("*.py"):
            own = {name for name in imported_names(path) if name.startswith(f"{PACKAGE}.")}
            assert own <= {f"{PACKAGE}.core.manifest.Manifest"}, path


class TestSockets:
    def test_http_libraries_are_imported_only_by_the_transports(self) -> None:
        users = {
            path.relative_to(ROOT).as_posix()
            for part in PARTS
            for path in _files(part)
            if {name.split(".")[0] for name in imported_names(path)}
            & {"requests", "httpx", "urllib3", "aiohttp"}
        }

        assert users == {"core/http/session.py", "core/http/transport.py", "core/files/transfer.py"}


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
        others = imported_names(path) - own

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


class TestCostOfImports:
    """A worker imports a DAG file anew for each task, and the DAG processor does it every few seconds."""

    def test_sensors_load_and_build_nothing_that_only_a_request_needs(self) -> None:
        code = (
            "import sys\n"
            + "".join(f"import {PACKAGE}.{vendor}.sensors\n" for vendor in VENDORS)
            + f"from {PACKAGE}.core.http.parsing import RemoteModel\n"
            "def below(kind):\n"
            "    for one in kind.__subclasses__():\n"
            "        yield one\n"
            "        yield from below(one)\n"
            "print('loaded', *sys.modules)\n"
            "print('built', *(one.__name__ for one in below(RemoteModel) if one.__pydantic_complete__))\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        found = {line.split()[0]: set(line.split()[1:]) for line in done.stdout.splitlines() if line}

        assert f"{PACKAGE}.manus.sensors" in found["loaded"]
        unwanted = {"requests", "urllib3", f"{PACKAGE}.bases.files", f"{PACKAGE}.core.files.names"}
        assert not found["loaded"] & unwanted
        # Pydantic builds a generic model when it is given its parameter.
        assert found["built"] <= {"TaskPage"}
