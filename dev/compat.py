"""`make test-compat`: run tests/compat, tests/bases and tests/conformance on every supported Airflow.

On the newest version a run of all versions leaves out what `make test` runs there.

Each version has an environment of its own in ``.venvs/``.

This module holds the one list of supported versions. Each version has a constraints file, a full set of
packages that work together; `--refresh-constraints` (`make constraints`) resolves those files again.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dev.airflow.standalone import AirflowStartError, clean_environment, migrated_database
from dev.environments import CONSTRAINTS, ROOT, constraints_file, install_project, is_withdrawn, uv
from dev.terminal import say

#: Supported Airflow versions, and the packages that each needs in an older version.
VERSIONS: dict[str, list[str]] = {
    "2.11.2": [],
    # Newer FastAPI rejects the bodies of the Execution API ("model_attributes_type").
    # universal-pathlib 0.3 breaks its ObjectStoragePath.
    "3.0.6": ["fastapi<0.118", "universal-pathlib<0.3"],
    "3.1.8": [],
    # Newer FastAPI breaks the Execution API's task states ("needs a discriminator"), svcs 26 its registry.
    "3.2.2": ["fastapi<0.137", "svcs<26"],
    "3.3.2": [],
    # A pre-release: skipped where the index has dropped it. Replace it with the final release.
    "3.4.0b2": [],
}
#: The tests that depend on the version: how Airflow loads the classes, and how they wait.
TESTS = ("tests/compat", "tests/bases", "tests/conformance")
#: The newest final release; `make test` runs on it, all but tests/compat.
NEWEST = "3.3.2"
ENVIRONMENTS = ROOT / ".venvs"
#: One more than the cores of a small CI machine: tests that run an Airflow wait for it.
PARALLEL = 3


class WithdrawnError(RuntimeError):
    """The package index no longer has this pre-release of Airflow."""


@dataclass(frozen=True)
class Result:
    """The result of the tests on one version."""

    version: str
    status: int
    output: str
    seconds: float

    @property
    def closing_line(self) -> str:
        """Return pytest's last line, or the last line of whatever went wrong before it."""
        return (self.output.strip().splitlines() or ["no output"])[-1].strip("= ")


def environment(version: str, group: str = "test") -> Path:
    """Return the Python of a version's environment, and build or update that environment if needed.

    :param group: the dependency group to install beside Airflow and the project.
    :raises WithdrawnError: when there is no such environment, and the index has no such pre-release any more.
    """
    folder = ENVIRONMENTS / (f"airflow-{version}" if group == "test" else f"airflow-{version}-{group}")
    python, stamp = folder / "bin" / "python", folder / ".built"
    sources = [ROOT / "pyproject.toml", ROOT / "sandbox" / "pyproject.toml", constraints_file(version)]
    if stamp.exists() and all(source.stat().st_mtime <= stamp.stat().st_mtime for source in sources):
        return python
    if not python.exists():
        uv("venv", "--quiet", "--python", sys.executable, folder)
    try:
        install_project(python, version, group)
    except subprocess.CalledProcessError:
        if is_withdrawn(version):
            raise WithdrawnError("skipped: the package index no longer has this pre-release") from None
        raise
    stamp.touch()
    return python


def run(version: str, tests: Sequence[str], pytest_arguments: list[str]) -> Result:
    """Run the tests on one version."""
    started = time.monotonic()
    say(f"Airflow {version}: building its environment, if it is not there yet ...")
    try:
        python = environment(version)
        migrated_database(python)  # now, so that no test has to wait for it
    except WithdrawnError as error:
        return Result(version, 0, str(error), time.monotonic() - started)
    except (subprocess.CalledProcessError, AirflowStartError) as error:
        return Result(version, 1, str(error), time.monotonic() - started)
    # Warnings are not errors here: each Airflow deprecates some of its own calls. `make test` fails for a
    # deprecated call of this project, on the newest version.
    command = [python, "-m", "pytest", "-W", "default", "-p", "no:cacheprovider", *tests]
    say(f"Airflow {version}: {' '.join(tests)} ...")
    output = []
    with subprocess.Popen(
        [*command, *pytest_arguments],
        cwd=ROOT,
        env={**clean_environment(), "EXPECTED_AIRFLOW": version, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        for line in progress(version, process.stdout or []):
            output.append(line)
    return Result(version, process.returncode, "".join(output), time.monotonic() - started)


def tests_of(version: str, only: list[str] | None) -> Sequence[str]:
    """Return the tests to run on a version: all where you name the version."""
    return TESTS[:1] if version == NEWEST and not only else TESTS


def progress(version: str, lines: Iterable[str]) -> Iterator[str]:
    """Yield pytest's lines, and say how far it is after each tenth."""
    told = 0
    for line in lines:
        yield line
        percent = re.search(r"\[ *(\d+)%\]$", line)
        if percent and int(percent[1]) // 10 > told:
            told = int(percent[1]) // 10
            say(f"Airflow {version}: {percent[1]} %")


def refresh_constraints() -> None:
    """Resolve the packages of every version and write its constraints file."""
    for version, pins in VERSIONS.items():
        if is_withdrawn(version):
            print(f"{version}: the package index no longer has this pre-release; its file stays as it is")
            continue
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as pinned:
            pinned.write("\n".join([f"apache-airflow=={version}", *pins]) + "\n")
            pinned.flush()
            uv(
                *("pip", "compile", "pyproject.toml", "sandbox/pyproject.toml", "--quiet", "--upgrade"),
                *("--python-version", "3.11", "--group", "dev" if version == NEWEST else "test"),
                *("--group", "production"),
                *("--constraint", pinned.name, "--output-file", constraints_file(version)),
                *("--no-header", "--no-annotate"),
            )
        path = constraints_file(version)
        header = (
            f"# Packages that work together with Airflow {version} on Python 3.11; see `make constraints`.\n"
        )
        path.write_text(header + path.read_text())
        print(
            f"{path.relative_to(CONSTRAINTS.parents[1])}: {len(path.read_text().splitlines()) - 1} packages"
        )


def main() -> int:
    """Run the matrix; return 1 if the tests failed on any version."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", choices=list(VERSIONS), action="append", help="this version; may be repeated"
    )
    parser.add_argument("--refresh-constraints", action="store_true")
    arguments, pytest_arguments = parser.parse_known_args()
    if arguments.refresh_constraints:
        refresh_constraints()
        return 0
    # The newest first: they have the most to do, and one of them would be alone at the end.
    versions = arguments.only or list(reversed(VERSIONS))
    failed = []
    with ThreadPoolExecutor(PARALLEL) as pool:
        running = pool.map(
            lambda version: run(version, tests_of(version, arguments.only), pytest_arguments), versions
        )
        for number, result in enumerate(running, start=1):
            if result.status:
                failed.append(result.version)
                print(result.output)
            say(
                f"[{number}/{len(versions)}] Airflow {result.version}: {result.closing_line} "
                f"({result.seconds:.0f} s in all)"
            )
    if failed:
        print(f"The tests failed on Airflow {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
