"""QStash v2: which operation a call is for.

A destination in the path may hold slashes, so a route that ends in one takes all that follows. What is
documented, observed or assumed stands in ``docs/sandbox.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from remote_tasks_sandbox.qstash.v2_logs import LogOperations
from remote_tasks_sandbox.qstash.v2_messages import MessageOperations
from remote_tasks_sandbox.qstash.v2_setup import SetupOperations

if TYPE_CHECKING:
    from remote_tasks_sandbox.calls import Call
    from remote_tasks_sandbox.qstash.v2_messages import Handler
    from remote_tasks_sandbox.state import Sandbox

__all__ = ["QStashV2Api"]

_REST = "{destination}"


class QStashV2Api:
    """Finds the handler of a call under ``/qstash/v2``."""

    def __init__(self, sandbox: Sandbox) -> None:
        parts = MessageOperations(sandbox), LogOperations(sandbox), SetupOperations(sandbox)
        self.operations: dict[str, tuple[str, Handler]] = {}
        for part in parts:
            self.operations |= part.operations
        self._routes = [
            (name.split(" ")[0], tuple(name.split("/")[1:]), *found)
            for name, found in self.operations.items()
        ]

    def find(self, call: Call) -> tuple[str, Handler] | None:
        """Return the name that the calls are counted under, and what answers; ``None`` for an unknown route.

        ``DELETE /v2/messages/`` with an empty id is the route that cancels many.
        """
        method = "GET" if call.method == "HEAD" else call.method
        segments = call.segments
        if method == "DELETE" and segments in (("v2", "messages", ""), ("v2", "dlq", "")):
            segments = segments[:2]
        for verb, template, endpoint, handler in self._routes:
            if verb == method and _fits(template, segments):
                return endpoint, handler
        return None


def _fits(template: tuple[str, ...], segments: tuple[str, ...]) -> bool:
    if template[-1] == _REST:
        if len(segments) < len(template) or not segments[len(template) - 1]:
            return False
        segments = (*segments[: len(template) - 1], "destination")
    return len(template) == len(segments) and all(
        one == other or (one.startswith("{") and other != "")
        for one, other in zip(template, segments, strict=True)
    )
