"""The two read operations of QStash v1: one task, and the tasks of a message."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from remote_tasks_sandbox.calls import Answer, Call, Refused, json_answer
from remote_tasks_sandbox.faults import Plan
from remote_tasks_sandbox.qstash.account import QStashAccount
from remote_tasks_sandbox.qstash.tasks import QStashTask
from remote_tasks_sandbox.qstash.v2_messages import Handler
from remote_tasks_sandbox.vendor import Context

__all__ = ["TaskOperations"]

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
