"""Manus in the sandbox: which of the emulated APIs a call under ``/manus`` is for, and its pages.

``/manus/v1/...`` and ``/manus/v2/...`` are the two versions; ``/manus/files/...`` and ``/manus/uploads/...``
stand for the vendor's file store, which knows signatures and no keys.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from remote_tasks_sandbox.calls import Answer, Call, Later
from remote_tasks_sandbox.faults import Plan
from remote_tasks_sandbox.manus.account import ManusAccount
from remote_tasks_sandbox.manus.files import signature_holds
from remote_tasks_sandbox.manus.settings import ManusSettings
from remote_tasks_sandbox.manus.task import ManusTask
from remote_tasks_sandbox.manus.v1_api import ManusV1Api, v1_error
from remote_tasks_sandbox.manus.v2_api import ManusV2Api, v2_error
from remote_tasks_sandbox.manus.wire import conversation
from remote_tasks_sandbox.vendor import Context, Vendor

__all__ = ["VENDOR", "task_page"]


class Manus(Vendor):
    """Both versions of the API over one account."""

    name = "manus"
    settings = ManusSettings
    key_setting = "manus_key"
    key_headers = ("api_key", "authorization", "x-manus-api-key")

    def __init__(self, context: Context) -> None:
        self._context = context
        self.account: ManusAccount = ManusAccount(context)
        self.v1 = ManusV1Api(context, self.account)
        self.v2 = ManusV2Api(context, self.account)

    def answer(self, call: Call, plan: Plan) -> Answer | Later:
        """Answer one call; the caller holds the lock."""
        kind = call.segments[0] if call.segments else ""
        if kind == "files" and len(call.segments) == 3:
            return self._file(call)
        if kind == "uploads" and len(call.segments) == 3:
            return self.account.uploads.receive(call)
        if kind == "oauth":
            return self.error(call, 501, f"{call.method} /{'/'.join(call.segments)} is not emulated", {})
        return self.v2.answer(call, plan) if kind == "v2" else self.v1.answer(call, plan)

    def _file(self, call: Call) -> Answer:
        task = self.account.get(call.segments[1])
        found = [item for item in task.files if item.name == call.segments[2]] if task else []
        if not found or not signature_holds(call, self._context.clock.now()):
            return Answer(403, b"<Error><Code>AccessDenied</Code></Error>", content_type="application/xml")
        return Answer(200, found[0].content, content_type=found[0].mime_type)

    def error(self, call: Call, status: int, message: str, headers: Mapping[str, str]) -> Answer:
        """Return an error in the form of the version that was called."""
        error = v2_error if call.segments[:1] == ("v2",) else v1_error
        return error(status, message, headers)

    def target(self, call: Call) -> str | None:
        """Return the task that a call is for."""
        if len(call.segments) > 2:
            return call.segments[2]
        return next(iter(call.values("task_id")), None) or _task_in_body(call)

    def is_list(self, call: Call) -> bool:
        """Whether a call lists tasks."""
        return call.method != "POST" and call.segments[-1:] in (("tasks",), ("task.list",))

    def state(self) -> dict[str, Any]:
        """Return all tasks and webhooks."""
        now = self._context.clock.now()
        return {
            "manus": [task.describe(now) for task in self.account.newest()],
            "manus_webhooks": [one.describe() for one in reversed(self.account.webhooks.all())],
        }

    def page(self, task_id: str) -> dict[str, Any] | None:
        """Return the page that a task's ``task_url`` leads to."""
        task = self.account.get(task_id)
        return None if task is None else task_page(task, self._context)


VENDOR = Manus


def _task_in_body(call: Call) -> str | None:
    try:
        body = json.loads(call.body or b"null")
    except ValueError:
        return None
    task_id = (body.get("task_id") or body.get("taskId")) if isinstance(body, dict) else None
    return task_id if isinstance(task_id, str) else None


def task_page(task: ManusTask, context: Context) -> dict[str, Any]:
    """Return the JSON of the page."""
    now = context.clock.now()
    index, waits = task.timeline.index(now), task.waits_for(now)
    received = [asdict(one) for one in task.received]
    return {
        "title": task.title,
        "now": now,
        "refresh": waits is not None or task.timeline.next_word(now) is not None,
        "failure": task.error if task.timeline.word(now) in ("failed", "error") else None,
        "messages": conversation(task, index, now, context.base_url, context.settings.file_url_seconds),
        "waits_for": None if waits is None else _question(task, *waits),
        "tables": {
            "task": {"total": 1, "rows": [task.describe(now) | {"credits": task.credits(now)}]},
            "received": {"total": len(received), "rows": received},
        },
    }


def _question(task: ManusTask, event_id: str, question: Any) -> dict[str, Any]:
    """Say what a waiting task waits for, and how to answer it from a shell."""
    operation, body = "task.confirmAction", {"event_id": event_id, "input": {"accept": True}}
    if question.in_words:
        operation, body = "task.sendMessage", {"message": {"content": "..."}}
    request = f"POST /manus/v2/{operation} {json.dumps({'task_id': task.id, **body})}"
    return {"type": question.type, "schema": question.input_schema, "request": request}
