"""A DAG with deferred waits and a branch, really run by each Airflow."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dev.airflow.standalone import clean_environment, migrated_database

if TYPE_CHECKING:
    from remote_tasks_sandbox import SandboxServer

DAGS = Path(__file__).parent / "dags"
REMOTE_SECONDS = 15.0


@pytest.fixture
def soon(server: SandboxServer) -> None:
    """Two tasks that end some time after the DAG began to wait for them."""
    server.sandbox.manus.add_task("soon", [("running", REMOTE_SECONDS), ("completed", None)])
    server.sandbox.qstash.add_task("tsk_soon", "msg_soon", [("active", REMOTE_SECONDS), ("delivered", None)])


@pytest.mark.airflow_db
@pytest.mark.usefixtures("soon")
def test_deferred_wait_resumes_and_the_right_branch_runs(
    airflow_connections: dict[str, str], tmp_path: Path
) -> None:
    shutil.copy(migrated_database(), tmp_path / "airflow.db")
    answer = subprocess.run(
        [sys.executable, str(DAGS / "compat_dag.py")],
        env={
            **clean_environment(),
            **{f"AIRFLOW_CONN_{name.upper()}": value for name, value in airflow_connections.items()},
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    output = answer.stdout + answer.stderr
    assert answer.returncode == 0, output

    states = json.loads(answer.stdout.strip().splitlines()[-1])
    assert states == {
        "wait": "success",
        "wait_qstash": "success",
        "branch": "success",
        "celebrate": "skipped",
        "apologise": "success",
    }, output
