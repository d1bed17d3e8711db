"""``@task.manus``: the function returns the prompt, and the agent does the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow.providers.common.compat.sdk import TaskDecorator

from remote_tasks_provider.bases.decorators import DecoratedRemoteOperator, remote_task_decorator
from remote_tasks_provider.manus.operators.task import ManusTaskOperator

__all__ = ["manus_task"]


class _ManusDecoratedOperator(DecoratedRemoteOperator, ManusTaskOperator):
    """A :class:`ManusTaskOperator` whose prompt a function returns."""

    custom_operator_name = "@task.manus"
    operator = ManusTaskOperator
    filled = "prompt"


def manus_task(python_callable: Callable[..., str] | None = None, **kwargs: Any) -> TaskDecorator:
    """Ask the agent what the decorated function returns; see :class:`ManusTaskOperator` for the parameters.

    The function runs on every attempt. A later attempt re-attaches to the task of an earlier one only if the
    prompt is the same, so it should depend on the run, not on the clock.

    .. code-block:: python

        @task.manus(deferrable=True, max_credits=200)
        def summarise(topic: str) -> str:
            return f"Summarise today's news about {topic} in 100 words."
    """
    return remote_task_decorator(python_callable, _ManusDecoratedOperator, **kwargs)
