"""The same waits in three ways, for `make bench`: ours, ours without any worker, and the http provider's.

The http provider has no sensor that defers and reads the response: `HttpSensor(deferrable=True)` checks the
status code only, and with a `response_check` it stays on the worker. So a user writes an operator around
`HttpEventTrigger`; this is the shortest one. It defers at once, without a first poll on the worker.
"""

from __future__ import annotations

import os
from typing import Any

from airflow.providers.common.compat.sdk import DAG, BaseOperator
from airflow.providers.http.triggers.http import HttpEventTrigger

from remote_tasks_provider.manus.sensors import ManusTaskSensor

WAITS = int(os.environ["BENCH_WAITS"])
INTERVAL = float(os.environ["BENCH_INTERVAL"])


class WaitByHttp(BaseOperator):
    """Waits for a Manus task by means of the http provider."""

    def __init__(self, *, remote_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.remote_task_id = remote_task_id

    def execute(self, context: Any) -> None:
        self.defer(
            trigger=HttpEventTrigger(
                http_conn_id="bench_http",
                endpoint=f"manus/v1/tasks/{self.remote_task_id}",
                response_check_path="dev.bench.checks.is_finished",
                poll_interval=INTERVAL,
            ),
            method_name="execute_complete",
        )

    def execute_complete(self, context: Any, event: dict[str, Any]) -> None:
        if event["status"] != "success":
            raise RuntimeError(event)


def add_wait(variant: str, number: int) -> None:
    """Add one wait to the current DAG."""
    names = {"task_id": f"wait_{variant}_{number + 1}", "remote_task_id": f"{variant}-{number + 1}"}
    if variant == "http":
        WaitByHttp(**names)
        return
    no_worker = variant == "ours_without_worker"
    ManusTaskSensor(
        **names,
        manus_conn_id="bench_manus",
        poke_interval=INTERVAL,
        timeout=600,
        deferrable=True,
        start_from_trigger=no_worker,
        end_from_trigger=no_worker,
    )


VARIANTS = ("http", "ours", "ours_without_worker")

with DAG("bench_warm_up", schedule=None, catchup=False):
    for variant in VARIANTS:
        add_wait(variant, -1)

for variant in VARIANTS:
    with DAG(f"bench_{variant}", schedule=None, catchup=False, max_active_tasks=WAITS):
        for number in range(WAITS):
            add_wait(variant, number)
