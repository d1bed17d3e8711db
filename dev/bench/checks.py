"""What a user of the http provider's `HttpEventTrigger` has to write: when is the response what I wait for?

The trigger imports it by its path, and anew at each poll; so this module imports nothing heavy.
"""

from __future__ import annotations

from typing import Any

ENDED = ("completed", "failed", "error")


async def has_ended(response: Any) -> bool:
    return response.json().get("status") in ENDED
