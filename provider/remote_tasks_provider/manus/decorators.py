"""``@task.manus``: the function returns the prompt, and the agent does the rest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import (
    SET_DURING_EXECUTION,
    DecoratedOperator,
    TaskDecorator,
    context_merge,
    determine_kwargs,
    task_decorator_factory,
)

from remote_tasks_provider.manus.task_operator import ManusTaskOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["manus_task"]


class _ManusDecoratedOperator(DecoratedOperator, ManusTaskOperator):
    """A :class:`ManusTaskOperator` whose prompt a function returns."""

    custom_operator_name = "@task.manus"
    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *(name for name in ManusTaskOperator.template_fields if name != "prompt"),
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **DecoratedOperator.template_fields_renderers,
        **ManusTaskOperator.template_fields_renderers,
    }

    def __init__(
        self,
        *,
        python_callable: Callable[..., str],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if "prompt" in kwargs:
            raise TypeError("@task.manus takes no prompt: the function returns it")
        super().__init__(
            python_callable=python_callable,
            op_args=op_args,
            op_kwargs=op_kwargs,
            prompt=SET_DURING_EXECUTION,
            **kwargs,
        )

    def execute(self, context: Context) -> Any:
        """Call the function, and ask the agent what it returned."""
        context_merge(context, self.op_kwargs)
        wanted = determine_kwargs(self.python_callable, self.op_args, context)
        self.prompt = self.python_callable(*self.op_args, **wanted)
        return ManusTaskOperator.execute(self, context)


def manus_task(python_callable: Callable[..., str] | None = None, **kwargs: Any) -> TaskDecorator:
    """Ask the agent what the decorated function returns; see :class:`ManusTaskOperator` for the parameters.

    The function runs on every attempt. A later attempt goes on with the task of an earlier one only if the
    prompt is the same, so it should depend on the run, not on the clock.

    .. code-block:: python

        @task.manus(deferrable=True, max_credits=200)
        def summarise(topic: str) -> str:
            return f"Summarise today's news about {topic} in 100 words."
    """
    return task_decorator_factory(
        python_callable=python_callable, decorated_operator_class=_ManusDecoratedOperator, **kwargs
    )
