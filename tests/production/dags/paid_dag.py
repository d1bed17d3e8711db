"""Tasks that cost money, mapped over the prompts of the run; see tests/production."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task
from airflow.providers.openlineage.utils.selective_enable import enable_lineage

from remote_tasks_provider.manus.operators import ManusTaskOperator

AGAIN = {"retries": 3, "retry_delay": timedelta(seconds=1)}


@task(**AGAIN)
def prompts(**context: Any) -> list[str]:
    conf = context["dag_run"].conf
    return [f"{conf['name']} {number}" for number in range(conf["count"])]


def paid(dag_id: str, **options: Any) -> None:
    with DAG(dag_id, schedule=None, catchup=False) as dag:
        if dag_id == "paid_files":
            enable_lineage(dag)
        ManusTaskOperator.partial(
            task_id="ask",
            manus_conn_id="{{ dag_run.conf['conn_id'] }}",
            poll_interval=2,
            **{**AGAIN, **options},
        ).expand(prompt=prompts())


paid("paid_deferred", deferrable=True)
paid("paid_on_a_worker", deferrable=False)
paid("paid_timeout", deferrable=True, timeout=120)
paid("paid_execution_timeout", deferrable=True, execution_timeout=timedelta(seconds=120), retries=0)
paid(
    "paid_files",
    deferrable=True,
    attachments=["s3://aws_default@files/brief.txt"],
    result_path=("s3://aws_results@results/{{ dag_run.conf['name'] }}-{{ ti.map_index }}.json"),
)
