"""What the page of the sandbox shows of QStash: messages, and the tasks of API v1."""

from __future__ import annotations

from typing import Any

from remote_tasks_sandbox.blocks import ROWS, lifetime, span, table
from remote_tasks_sandbox.qstash.account import QStashAccount
from remote_tasks_sandbox.qstash.message import Message

__all__ = ["overview"]

#: An error is an attempt that is repeated.
_TONES = {
    **dict.fromkeys(("completed", "delivered"), "good"),
    **dict.fromkeys(("failed", "canceled", "cancelled"), "bad"),
    **dict.fromkeys(("running", "active", "processing"), "busy"),
    **dict.fromkeys(("pending", "created", "planned", "error", "retry", "retrying"), "wait"),
    "cancel_requested": "wait",
}


def overview(account: QStashAccount, now: float) -> list[dict[str, Any]]:
    """Return the tables of messages and of v1 tasks."""
    messages = account.messages
    dlq_ids = {one.message.id: one.id for one in account.dlq_messages}
    shown = [_message(one, dlq_ids.get(one.id), now) for one in messages[: -ROWS - 1 : -1]]
    tasks = [
        [
            _chip(task.timeline.word(now)),
            {"text": task.url, "notes": [task.id, f"of {task.message_id}"]},
            *lifetime(task, task.created_at / 1000, now),
        ]
        for task in account.newest(ROWS)
    ]
    return [
        table(
            "QStash messages",
            ("State", "Destination", "Age", "Next", "Retries"),
            shown,
            empty="None yet. POST /qstash/v2/publish/https://… sends one.",
            total=len(messages),
        ),
        table(
            "QStash v1 tasks",
            ("State", "Destination", "Age", "Next", "Last read", "Reads"),
            tasks,
            empty="None yet. POST /_sandbox/qstash/tasks adds one.",
            total=len(account),
        ),
    ]


def _chip(word: str) -> dict[str, Any]:
    return {"text": word, "tone": _TONES.get(word.lower(), "odd")}


def _message(message: Message, dlq_id: str | None, now: float) -> list[Any]:
    options = message.options
    facts = {
        "in queue": options.queue,
        "of group": options.topic,
        "of schedule": options.schedule_id,
        "calls back for": message.cause.id if message.cause else None,
        "dead letter": dlq_id,
        "labels": ", ".join(options.labels) or None,
    }
    notes = [f"{name} {value}" for name, value in facts.items() if value is not None]
    return [
        _chip(message.state),
        {"text": f"{options.method} {message.url}", "notes": [message.id, *notes]},
        span(now - message.created_at),
        "-" if message.next_at is None else f"in {span(message.next_at - now)}",
        f"{message.retried} of {options.max_retries}",
    ]
