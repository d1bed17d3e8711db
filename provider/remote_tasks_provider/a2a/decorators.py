"""``@task.a2a``: the function returns the message, and the agent does the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow.providers.common.compat.sdk import TaskDecorator

from remote_tasks_provider.a2a.operators.task import A2ATaskOperator
from remote_tasks_provider.bases.decorators import DecoratedRemoteOperator, remote_task_decorator

__all__ = ["a2a_task"]


class _A2ADecoratedOperator(DecoratedRemoteOperator, A2ATaskOperator):
    """An :class:`A2ATaskOperator` whose message a function returns."""

    custom_operator_name = "@task.a2a"
    operator = A2ATaskOperator
    filled = "message"


def a2a_task(python_callable: Callable[..., str] | None = None, **kwargs: Any) -> TaskDecorator:
    """Ask an agent what the decorated function returns; see :class:`A2ATaskOperator` for the parameters.

    The function runs on every attempt. A later attempt re-attaches to the task of an earlier one only if the
    message is the same, so it should depend on the run, not on the clock.

    .. code-block:: python

        @task.a2a(deferrable=True, timeout=3600)
        def summarise(topic: str) -> str:
            return f"Summarise today's news about {topic} in 100 words."
    """
    return remote_task_decorator(python_callable, _A2ADecoratedOperator, **kwargs)
