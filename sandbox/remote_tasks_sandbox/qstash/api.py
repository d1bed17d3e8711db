"""QStash over HTTP: tokens, the region, error bodies, rate limits, and the two read operations of v1.

v1 has ``GET /v1/tasks/{taskId}`` and ``GET /v1/messages/{messageId}/tasks``; v2 is in ``qstash_v2_api``. What
is documented, observed or assumed stands in ``docs/sandbox.md``.
"""

from __future__ import annotations

import hmac
import math
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from remote_tasks_sandbox.calls import Answer, Call, json_answer
from remote_tasks_sandbox.qstash.parsing import Refused
from remote_tasks_sandbox.qstash.v2_api import QStashV2Api

if TYPE_CHECKING:
    from remote_tasks_sandbox.faults import Plan
    from remote_tasks_sandbox.qstash.tasks import QStashTask
    from remote_tasks_sandbox.qstash.v2_messages import Handler
    from remote_tasks_sandbox.state import Sandbox

__all__ = ["QStashApi", "qstash_error"]

PAGE_SIZE = 100
_UNLIMITED = "qstash.publish"


def qstash_error(status: int, message: str, headers: dict[str, str] | None = None) -> Answer:
    """Return an error in QStash's form."""
    return json_answer({"error": message}, status, headers)


class QStashApi:
    """Answers calls under ``/qstash``."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._v2 = QStashV2Api(sandbox)

    def answer(self, call: Call, plan: Plan) -> Answer:
        """Answer one call; the caller holds the sandbox's lock."""
        found = self._find(call)
        if found is None:
            return Answer(405, b"Method Not Allowed", content_type="text/plain; charset=utf-8")
        endpoint, handler = found
        try:
            self._authenticate(call)
            headers = self._count(endpoint)
            self._sandbox.qstash.engine.settle()
            answer = handler(call, plan)
        except Refused as refused:
            return qstash_error(refused.status, refused.message, refused.headers)
        return replace(answer, headers={**answer.headers, **headers}) if headers else answer

    def _find(self, call: Call) -> tuple[str, Handler] | None:
        parts = call.segments
        if call.method in ("GET", "HEAD"):
            if len(parts) == 3 and parts[:2] == ("v1", "tasks") and parts[2]:
                return "qstash.task", self._task
            if len(parts) == 4 and parts[:2] == ("v1", "messages") and parts[2] and parts[3] == "tasks":
                return "qstash.message_tasks", self._message_tasks
        return self._v2.find(call)

    def _authenticate(self, call: Call) -> None:
        settings = self._sandbox.settings
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            token = "".join(call.values("qstash_token")[:1])
        if settings.wrong_region or _is(token, settings.qstash_foreign_token):
            raise Refused(404, f"user not found in this region ({settings.region})")
        if _is(token, settings.qstash_read_only_token):
            if call.method not in ("GET", "HEAD"):
                raise Refused(403, "this token is read-only")
        elif not _is(token, settings.qstash_token):
            raise Refused(401, "unable to authenticate: invalid token")

    def _count(self, endpoint: str) -> dict[str, str]:
        """Count one call; return the headers that tell of the limit per second."""
        settings, sandbox = self._sandbox.settings, self._sandbox
        wait = sandbox.over_limit(endpoint)
        if wait is not None:
            raise Refused(
                429, "rate limit exceeded", self._limit_headers(settings.rate_limits[endpoint], 0, wait)
            )
        if settings.qstash_burst_limit is None or endpoint == _UNLIMITED:
            return {}
        left, wait = sandbox.over_burst()
        headers = self._limit_headers(settings.qstash_burst_limit, max(left, 0), wait)
        if wait is not None:
            raise Refused(429, "rate limit exceeded", headers)
        return headers

    def _limit_headers(self, limit: int, left: int, wait: int | None) -> dict[str, str]:
        headers = {
            "Burst-RateLimit-Limit": str(limit),
            "Burst-RateLimit-Remaining": str(left),
            "Burst-RateLimit-Reset": str(
                math.ceil(self._sandbox.clock.now()) + (1 if wait is None else wait)
            ),
        }
        if self._sandbox.settings.rate_limit_retry_after and wait is not None:
            headers["Retry-After"] = str(wait)
        return headers

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


def _is(token: str, expected: str) -> bool:
    return hmac.compare_digest(token.encode(), expected.encode())


def _shown(task: QStashTask, now: float) -> dict[str, Any]:
    wire = task.wire(now)
    task.note_read(now)
    return wire
