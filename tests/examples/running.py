"""Runs DAG files against a sandbox, each run in an Airflow home of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dev.airflow.connections import sandbox_connections
from dev.airflow.standalone import clean_environment, migrated_database
from remote_tasks_sandbox import SandboxServer

__all__ = ["EXAMPLES", "Runs", "copy_quick", "run_dags"]

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "example_dags"


class Runs(NamedTuple):
    """What came of DAG runs.

    :param by_dag: DAG id → ``{"state": …, "tasks": {task id: [state of each instance]}}``.
    :param log: what Airflow has printed.
    """

    by_dag: dict[str, dict[str, Any]]
    log: str


def copy_quick(name: str, folder: Path, interval: int = 1) -> Path:
    """Copy an example DAG into a folder, for a test in which nothing takes long; return the copy.

    :param interval: seconds between its polls.
    """
    source = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    folder.mkdir(exist_ok=True)
    copy = folder / f"{name}.py"
    copy.write_text(source.replace("_interval=30", f"_interval={interval}"), encoding="utf-8")
    return copy


def run_dags(
    home: Path, server: SandboxServer, files: Mapping[Path, Mapping[str, Any]], **settings: str
) -> Runs:
    """Run all DAG files in one process, as starting Airflow takes longer than running them.

    :param files: DAG file → the params of its run; all in one folder, which holds nothing else.
    :param settings: more of Airflow's environment.
    """
    shutil.copy(migrated_database(), home / "airflow.db")
    connections = {
        f"AIRFLOW_CONN_{name.upper()}": value for name, value in sandbox_connections(server).items()
    }
    answer = subprocess.run(
        [sys.executable, "-m", "tests.examples.run_dags"]
        + [part for path, params in files.items() for part in (str(path), json.dumps(params))],
        env={
            **clean_environment(),
            **connections,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(next(iter(files)).parent),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            **settings,
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        },
        cwd=home,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    log = answer.stdout + answer.stderr
    assert answer.returncode == 0, log
    # Processes of a listener may say something after that.
    found = json.loads(next(line for line in answer.stdout.splitlines() if line.startswith('[{"dag_id"')))
    return Runs({run["dag_id"]: run for run in found}, log)
