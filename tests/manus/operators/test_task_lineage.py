"""What OpenLineage is told: by its own extractor, and in the events that its console transport prints."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.openlineage.extractors.base import DefaultExtractor

from remote_tasks_provider.bases.lineage import FACET_KEY
from remote_tasks_provider.manus.operators import (
    ManusDownloadFilesOperator,
    ManusGetTaskOperator,
    ManusListTasksOperator,
    ManusTaskOperator,
)
from remote_tasks_sandbox import SandboxServer
from tests.examples.running import run_dags
from tests.manus.airflow_task import Account

DAG = """
from airflow.providers.common.compat.sdk import DAG, AssetAlias
from remote_tasks_provider.manus.operators import ManusDownloadFilesOperator, ManusTaskOperator

with DAG("lineage", schedule=None) as dag:
    ask = ManusTaskOperator(
        task_id="ask", prompt="Count.", attachments=["FOLDER/in.csv"], result_path="FOLDER/out.json",
        poll_interval=1, timeout=60, deferrable=True,
    )
    ManusDownloadFilesOperator(
        task_id="save", remote_task_id=ask.output["id"], output_path="FOLDER/files", output_grace=0,
        outlets=[AssetAlias("reports")],
    )
"""


def told(operator: Any) -> Any:
    """Return what OpenLineage's provider extracts when the operator's task has succeeded."""
    return DefaultExtractor(operator).extract_on_complete(None)


def names(datasets: Any) -> list[tuple[str, str]]:
    return [(one.namespace, one.name) for one in datasets]


class TestFacets:
    def run(self, account: Account, operator: Any) -> Any:
        task = account.task()
        task.attempt(lambda: operator)
        return told(operator)

    def test_submitted_task_is_told_with_its_page_its_attachments_and_its_result(
        self, account: Account, tmp_path: Path
    ) -> None:
        (tmp_path / "in.csv").write_text("1")
        account.manus.plan(answer="42.")
        operator = ManusTaskOperator(
            task_id="ask",
            prompt="Count.",
            attachments=[f"file://{tmp_path}/in.csv", "https://example.com/b.csv?key=hush"],
            result_path=f"file://{tmp_path}/out.json",
            poll_interval=10,
        )
        found = self.run(account, operator)

        (task_id,) = account.created
        assert names(found.inputs) == [("file", f"{tmp_path}/in.csv"), ("https://example.com", "b.csv")]
        assert names(found.outputs) == [("file", f"{tmp_path}/out.json")]
        facet = found.run_facets[FACET_KEY]
        page = f"{account.sandbox.base_url}/manus/app/{task_id}"
        assert (facet.service, facet.tasks) == (
            "Manus",
            [{"id": task_id, "url": page, "state": "completed"}],
        )

    def test_saved_files_are_outputs_of_the_task_that_made_them(
        self, account: Account, tmp_path: Path
    ) -> None:
        account.manus.add_task("t1", script=[("completed", None)], files=["a.csv"])
        found = self.run(
            account,
            ManusDownloadFilesOperator(
                task_id="save", remote_task_id="t1", output_path=f"file://{tmp_path}/out", output_grace=0
            ),
        )

        assert names(found.outputs) == [("file", f"{tmp_path}/out/a.csv")]
        assert [one["id"] for one in found.run_facets[FACET_KEY].tasks] == ["t1"]

    def test_list_is_an_output_and_no_remote_task_of_its_own(self, account: Account, tmp_path: Path) -> None:
        account.manus.add_task("t1")
        target = f"file://{tmp_path}/a.jsonl"
        written = self.run(account, ManusListTasksOperator(task_id="list", output_path=target))
        returned = self.run(account, ManusListTasksOperator(task_id="list"))

        assert names(written.outputs) == [("file", f"{tmp_path}/a.jsonl")]
        assert (written.run_facets, returned.run_facets, returned.outputs) == ({}, {}, [])

    def test_task_that_could_not_be_read_is_told_by_its_id(self) -> None:
        facet = told(ManusGetTaskOperator(task_id="get", remote_task_id="t1")).run_facets[FACET_KEY]

        assert facet.tasks == [{"id": "t1", "url": None, "state": None}]


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Task → the event that the console transport has printed when it had succeeded."""
    home = tmp_path_factory.mktemp("airflow")
    (home / "dags").mkdir()
    (home / "in.csv").write_text("1")
    file = home / "dags" / "lineage.py"
    file.write_text(DAG.replace("FOLDER", f"file://{home}"))
    with SandboxServer() as server:
        steps = [("running", 2), "completed"]
        server.sandbox.manus.plan(default=True, answer="42.", files=["a.csv"], script=steps)
        console = {"AIRFLOW__OPENLINEAGE__TRANSPORT": '{"type": "console"}'}
        runs = run_dags(home, server, {file: {}}, **console)
    assert runs.by_dag["lineage"]["state"] == "success", runs.log
    (home / "log").write_text(runs.log)
    return home, {one["job"]["name"]: one for one in _printed(runs.log) if one["eventType"] == "COMPLETE"}


def _printed(log: str) -> Iterator[dict[str, Any]]:
    for found in re.finditer(r'\{"eventT(?:ime|ype)".*\}', log):
        yield json.loads(found[0])


class TestConsole:
    """The whole way: Airflow's listener, the provider of OpenLineage, and its transport."""

    def test_deferred_task_has_its_attachment_its_result_and_its_page(
        self, events: tuple[Path, dict[str, Any]]
    ) -> None:
        home, by_task = events
        event = by_task["lineage.ask"]
        (task,) = event["run"]["facets"][FACET_KEY]["tasks"]

        assert [(one["namespace"], one["name"]) for one in event["inputs"]] == [("file", f"{home}/in.csv")]
        assert [(one["namespace"], one["name"]) for one in event["outputs"]] == [("file", f"{home}/out.json")]
        assert (task["state"], task["url"].rpartition("/app/")[2]) == ("completed", task["id"])

    def test_saved_file_is_an_output_and_the_page_of_its_task_is_told(
        self, events: tuple[Path, dict[str, Any]]
    ) -> None:
        home, by_task = events
        event = by_task["lineage.save"]
        (task,) = event["run"]["facets"][FACET_KEY]["tasks"]

        assert [one["name"] for one in event["outputs"]] == [f"{home}/files/a.csv"]
        assert task["url"].endswith(f"/app/{task['id']}")
