"""Run the kill matrix on the supported versions; exit with 1 if an outcome differs from the table."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from httpx import HTTPError

from dev.airflow.client import AirflowApiError
from dev.airflow.standalone import AirflowStartError
from dev.compat import NEWEST, VERSIONS, WithdrawnError, environment
from dev.environments import ROOT
from dev.kills.matrix import ROWS
from dev.kills.run import VersionResult, run_version
from dev.terminal import leave_through_cleanup, say

FAILURES = (AirflowStartError, AirflowApiError, HTTPError, TimeoutError, subprocess.CalledProcessError)


def report(results: list[VersionResult]) -> str:
    """Return the outcomes as a table in Markdown."""
    lines = [
        "| | " + " | ".join(result.version for result in results) + " |",
        "|---" * (len(results) + 1) + "|",
    ]
    for name in ROWS:
        cells = [
            f"{result.outcomes.get(name)}" + (" (WRONG)" if name in result.wrong else "")
            for result in results
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Run the matrix; return the exit status."""
    parser = argparse.ArgumentParser(prog="make kills", description=__doc__)
    parser.add_argument(
        "--only", choices=list(VERSIONS), action="append", help="this version; may be repeated"
    )
    arguments = parser.parse_args()
    leave_through_cleanup()
    results, failed = [], []
    versions = arguments.only or list(VERSIONS)
    for number, version in enumerate(versions, start=1):
        say(f"[{number}/{len(versions)}] Airflow {version}: {len(ROWS)} rows ...")
        try:
            python = Path(sys.executable) if version == NEWEST else environment(version)
            result = run_version(version, python)
        except WithdrawnError as withdrawn:
            say(f"Airflow {version}: {withdrawn}")
            continue
        except FAILURES as error:
            say(f"Airflow {version}: {type(error).__name__}: {error}")
            failed.append(version)
            continue
        results.append(result)
        for text in result.logs.values():
            say(text)
        say(
            f"Airflow {version}: {len(ROWS) - len(result.wrong)} of {len(ROWS)} rows as expected "
            f"({result.seconds:.0f} s; the triggerer handed over in {result.handover:.1f} s)"
        )
        if result.wrong:
            failed.append(version)
    say(report(results))
    if failed:
        say(f"The kill matrix failed on Airflow {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
