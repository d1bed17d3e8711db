"""How the ends of an account's tasks are listed, those created in the Manus app included.

API v1 lists what has changed last first. API v2 lists by creation only, so the whole list is read, and the
end of a task is not seen that is older than its newest 5,000.
"""

from __future__ import annotations

from typing import Any

from remote_tasks_provider.core.http.connection import ConnectionConfig
from remote_tasks_provider.core.push.watch import Listing, Sighting
from remote_tasks_provider.core.service import TaskType
from remote_tasks_provider.manus.api import v1, v2
from remote_tasks_provider.manus.api.filters import TaskFilter
from remote_tasks_provider.manus.api.versions import used_version
from remote_tasks_provider.manus.models import snapshot
from remote_tasks_provider.manus.service import MANUS

__all__ = ["MANUS_EVENTS"]

_CHANGES = TaskFilter(order_by="updated_at")


def _sight(task: Any) -> Sighting | None:
    return Sighting.of_task(snapshot(task), task.updated_at or task.created_at)


def _listing(config: ConnectionConfig) -> Listing:
    if used_version(config.extras) == "v2":
        return Listing(lambda _since: v2.list_summaries(TaskFilter()), _sight, is_sorted=False)
    return Listing(lambda _since: v1.list_summaries(_CHANGES), _sight, is_sorted=True)


MANUS_EVENTS = TaskType(
    service=MANUS, label="Ends of Manus tasks", poll_strategy=_listing, has_page=False, has_bell=True
)
