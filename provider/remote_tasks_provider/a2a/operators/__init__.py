"""All operators of A2A, under one roof: import them from here."""

from __future__ import annotations

from remote_tasks_provider.a2a.operators.actions import (
    A2ACancelTaskOperator,
    A2ADownloadArtifactsOperator,
    A2ASendMessageOperator,
)
from remote_tasks_provider.a2a.operators.reading import (
    A2AGetTaskOperator,
    A2AListTasksOperator,
    A2ATaskBranchOperator,
)
from remote_tasks_provider.a2a.operators.task import A2ATaskOperator

__all__ = [
    "A2ACancelTaskOperator",
    "A2ADownloadArtifactsOperator",
    "A2AGetTaskOperator",
    "A2AListTasksOperator",
    "A2ASendMessageOperator",
    "A2ATaskBranchOperator",
    "A2ATaskOperator",
]
