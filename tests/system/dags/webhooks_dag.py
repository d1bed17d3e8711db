"""Names the asset of the webhooks, so that Airflow keeps its notes."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator

from remote_tasks_provider.bases.assets import webhook_asset

with DAG("webhooks", schedule=None):
    EmptyOperator(task_id="nothing", inlets=[webhook_asset()])
