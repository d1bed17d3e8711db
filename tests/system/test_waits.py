"""Waits in a real Airflow, with its scheduler, workers, triggerer and API server.

One run of ``dags/waits_dag.py``, during which the triggerer is killed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.airflow.connections import sandbox_connections
from dev.airflow.standalone import StandaloneAirflow
from remote_tasks_sandbox import SandboxServer

DAGS = Path(__file__).parent / "dags"
DAG_ID = "waits"
WRONG_KEY = "sk-not-the-right-one"
REMOTE_SECONDS = 30.0


@pytest.fixture(scope="module")
def run() -> Iterator[dict[str, Any]]:
    with SandboxServer() as server:
        manus = server.sandbox.manus
        found = sandbox_connections(server)
        wrong = {**json.loads(found["manus_default"]), "password": WRONG_KEY}
        with StandaloneAirflow(DAGS, connections={**found, "manus_wrong_key": json.dumps(wrong)}) as airflow:
            client = airflow.client
            client.wait_for_dag(DAG_ID)
            manus.add_task("ends", [("running", REMOTE_SECONDS), ("completed", None)], "A report")
            manus.add_task("endless", [("running", None)])
            manus.add_task("done", [("completed", None)])
            manus.add_task("by_itself", [("running", REMOTE_SECONDS), ("completed", None)], "By itself")
            manus.add_task("breaks", [("running", REMOTE_SECONDS), ("failed", None)], error="it broke")
            server.sandbox.qstash.add_task("tsk", "msg", [("active", REMOTE_SECONDS), ("delivered", None)])
            run_id = client.trigger(DAG_ID)
            client.wait_for_task(DAG_ID, run_id, "endless", ["deferred"])
            client.wait_for_task(DAG_ID, run_id, "ends", ["deferred"])
            airflow.restart_triggerer(kill=True)
            client.wait_for_run(DAG_ID, run_id, within=180)
            instances = client.task_instances(DAG_ID, run_id)
            yield {
                "client": client,
                "run_id": run_id,
                "states": {(one.task_id, one.map_index): one.state for one in instances},
                "tries": {one.task_id: one.try_number for one in instances},
                "home": Path(airflow.home),
                "workers": {
                    operation.path.rpartition("/")[2]
                    for operation in server.sandbox.requests
                    if "requests/" in operation.headers.get("user-agent", "")
                },
            }


def log(run: dict[str, Any], task_id: str) -> str:
    text: str = run["client"].log(DAG_ID, run["run_id"], task_id)
    return text


def test_deferred_wait_survives_a_killed_triggerer(run: dict[str, Any]) -> None:
    assert run["states"]["ends", -1] == "success", log(run, "ends")
    assert run["states"]["delivery", -1] == "success", log(run, "delivery")


def test_deadline_survives_a_killed_triggerer(run: dict[str, Any]) -> None:
    text = log(run, "endless")
    assert run["states"]["endless", -1] == "failed", text
    waited = re.search(r"Gave up after (\d+) s \(timeout\)", text)
    assert waited is not None, text
    assert 45 <= int(waited.group(1)) < 50


def test_timeout_with_soft_fail_skips(run: dict[str, Any]) -> None:
    assert run["states"]["skipped", -1] == "skipped", log(run, "skipped")


def test_rescheduled_sensor_succeeds(run: dict[str, Any]) -> None:
    assert run["states"]["rescheduled", -1] == "success", log(run, "rescheduled")


def test_mapped_sensors_and_lists_of_ids_succeed(run: dict[str, Any]) -> None:
    assert run["states"]["mapped", 0] == run["states"]["mapped", 1] == "success"
    records = run["client"].xcom(DAG_ID, run["run_id"], "several")
    assert [record["id"] for record in records] == ["done", "ends"]


def test_wrong_key_fails_at_once_without_a_retry(run: dict[str, Any]) -> None:
    text = log(run, "wrong_key")
    assert run["states"]["wrong_key", -1] == "failed"
    assert run["tries"]["wrong_key"] == 1
    assert "Check the password (API key) of connection 'manus_wrong_key'" in text


def test_wait_in_the_triggerer_uses_no_worker(run: dict[str, Any]) -> None:
    assert run["states"]["no_worker", -1] == "success", log(run, "no_worker")
    assert "by_itself" not in run["workers"]
    assert run["client"].xcom(DAG_ID, run["run_id"], "no_worker")["title"] == "By itself"
    assert "pid" not in log(run, "no_worker")


def test_failure_in_the_triggerer_is_logged_and_not_retried(run: dict[str, Any]) -> None:
    for task_id in ("no_worker_fails", "no_worker_fails_for_good"):
        text = log(run, task_id)
        assert run["states"][task_id, -1] == "failed", text
        assert run["tries"][task_id] == 1
        assert "Manus task breaks failed: it broke" in text


def test_keys_are_in_no_log_and_not_in_the_database(run: dict[str, Any]) -> None:
    files = [
        path
        for path in run["home"].rglob("*")
        if path.is_file() and path.suffix in {".log", ".db", ".db-wal"}
    ]
    assert {".log", ".db"} <= {path.suffix for path in files}
    leaks = [
        (path.name, secret)
        for path in files
        for secret in ("sk-sandbox", "sandbox-token", WRONG_KEY)
        if secret.encode() in path.read_bytes()
    ]
    assert leaks == []
