"""Manus as the core sees it: where it lives, how it authenticates, and how one of its tasks is looked at."""

from __future__ import annotations

from typing import Any, Literal

from remote_tasks_provider.core.answers import Hint
from remote_tasks_provider.core.endpoint import ConnectionExtras, Endpoint
from remote_tasks_provider.core.messages import Call
from remote_tasks_provider.core.reading import one_line
from remote_tasks_provider.core.service import Service
from remote_tasks_provider.core.states import TaskSnapshot
from remote_tasks_provider.manus import api_v1
from remote_tasks_provider.manus.models import ManusTask

__all__ = ["MANUS", "ManusExtras", "snapshot"]


class ManusExtras(ConnectionExtras):
    """The extras of a Manus connection."""

    api_version: Literal["v1"] = "v1"
    """Which API to talk to."""


def snapshot(task: ManusTask) -> TaskSnapshot:
    """Return what ``task`` tells a wait: never its conversation or a link to a file."""
    error = task.error or task.incomplete_details
    return TaskSnapshot(
        id=task.id,
        state=task.state,
        status=task.status,
        url=task.url,
        title=task.title,
        error=one_line(error, 1000) if error else None,
        created_at=task.created_at,
        updated_at=task.updated_at,
        credit_usage=task.credit_usage,
        details={"model": task.model},
    )


def _auth(key: str) -> tuple[str, str]:
    # https://open.manus.ai/docs/v1/get-tasks: v1 wants this header and refuses a bearer token.
    return "API_KEY", key


def _explain(call: Call[Any], status: int, _message: str, endpoint: Endpoint) -> Hint | None:
    if status == 404 and call.has_id:
        return Hint(
            f"Is the id right, and does the task belong to the account of connection {endpoint.conn_id!r}? "
            "A task that was just created can take some seconds to appear."
        )
    return None


MANUS = Service(
    name="Manus",
    default_base_url="https://api.manus.ai",
    auth=_auth,
    extras=ManusExtras,
    get_task=api_v1.get_task,
    snapshot=snapshot,
    probe=lambda: api_v1.list_tasks(api_v1.TaskFilter(page_size=1)),
    explain=_explain,
)
