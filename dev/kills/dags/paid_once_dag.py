"""Tasks that are submitted once, however many attempts there are; ``dev/kills`` acts on them."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG

from remote_tasks_provider.bases.compat import airflow_is_at_least
from remote_tasks_provider.manus.operators import ManusTaskOperator
from remote_tasks_provider.qstash.operators import QStashPublishOperator

FILES = Path(os.environ["KILLS_FILES"])
IS_SECOND = os.environ.get("KILLS_DEPLOYMENT") == "second"
AGAIN = {"retries": 1, "retry_delay": timedelta(seconds=1)}


def ask(task_id: str, **more: object) -> ManusTaskOperator:
    return ManusTaskOperator(task_id=task_id, prompt="Take your time.", poll_interval=1, **more)  # type: ignore[arg-type]


def announce(whom: str) -> QStashPublishOperator:
    url = f"https://{'second' if IS_SECOND else 'first'}.example.com/hook"
    return QStashPublishOperator(task_id=f"{whom}_message", destination=url, body=whom, **AGAIN)  # type: ignore[arg-type]


with DAG("kills_paid", schedule=None, catchup=False):
    ask("lost_cleared", manus_conn_id="manus_lost")
    ask("undelivered", result_path=f"{FILES}/undelivered/result.json")
    if airflow_is_at_least("3.4"):
        ask("lost_kept", manus_conn_id="manus_lost_too")

with DAG("kills_edited", schedule=None, catchup=False):
    ask("edited", retries=int((FILES / "retries").read_text()), retry_delay=timedelta(seconds=1))

with DAG("kills_shared", schedule=None, catchup=False):
    announce("shared") >> ask("shared", manus_conn_id="manus_shared", wait_for_completion=IS_SECOND)

if airflow_is_at_least("3.4"):
    from airflow.sdk import task_group

    @task_group(prefix_group_id=False)
    def iteration() -> None:
        announce("looped") >> ask("looped", **AGAIN)

    with DAG("kills_looped", schedule=None, catchup=False):
        iteration.loop(max_iterations=2)  # type: ignore[attr-defined]
