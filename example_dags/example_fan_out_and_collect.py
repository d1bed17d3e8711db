"""Submit many prompts at once by dynamic task mapping, and save all their files in one folder.

The function under ``@task.manus`` returns a prompt. Each mapped task instance submits its own Manus task. All
of them share one poll loop while they wait.

**Look at:** the six instances of ``research`` [6], all *deferred* at once; the log of the triggerer, where a
few requests answer for all of them; the log and the XCom of ``report``, with the path of each file.

Needs: the connection ``manus_default``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# On Airflow 3 alone: from airflow.sdk import DAG, Param, task
from airflow.providers.common.compat.sdk import DAG, Param, task

from remote_tasks_provider.manus.operators import ManusDownloadFilesOperator

CITIES = ["Basel", "Bern", "Geneva", "Lugano", "St. Gallen", "Zurich"]

with DAG(
    dag_id="example_fan_out_and_collect",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["example", "manus"],
    params={
        "cities": Param(CITIES, type="array"),
        "folder": Param("file:///tmp/manus", type="string"),
    },
) as dag:

    @task
    def cities(params: dict[str, Any]) -> list[str]:
        return list(params["cities"])

    # [START fan_out]
    @task.manus(
        deferrable=True,
        poll_interval=30,
        retries=2,
        max_credits=200,
        max_active_tis_per_dagrun=10,
    )
    def research(city: str) -> str:
        return f"List the museums of {city} in a file museums.csv."

    results = research.expand(city=cities())

    @task
    def ids(found: Iterable[dict[str, Any]]) -> list[str]:
        return [result["id"] for result in found]

    files = ManusDownloadFilesOperator.partial(
        task_id="files",
        output_path="{{ params.folder }}/{{ run_id }}/{{ ti.map_index }}",
        max_file_size=10 * 1024**2,
    ).expand(remote_task_id=ids(results))
    # [END fan_out]

    @task
    def report(saved: Iterable[list[dict[str, Any]]]) -> list[str]:
        return [file["path"] for files in saved for file in files]

    report(files.output)
