"""The same waits for `make bench` by means of the http provider.

It has no sensor that defers and reads the response: `HttpSensor(deferrable=True)` checks the status code
only, and with a `response_check` it stays on the worker. So a user writes an operator around
`HttpEventTrigger`; this is the shortest one. It defers at once, without a first poll on the worker.
"""

from __future__ import annotations

import os
from typing import Any

from airflow.providers.common.compat.sdk import DAG, BaseOperator
from airflow.providers.http.triggers.http import HttpEventTrigger

WAITS = int(os.environ["BENCH_WAITS"])


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
                poll_interval=float(os.environ["BENCH_INTERVAL"]),
            ),
            method_name="execute_complete",
        )

    def execute_complete(self, context: Any, event: dict[str, Any]) -> None:
        if event["status"] != "success":
            raise RuntimeError(event)


with DAG("bench_http", schedule=None, catchup=False, max_active_tasks=WAITS) as dag:
    for number in range(1, WAITS + 1):
        WaitByHttp(task_id=f"wait_{number}", remote_task_id=f"http-{number}")

with DAG("bench_http_warm_up", schedule=None, catchup=False) as dag:
    WaitByHttp(task_id="wait_0", remote_task_id="http-0")
