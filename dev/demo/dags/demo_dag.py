"""Wait for two Manus tasks and branch on the result of each; run by `make demo` and `make airflow`.

The ids come with the run (its conf), because the demo adds its tasks when it starts. Without ids, the run
waits for two of the sandbox's demo tasks.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator

from remote_tasks_provider.manus.operators import ManusTaskBranchOperator

with DAG("remote_tasks_demo", schedule=None, catchup=False, tags=["demo"]):
    for name, remote_task_id in {"report": "demo-completes", "prices": "demo-fails"}.items():
        branch = ManusTaskBranchOperator(
            task_id=f"wait_for_{name}",
            remote_task_id=f"{{{{ dag_run.conf.get('{name}', '{remote_task_id}') }}}}",
            completed=f"celebrate_{name}",
            failed=f"apologise_{name}",
            deferrable=True,
            poll_interval=5,
        )
        branch >> [EmptyOperator(task_id=f"celebrate_{name}"), EmptyOperator(task_id=f"apologise_{name}")]
