"""An agent that asks twice; see tests/production."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

from remote_tasks_provider.manus.operators import ManusTaskOperator

with DAG("asks", schedule=None, catchup=False):
    ManusTaskOperator(
        task_id="ask",
        prompt="{{ dag_run.conf['name'] }}",
        manus_conn_id="{{ dag_run.conf['conn_id'] }}",
        interactive_mode=True,
        on_waiting="human",
        deferrable=True,
        poll_interval=2,
        retries=2,
    )
