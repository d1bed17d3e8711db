"""A trigger that crashes, for the rows of the kill matrix that need one. The triggerer imports it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from airflow.triggers.base import TriggerEvent

from remote_tasks_provider.manus.triggers import ManusTaskTrigger

#: Seconds. Airflow's scheduler may not have noticed the deferral yet when a trigger ends at once, and then
#: fails the task for another reason.
CRASH_AFTER = 10.0


class CrashingTrigger(ManusTaskTrigger):
    """Waits for a while, then raises."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        await asyncio.sleep(CRASH_AFTER)
        raise RuntimeError("a crash, as the kill matrix wants it")
        yield  # it is an iterator all the same
