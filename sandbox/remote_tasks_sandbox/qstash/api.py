"""QStash over HTTP: tokens, the region, rate limits, and which operation a call is for.

A destination in the path may hold slashes, so a route that ends in one takes all that follows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from remote_tasks_sandbox.calls import Answer, Call, Refused, is_same, json_answer
from remote_tasks_sandbox.faults import Plan
from remote_tasks_sandbox.qstash.account import QStashAccount
from remote_tasks_sandbox.qstash.tasks import QStashTask
from remote_tasks_sandbox.qstash.v2_logs import LogOperations
from remote_tasks_sandbox.qstash.v2_messages import Handler, MessageOperations
from remote_tasks_sandbox.qstash.v2_setup import SetupOperations
from remote_tasks_sandbox.qstash.workflows import WorkflowDlqOperations, WorkflowOperations
from remote_tasks_sandbox.vendor import Context

__all__ = ["QStashApi", "TaskOperations", "qstash_error"]

PAGE_SIZE = 100


class TaskOperations:
    """What can be asked about tasks, by method and path."""

    def __init__(self, context: Context, account: QStashAccount) -> None:
        self._context = context
        self._tasks = account
        self.operations: Mapping[str, tuple[str, Handler]] = {
            "GET /v1/tasks/{taskId}": ("qstash.task", self._get),
            "GET /v1/messages/{messageId}/tasks": ("qstash.message_tasks", self._list),
        }

    def _get(self, call: Call, plan: Plan) -> Answer:
        now = self._context.clock.now()
        task = self._tasks.get(call.segments[2])
        if task is None or plan.hides(task.id, task.added_at, now):
            raise Refused(404, f"task {call.segments[2]} not found")
        wire = _shown(task, now)
        for name in self._context.settings.qstash_string_fields:
            # A field that a test laid over the task stays as the test wrote it.
            if name not in task.extra:
                wire[name] = str(wire[name])
        if task.deadline is not None:
            wire.setdefault("deadline", task.deadline)
        # Lists show an empty error, the single task leaves it out.
        if wire["error"] == "":
            del wire["error"]
        return json_answer(wire)

    def _list(self, call: Call, plan: Plan) -> Answer:
        cursor = "".join(call.values("cursor")[:1]) or "0"
        if not (cursor.isascii() and cursor.isdecimal()):
            raise Refused(400, "invalid cursor")
        before = None if plan.repeats_cursor else int(cursor) or None
        found = self._tasks.of_message(call.segments[2], before)
        if found is None:
            raise Refused(404, f"message {call.segments[2]} not found")
        now, end = self._context.clock.now(), self._context.settings.cursor_end
        if plan.shaping:
            found = (task for task in found if not plan.unlisted(task.id, task.added_at, now))
        tasks = list(islice(found, PAGE_SIZE + 1))
        page, more = tasks[:PAGE_SIZE], len(tasks) > PAGE_SIZE
        body: dict[str, Any] = {}
        if more or plan.repeats_cursor:
            body["cursor"] = page[-1].created_at if page else 1
        elif end != "absent":
            body["cursor"] = end
        body["tasks"] = [_shown(task, now) for task in page]
        return json_answer(body)


def _shown(task: QStashTask, now: float) -> dict[str, Any]:
    wire = task.wire(now)
    task.note_read(now)
    return wire


_REST = "{destination}"
_UNLIMITED = "qstash.publish"
#: First parts of the paths of the vendor's operations that the sandbox does not emulate.
_NOT_EMULATED = frozenset(
    {
        *(("v1", name) for name in ("endpoints", "events", "keys", "logs", "publish", "schedules", "topics")),
        ("v2", "workflows"),
        ("llm", "v1"),
    }
)


def qstash_error(status: int, message: str, headers: dict[str, str] | None = None) -> Answer:
    """Return an error in QStash's form."""
    return json_answer({"error": message}, status, headers)


class QStashApi:
    """Answers calls under ``/qstash``.

    :ivar operations: method and path to the name that the calls are counted under, and what answers
    """

    def __init__(self, context: Context, account: QStashAccount) -> None:
        self._context = context
        self._engine = account.engine
        self.operations: dict[str, tuple[str, Handler]] = {}
        for part in (
            *(TaskOperations, MessageOperations, LogOperations),
            *(SetupOperations, WorkflowOperations, WorkflowDlqOperations),
        ):
            self.operations |= part(context, account).operations
        self._routes = [
            (name.split(" ")[0], tuple(name.split("/")[1:]), *found)
            for name, found in self.operations.items()
        ]

    def answer(self, call: Call, plan: Plan) -> Answer:
        """Answer one call; the caller holds the lock."""
        found = self._find(call)
        if found is None and call.segments[:2] in _NOT_EMULATED:
            return qstash_error(501, f"{call.method} /{'/'.join(call.segments[:2])} is not emulated")
        if found is None:
            return Answer(405, b"Method Not Allowed", content_type="text/plain; charset=utf-8")
        endpoint, handler = found
        try:
            self._authenticate(call)
            headers = self._count(endpoint)
            self._engine.settle()
            answer = handler(call, plan)
        except Refused as refused:
            return qstash_error(refused.status, refused.message, refused.headers)
        return replace(answer, headers={**answer.headers, **headers}) if headers else answer

    def _find(self, call: Call) -> tuple[str, Handler] | None:
        """Return the operation of a call; ``DELETE /v2/messages/`` with an empty id cancels many."""
        method = "GET" if call.method == "HEAD" else call.method
        segments = call.segments
        if method == "DELETE" and segments in (("v2", "messages", ""), ("v2", "dlq", "")):
            segments = segments[:2]
        for verb, template, endpoint, handler in self._routes:
            if verb == method and _fits(template, segments):
                return endpoint, handler
        return None

    def _authenticate(self, call: Call) -> None:
        settings = self._context.settings
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            token = "".join(call.values("qstash_token")[:1])
        if settings.wrong_region or is_same(token, settings.qstash_foreign_token):
            raise Refused(404, f"user not found in this region ({settings.region})")
        if is_same(token, settings.qstash_read_only_token):
            if call.method not in ("GET", "HEAD"):
                raise Refused(403, "this token is read-only")
        elif not is_same(token, settings.qstash_token):
            raise Refused(401, "unable to authenticate: invalid token")

    def _count(self, endpoint: str) -> dict[str, str]:
        """Count one call; return the headers about the limit per second."""
        context, settings = self._context, self._context.settings
        wait = context.over_limit(endpoint)
        if wait is not None:
            raise Refused(429, "rate limit exceeded", self._headers(settings.rate_limits[endpoint], 0, wait))
        limit = settings.qstash_burst_limit
        if limit is None or endpoint == _UNLIMITED:
            return {}
        seconds = context.limiter.wait_for("qstash burst", limit, context.clock.now(), window=1.0)
        left = max(limit - context.limiter.counted("qstash burst"), 0)
        wait = None if seconds is None else max(math.ceil(seconds), 1)
        headers = self._headers(limit, left, wait)
        if wait is not None:
            raise Refused(429, "rate limit exceeded", headers)
        return headers

    def _headers(self, limit: int, left: int, wait: int | None) -> dict[str, str]:
        reset = math.ceil(self._context.clock.now()) + (1 if wait is None else wait)
        headers = {
            "Burst-RateLimit-Limit": str(limit),
            "Burst-RateLimit-Remaining": str(left),
            "Burst-RateLimit-Reset": str(reset),
        }
        if self._context.settings.rate_limit_retry_after and wait is not None:
            headers["Retry-After"] = str(wait)
        return headers


def _fits(template: tuple[str, ...], segments: tuple[str, ...]) -> bool:
    if template[-1] == _REST:
        if len(segments) < len(template) or not segments[len(template) - 1]:
            return False
        segments = (*segments[: len(template) - 1], "destination")
    return len(template) == len(segments) and all(
        one == other or (one.startswith("{") and other != "")
        for one, other in zip(template, segments, strict=True)
    )
