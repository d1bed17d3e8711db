"""What the operators share that do something with one task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from remote_tasks_provider.a2a.connected import A2AConnected
from remote_tasks_provider.a2a.models import word_of
from remote_tasks_provider.bases.requests import OneTaskOperator
from remote_tasks_provider.core.states import in_words

__all__ = ["A2ATaskRequest"]


class A2ATaskRequest(A2AConnected, OneTaskOperator):
    """An operator that does something with one task."""

    template_fields: Sequence[str] = ("remote_task_id", "a2a_conn_id")

    def summary(self, found: Any) -> str:
        """Return how the task stands."""
        return f"A2A task {found['id']} is {in_words(found['state'], word_of(found['status']))}."
