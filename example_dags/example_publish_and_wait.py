"""Publish a QStash message once, and wait without a worker until it is delivered or has failed for good.

The message has a deduplication id, so a task that Airflow retries within ten minutes sends it once. QStash
retries a failed delivery by itself, by default for about half an hour.

**Look at:** ``publish``, which is *deferred* until the message is delivered, though the first attempt fails
in the sandbox; then the log of ``report``. With ``url`` set to ``https://example.com/gone``, ``publish``
fails, names the reason, and is not retried.

Needs: the connection ``qstash_default``, and a URL that QStash can reach.
"""

from __future__ import annotations

from typing import Any

# On Airflow 3 alone: from airflow.sdk import DAG, Param, task
from airflow.providers.common.compat.sdk import DAG, Param, task

from remote_tasks_provider.qstash.operators import QStashPublishOperator

with DAG(
    dag_id="example_publish_and_wait",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["example", "qstash"],
    params={"url": Param("https://example.com/hook", type="string")},
) as dag:
    # [START publish_and_wait]
    publish = QStashPublishOperator(
        task_id="publish",
        destination="{{ params.url }}",
        body={"run": "{{ run_id }}"},
        delivery_retries=2,
        labels="nightly",
        wait_for_completion=True,
        deferrable=True,
        poll_interval=30,
        timeout=2 * 60 * 60,
        retries=2,
    )
    # [END publish_and_wait]

    @task
    def report(outcome: dict[str, Any]) -> None:
        print(
            f"{outcome['id']} was {outcome['status'].lower()} to {outcome['url']} at {outcome['updated_at']}"
        )

    report(publish.output)
