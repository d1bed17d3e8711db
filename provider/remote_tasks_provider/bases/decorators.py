"""``@task.<vendor>``: a function returns what an operator would be given as one of its arguments."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import (
    SET_DURING_EXECUTION,
    BaseOperator,
    DecoratedOperator,
    TaskDecorator,
    context_merge,
    determine_kwargs,
    task_decorator_factory,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["DecoratedRemoteOperator", "remote_task_decorator"]


class DecoratedRemoteOperator(DecoratedOperator):
    """An operator one of whose arguments a function returns; to be named before that operator as a base.

    ``operator`` is the operator, ``filled`` the argument, which is no template field then.
    """

    operator: ClassVar[type[BaseOperator]]
    filled: ClassVar[str]
    custom_operator_name: str

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = (name for name in cls.operator.template_fields if name != cls.filled)
        cls.template_fields = (*DecoratedOperator.template_fields, *own)
        cls.template_fields_renderers = {
            **DecoratedOperator.template_fields_renderers,
            **cls.operator.template_fields_renderers,
        }

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if self.filled in kwargs:
            raise TypeError(f"{self.custom_operator_name} takes no {self.filled}: the function returns it")
        kwargs[self.filled] = SET_DURING_EXECUTION
        super().__init__(python_callable=python_callable, op_args=op_args, op_kwargs=op_kwargs, **kwargs)

    def execute(self, context: Context) -> Any:
        """Call the function, then do what the operator does."""
        context_merge(context, self.op_kwargs)
        wanted = determine_kwargs(self.python_callable, self.op_args, context)
        setattr(self, self.filled, self.python_callable(*self.op_args, **wanted))
        return self.operator.execute(self, context)


def remote_task_decorator(
    python_callable: Callable[..., Any] | None,
    operator: type[DecoratedRemoteOperator],
    *,
    multiple_outputs: bool = False,
    **kwargs: Any,
) -> TaskDecorator:
    """Return what makes a task of a function.

    :param multiple_outputs: whether each key of what the operator returns is an XCom of its own. Airflow
        would read it from the function's annotation, but what the function returns is not what the operator
        returns.
    """
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=multiple_outputs,
        decorated_operator_class=operator,
        **kwargs,
    )
