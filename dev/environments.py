"""Install packages with uv into an environment, pinned by one of the files in tests/constraints.

The Makefile calls it for `.venv` and ``dev.compat`` for `.venvs/`; no other place installs packages. It runs
before anything is installed, so it must import nothing but the standard library.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "tests" / "constraints"


def constraints_file(airflow_version: str) -> Path:
    """Return the file that pins every package for one Airflow version."""
    return CONSTRAINTS / f"airflow-{airflow_version}.txt"


def uv_environment() -> dict[str, str]:
    """Return the variables uv runs with, so that it uses the same package index as pip.

    uv does not read pip's settings. Where a machine configures its index or its certificates for pip only,
    both are passed on, unless uv has its own.
    """
    env = dict(os.environ)
    for uv_name, pip_name in {"UV_DEFAULT_INDEX": "index_url", "SSL_CERT_FILE": "cert"}.items():
        if uv_name not in env and (value := _pip_setting(pip_name)):
            env[uv_name] = value
    return env


def _pip_setting(name: str) -> str:
    """Return one of pip's settings, from its variables before its files; empty when there is none."""
    for key in (f":env:.{name}", f"install.{name}", f"global.{name}"):
        answer = subprocess.run(
            [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "get", key],
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode == 0 and answer.stdout.strip():
            return answer.stdout.strip()
    return ""


def uv(*arguments: str | Path) -> None:
    """Run the uv that sits beside this Python; raises `CalledProcessError` when it fails."""
    subprocess.run(
        [Path(sys.executable).with_name("uv"), *arguments], cwd=ROOT, env=uv_environment(), check=True
    )


def install_project(python: Path, airflow_version: str, group: str) -> None:
    """Install the provider and the sandbox (editable) and a dependency group for ``python``."""
    pins = constraints_file(airflow_version)
    uv(
        *("pip", "install", "--quiet", "--python", python),
        *("--constraint", pins, "--build-constraint", pins),
        *(f"apache-airflow=={airflow_version}", "--editable", ".", "--editable", "./sandbox"),
        *("--group", group),
    )


def is_withdrawn(airflow_version: str) -> bool:
    """Return whether the package index says that it has no such pre-release of Airflow any more.

    Pre-releases may be taken away when the final release appears. An index that can't be reached and
    packages that don't fit together are other problems.
    """
    if not re.search("[a-z]", airflow_version):
        return False
    answer = subprocess.run(
        [
            *(
                Path(sys.executable).with_name("uv"),
                "pip",
                "install",
                "--dry-run",
                "--python",
                sys.executable,
            ),
            *("--constraint", constraints_file(airflow_version), f"apache-airflow=={airflow_version}"),
        ],
        cwd=ROOT,
        env=uv_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    message = " ".join(answer.stderr.split())
    absent = rf"there is no version of apache-airflow(-core|-task-sdk)?=={re.escape(airflow_version)}\b"
    return answer.returncode != 0 and re.search(absent, message) is not None


def main() -> None:
    """Install the project into the environment of the Python that runs this module."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("airflow_version")
    parser.add_argument("--group", default="dev")
    arguments = parser.parse_args()
    install_project(Path(sys.executable), arguments.airflow_version, arguments.group)


if __name__ == "__main__":
    main()
