"""Collect the result of every Manus task of the account, also of those that a colleague starts in the app.

A watcher lists the account's tasks every half minute, without an open port, and its events start runs. It
begins with what finishes after its first listing, and misses nothing while no triggerer runs.

**Look at:** the XComs of ``collect``, once you have unpaused the DAG and a task has finished.
A run that you trigger yourself has no event, and collects nothing.

Needs: Airflow 3.3 or newer, and the connection ``manus_default``.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from remote_tasks_provider.manus.operators import ManusGetResultOperator
from remote_tasks_provider.manus.triggers import ManusTaskEventTrigger

# [START watch]
finished_tasks = Asset(
    "manus-finished-tasks",
    watchers=[
        AssetWatcher(
            name="manus-finished-tasks",
            trigger=ManusTaskEventTrigger(
                asset="manus-finished-tasks", conn_id="manus_default", poll_interval=30
            ),
        )
    ],
)

with DAG(
    dag_id="example_watch_finished_tasks",
    doc_md=__doc__,
    schedule=[finished_tasks],
    catchup=False,
    is_paused_upon_creation=True,
    tags=["example", "manus"],
) as dag:

    @task
    def completed(triggering_asset_events: Any) -> list[str]:
        events = [event for events in triggering_asset_events.values() for event in events]
        records = [event.extra["payload"] for event in events]
        return [record["id"] for record in records if record["state"] == "completed"]

    ManusGetResultOperator.partial(task_id="collect").expand(remote_task_id=completed())
# [END watch]
