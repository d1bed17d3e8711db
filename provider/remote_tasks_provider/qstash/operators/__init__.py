"""All operators of QStash; import them from here."""

from __future__ import annotations

from remote_tasks_provider.qstash.operators.messages import (
    QStashCancelMessageOperator,
    QStashDeleteDlqOperator,
    QStashListDlqOperator,
    QStashListLogsOperator,
    QStashRetryDlqOperator,
)
from remote_tasks_provider.qstash.operators.publish import QStashPublishBatchOperator, QStashPublishOperator
from remote_tasks_provider.qstash.operators.reading import (
    QStashGetTaskOperator,
    QStashListMessageTasksOperator,
    QStashMessageBranchOperator,
    QStashTaskBranchOperator,
)
from remote_tasks_provider.qstash.operators.settings import (
    QStashFlowControlOperator,
    QStashQueueOperator,
    QStashScheduleOperator,
    QStashUrlGroupOperator,
)

__all__ = [
    "QStashCancelMessageOperator",
    "QStashDeleteDlqOperator",
    "QStashFlowControlOperator",
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
