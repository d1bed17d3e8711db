"""A task that a service refuses once with a 429."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, task

from remote_tasks_provider.bases.retry_policy import RemoteTaskRetryPolicy
from remote_tasks_provider.manus.hooks import ManusHook

every = {"retries": 1, "retry_delay": timedelta(hours=1), "retry_policy": RemoteTaskRetryPolicy()}

with DAG("limited", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), default_args=every) as dag:

    @task
    def read() -> str:
        """Read a task once, without the hook's own retries."""
        return ManusHook("manus_impatient").get_task("done").id

    read()
