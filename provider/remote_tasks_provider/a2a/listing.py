"""Reads the list of an agent's tasks to its end.

The cursor of some agents is a task. If that one changes while the list is read, the next page is empty, and
the list seems to be over. What the agent has announced tells; then the list is read again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from remote_tasks_provider.a2a.api import operations
from remote_tasks_provider.a2a.api.filters import TaskFilter
from remote_tasks_provider.a2a.models import A2ATask
from remote_tasks_provider.core.http.pagination import Pager

__all__ = ["whole_list"]

log = logging.getLogger(__name__)

_MOST_TIMES = 5


def whole_list(client: Any, query: TaskFilter) -> Iterator[A2ATask]:
    """Yield each task of a list once; a page is read when its first task is asked for.

    :param client: sends the requests.
    """
    seen: set[str] = set()
    for _ in range(_MOST_TIMES):
        before, total = len(seen), 0
        pager = Pager(operations.list_tasks(query))
        while pager.next_operation is not None:
            page = client.send(pager.next_operation)
            total = max(total, page.size)
            for task in pager.accept(page):
                if task.id not in seen:
                    seen.add(task.id)
                    yield task
        if len(seen) >= total or (before and len(seen) == before):
            break
    if len(seen) < total:
        log.warning("A2A: the agent announced %d tasks, and listed %d.", total, len(seen))
