"""The few Airflow names that ``common.compat`` does not carry, once for every supported version."""

from __future__ import annotations

from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

import airflow
from packaging.version import Version

try:
    from airflow.sdk.exceptions import AirflowRescheduleException
except ImportError:  # Airflow below 3.2
    from airflow.exceptions import AirflowRescheduleException  # type: ignore[no-redef,attr-defined,unused-ignore]

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

__all__ = [
    "STARTS_FROM_TRIGGER",
    "TRIGGER_FAILED",
    "TRIGGER_TIMED_OUT",
    "AirflowRescheduleException",
    "first_rescheduled_at",
    "first_try_number",
]

STARTS_FROM_TRIGGER = Version(airflow.__version__) >= Version("3.3")
"""Whether a task can begin in the triggerer with its templates rendered, and end there with its XComs."""
TRIGGER_FAILED = "__fail__"
"""The method name with which Airflow resumes a task whose trigger timed out or crashed."""
TRIGGER_TIMED_OUT = "Trigger timeout"
"""The error it then gives for a deferral that outlived its timeout."""


def first_rescheduled_at(context: Context, task: BaseOperator) -> datetime | None:
    """Return when the first attempt of a rescheduled task began; ``None`` if it was not rescheduled.

    Attempts before a user cleared the task do not count.
    """
    ti: Any = context["ti"]
    found: datetime | None
    if hasattr(ti, "get_first_reschedule_date"):
        found = ti.get_first_reschedule_date(context)
        return found
    # Airflow 2.11 keeps it in its database, behind a private function that its own sensors use.
    sensors: Any = import_module("airflow.sensors.base")
    found = sensors._orig_start_date(
        dag_id=ti.dag_id,
        task_id=ti.task_id,
        run_id=ti.run_id,
        map_index=ti.map_index,
        try_number=first_try_number(context, task),
    )
    return found


def first_try_number(context: Context, task: BaseOperator) -> int:
    """Return the number of the first attempt since the task was created or last cleared."""
    ti: Any = context["ti"]
    return int((getattr(ti, "max_tries", 0) or 0) - (task.retries or 0) + 1)
