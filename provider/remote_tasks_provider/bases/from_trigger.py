"""Waits that begin or end in the triggerer, so that no worker process is started for them (Airflow 3.3)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from weakref import WeakKeyDictionary

from airflow.providers.common.compat.sdk import XCom
from airflow.triggers.base import TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent
from jinja2 import Environment, StrictUndefined
from jinja2.nativetypes import NativeEnvironment

from remote_tasks_provider.bases.exceptions import Verdict, verdict
from remote_tasks_provider.bases.links import LINK_KEY
from remote_tasks_provider.bases.supervisor import ask, in_thread
from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.polling.policy import OnWaiting, WaitLimits
from remote_tasks_provider.core.polling.result import WaitResult

__all__ = [
    "SensorSettings",
    "TaskEnd",
    "WhenRead",
    "environment",
    "release",
    "renders_native",
    "why_not_rendered",
]


# Enough to keep the supervisor busy.
_AT_A_TIME = 2
# With as many, each wait that begins holds the event loop up for some 50 ms.
_MANY_TASKS = 200


class WhenRead:
    """An attribute of operators that is worked out whenever it is read.

    Airflow reads it when it serializes the DAG. By then the DAG file, its defaults and the cluster policy may
    have changed what the constructor was given.

    :param of_class: what the class has, as which Airflow reads it for mapped tasks.
    """

    def __init__(self, work_out: Callable[[Any], Any], *, of_class: Any) -> None:
        self._work_out = work_out
        self._of_class = of_class

    def __get__(self, operator: Any, owner: type | None = None) -> Any:
        """Return the value."""
        return self._of_class if operator is None else self._work_out(operator)


# ------------------------------------------------------------------------- templates in the triggerer


def renders_native(operator: Any) -> bool:
    """Return whether the operator, or else its DAG, renders templates to objects."""
    own = getattr(operator, "render_template_as_native_obj", None)
    return bool(operator.dag.render_template_as_native_obj if own is None and operator.has_dag() else own)


def why_not_rendered(operator: Any) -> str | None:
    """Return why only a worker can render the operator's templates, if that is so."""
    if not operator.has_dag():
        return None
    dag = operator.dag
    if dag.user_defined_macros or dag.user_defined_filters:
        return "the triggerer does not know the DAG's user_defined_macros and user_defined_filters"
    if dag.jinja_environment_kwargs or dag.template_undefined is not StrictUndefined:
        return "the triggerer does not know the DAG's jinja_environment_kwargs and template_undefined"
    return None


def environment(plain: Environment, *, native: bool) -> Environment:
    """Return what renders as a worker does, of the sandboxed environment that Airflow has for triggers.

    That one renders a name that is not defined to nothing, and every template to a string.
    """
    bases = (type(plain), NativeEnvironment) if native else (type(plain),)
    made = type("_TriggerEnvironment", bases, {})
    return cast("Environment", made(undefined=StrictUndefined, extensions=["jinja2.ext.do"], cache_size=0))


def release(context: Any, task_instance: Any, log: Any) -> None:
    """Let go of the DAG that Airflow has made for the rendering; it would keep it as long as the wait."""
    dag = context.get("dag")
    context.clear()
    if hasattr(task_instance, "task"):
        task_instance.task = None
    if dag is None:
        return
    if (tasks := len(dag.task_dict)) > _MANY_TASKS:
        log.warning(
            "start_from_trigger: this DAG has %d tasks, and Airflow hands the whole DAG to the triggerer for "
            "each wait, which holds up all other waits. Give one sensor a list of ids, or use smaller DAGs.",
            tasks,
        )
    # The DAG and its tasks hold each other. This copy is the trigger's own.
    dag.task_dict.clear()


# -------------------------------------------------------------------------------- the end of the wait


@dataclass(frozen=True, slots=True)
class SensorSettings:
    """What a trigger must know of its sensor to begin or end a wait without a worker; one of its arguments.

    :param label: names one remote task in messages.
    :param timeout: seconds from the start until the sensor gives up.
    :param execution_timeout: seconds until Airflow ends the attempt, if it does.
    :param has_retries: whether Airflow would retry the task.
    :param single: whether the result is one record instead of a list.
    :param ends_in_triggerer: whether the trigger ends the task.
    :param native: whether a template is rendered to an object, such as a list, instead of a string.
    """

    label: str
    timeout: float
    execution_timeout: float | None
    has_retries: bool
    single: bool
    ends_in_triggerer: bool
    raise_on_failure: bool
    soft_fail: bool
    never_fail: bool
    native: bool = False

    def begin(self, timeout_after: datetime | None, now: float) -> dict[str, float | None]:
        """Return the start and the deadlines of a wait that began in the triggerer, also after a restart.

        :param timeout_after: when Airflow times the deferral out, as far as it says so.
        """
        limits = WaitLimits(self.timeout, self.execution_timeout)
        started_at = now if timeout_after is None else limits.started_at(timeout_after.timestamp())
        return {"started_at": started_at, **limits.deadlines(started_at, started_at)}

    def task_end(
        self, result: WaitResult, ids: Sequence[str], on_waiting: OnWaiting, page: str | None = None
    ) -> TaskEnd:
        """Return what ends the task in the triggerer, or resumes it where only a worker can end it.

        :param page: where the extra link leads.

        Airflow retries a task that fails in the triggerer if it has retries left. So where a retry cannot
        help but there are retries, a worker is needed to fail the task for good.
        """
        error = result.failure(self.label, raise_on_failure=self.raise_on_failure, on_waiting=on_waiting)
        records = result.in_order(ids)
        xcoms: dict[str, Any] = {LINK_KEY: page} if page else {}
        if error is None:
            xcoms["return_value"] = records[0] if self.single else records
            return TaskEnd(TaskSuccessEvent(), xcoms, lines=result.lines(self.label))
        found = verdict(error, result.timed_out, soft_fail=self.soft_fail, never_fail=self.never_fail)
        if found is Verdict.SKIP:
            return TaskEnd(TaskSkippedEvent(), xcoms, error)
        if found.is_final and self.has_retries:
            return TaskEnd(TriggerEvent(result.to_event()), {})
        return TaskEnd(TaskFailedEvent(), {**xcoms, "remote_task_error": str(error)}, error)


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """How a task ends in the triggerer.

    :param xcoms: what a worker would have left in XCom.
    :param error: what a worker would have raised.
    :param lines: what it would have said in the log.
    """

    event: TriggerEvent
    xcoms: Mapping[str, Any]
    error: RemoteTaskError | None = None
    lines: Sequence[str] = ()

    async def write(self, task_instance: Any, log: Any) -> None:
        """Write the XComs and the log that a worker would have written.

        Not through the event: Airflow 3.3.2 would encode an event's XComs twice, and past any XCom backend.
        """
        for line in self.lines:
            log.info("%s", line)
        if isinstance(self.event, TaskFailedEvent):
            log.error("%s: %s", type(self.error).__name__, self.error)
        elif self.error is not None:
            log.info("Skipping: %s", self.error)
        async with _one_after_another():
            for key, value in self.xcoms.items():
                await ask(
                    in_thread(
                        XCom.set,
                        key=key,
                        value=value,
                        dag_id=task_instance.dag_id,
                        task_id=task_instance.task_id,
                        run_id=task_instance.run_id,
                        map_index=task_instance.map_index,
                    )
                )


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


def _one_after_another() -> asyncio.Semaphore:
    """Return what lets a few waits of this event loop end at a time.

    The supervisor writes XComs one by one. If all waits that end together wrote at a time, none would end
    before nearly all XComs are written.
    """
    return _turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(_AT_A_TIME))
