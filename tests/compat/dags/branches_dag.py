"""A branch operator inside a mapped task group whose size is not known before."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, BaseOperator, TaskGroup, task, task_group

from remote_tasks_provider.manus.operators import ManusTaskBranchOperator


class Done(BaseOperator):
    """Does nothing; the empty operator lives elsewhere in every other version."""

    def execute(self, context: object) -> None:
        """Succeed."""


with DAG("branches", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:

    @task
    def ids() -> list[str]:
        """Return the ids of the remote tasks."""
        return ["broken", "done"]

    @task_group
    def each(remote_task_id: Any) -> None:
        """Follow one branch for each; one of the branches is a task group."""
        branch = ManusTaskBranchOperator(
            task_id="branch",
            remote_task_id=remote_task_id,
            completed="each.celebrate",
            failed="each.apologise",
        )
        with TaskGroup("apologise"):
            branch >> Done(task_id="first")
        branch >> Done(task_id="celebrate")

    each.expand(remote_task_id=ids())
