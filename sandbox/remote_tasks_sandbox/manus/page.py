"""What the page of the sandbox shows of Manus: all tasks, and one task with its conversation."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from remote_tasks_sandbox.blocks import ROWS, ago, lifetime, next_change, table
from remote_tasks_sandbox.manus.account import ManusAccount
from remote_tasks_sandbox.manus.task import ManusTask
from remote_tasks_sandbox.manus.v1_wire import conversation
from remote_tasks_sandbox.vendor import Context

__all__ = ["overview", "task_page"]

_TONES = {
    **dict.fromkeys(("completed", "stopped"), "good"),
    **dict.fromkeys(("failed", "error"), "bad"),
    **dict.fromkeys(("pending", "waiting"), "wait"),
    "running": "busy",
}


def overview(account: ManusAccount, now: float) -> list[dict[str, Any]]:
    """Return the table of tasks."""
    created = {one.id: one.version for one in account.created}
    rows = [
        [_chip(task, now), _name(task, created.get(task.id)), *_lifetime(task, now)]
        for task in account.newest(ROWS)
    ]
    empty = "None yet. POST /_sandbox/manus/tasks adds one, --seed-demo a few."
    columns = ("Status", "Task", "Age", "Next", "Last read", "Reads")
    return [table("Manus tasks", columns, rows, empty=empty, total=len(account))]


def task_page(task: ManusTask, context: Context) -> dict[str, Any]:
    """Return the page of one task."""
    now, index = context.clock.now(), task.timeline.index(context.clock.now())
    messages = conversation(task, index, now, context.base_url, context.settings.file_url_seconds)
    waits, change = task.waits_for(now), next_change(task, now)
    facts = [
        _chip(task, now),
        task.id,
        f"{task.credits(now)} credits",
        f"created {ago(now - task.created_at)}",
    ]
    blocks: list[dict[str, Any]] = [
        {"facts": facts + ([f"next: {change}"] if change else [])},
        {"messages": [_message(one) for one in messages]},
    ]
    if waits is not None:
        blocks.append(_question(task, *waits))
    if task.timeline.word(now) in ("failed", "error"):
        blocks.append({"failure": task.error})
    if task.received:
        blocks.append(_received(task, now))
    moves = change is not None or waits is not None
    return {"title": task.title, "now": now, "refresh": moves, "blocks": blocks}


def _chip(task: ManusTask, now: float) -> dict[str, Any]:
    word = task.timeline.word(now)
    return {"text": word, "tone": _TONES.get(word.lower(), "odd")}


def _name(task: ManusTask, version: str | None) -> dict[str, Any]:
    notes = [task.id] if version is None else [task.id, f"created through {version}"]
    return {"text": task.title, "href": f"/manus/app/{quote(task.id, safe='')}", "notes": notes}


def _lifetime(task: ManusTask, now: float) -> list[Any]:
    age, change, *reads = lifetime(task, task.created_at, now)
    waits = task.waits_for(now)
    if waits is not None and next_change(task, now) is None:
        change["text"] = f"asks: {waits[1].type}"
    return [age, change, *reads]


def _message(message: dict[str, Any]) -> dict[str, Any]:
    parts = [
        {"text": part["fileName"], "href": part["fileUrl"]} if part["type"] == "output_file" else part["text"]
        for part in message["content"]
    ]
    return {"role": message["role"], "parts": parts}


def _question(task: ManusTask, event_id: str, question: Any) -> dict[str, Any]:
    """Say what a waiting task waits for, and how to answer it from a shell."""
    operation, body = "task.confirmAction", {"event_id": event_id, "input": {"accept": True}}
    if question.in_words:
        operation, body = "task.sendMessage", {"message": {"content": "..."}}
    schema = [] if question.input_schema is None else [json.dumps(question.input_schema)]
    request = f"POST /manus/v2/{operation} {json.dumps({'task_id': task.id, **body})}"
    return {"title": f"Waits for {question.type}", "lines": [*schema, request]}


def _received(task: ManusTask, now: float) -> dict[str, Any]:
    used = {None: "", True: " used", False: " not used"}
    rows = [
        [
            one.kind + used[one.confirmed],
            one.text if one.kind == "message" else json.dumps(one.input),
            ago(now - one.at),
        ]
        for one in task.received
    ]
    return table("Received through the API", ("What", "Said", "When"), rows, empty="")
