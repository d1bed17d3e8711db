"""How the ends of an agent's tasks are listed, those that others have begun included."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from remote_tasks_provider.a2a.api import operations
from remote_tasks_provider.a2a.api.filters import TaskFilter
from remote_tasks_provider.a2a.models import A2ATask, snapshot
from remote_tasks_provider.a2a.service import A2A
from remote_tasks_provider.core.http.operation import Operation
from remote_tasks_provider.core.push.watch import Listing, Sighting
from remote_tasks_provider.core.service import TaskType
from remote_tasks_provider.core.states import iso_utc

__all__ = ["A2A_EVENTS"]


def _changes(since: float) -> Operation[Any]:
    after = datetime.fromtimestamp(since, UTC) if since > 0 else None
    return operations.list_tasks(TaskFilter(updated_after=iso_utc(after, "milliseconds")))


def _sight(task: A2ATask) -> Sighting | None:
    return Sighting.of_task(snapshot(task), task.updated_at)


A2A_EVENTS = TaskType(
    service=A2A,
    label="Ends of A2A tasks",
    # Some agents drop the filter, and some do not sort.
    poll_strategy=lambda _config: Listing(_changes, _sight, is_sorted=False),
    has_page=False,
    has_bell=True,
)
