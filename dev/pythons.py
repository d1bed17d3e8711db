"""`make test-pythons`: run tests/core and tests/bases on the other supported Pythons, on the newest Airflow.

This module holds the one list of supported Pythons. Each gets an environment of its own in ``.venvs/``. A
Python that is not on this machine is left out, and the last line says so.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from dev.compat import NEWEST
from dev.environments import ROOT, constraints_file, install_project, uv
from dev.terminal import say

#: Supported Pythons, oldest first; the classifiers and the GitHub workflows name the same.
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
#: The newest Python that each supported Airflow allows.
NEWEST_PYTHON = {
    "2.11.2": "3.12",
    "3.0.6": "3.12",
    "3.1.8": "3.13",
    "3.2.2": "3.14",
    "3.3.2": "3.14",
    "3.4.0b2": "3.14",
}
#: The tests that depend on the language and the standard library.
TESTS = ("tests/core", "tests/bases")
ENVIRONMENTS = ROOT / ".venvs"


def find(version: str) -> Path | None:
    """Return a working Python of that version, or ``None``: on the path, or one that pyenv has installed."""
    installed = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin"), reverse=True)
    for folder in [*os.environ.get("PATH", "").split(os.pathsep), *map(str, installed)]:
        candidate = shutil.which(f"python{version}", path=folder)
        # pyenv puts programs on the path that only say which versions it knows.
        if (
            candidate
            and subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0
        ):
            return Path(candidate)
    return None


def environment(version: str, base: Path) -> Path:
    """Return the Python of a version's environment, and build or update that environment if needed."""
    folder = ENVIRONMENTS / f"python-{version}"
    python, stamp = folder / "bin" / "python", folder / ".built"
    sources = [ROOT / "pyproject.toml", ROOT / "sandbox" / "pyproject.toml", constraints_file(NEWEST)]
    if stamp.exists() and all(source.stat().st_mtime <= stamp.stat().st_mtime for source in sources):
        return python
    if not python.exists():
        uv("venv", "--quiet", "--python", base, folder)
    install_project(python, NEWEST, "dev")
    stamp.touch()
    return python


def passes(version: str, base: Path, pytest_arguments: list[str]) -> bool:
    """Run the tests on one Python, with pytest's own progress, and return whether they passed."""
    command = [environment(version, base), "-m", "pytest", "-q", "-n", "logical", "-p", "no:cacheprovider"]
    return subprocess.run([*command, *TESTS, *pytest_arguments], cwd=ROOT, check=False).returncode == 0


def main() -> int:
    """Run the tests on each Python; return 1 if they failed on any."""
    this = f"{sys.version_info.major}.{sys.version_info.minor}"
    parser = argparse.ArgumentParser(prog="make test-pythons", description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PYTHONS, action="append", help="this version; may be repeated")
    parser.add_argument(
        "--newest", action="store_true", help="only the newest of this machine, if it is newer"
    )
    arguments, pytest_arguments = parser.parse_known_args()
    found = {version: find(version) for version in arguments.only or PYTHONS if version != this}
    versions = {version: python for version, python in found.items() if python}
    if arguments.newest:
        newer = PYTHONS[PYTHONS.index(this) + 1 :] if this in PYTHONS else ()
        versions = {version: versions[version] for version in newer if version in versions}
        versions = dict(list(versions.items())[-1:])
    failed = []
    for number, (version, base) in enumerate(versions.items(), start=1):
        say(f"[{number}/{len(versions)}] Python {version}: {' '.join(TESTS)} ...")
        if not passes(version, base, pytest_arguments):
            failed.append(version)
    absent = ", ".join(version for version, python in found.items() if not python)
    say(f"Tested on Python {', '.join(versions) or 'none'}; not on this machine: {absent or 'none'}")
    if failed:
        say(f"The tests failed on Python {', '.join(failed)}")
    # What was asked for by name must be there.
    return 1 if failed or (arguments.only and absent) else 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
