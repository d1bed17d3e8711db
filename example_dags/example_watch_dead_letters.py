"""Retry each new dead letter of QStash, as soon as it comes.

A watcher lists the dead letter queue every half minute, without an open port, and its events start runs. It
begins with what comes after its first listing, and misses nothing while no triggerer runs.

A retried message that fails again is a new dead letter, and would start the next run. So a run fails with its
messages, and after three failed runs in a row Airflow pauses the DAG.

**Look at:** the asset *qstash-dead-letters* and its events, once you have unpaused the DAG and a message has
failed. A run that you trigger yourself has no event, and retries nothing.

Needs: Airflow 3.3 or newer, and the connection ``qstash_default``, with a token that may write.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from remote_tasks_provider.qstash.operators import QStashRetryDlqOperator
from remote_tasks_provider.qstash.triggers import QStashDeadLetterEventTrigger

# [START watch]
dead_letters = Asset(
    "qstash-dead-letters",
    watchers=[
        AssetWatcher(
            name="qstash-dead-letters",
            trigger=QStashDeadLetterEventTrigger(
                asset="qstash-dead-letters", conn_id="qstash_default", poll_interval=30
            ),
        )
    ],
)

with DAG(
    dag_id="example_watch_dead_letters",
    doc_md=__doc__,
    schedule=[dead_letters],
    catchup=False,
    max_consecutive_failed_dag_runs=3,
    is_paused_upon_creation=True,
    tags=["example", "qstash"],
) as dag:

    @task
    def new(triggering_asset_events: Any) -> list[list[str]]:
        events = [event for events in triggering_asset_events.values() for event in events]
        return [[event.extra["payload"]["dlq_id"]] for event in events]

    QStashRetryDlqOperator.partial(
        task_id="retry",
        wait_for_completion=True,
        deferrable=True,
        poll_interval=30,
        timeout=4 * 60 * 60,
    ).expand(dlq_ids=new())
# [END watch]
