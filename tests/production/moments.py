"""A wait that knows the moment: what Airflow itself takes from a trigger's event to the end of the task.

The same as a wait for a remote task in all else: a worker defers it, a trigger ends it, a worker resumes it
and stores a result of the same size.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import BaseOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent

RESULT = {"text": "x" * 400}


class MomentTrigger(BaseTrigger):
    """Ends at a moment.

    :param path: a file that will have a list of moments, in Unix seconds.
    :param index: of the moment.
    """

    def __init__(self, path: str, index: int) -> None:
        super().__init__()
        self.path, self.index = path, index

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "tests.production.moments.MomentTrigger", {"path": self.path, "index": self.index}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        while True:
            moment = self._moment()
            if moment is not None:
                break
            await asyncio.sleep(1)
        await asyncio.sleep(max(0.0, moment - time.time()))
        yield TriggerEvent(RESULT)

    def _moment(self) -> float | None:
        file = Path(self.path)
        return float(json.loads(file.read_text())[self.index]) if file.exists() else None


class MomentOperator(BaseOperator):
    """Waits for a moment."""

    template_fields = ("path",)

    def __init__(self, *, path: str, index: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path, self.index = path, index

    def execute(self, context: Any) -> None:
        self.defer(trigger=MomentTrigger(self.path, self.index), method_name="resume")

    def resume(self, context: Any, event: dict[str, Any]) -> dict[str, Any]:
        return event
