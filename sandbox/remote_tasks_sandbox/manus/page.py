"""The page of one Manus task, which its ``task_url`` leads to: the conversation, and how to answer it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from remote_tasks_sandbox.manus.task import ManusTask
from remote_tasks_sandbox.manus.v1_wire import conversation
from remote_tasks_sandbox.vendor import Context

__all__ = ["task_page"]


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
