"""QStash API v2: what of it is needed so far. No I/O.

https://upstash.com/docs/qstash/api/events/list
"""

from __future__ import annotations

from typing import Any

from remote_tasks_provider.core.messages import Call, Request
from remote_tasks_provider.core.reading import Reader

__all__ = ["probe"]

_read_object = Reader(dict[str, Any])


def probe() -> Call[dict[str, Any]]:
    """``GET /v2/logs?count=1``: the cheapest read that also a read-only token may do."""
    return Call(
        endpoint="GET /v2/logs",
        request=Request("GET", "/v2/logs", query=(("count", "1"),)),
        expects="QStash's logs",
        parse=_read_object,
    )
