"""One look at every open task of a wait, over either transport: the same rule twice, once with ``await``.

When a call fails in a way that every other call would meet too (wrong key, no network, too many calls), the
rest of the tasks share that answer instead of asking for it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from remote_tasks_provider.core.client import AsyncClient, Client
from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.polling import Wait
from remote_tasks_provider.core.service import Service

__all__ = ["alook", "look"]

_CONCURRENT_CALLS = 8


def look(wait: Wait, service: Service[Any], client: Client, clock: Callable[[], float]) -> None:
    """Ask for each open task once and tell ``wait``."""
    shared: RemoteTaskError | None = None
    for task_id in wait.open_ids:
        if shared is not None:
            wait.failed(task_id, shared, clock())
            continue
        try:
            wait.saw(task_id, service.snapshot(client.send(service.get_task(task_id))))
        except RemoteTaskError as error:
            wait.failed(task_id, error, clock())
            if error.concerns_service:
                shared = error


async def alook(wait: Wait, service: Service[Any], client: AsyncClient, clock: Callable[[], float]) -> None:
    """Ask for each open task once, a few at a time, and tell ``wait``."""
    shared: RemoteTaskError | None = None
    places = asyncio.Semaphore(_CONCURRENT_CALLS)

    async def ask(task_id: str) -> None:
        nonlocal shared
        async with places:
            if shared is not None:
                wait.failed(task_id, shared, clock())
                return
            try:
                wait.saw(task_id, service.snapshot(await client.send(service.get_task(task_id))))
            except RemoteTaskError as error:
                wait.failed(task_id, error, clock())
                if error.concerns_service:
                    shared = error

    async with asyncio.TaskGroup() as group:
        for task_id in wait.open_ids:
            group.create_task(ask(task_id))
