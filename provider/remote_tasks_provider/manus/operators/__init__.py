"""All operators of Manus, under one roof: import them from here."""

from __future__ import annotations

from remote_tasks_provider.manus.operators.actions import (
    ManusConfirmActionOperator,
    ManusDeleteTaskOperator,
    ManusDownloadFilesOperator,
    ManusGetResultOperator,
    ManusSendMessageOperator,
    ManusStopTaskOperator,
    ManusUpdateTaskOperator,
)
from remote_tasks_provider.manus.operators.reading import (
    ManusGetTaskOperator,
    ManusListTasksOperator,
    ManusListUsageOperator,
    ManusTaskBranchOperator,
)
from remote_tasks_provider.manus.operators.task import ManusTaskOperator
from remote_tasks_provider.manus.operators.webhooks import ManusWebhookOperator
from remote_tasks_provider.manus.operators.websites import ManusPublishWebsiteOperator

__all__ = [
    "ManusConfirmActionOperator",
    "ManusDeleteTaskOperator",
    "ManusDownloadFilesOperator",
    "ManusGetResultOperator",
    "ManusGetTaskOperator",
    "ManusListTasksOperator",
    "ManusListUsageOperator",
    "ManusPublishWebsiteOperator",
    "ManusSendMessageOperator",
    "ManusStopTaskOperator",
    "ManusTaskBranchOperator",
    "ManusTaskOperator",
    "ManusUpdateTaskOperator",
    "ManusWebhookOperator",
]
