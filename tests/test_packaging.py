"""What is shipped: the wheel's contents and metadata, and the files that environments are built from."""

from __future__ import annotations

import email
import importlib
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from dev.compat import NEWEST, VERSIONS
from dev.environments import CONSTRAINTS, constraints_file, is_withdrawn

if TYPE_CHECKING:
    from email.message import Message

ROOT = Path(__file__).resolve().parents[1]
DISTRIBUTION = "airflow-provider-remote-tasks"
PACKAGE = "remote_tasks_provider"


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.fixture(scope="module")
def wheel_metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return email.message_from_bytes(wheel.read(name))


class TestWheel:
    def test_wheel_holds_exactly_one_import_package(self, wheel: zipfile.ZipFile) -> None:
        tops = {name.split("/")[0] for name in wheel.namelist()}

        assert {top for top in tops if not top.endswith(".dist-info")} == {PACKAGE}

    def test_wheel_holds_every_source_file(self, wheel: zipfile.ZipFile) -> None:
        source = ROOT / "provider"
        files = {path.relative_to(source).as_posix() for path in (source / PACKAGE).rglob("*.py")}

        assert files
        assert files <= set(wheel.namelist())

    def test_wheel_is_marked_as_typed(self, wheel: zipfile.ZipFile) -> None:
        assert f"{PACKAGE}/py.typed" in wheel.namelist()

    def test_wheel_holds_the_licence(self, wheel: zipfile.ZipFile) -> None:
        (name,) = [name for name in wheel.namelist() if name.endswith("/LICENSE")]

        assert b"Apache License" in wheel.read(name)

    def test_wheel_is_for_any_python_3_and_any_platform(self, wheel: zipfile.ZipFile) -> None:
        assert str(wheel.filename).endswith("-py3-none-any.whl")

    def test_wheel_holds_no_test_code(self, wheel: zipfile.ZipFile) -> None:
        assert not [name for name in wheel.namelist() if re.search(r"(^|/)(tests?|conftest)[/.]", name)]


class TestMetadata:
    def test_description_is_the_readme_without_links_to_files(self, wheel_metadata: Message) -> None:
        assert wheel_metadata["Description-Content-Type"].startswith("text/markdown")
        description = wheel_metadata.get_payload(decode=True).decode()
        title = (ROOT / "README.md").read_text().splitlines()[0]
        assert description.startswith(title)
        assert re.findall(r"\]\((?!https?:)[^)]*\)", description) == []

    def test_classifiers_name_airflow(self, wheel_metadata: Message) -> None:
        classifiers = wheel_metadata.get_all("Classifier")

        assert "Framework :: Apache Airflow :: Provider" in classifiers
        assert "Typing :: Typed" in classifiers

    def test_classified_pythons_are_allowed(self, wheel_metadata: Message) -> None:
        assert wheel_metadata["Requires-Python"] == ">=3.11"
        minors = [
            int(classifier.rpartition(".")[2])
            for classifier in wheel_metadata.get_all("Classifier")
            if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", classifier)
        ]
        assert min(minors) == 11

    def test_version_is_the_shipped_one(self, project: dict[str, Any]) -> None:
        version = project["project"]["version"]

        assert metadata.version(DISTRIBUTION) == version
        assert importlib.import_module(PACKAGE).__version__ == version


class TestEntryPoint:
    def test_provider_info_is_found_by_airflow(self) -> None:
        points = metadata.distribution(DISTRIBUTION).entry_points.select(group="apache_airflow_provider")
        (point,) = points

        assert point.name == "provider_info"
        assert point.load()()["package-name"] == DISTRIBUTION


class TestConstraints:
    def test_constraints_exist_for_every_supported_airflow(self) -> None:
        assert {path.name for path in CONSTRAINTS.iterdir()} == {constraints_file(v).name for v in VERSIONS}

    @pytest.mark.parametrize("version", VERSIONS)
    def test_constraints_fit_the_providers_of_a_deployment(
        self, project: dict[str, Any], version: str
    ) -> None:
        pins = dict(
            line.split("==")
            for line in constraints_file(version).read_text().splitlines()
            if not line.startswith("#")
        )
        wanted = [Requirement(line) for line in project["dependency-groups"]["production"]]
        # The bound of botocore, which the Amazon provider needs.
        wanted.append(Requirement("python-dateutil>=2.1,<3"))
        unfit = [
            str(one)
            for one in wanted
            if not one.specifier.contains(pins.get(one.name, "0"), prereleases=True)
        ]

        assert unfit == []

    @pytest.mark.parametrize("version", VERSIONS)
    def test_constraints_are_exact_versions(self, version: str) -> None:
        lines = constraints_file(version).read_text().splitlines()
        pins = [line for line in lines if not line.startswith("#")]

        assert f"apache-airflow=={version}" in pins
        # No extras, index, URL or path: any of those would tie the file to one machine.
        assert [pin for pin in pins if not re.fullmatch(r"[a-z0-9.-]+==[a-z0-9.+!]+( ; .+)?", pin)] == []

    def test_makefile_builds_for_the_newest_airflow(self) -> None:
        assert f"AIRFLOW_VERSION := {NEWEST}\n" in (ROOT / "Makefile").read_text()

    def test_newest_airflow_is_the_last_final_release(self) -> None:
        final = [version for version in VERSIONS if not Version(version).is_prerelease]

        assert max(final, key=Version) == NEWEST

    @pytest.mark.parametrize(
        ("version", "answer", "withdrawn"),
        [
            ("3.4.0b2", "Because there is no version of apache-airflow==3.4.0b2 and you require", True),
            (
                "3.4.0b2",
                "Because there is no version of\n  apache-airflow-core==3.4.0b2 and apache-airflow",
                True,
            ),
            ("3.4.0b2", "Because there is no version of apache-airflow==3.4.0b20 and you require", False),
            ("3.4.0b2", "Because there is no version of httpx==1.0 and you require httpx==1.0", False),
            ("3.4.0b2", "error: Failed to fetch: http://127.0.0.1:9/apache-airflow/", False),
            ("3.3.2", "Because there is no version of apache-airflow==3.3.2 and you require", False),
        ],
    )
    def test_prerelease_that_the_index_lacks_is_withdrawn(
        self, version: str, answer: str, withdrawn: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        refused = subprocess.CompletedProcess([], 1, stdout="", stderr=answer)
        monkeypatch.setattr("dev.environments.subprocess.run", lambda *_args, **_options: refused)

        assert is_withdrawn(version) is withdrawn

    def test_prerelease_gives_way_to_its_final_release(self) -> None:
        versions = [Version(version) for version in VERSIONS]

        assert [one for one in versions if one.is_prerelease and one <= Version(NEWEST)] == []
