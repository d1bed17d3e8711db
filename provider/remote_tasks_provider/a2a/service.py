"""What the core needs of A2A: how an agent is reached, and how its tasks are polled and cancelled."""

from __future__ import annotations

import base64
from typing import Any

from remote_tasks_provider.a2a.api import operations
from remote_tasks_provider.a2a.api.extras import A2AExtras
from remote_tasks_provider.a2a.manifest import MANIFEST
from remote_tasks_provider.a2a.polling import A2APollStrategy
from remote_tasks_provider.a2a.push import WEBHOOKS
from remote_tasks_provider.core.http.connection import ConnectionConfig
from remote_tasks_provider.core.http.operation import Operation
from remote_tasks_provider.core.http.response import Hint
from remote_tasks_provider.core.service import Service, TaskType

__all__ = ["A2A", "A2A_TASK", "A2AExtras"]


def _auth(key: str, extras: A2AExtras) -> tuple[str, str]:
    if extras.auth == "api_key":
        return extras.api_key_header, key
    if extras.auth == "basic":
        return "Authorization", f"Basic {base64.b64encode(key.encode()).decode()}"
    return "Authorization", f"Bearer {key}"


def _explain(operation: Operation[Any], status: int, _message: str, config: ConnectionConfig) -> Hint | None:
    if status == 404 and operation.has_id:
        return Hint(
            f"Is the id right, and does the task belong to the user of connection {config.conn_id!r}? Agents "
            "forget tasks; one that keeps them in memory forgets all when it restarts."
        )
    if status == 404:
        return Hint(
            f"Check the host of connection {config.conn_id!r} ({config.base_url}), and its extra card_path: "
            "is an A2A agent there?"
        )
    return None


A2A = Service(
    name="A2A",
    conn_type=MANIFEST.folder,
    default_base_url=None,
    auth=_auth,
    extras=A2AExtras,
    probe=lambda _extras: operations.find_agent(afresh=True),
    explain=_explain,
    key_is_optional=True,
    webhooks=WEBHOOKS,
)

A2A_TASK = TaskType(
    service=A2A,
    label="A2A task",
    poll_strategy=lambda _config: A2APollStrategy(),
    cancel=lambda _extras, task_ids: operations.end_task(*task_ids),
    has_page=False,
    has_bell=True,
)
