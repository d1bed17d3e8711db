"""All operators of A2A, under one roof: import them from here."""

from __future__ import annotations

from remote_tasks_provider.a2a.operators.actions import A2ACancelTaskOperator, A2ASendMessageOperator
from remote_tasks_provider.a2a.operators.reading import (
    A2AGetTaskOperator,
    A2AListTasksOperator,
    A2ATaskBranchOperator,
)

__all__ = [
    "A2ACancelTaskOperator",
    "A2AGetTaskOperator",
    "A2AListTasksOperator",
    "A2ASendMessageOperator",
    "A2ATaskBranchOperator",
]
