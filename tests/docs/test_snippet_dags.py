"""The DAGs of README and docs do what the pages say: Airflow runs each against the sandbox."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from remote_tasks_sandbox import SandboxServer
from remote_tasks_sandbox.demo import seed_demo
from tests.docs import pages
from tests.examples.running import Runs, run_dags

DAG_HEAD = re.compile(r"^with DAG\(.*?\)(?: as dag)?:$", re.MULTILINE | re.DOTALL)
DAG_ID = re.compile(r'with DAG\(\s*"(\w+)"')
# Its agent needs a language model.
NOT_RUN = {"ask_with_help"}
SNIPPETS = {
    match[1]: block.text
    for block in pages.blocks("python")
    if not block.include and (match := DAG_ID.search(block.text)) and match[1] not in NOT_RUN
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    home = tmp_path_factory.mktemp("airflow")
    files: dict[Path, dict[str, str]] = {}
    (home / "dags").mkdir()
    for dag_id, snippet in SNIPPETS.items():
        # Nothing that they wait for takes as long here as the interval that a page shows, or as the default.
        text = snippet.replace("_interval=30", "_interval=1")
        if "_interval=" not in text:
            text = text.replace("deferrable=True", "deferrable=True, poke_interval=1")
        path = home / "dags" / f"{dag_id}.py"
        path.write_text(
            DAG_HEAD.sub(lambda head: head[0].removesuffix(":").removesuffix(" as dag") + " as dag:", text)
        )
        files[path] = {}
    with SandboxServer() as server:
        seed_demo(server.sandbox, seconds=0)
        manus = server.sandbox.manus
        manus.delete_task("demo-asks")
        mail = {"type": "gmailSendAction", "schema": {"type": "object", "properties": {"accept": {}}}}
        manus.add_task(
            "demo-asks",
            [("waiting", None), ("waiting", None), ("completed", None)],
            waiting=[{"type": "messageAskUser", "description": "Which day?"}, mail],
        )
        # QStash knows a key once a message has it.
        httpx.post(
            f"{server.qstash_url}/v2/publish/https://example.com/hook",
            headers={
                "Authorization": "Bearer sandbox-token",
                "Upstash-Flow-Control-Key": "user:1",
                "Upstash-Flow-Control-Value": "rate=1",
            },
        ).raise_for_status()
        server.sandbox.qstash.workflows.add(
            "wfr_1", script=[("WAIT approved-2026", None), ("RUN_SUCCESS", None)]
        )
        return run_dags(home, server, files)


def test_snippets_are_found() -> None:
    assert {"publish_then_wait", "waits_without_a_worker"} <= SNIPPETS.keys()


@pytest.mark.parametrize("dag_id", SNIPPETS)
def test_dag_of_a_snippet_succeeds(dag_id: str, runs: Runs) -> None:
    run = runs.by_dag[dag_id]

    assert run["state"] == "success", runs.log
    expected = {"success", "skipped"} if "@task.branch" in SNIPPETS[dag_id] else {"success"}
    assert {state for states in run["tasks"].values() for state in states} == expected
