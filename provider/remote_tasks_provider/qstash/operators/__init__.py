"""All operators of QStash, under one roof: import them from here."""

from __future__ import annotations

from remote_tasks_provider.qstash.operators.messages import (
    QStashCancelMessageOperator,
    QStashDeleteDlqOperator,
    QStashListDlqOperator,
    QStashListLogsOperator,
    QStashMessageBranchOperator,
    QStashRetryDlqOperator,
)
from remote_tasks_provider.qstash.operators.publish import QStashPublishBatchOperator, QStashPublishOperator
from remote_tasks_provider.qstash.operators.reading import (
    QStashGetTaskOperator,
    QStashListMessageTasksOperator,
    QStashTaskBranchOperator,
)
from remote_tasks_provider.qstash.operators.settings import (
    QStashQueueOperator,
    QStashScheduleOperator,
    QStashUrlGroupOperator,
)

__all__ = [
    "QStashCancelMessageOperator",
    "QStashDeleteDlqOperator",
    "QStashGetTaskOperator",
    "QStashListDlqOperator",
    "QStashListLogsOperator",
    "QStashListMessageTasksOperator",
    "QStashMessageBranchOperator",
    "QStashPublishBatchOperator",
    "QStashPublishOperator",
    "QStashQueueOperator",
    "QStashRetryDlqOperator",
    "QStashScheduleOperator",
    "QStashTaskBranchOperator",
    "QStashUrlGroupOperator",
]
