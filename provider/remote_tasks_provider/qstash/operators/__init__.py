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
from remote_tasks_provider.qstash.operators.workflow_actions import (
    QStashCancelWorkflowOperator,
    QStashListWorkflowRunsOperator,
    QStashNotifyWorkflowOperator,
)
from remote_tasks_provider.qstash.operators.workflows import (
    QStashResumeWorkflowOperator,
    QStashWorkflowBranchOperator,
    QStashWorkflowOperator,
)

__all__ = [
    "QStashCancelMessageOperator",
    "QStashCancelWorkflowOperator",
    "QStashDeleteDlqOperator",
    "QStashFlowControlOperator",
    "QStashGetTaskOperator",
    "QStashListDlqOperator",
    "QStashListLogsOperator",
    "QStashListMessageTasksOperator",
    "QStashListWorkflowRunsOperator",
    "QStashMessageBranchOperator",
    "QStashNotifyWorkflowOperator",
    "QStashPublishBatchOperator",
    "QStashPublishOperator",
    "QStashQueueOperator",
    "QStashResumeWorkflowOperator",
    "QStashRetryDlqOperator",
    "QStashScheduleOperator",
    "QStashTaskBranchOperator",
    "QStashUrlGroupOperator",
    "QStashWorkflowBranchOperator",
    "QStashWorkflowOperator",
]
