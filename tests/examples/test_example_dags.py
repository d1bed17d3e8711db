"""Each example DAG does what its docstring says, really run by Airflow against the sandbox."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dev.a2a.peers import Agent
from dev.airflow.connections import agent_connection
from remote_tasks_sandbox import SandboxServer
from remote_tasks_sandbox.demo import seed_demo
from tests.examples.running import EXAMPLES, copy_quick, run_dags


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, a2a_v1: Agent) -> dict[str, Any]:
    home = tmp_path_factory.mktemp("airflow")
    params = {
        "example_fetch_and_list": {"folder": f"file://{home}/lists"},
        "example_wait_and_branch": {},
        "example_branch_operator": {},
        "example_mapped_deliveries": {},
        "example_ask_and_branch": {},
        "example_fan_out_and_collect": {"folder": f"file://{home}/files"},
        "example_structured_output": {},
        "example_publish_and_wait": {},
        "example_publish_fan_out_and_branch": {
            "urls": ["https://example.com/shops/1", "https://example.com/gone"]
        },
        "example_replay_dead_letters": {},
        "example_workflow_run": {},
        "example_watch_dead_letters": {},
        "example_watch_finished_tasks": {},
        "example_ask_an_a2a_agent": {
            "wish": "status I write; file guide.txt Bern has bears.; say Done.",
            "folder": f"file://{home}/guides",
        },
    }
    with SandboxServer() as server:
        # As in `make airflow`: what the examples show is in the demo tasks, or in nothing.
        seed_demo(server.sandbox, seconds=4)
        server.sandbox.manus.add_task("old", [("failed", None)], error="no")
        qstash = server.sandbox.qstash
        qstash.add_message(
            "dead_404",
            [("ACTIVE", 0), ("ERROR", 0), ("FAILED", None)],
            url="https://example.com/404",
            response_status=404,
            labels=["nightly"],
        )
        files = {copy_quick(name, home / "dags"): conf for name, conf in params.items()}
        agent = json.dumps(agent_connection(a2a_v1.url))
        ran = run_dags(home, server, files, AIRFLOW_CONN_A2A_DEFAULT=agent)
        sent = [one for one in qstash.messages if not one.id.startswith("msg_demo")]
        delivered = [one.url for one in sent if one.state == "DELIVERED"]
        dlq_messages = [dlq_message.message.id for dlq_message in qstash.dlq_messages]
        dead = [dlq_message.message.url for dlq_message in qstash.dlq_messages]
        workflow_runs = len(qstash.workflows.all())
    seen = {
        "home": home,
        "log": ran.log,
        "delivered": delivered,
        "letters": dlq_messages,
        "dead": dead,
        "workflow_runs": workflow_runs,
    }
    return {**seen, **ran.by_dag}


def test_examples_are_all_run(runs: dict[str, Any]) -> None:
    # A person's answer takes a real Airflow: tests/system has that one.
    others = {"example_a_person_answers"}

    assert {path.stem for path in EXAMPLES.glob("*.py")} - others == {
        name for name in runs if name.startswith("example_")
    }


@pytest.mark.parametrize(
    ("dag_id", "task_id"),
    [("example_watch_dead_letters", "retry"), ("example_watch_finished_tasks", "collect")],
)
def test_watching_dag_does_nothing_without_an_event(runs: dict[str, Any], dag_id: str, task_id: str) -> None:
    assert runs[dag_id]["state"] == "success", runs["log"]
    assert runs[dag_id]["tasks"][task_id] == ["skipped"]


def test_fetch_and_list_writes_the_long_list_to_a_file(runs: dict[str, Any]) -> None:
    assert runs["example_fetch_and_list"]["state"] == "success", runs["log"]
    (file,) = (runs["home"] / "lists").iterdir()
    ids = [json.loads(line)["id"] for line in file.read_text(encoding="utf-8").splitlines()]
    assert {"demo-completes", "demo-fails", "old"} <= set(ids)


def test_wait_and_branch_publishes_the_completed_task(runs: dict[str, Any]) -> None:
    run = runs["example_wait_and_branch"]
    assert run["tasks"]["publish"] == ["success"], runs["log"]
    assert run["tasks"]["explain"] == ["skipped"]


def test_branch_operator_explains_the_failed_task(runs: dict[str, Any]) -> None:
    run = runs["example_branch_operator"]
    assert run["tasks"]["explain"] == ["success"], runs["log"]
    assert run["tasks"]["publish"] == run["tasks"]["ask_a_colleague"] == ["skipped"]


def test_mapped_deliveries_have_their_own_sensors(runs: dict[str, Any]) -> None:
    run = runs["example_mapped_deliveries"]
    assert run["tasks"]["wait"] == ["success"] * 3, runs["log"]
    assert run["tasks"]["report"] == ["success"]


def test_ask_and_branch_publishes_the_answer(runs: dict[str, Any]) -> None:
    run = runs["example_ask_and_branch"]
    assert run["tasks"]["publish"] == ["success"], runs["log"]
    assert run["tasks"]["explain"] == ["skipped"]


def test_fan_out_and_collect_saves_the_files_of_all(runs: dict[str, Any]) -> None:
    run = runs["example_fan_out_and_collect"]
    assert run["tasks"]["research"] == run["tasks"]["files"] == ["success"] * 6, runs["log"]
    files = list((runs["home"] / "files").rglob("museums.csv"))
    assert len(files) == 6
    assert all(file.read_text().startswith("museum,opened") for file in files)


def test_structured_output_reaches_the_next_task(runs: dict[str, Any]) -> None:
    assert runs["example_structured_output"]["tasks"]["use"] == ["success"], runs["log"]


def test_publish_and_wait_delivers_the_message_once(runs: dict[str, Any]) -> None:
    assert runs["example_publish_and_wait"]["tasks"]["report"] == ["success"], runs["log"]
    assert runs["delivered"].count("https://example.com/hook") == 1


def test_publish_fan_out_explains_the_failed_message(runs: dict[str, Any]) -> None:
    run = runs["example_publish_fan_out_and_branch"]
    assert run["tasks"]["explain"] == ["success"], runs["log"]
    assert run["tasks"]["done"] == ["skipped"]
    assert runs["delivered"].count("https://example.com/shops/1") == 1


def test_replay_dead_letters_resends_only_for_a_destination_in_trouble(runs: dict[str, Any]) -> None:
    assert runs["example_replay_dead_letters"]["tasks"]["report"] == ["success"], runs["log"]
    assert runs["delivered"].count("https://example.com/orders") == 1
    assert "dead_404" in runs["letters"]
    assert not {"msg_demo_orders", "msg_demo_down"} & set(runs["letters"])


def test_replay_dead_letters_leaves_one_for_the_next_run(runs: dict[str, Any]) -> None:
    assert runs["dead"].count("https://example.com/down") == 1


def test_examples_say_what_to_look_at() -> None:
    for path in EXAMPLES.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "\n**Look at:** " in text.split('"""')[1], path.name
        assert "doc_md=__doc__" in text, path.name


def test_ask_an_a2a_agent_collects_its_file(runs: dict[str, Any]) -> None:
    run = runs["example_ask_an_a2a_agent"]
    assert run["tasks"]["publish"] == ["success"], runs["log"]
    assert run["tasks"]["explain"] == ["skipped"]
    (file,) = (runs["home"] / "guides").rglob("guide.txt")
    assert file.read_text(encoding="utf-8") == "Bern has bears."


def test_workflow_run_is_triggered_once_and_need_not_be_resumed(runs: dict[str, Any]) -> None:
    run = runs["example_workflow_run"]
    assert run["tasks"]["publish"] == ["success"], runs["log"]
    assert run["tasks"]["resume"] == ["skipped"]
    assert runs["workflow_runs"] == 1


def test_logs_and_database_hold_no_key(runs: dict[str, Any]) -> None:
    database = (runs["home"] / "airflow.db").read_bytes()
    for secret in ("sk-sandbox", "sandbox-token"):
        assert secret not in runs["log"]
        assert secret.encode() not in database
