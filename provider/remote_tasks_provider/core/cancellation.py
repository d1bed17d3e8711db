"""Cancelling remote tasks: one rule for a worker, which blocks, and a triggerer, which must not.

:func:`cancel_plan` decides without I/O: it yields operations and is sent their answers, and says in the log
what became of each task.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any, Protocol

from remote_tasks_provider.core.errors import NotFoundError, RateLimitedError, RemoteTaskError
from remote_tasks_provider.core.http.client import AsyncClient, Client
from remote_tasks_provider.core.http.operation import Operation
from remote_tasks_provider.core.service import TaskType

__all__ = ["acancel_tasks", "cancel_tasks"]

CancelPlan = Generator[Operation[Any], Any, list[str]]
"""Yields an operation for each task, is sent its answer (a value or a :class:`RemoteTaskError`), returns the
ids of the tasks that may still run."""


class Log(Protocol):
    """Where to report: a standard logger, or Airflow's."""

    def info(self, event: str, *arguments: Any) -> Any:
        """Say what happens."""

    def warning(self, event: str, *arguments: Any) -> Any:
        """Say what a reader should know."""


def cancel_plan(task_type: TaskType, extras: Any, ids: Iterable[str], why: str, log: Log) -> CancelPlan:
    """Plan to cancel the tasks ``ids``.

    :param why: the reason, for the log: ``this task was marked failed``.
    """
    still_running = []
    shared: RemoteTaskError | None = None
    for task_id in ids:
        answer: Any = shared
        if shared is None:
            answer = yield from _answer(task_type, extras, task_id)
        if isinstance(answer, NotFoundError):
            log.info("%s %s no longer exists.", task_type.label, task_id)
        elif isinstance(answer, RemoteTaskError):
            still_running.append(task_id)
            # The other operations would meet this error too. A rate limit lets some of them through.
            is_shared = answer.concerns_service and not isinstance(answer, RateLimitedError)
            shared = answer if is_shared else None
            log.warning("%s %s was not cancelled and may still run: %s", task_type.label, task_id, answer)
        else:
            log.info("%s %s was cancelled: %s.", task_type.label, task_id, why)
    return still_running


def _answer(task_type: TaskType, extras: Any, task_id: str) -> Generator[Operation[Any], Any, Any]:
    try:
        operation = task_type.cancel(extras, task_id)
    except RemoteTaskError as error:
        return error
    if operation is None:
        return RemoteTaskError(f"{task_type.service.name} has no operation that cancels it")
    return (yield operation)


def cancel_tasks(client: Client, task_type: TaskType, ids: Iterable[str], why: str, log: Log) -> list[str]:
    """Cancel the tasks ``ids``; return those that may still run. Blocks."""
    plan = cancel_plan(task_type, client.config.extras, ids, why, log)
    try:
        operation = next(plan)
        while True:
            try:
                answer: Any = client.send(operation)
            except RemoteTaskError as error:
                answer = error
            operation = plan.send(answer)
    except StopIteration as done:
        still_running: list[str] = done.value
        return still_running


async def acancel_tasks(
    client: AsyncClient, task_type: TaskType, ids: Iterable[str], why: str, log: Log
) -> list[str]:
    """Like :func:`cancel_tasks`, on an event loop."""
    plan = cancel_plan(task_type, client.config.extras, ids, why, log)
    try:
        operation = next(plan)
        while True:
            try:
                answer: Any = await client.send(operation)
            except RemoteTaskError as error:
                answer = error
            operation = plan.send(answer)
    except StopIteration as done:
        still_running: list[str] = done.value
        return still_running
