"""DAGs that start when something has happened; see tests/production/test_watchers.py."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task
from airflow.sdk import Asset, AssetWatcher

from example_dags.example_watch_dead_letters import dag as example_watch_dead_letters
from example_dags.example_watch_finished_tasks import dag as example_watch_finished_tasks
from remote_tasks_provider.a2a.triggers import A2ATaskEventTrigger
from remote_tasks_provider.manus.triggers import ManusTaskEventTrigger
from remote_tasks_provider.qstash.triggers import QStashDeadLetterEventTrigger

# The examples run as they are.
EXAMPLES = (example_watch_dead_letters, example_watch_finished_tasks)


def watched(name: str, trigger: Any, conn_id: str) -> None:
    watcher = AssetWatcher(name=name, trigger=trigger(asset=name, conn_id=conn_id, poll_interval=3))
    with DAG(
        name, schedule=[Asset(name, watchers=[watcher])], catchup=False, is_paused_upon_creation=True
    ) as dag:

        @task(retries=2, retry_delay=timedelta(seconds=1))
        def tell(triggering_asset_events: Any) -> int:
            return sum(len(events) for events in triggering_asset_events.values())

        tell()
    globals()[name] = dag


watched("watched_manus", ManusTaskEventTrigger, "watched_v1")
watched("watched_qstash", QStashDeadLetterEventTrigger, "watched_qstash")
watched("watched_a2a", A2ATaskEventTrigger, "watched_a2a")
