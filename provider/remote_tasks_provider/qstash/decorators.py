"""``@task.qstash``: the function returns the body of a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow.providers.common.compat.sdk import TaskDecorator

from remote_tasks_provider.bases.decorators import DecoratedRemoteOperator, remote_task_decorator
from remote_tasks_provider.qstash.operators.publish import QStashPublishOperator

__all__ = ["qstash_task"]


class _QStashDecoratedOperator(DecoratedRemoteOperator, QStashPublishOperator):
    """A :class:`QStashPublishOperator` whose body a function returns."""

    custom_operator_name = "@task.qstash"
    operator = QStashPublishOperator
    filled = "body"


def qstash_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> TaskDecorator:
    """Publish what the decorated function returns; see :class:`QStashPublishOperator` for the parameters.

    The function runs on every attempt; QStash treats a retry as a repeat whatever it returns.

    .. code-block:: python

        @task.qstash(destination="https://example.com/hook", wait_for_completion=True)
        def notify(rows: int) -> dict[str, int]:
            return {"rows": rows}
    """
    return remote_task_decorator(python_callable, _QStashDecoratedOperator, **kwargs)
