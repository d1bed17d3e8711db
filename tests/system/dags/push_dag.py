"""Waits that poll once an hour, unless a bell rings; see tests/system/test_push.py."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, task

from remote_tasks_provider.bases.assets import events_asset, webhook_asset
from remote_tasks_provider.manus.sensors import ManusTaskSensor

with DAG("push", schedule=None, catchup=False):
    # The only place that names the asset, so that a mapped task is seen to be enough.
    ManusTaskSensor.partial(
        task_id="wait",
        manus_conn_id="manus_push",
        deferrable=True,
        poke_interval=3600,
        timeout=7200,
        inlets=[webhook_asset()],
    ).expand(remote_task_id=["first", "second", "third"])

with DAG("push_events", schedule=[events_asset("manus", "manus_push")], catchup=False):

    @task
    def tell(triggering_asset_events=None) -> list[dict]:
        return [event.extra for events in triggering_asset_events.values() for event in events]

    tell()
