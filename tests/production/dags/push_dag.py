"""Waits that webhooks wake, and waits that know the moment; see tests/production/test_push.py."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task
from airflow.providers.standard.operators.empty import EmptyOperator

from remote_tasks_provider.bases.assets import events_asset, webhook_asset
from remote_tasks_provider.manus.sensors import ManusTaskSensor
from tests.production.moments import MomentOperator


@task
def ids(**context: Any) -> list[list[str]]:
    conf = context["dag_run"].conf
    return [[f"{conf['name']}-{wait}-{one}" for one in range(conf["each"])] for wait in range(conf["count"])]


@task
def indexes(**context: Any) -> list[int]:
    return [*range(context["dag_run"].conf["count"])]


for seconds in (5, 300):
    with DAG(f"push_{seconds}", schedule=None, catchup=False):
        ManusTaskSensor.partial(
            task_id="ask",
            manus_conn_id="{{ dag_run.conf['conn_id'] }}",
            deferrable=True,
            poke_interval=seconds,
            timeout=3600,
            retries=2,
            retry_delay=timedelta(seconds=1),
            inlets=[webhook_asset()],
        ).expand(remote_task_id=ids())

with DAG("moments", schedule=None, catchup=False):
    MomentOperator.partial(
        task_id="ask", path="{{ dag_run.conf['path'] }}", retries=2, retry_delay=timedelta(seconds=1)
    ).expand(index=indexes())

# Never unpaused: that it names the asset is enough for events.
with DAG("push_events", schedule=[events_asset("manus", "push_manus")], catchup=False):
    EmptyOperator(task_id="nothing")
