"""QStash over HTTP: the token, the region, error bodies and the three read operations of the sandbox.

v1 ``GET /v1/tasks/{taskId}`` and ``GET /v1/messages/{messageId}/tasks``; of v2 only ``GET /v2/logs``, without
any entry, so that a connection test has something to ask. What is documented, observed or assumed stands in
``docs/sandbox.md``.
"""

from __future__ import annotations

import hmac
import math
from itertools import islice
from typing import TYPE_CHECKING, Any

from remote_tasks_provider.sandbox.messages import Answer, Call, json_answer

if TYPE_CHECKING:
    from remote_tasks_provider.sandbox.faults import Plan
    from remote_tasks_provider.sandbox.qstash import QStashTask
    from remote_tasks_provider.sandbox.state import Sandbox

__all__ = ["QStashApi", "qstash_error"]

PAGE_SIZE = 100
_LOGS_MAXIMUM = 100


def qstash_error(status: int, message: str, headers: dict[str, str] | None = None) -> Answer:
    """Return an error in QStash's form."""
    return json_answer({"error": message}, status, headers)


class QStashApi:
    """Answers calls under ``/qstash``."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def answer(self, call: Call, plan: Plan) -> Answer:
        """Answer one call; the caller holds the sandbox's lock."""
        endpoint = _endpoint(call)
        if endpoint is None:
            return Answer(405, b"Method Not Allowed", content_type="text/plain; charset=utf-8")
        settings = self._sandbox.settings
        if settings.wrong_region:
            return qstash_error(404, f"user not found in this region ({settings.region})")
        if not self._authenticated(call):
            return qstash_error(401, "unable to authenticate: invalid token")
        wait = self._sandbox.over_limit(endpoint)
        if wait is not None:
            return self._rate_limited(endpoint, wait)
        if endpoint == "qstash.task":
            return self._task(call, plan)
        if endpoint == "qstash.message_tasks":
            return self._message_tasks(call, plan)
        return _logs(call)

    def _authenticated(self, call: Call) -> bool:
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            token = "".join(call.values("qstash_token")[:1])
        return hmac.compare_digest(token.encode(), self._sandbox.settings.qstash_token.encode())

    def _rate_limited(self, endpoint: str, wait: int) -> Answer:
        settings = self._sandbox.settings
        headers = {
            "Burst-RateLimit-Limit": str(settings.rate_limits[endpoint]),
            "Burst-RateLimit-Remaining": "0",
            "Burst-RateLimit-Reset": str(math.ceil(self._sandbox.clock.now()) + wait),
        }
        if settings.rate_limit_retry_after:
            headers["Retry-After"] = str(wait)
        return qstash_error(429, "rate limit exceeded", headers)

    def _task(self, call: Call, plan: Plan) -> Answer:
        now = self._sandbox.clock.now()
        task = self._sandbox.qstash.get(call.segments[2])
        if task is None or plan.hides(task.id, task.added_at, now):
            return qstash_error(404, f"task {call.segments[2]} not found")
        wire = _shown(task, now)
        for name in self._sandbox.settings.qstash_string_fields:
            # A field that a test laid over the task stays as the test wrote it.
            if name not in task.extra:
                wire[name] = str(wire[name])
        if task.deadline is not None:
            wire.setdefault("deadline", task.deadline)
        # Lists show an empty error, the single task leaves it out.
        if wire["error"] == "":
            del wire["error"]
        return json_answer(wire)

    def _message_tasks(self, call: Call, plan: Plan) -> Answer:
        cursor = "".join(call.values("cursor")[:1]) or "0"
        if not (cursor.isascii() and cursor.isdecimal()):
            return qstash_error(400, "invalid cursor")
        before = None if plan.repeats_cursor else int(cursor) or None
        found = self._sandbox.qstash.of_message(call.segments[2], before)
        if found is None:
            return qstash_error(404, f"message {call.segments[2]} not found")
        now = self._sandbox.clock.now()
        if plan.shaping:
            found = (task for task in found if not plan.unlisted(task.id, task.added_at, now))
        tasks = list(islice(found, PAGE_SIZE + 1))
        page, more = tasks[:PAGE_SIZE], len(tasks) > PAGE_SIZE
        body: dict[str, Any] = {}
        if more or plan.repeats_cursor:
            body["cursor"] = page[-1].created_ms if page else 1
        elif self._sandbox.settings.cursor_end != "absent":
            body["cursor"] = self._sandbox.settings.cursor_end
        body["tasks"] = [_shown(task, now) for task in page]
        return json_answer(body)


def _endpoint(call: Call) -> str | None:
    parts = call.segments
    if call.method not in ("GET", "HEAD"):
        return None
    if len(parts) == 3 and parts[:2] == ("v1", "tasks") and parts[2]:
        return "qstash.task"
    if len(parts) == 4 and parts[:2] == ("v1", "messages") and parts[2] and parts[3] == "tasks":
        return "qstash.message_tasks"
    return "qstash.logs" if parts == ("v2", "logs") else None


def _shown(task: QStashTask, now: float) -> dict[str, Any]:
    wire = task.wire(now)
    task.note_read(now)
    return wire


def _logs(call: Call) -> Answer:
    for value in call.values("count"):
        if not (value.isascii() and value.isdecimal() and 1 <= int(value) <= _LOGS_MAXIMUM):
            return qstash_error(400, f"count must be between 1 and {_LOGS_MAXIMUM}")
    return json_answer({"events": []})
