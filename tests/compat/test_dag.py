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

from dev.airflow.connections import sandbox_connections
from dev.airflow.standalone import clean_environment, migrated_database
from remote_tasks_provider.bases.compat import STARTS_FROM_TRIGGER, airflow_is_at_least

if TYPE_CHECKING:
    from remote_tasks_sandbox import SandboxServer

DAGS = Path(__file__).parent / "dags"
PROGRAM = Path(__file__).parent / "programs" / "dags.py"
REMOTE_SECONDS = 15.0

#: The state and the number of the attempt of each task instance of a DAG.
Ran = dict[str, tuple[str, int]]


def ran(files: list[str], connections: dict[str, str], home: Path) -> dict[str, Ran]:
    """Run the DAGs of some files in a process of their own; return what became of each DAG's tasks."""
    shutil.copy(migrated_database(), home / "airflow.db")
    answer = subprocess.run(
        [sys.executable, str(PROGRAM), *files],
        env={
            **clean_environment(),
            **{f"AIRFLOW_CONN_{name.upper()}": value for name, value in connections.items()},
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "PYTHONPATH": os.pathsep.join([str(DAGS), os.environ.get("PYTHONPATH", "")]),
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    # Airflow 3.4 logs to the same stream, also after the program's own last line.
    (line,) = (line for line in answer.stdout.splitlines() if line.startswith('{"'))
    found: dict[str, Ran] = json.loads(line)
    return found


@pytest.fixture(scope="module")
def dags(server: SandboxServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Run the DAGs; return the states of each one's task instances."""
    # Two tasks that end some time after the DAG began to wait for them.
    server.sandbox.manus.add_task("soon", [("running", REMOTE_SECONDS), ("completed", None)])
    server.sandbox.qstash.add_task("tsk_soon", "msg_soon", [("active", REMOTE_SECONDS), ("delivered", None)])
    home = tmp_path_factory.mktemp("airflow")
    found = ran(["compat_dag", "branches_dag"], sandbox_connections(server), home)
    return {dag_id: {task: state for task, (state, _) in tasks.items()} for dag_id, tasks in found.items()}


@pytest.mark.airflow_db
def test_deferred_wait_resumes_and_the_right_branch_runs(dags: dict[str, dict[str, str]]) -> None:
    assert dags["compat"] == {
        "wait": "success",
        "wait_qstash": "success",
        "branch": "success",
        "celebrate": "skipped",
        "apologise": "success",
    }


@pytest.mark.airflow_db
def test_mapped_task_group_follows_one_branch_for_each_index(dags: dict[str, dict[str, str]]) -> None:
    assert dags["branches"] == {
        "ids": "success",
        "each.branch[0]": "success",
        "each.branch[1]": "success",
        "each.apologise.first[0]": "success",
        "each.apologise.first[1]": "skipped",
        "each.celebrate[0]": "skipped",
        "each.celebrate[1]": "success",
    }


@pytest.mark.airflow_db
@pytest.mark.skipif(not STARTS_FROM_TRIGGER, reason="Airflow asks retry policies from 3.3 on")
def test_rate_limit_costs_no_retry_from_airflow_3_4_on(server: SandboxServer, tmp_path: Path) -> None:
    known = sandbox_connections(server)
    impatient = {**json.loads(known["manus_default"]), "extra": {"max_attempts": 1}}
    refusal = server.sandbox.faults.add("status", times=1, status=429, headers={"Retry-After": "2"})

    found = ran(["limited_dag"], {**known, "manus_impatient": json.dumps(impatient)}, tmp_path)

    server.sandbox.faults.remove(refusal)
    # Neither waits for the hour of retry_delay.
    assert found["limited"] == {"read": ["success", 1 if airflow_is_at_least("3.4") else 2]}
