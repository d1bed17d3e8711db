"""What A2A's operators share: the connection, and the task that most of them are about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from remote_tasks_provider.a2a.hooks import A2AHook
from remote_tasks_provider.a2a.models import word_of
from remote_tasks_provider.bases.requests import OneTaskOperator, RequestOperator
from remote_tasks_provider.core.states import in_words

__all__ = ["COLOR", "A2AOperator", "A2ATaskRequest"]

COLOR = "#e3ecf7"


class A2AOperator(RequestOperator):
    """An operator that sends requests and does not wait for tasks.

    :param a2a_conn_id: the Airflow connection. Templated.
    """

    hook_class = A2AHook
    ui_color = COLOR

    def __init__(self, *, a2a_conn_id: str = A2AHook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.a2a_conn_id = a2a_conn_id


class A2ATaskRequest(A2AOperator, OneTaskOperator):
    """An operator that does something with one task."""

    template_fields: Sequence[str] = ("remote_task_id", "a2a_conn_id")

    def summary(self, found: Any) -> str:
        """Return how the task stands."""
        return f"A2A task {found['id']} is {in_words(found['state'], word_of(found['status']))}."
