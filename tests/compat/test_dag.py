"""DAGs with deferred waits and branches, really run by each Airflow."""

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
from remote_tasks_provider.bases.compat import STARTS_FROM_TRIGGER, airflow_is_at_least

if TYPE_CHECKING:
    from remote_tasks_sandbox import SandboxServer

DAGS = Path(__file__).parent / "dags"
REMOTE_SECONDS = 15.0


@pytest.fixture
def soon(server: SandboxServer) -> None:
    """Two tasks that end some time after the DAG began to wait for them."""
    server.sandbox.manus.add_task("soon", [("running", REMOTE_SECONDS), ("completed", None)])
    server.sandbox.qstash.add_task("tsk_soon", "msg_soon", [("active", REMOTE_SECONDS), ("delivered", None)])


def states_of(dag_file: str, connections: dict[str, str], home: Path) -> dict[str, str]:
    """Run a DAG file; return the states of its task instances."""
    shutil.copy(migrated_database(), home / "airflow.db")
    answer = subprocess.run(
        [sys.executable, str(DAGS / dag_file)],
        env={
            **clean_environment(),
            **{f"AIRFLOW_CONN_{name.upper()}": value for name, value in connections.items()},
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    output = answer.stdout + answer.stderr
    assert answer.returncode == 0, output
    # Airflow 3.4 logs to the same stream, also after the DAG's own last line.
    (line,) = (line for line in answer.stdout.splitlines() if line.startswith('{"'))
    states: dict[str, str] = json.loads(line)
    return states


@pytest.mark.airflow_db
@pytest.mark.usefixtures("soon")
def test_deferred_wait_resumes_and_the_right_branch_runs(
    airflow_connections: dict[str, str], tmp_path: Path
) -> None:
    assert states_of("compat_dag.py", airflow_connections, tmp_path) == {
        "wait": "success",
        "wait_qstash": "success",
        "branch": "success",
        "celebrate": "skipped",
        "apologise": "success",
    }


@pytest.mark.airflow_db
def test_mapped_task_group_follows_one_branch_for_each_index(
    airflow_connections: dict[str, str], tmp_path: Path
) -> None:
    assert states_of("branches_dag.py", airflow_connections, tmp_path) == {
        "ids[-1]": "success",
        "each.branch[0]": "success",
        "each.branch[1]": "success",
        "each.apologise.first[0]": "success",
        "each.apologise.first[1]": "skipped",
        "each.celebrate[0]": "skipped",
        "each.celebrate[1]": "success",
    }


@pytest.mark.airflow_db
@pytest.mark.skipif(not STARTS_FROM_TRIGGER, reason="Airflow asks retry policies from 3.3 on")
def test_rate_limit_costs_no_retry_from_airflow_3_4_on(
    airflow_connections: dict[str, str], server: SandboxServer, tmp_path: Path
) -> None:
    impatient = {**json.loads(airflow_connections["manus_default"]), "extra": {"max_attempts": 1}}
    connections = {**airflow_connections, "manus_impatient": json.dumps(impatient)}
    refusal = server.sandbox.faults.add("status", times=1, status=429, headers={"Retry-After": "2"})

    found = states_of("limited_dag.py", connections, tmp_path)

    server.sandbox.faults.remove(refusal)
    # Neither waits for the hour of retry_delay.
    assert found == {"state": "success", "try_number": "1" if airflow_is_at_least("3.4") else "2"}
