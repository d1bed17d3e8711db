"""Read one Manus task, and list others: a few to XCom, all of them to a file.

**Look at:** the XComs of ``fetch`` and ``newest_failures``; the XCom of ``everything``, which names the file
that was written.

Needs: the connection ``manus_default``, and a task to read (the sandbox has ``demo-completes``).
"""

from __future__ import annotations

# On Airflow 3 alone: from airflow.sdk import DAG, Param
from airflow.providers.common.compat.sdk import DAG, Param

from remote_tasks_provider.manus.operators import ManusGetTaskOperator, ManusListTasksOperator

with DAG(
    dag_id="example_fetch_and_list",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["example", "manus"],
    params={
        "manus_task": Param("demo-completes", type="string"),
        "folder": Param("file:///tmp/manus", type="string"),
    },
) as dag:
    # [START fetch]
    fetch = ManusGetTaskOperator(task_id="fetch", remote_task_id="{{ params.manus_task }}")
    # [END fetch]

    # [START list]
    newest_failures = ManusListTasksOperator(task_id="newest_failures", status=["failed"], limit=10)

    everything = ManusListTasksOperator(
        task_id="everything",
        order="asc",
        page_size=200,
        output_path="{{ params.folder }}/{{ run_id }}.jsonl",
    )
    # [END list]

    fetch >> [newest_failures, everything]
