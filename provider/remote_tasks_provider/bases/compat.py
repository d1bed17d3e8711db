"""The few Airflow names that ``common.compat`` does not carry, once for every supported version."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import airflow
from airflow.providers.common.compat.triggers import BaseEventTrigger
from packaging.version import Version

try:
    from airflow.sdk.exceptions import AirflowRescheduleException, TaskDeferralError
except ImportError:  # Airflow below 3.2
    from airflow.exceptions import (  # type: ignore[no-redef,attr-defined,unused-ignore]
        AirflowRescheduleException,
        TaskDeferralError,
    )

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

__all__ = [
    "AWAITS_INPUT",
    "CLEARS_DROP_STATE",
    "FORMS_ARE_REPLACED",
    "KEEPS_ASSET_STATE",
    "QUEUES_EACH_EVENT",
    "RETRIES_RESUME",
    "SHARES_STREAMS",
    "STARTS_FROM_TRIGGER",
    "SUPPORTS_HITL",
    "TRIGGERS_GET_ON_KILL",
    "TRIGGER_FAILED",
    "TRIGGER_TIMED_OUT",
    "XCOMS_MAY_BE_NONE",
    "AirflowRescheduleException",
    "BaseEventTrigger",
    "TaskDeferralError",
    "airflow_is_at_least",
    "await_siblings",
    "first_rescheduled_at",
    "first_try_number",
    "is_over",
    "skip_siblings",
    "task_state",
]


def airflow_is_at_least(version: str) -> bool:
    """Return whether this Airflow is that version or newer.

    A pre-release ("3.4.0b2") has what its final release has, so it counts as that one, not as older.
    """
    return Version(Version(airflow.__version__).base_version) >= Version(version)


STARTS_FROM_TRIGGER = airflow_is_at_least("3.3")
"""Whether a task can begin in the triggerer with its templates rendered, and end there with its XComs."""
AWAITS_INPUT = airflow_is_at_least("3.3")
"""Whether a task can pause until a person answers without a trigger."""
SUPPORTS_HITL = airflow_is_at_least("3.1.3")
"""Whether a task can put a question to a person; 3.1.0 to 3.1.2 cannot show the fields of a form."""
FORMS_ARE_REPLACED = airflow_is_at_least("3.4")
"""Whether a task's second question takes the place of its first one in Airflow's form."""
TRIGGERS_GET_ON_KILL = airflow_is_at_least("3.3")
"""Whether Airflow calls a trigger's ``on_kill``."""
SHARES_STREAMS = airflow_is_at_least("3.3")
"""Whether triggers can share a stream whose events Airflow acknowledges."""
KEEPS_ASSET_STATE = airflow_is_at_least("3.3")
"""Whether an asset has a state store, and triggers can read it."""
QUEUES_EACH_EVENT = airflow_is_at_least("3.4")
"""Whether each event of an asset starts a run, however many come at once (apache/airflow #56050)."""
CLEARS_DROP_STATE = airflow_is_at_least("3.4")
"""Whether a user who clears a task may drop its task state store."""
RETRIES_RESUME = airflow_is_at_least("3.0") and not airflow_is_at_least("3.1.8")
"""Whether the retry of an attempt that failed after a deferral resumes that attempt, with its old event.

Seen in 3.0.6, gone in 3.1.8; those between were not tried.
"""
XCOMS_MAY_BE_NONE = airflow_is_at_least("3.1") or not airflow_is_at_least("3.0")
"""Whether an XCom can be ``None``; the API of 3.0 takes that for a missing value, and the task fails."""
_UNTIL_MADE = timedelta(seconds=2)
_FINAL_STATES = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
TRIGGER_FAILED = "__fail__"
"""The method name with which Airflow resumes a task whose trigger timed out or crashed."""
TRIGGER_TIMED_OUT = frozenset({"Trigger timeout", "Trigger/execution timeout"})
"""The errors it then gives for a deferral that outlived its timeout; the second is that of 2.11."""


def first_rescheduled_at(context: Context, task: BaseOperator) -> datetime | None:
    """Return when the first attempt of a rescheduled task began; ``None`` if it was not rescheduled.

    Attempts before a user cleared the task do not count.
    """
    ti: Any = context["ti"]
    if hasattr(ti, "get_first_reschedule_date"):
        return cast("datetime | None", ti.get_first_reschedule_date(context))
    # Airflow 2.11 keeps it in its database, behind a private function that its own sensors use.
    sensors: Any = import_module("airflow.sensors.base")
    found = sensors._orig_start_date(
        dag_id=ti.dag_id,
        task_id=ti.task_id,
        run_id=ti.run_id,
        map_index=ti.map_index,
        try_number=first_try_number(context, task),
    )
    return cast("datetime | None", found)


def first_try_number(context: Context, task: BaseOperator) -> int:
    """Return the number of the first attempt since the task was created or last cleared."""
    ti: Any = context["ti"]
    return int((getattr(ti, "max_tries", 0) or 0) - (task.retries or 0) + 1)


def is_over(state: str | None) -> bool:
    """Return whether a task in ``state`` will not run again unless a user clears it.

    Only then may its remote tasks be cancelled. Airflow also kills a task that was cleared, whose next
    attempt re-attaches to them. Without an answer (``None``) they are left alone.
    """
    return state in _FINAL_STATES


def await_siblings(ti: Any, task_ids: list[str]) -> None:
    """Make sure that the tasks have instances with the index of ``ti``, all in one mapped task group.

    What is not yet made cannot be skipped, and would run. Airflow makes them a little after the first one.

    :raises AirflowRescheduleException: when one is not yet made; the running task begins again in a moment.
    """
    if task_ids and _count_siblings(ti, task_ids) < len(task_ids):
        raise AirflowRescheduleException(datetime.now(UTC) + _UNTIL_MADE)


def skip_siblings(ti: Any, task_ids: list[str]) -> None:
    """Skip the tasks' instances with the index of ``ti``, all in one mapped task group.

    The branch operators of Airflow 2 do it. Those of 3.0 to 3.3 at least leave it to the scheduler, which
    looks for the decision under another index, and runs every branch.

    :raises DownstreamTasksSkipped: on Airflow 3; it ends the running task with success.
    """
    if task_ids and airflow_is_at_least("3"):
        exceptions: Any = import_module("airflow.providers.common.compat.sdk")
        raise exceptions.DownstreamTasksSkipped(tasks=[(task_id, ti.map_index) for task_id in task_ids])


def _count_siblings(ti: Any, task_ids: list[str]) -> int:
    if not airflow_is_at_least("3"):
        run = ti.get_dagrun()
        made = (run.get_task_instance(task_id, map_index=ti.map_index) for task_id in task_ids)
        return sum(one is not None for one in made)
    runner: Any = import_module("airflow.sdk.execution_time.task_runner")
    return runner.RuntimeTaskInstance.get_ti_count(  # type: ignore[no-any-return]
        dag_id=ti.dag_id, map_index=ti.map_index, task_ids=task_ids, run_ids=[ti.run_id]
    )


def task_state(ti: Any) -> str | None:
    """Return the state that Airflow has for a task instance now; blocks while it asks.

    :param ti: what a task's context or a trigger has of it.
    """
    if not airflow_is_at_least("3"):
        return _task_state_from_database(ti)
    runner: Any = import_module("airflow.sdk.execution_time.task_runner")
    states = runner.RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
    )
    # A mapped task has its index in its name here.
    map_index = -1 if ti.map_index is None else ti.map_index
    name = ti.task_id if map_index < 0 else f"{ti.task_id}_{map_index}"
    state = states.get(ti.run_id, {}).get(name)
    return None if state is None else str(getattr(state, "value", state))


def _task_state_from_database(ti: Any) -> str | None:
    models: Any = import_module("airflow.models.taskinstance")
    session: Any = import_module("airflow.utils.session")
    with session.create_session() as open_session:
        row = models.TaskInstance
        found = open_session.query(row.state).filter(
            row.dag_id == ti.dag_id,
            row.task_id == ti.task_id,
            row.run_id == ti.run_id,
            row.map_index == ti.map_index,
        )
        return found.scalar()  # type: ignore[no-any-return]
