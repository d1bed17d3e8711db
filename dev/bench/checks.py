"""The response check that a user of the http provider's `HttpEventTrigger` has to write.

The trigger imports it by its path at each poll, so this module imports nothing heavy.
"""

from __future__ import annotations

from typing import Any

FINISHED = ("completed", "failed", "error")


async def is_finished(response: Any) -> bool:
    return response.json().get("status") in FINISHED


async def is_agent_finished(response: Any) -> bool:
    return response.json()["status"]["state"] == "TASK_STATE_COMPLETED"
