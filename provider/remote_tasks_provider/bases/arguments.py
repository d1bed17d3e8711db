"""What holds for the parameters of every operator and sensor."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import BaseOperator

from remote_tasks_provider.core import validation

__all__ = ["RereadableOperator"]


class RereadableOperator(BaseOperator):
    """An operator whose parameters can be read as often as needed, also where a generator was passed.

    A list of ids is read for the wait and again for its result. So what can be read only once becomes a list
    when it is set: by the caller, or by the rendering of a template.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute."""
        super().__setattr__(name, validation.rereadable(value))
