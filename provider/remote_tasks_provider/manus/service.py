"""Manus as the core sees it: where it lives, how it authenticates, and how one of its tasks is looked at."""

from __future__ import annotations

from typing import Any, Literal

from remote_tasks_provider.core.answers import Hint
from remote_tasks_provider.core.endpoint import ConnectionExtras, Endpoint
from remote_tasks_provider.core.messages import Call
from remote_tasks_provider.core.pacing import Limit
from remote_tasks_provider.core.service import Service
from remote_tasks_provider.manus import api_v1
from remote_tasks_provider.manus.watch import ManusWatch

__all__ = ["MANUS", "ManusExtras"]


class ManusExtras(ConnectionExtras):
    """The extras of a Manus connection."""

    api_version: Literal["v1"] = "v1"
    """Which API to talk to."""


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
    probe=lambda: api_v1.list_tasks(api_v1.TaskFilter(page_size=1)),
    explain=_explain,
    watch=ManusWatch,
    # Documented for API v2, per account: https://open.manus.ai/docs/v2/rate-limits. Taken to hold for v1 too.
    limits={"GET /v1/tasks": Limit(100), "GET /v1/tasks/{task_id}": Limit(100)},
)
