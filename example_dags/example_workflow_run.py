"""Trigger a run of an Upstash workflow once, wait without a worker, and resume it if it has failed.

The run has an id that is made of the task instance and its inputs, so a task that Airflow retries re-attaches
to it. A failed run is in the dead letter queue, from where another task resumes it at the step that failed.

**Look at:** ``report``, which is *deferred* while the workflow runs; then ``publish``, whose log has what it
returned. With ``url`` set to ``https://example.com/workflows/flaky``, the run fails in the sandbox, and
``resume`` follows.

Needs: the connection ``qstash_default``, and the URL of a workflow that Upstash can reach.
"""

from __future__ import annotations

from typing import Any

# On Airflow 3 alone: from airflow.sdk import DAG, Param, task
from airflow.providers.common.compat.sdk import DAG, Param, task

from remote_tasks_provider.qstash.operators import QStashResumeWorkflowOperator, QStashWorkflowOperator

with DAG(
    dag_id="example_workflow_run",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["example", "qstash", "workflow"],
    params={"url": Param("https://example.com/workflows/report", type="string")},
) as dag:
    # [START workflow_run]
    report = QStashWorkflowOperator(
        task_id="report",
        workflow_url="{{ params.url }}",
        body={"run": "{{ run_id }}"},
        deferrable=True,
        raise_on_failure=False,
        poll_interval=30,
        timeout=2 * 60 * 60,
        retries=2,
    )

    @task.branch
    def decide(run: dict[str, Any]) -> str:
        return "resume" if run["state"] == "failed" else "publish"

    resume = QStashResumeWorkflowOperator(
        task_id="resume",
        dlq_id=report.output["dlq_id"],
        deferrable=True,
        poll_interval=30,
        retries=2,
        timeout=2 * 60 * 60,
    )
    # [END workflow_run]

    @task
    def publish(run: dict[str, Any]) -> None:
        print(f"{run['id']} has returned {run['structured']}")

    decide(report.output) >> [resume, publish(report.output)]
