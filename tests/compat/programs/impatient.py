"""A trigger whose waits leave while the triggerer's supervisor is being asked on their behalf."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from remote_tasks_provider.bases import triggers
from remote_tasks_provider.bases.compat import task_state
from remote_tasks_provider.manus.triggers import ManusTaskTrigger

#: When to leave, in seconds: while the connection is read, and while its secrets are masked.
PAUSES = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)


class Impatient(BaseTrigger):
    """Begins waits and leaves them; fires if the process outlives all of that."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "impatient.Impatient", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        triggers._LONGEST_CANCELLATION = 0.1
        killed = ManusTaskTrigger("in_the_database", ["a"], 1.0, cancel_on_kill=True)
        killed.task_instance = SimpleNamespace(dag_id="dag", task_id="task", run_id="run", map_index=-1)
        await killed.on_kill()
        await asyncio.sleep(1.0)
        for pause in PAUSES:
            wait = ManusTaskTrigger("in_the_database", ["a"], 1.0)
            task = asyncio.ensure_future(anext(wait.run()))
            await asyncio.sleep(pause)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        # Comes after all that was left unanswered, and through the same pipe.
        await sync_to_async(task_state)(killed.task_instance)
        yield TriggerEvent("alive")
