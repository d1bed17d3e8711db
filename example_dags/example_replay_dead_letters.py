"""Retry QStash's DLQ messages, wait for the new messages, and report which failed again.

Only messages whose destination answered with a server error last are retried. A destination that refused a
message would refuse it again. Give the DAG a schedule, such as ``0 3 * * *``, to do so each night.

**Look at:** the XCom of ``report``. The sandbox has two DLQ messages with the label ``nightly``: sent again,
one is delivered, and the other fails as before, so that a second run replays it alone.

Needs: the connection ``qstash_default``, with a token that may write.
"""

from __future__ import annotations

from typing import Any

# On Airflow 3 alone: from airflow.sdk import DAG, Param, task
from airflow.providers.common.compat.sdk import DAG, Param, task

from remote_tasks_provider.qstash.operators import QStashRetryDlqOperator

with DAG(
    dag_id="example_replay_dead_letters",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["example", "qstash"],
    params={"label": Param("nightly", type="string")},
) as dag:
    # [START replay]
    replay = QStashRetryDlqOperator(
        task_id="replay",
        labels="{{ params.label }}",
        response_status=[500, 502, 503, 504],
        wait_for_completion=True,
        deferrable=True,
        raise_on_failure=False,
        poll_interval=30,
        retries=2,
        timeout=4 * 60 * 60,
    )

    @task
    def report(outcomes: list[dict[str, Any]]) -> dict[str, int]:
        states = [outcome["state"] for outcome in outcomes]
        return {state: states.count(state) for state in sorted(set(states))}

    # [END replay]

    report(replay.output)
