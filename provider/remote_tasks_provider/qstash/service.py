"""QStash as the core sees it: where it lives, how it authenticates, and how its tasks are polled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from remote_tasks_provider.core.errors import AuthenticationError
from remote_tasks_provider.core.http.connection import ConnectionConfig, ConnectionExtras
from remote_tasks_provider.core.http.operation import Operation
from remote_tasks_provider.core.http.response import Hint
from remote_tasks_provider.core.service import Service, TaskType
from remote_tasks_provider.qstash.api import v2, workflows
from remote_tasks_provider.qstash.api.filters import RUN_CANCEL_FILTERS, filters_of
from remote_tasks_provider.qstash.api.options import PlanName
from remote_tasks_provider.qstash.manifest import MANIFEST
from remote_tasks_provider.qstash.polling import QStashMessagePollStrategy, QStashTaskPollStrategy
from remote_tasks_provider.qstash.push import WEBHOOKS
from remote_tasks_provider.qstash.workflow_polling import QStashWorkflowPollStrategy

__all__ = ["QSTASH", "QSTASH_MESSAGE", "QSTASH_TASK", "QSTASH_WORKFLOW", "QStashExtras"]

# https://upstash.com/docs/qstash/howto/multi-region
_REGIONS = {"eu": "https://qstash.upstash.io", "us": "https://qstash-us-east-1.upstash.io"}


class QStashExtras(ConnectionExtras):
    """The extras of a QStash connection."""

    region: Literal["eu", "us"] = "eu"
    """The account's region; used if the host is empty."""
    plan: PlanName = "free"
    """The account's plan; its limits are checked before a message is sent, see
    ``docs/how-to/connections.md``."""
    webhook_secret: str | None = Field(default=None, repr=False)
    """The account's signing keys, the current and after a comma the next one, for a receiver that cannot ask
    QStash for them. Default: they are asked for, and kept for an hour; see ``docs/how-to/webhooks.md``."""


def _auth(token: str, _extras: QStashExtras) -> tuple[str, str]:
    # https://upstash.com/docs/qstash/api/authentication
    return "Authorization", f"Bearer {token}"


def _explain(operation: Operation[Any], status: int, message: str, config: ConnectionConfig) -> Hint | None:
    regions = (
        f"QStash's regions are separate: does the token of connection {config.conn_id!r} belong to the "
        f"region of its host, {config.base_url}? (EU: https://qstash.upstash.io, "
        "US: https://qstash-us-east-1.upstash.io)"
    )
    if status == 404 and "region" in message.casefold():
        return Hint(regions, AuthenticationError)
    if status == 401:
        return Hint(f"Check the password (token) of connection {config.conn_id!r}. {regions}")
    if status == 404 and operation.has_id:
        return Hint("Is the id right? QStash forgets what has finished after some days.")
    return None


def _cancel(_extras: QStashExtras, message_ids: Sequence[str]) -> Operation[Any]:
    """Return the operation for one message, which says whether it is in flight, or that for several."""
    if len(message_ids) == 1:
        return v2.cancel_message(*message_ids)
    return v2.cancel_by_ids(message_ids)


def _cancel_runs(_extras: QStashExtras, run_ids: Sequence[str]) -> Operation[Any]:
    if len(run_ids) == 1:
        return workflows.cancel_run(*run_ids)
    return workflows.cancel_runs(filters_of({"workflow_run_ids": run_ids}, RUN_CANCEL_FILTERS))


QSTASH = Service(
    name="QStash",
    conn_type=MANIFEST.folder,
    default_base_url=lambda extras: _REGIONS[extras.region],
    auth=_auth,
    extras=QStashExtras,
    # A read-only token may do it too.
    probe=lambda _extras: v2.list_logs((), page_size=1),
    explain=_explain,
    webhooks=WEBHOOKS,
)

QSTASH_TASK = TaskType(
    service=QSTASH,
    label="QStash task",
    poll_strategy=lambda _config: QStashTaskPollStrategy(),
    has_page=False,
    has_bell=True,
)

QSTASH_MESSAGE = TaskType(
    service=QSTASH,
    label="QStash message",
    poll_strategy=lambda _config: QStashMessagePollStrategy(),
    cancel=_cancel,
    cancel_batch_size=100,
    id_param="message_id",
    has_page=False,
    has_bell=True,
)
"""A message, whose state is in the logs."""

QSTASH_WORKFLOW = TaskType(
    service=QSTASH,
    label="QStash workflow run",
    poll_strategy=lambda _config: QStashWorkflowPollStrategy(),
    cancel=_cancel_runs,
    cancel_batch_size=workflows.MOST_CANCELLED,
    id_param="workflow_run_id",
    has_page=False,
)
"""A run of an Upstash workflow, whose state is in the logs of workflows."""
