"""Cancelling remote tasks: one rule for a worker, which blocks, and a triggerer, which must not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from remote_tasks_provider.core.errors import NotFoundError, RateLimitedError, RemoteTaskError
from remote_tasks_provider.core.http.client import AsyncClient, Client
from remote_tasks_provider.core.log import Log
from remote_tasks_provider.core.polling.drivers import arun_plan, run_plan
from remote_tasks_provider.core.polling.strategy import Plan
from remote_tasks_provider.core.service import TaskType

__all__ = ["acancel_tasks", "cancel_tasks"]


def cancel_tasks(client: Client, task_type: TaskType, ids: Iterable[str], why: str, log: Log) -> list[str]:
    """Cancel the tasks ``ids``, and say in the log what became of each; return those that may still run.

    :param why: the reason, for the log: ``this task was marked failed``.
    """
    return run_plan(_cancel_all(task_type, client.config.extras, ids, why, log), client.send)


async def acancel_tasks(
    client: AsyncClient, task_type: TaskType, ids: Iterable[str], why: str, log: Log
) -> list[str]:
    """Like :func:`cancel_tasks`, on an event loop."""
    return await arun_plan(_cancel_all(task_type, client.config.extras, ids, why, log), client.send)


def _cancel_all(task_type: TaskType, extras: Any, ids: Iterable[str], why: str, log: Log) -> Plan[list[str]]:
    still_running = []
    shared: RemoteTaskError | None = None
    for task_id in ids:
        answer = shared or (yield from _cancel(task_type, extras, task_id))
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


def _cancel(task_type: TaskType, extras: Any, task_id: str) -> Plan[Any]:
    try:
        operation = task_type.cancel(extras, task_id)
    except RemoteTaskError as error:
        return error
    if operation is None:
        return RemoteTaskError(f"{task_type.service.name} has no operation that cancels it")
    (answer,) = yield [operation]
    return answer
