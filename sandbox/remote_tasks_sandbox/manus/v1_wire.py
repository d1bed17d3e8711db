"""A Manus task as API v1 writes it: https://open.manus.ai/docs/v1/get-task."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import quote

from remote_tasks_sandbox.calls import dump_json
from remote_tasks_sandbox.manus.files import OutputFile, signed_address, signed_until
from remote_tasks_sandbox.manus.task import ManusTask, v1_word

__all__ = ["conversation", "made_up_id", "rendered", "task_url"]

_ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_SOUND_WORDS = frozenset({"running", "pending", "completed"})


def task_url(task: ManusTask, base_url: str) -> str:
    """Return the address of the task's page."""
    return f"{base_url}/manus/app/{quote(task.id, safe='')}"


def made_up_id(*parts: object) -> str:
    """Return 22 letters and digits that are always the same for the same parts."""
    digest = hashlib.sha256(" ".join(map(str, parts)).encode()).digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:22])


def conversation(
    task: ManusTask, index: int, now: float, base_url: str, expires_in: float
) -> list[dict[str, Any]]:
    """Return the messages up to timeline position ``index``, oldest first."""
    messages: list[dict[str, Any]] = []
    expires = signed_until(now, expires_in)
    for entry in task.history(index, now):
        if entry.kind not in ("user", "agent"):
            continue
        parts = [{"type": "output_text", "text": entry.text}]
        parts += [_file(task.id, item, base_url, expires) for item in entry.files]
        messages.append(
            {
                "id": made_up_id(task.id, len(messages)),
                "status": "completed",
                "role": "user" if entry.kind == "user" else "assistant",
                "type": "message",
                "content": parts,
            }
        )
    return messages


def rendered(task: ManusTask, now: float, *, lags: bool, base_url: str, expires_in: float) -> bytes:
    """Return the task as JSON, written anew only when it changed.

    :param lags: show the output of the status before the present one
    """
    index = task.timeline.index(now)
    shown = max(index - 1, 0) if lags else index
    arrived = now >= task.timeline.since(now) + task.output_lag
    state = (
        *(task.timeline.version, index, shown, arrived, task.credits(now)),
        *(task.error, task.title, base_url, signed_until(now, expires_in) if task.files else None),
    )
    if task.rendered is None or task.rendered[0] != state:
        output = conversation(task, shown, now, base_url, expires_in)
        task.rendered = state, dump_json(_wire(task, now, output, base_url))
    return task.rendered[1]


def _wire(task: ManusTask, now: float, output: list[dict[str, Any]], base_url: str) -> dict[str, Any]:
    word = v1_word(task.timeline.word(now))
    full = {
        "id": task.id,
        "object": "task",
        # proto3 JSON writes 64-bit integers as strings, whatever the reference says.
        "created_at": str(task.created_at),
        "updated_at": str(task.updated_at(now)),
        "status": word,
        "error": "" if word in _SOUND_WORDS else task.error,
        "model": task.model,
        "metadata": {"task_title": task.title, "task_url": task_url(task, base_url)} | dict(task.metadata),
        "output": output,
        "locale": task.locale,
        "credit_usage": task.credits(now),
    }
    # proto3 JSON leaves out what is empty or zero.
    return {name: value for name, value in full.items() if value} | dict(task.extra)


def _file(task_id: str, item: OutputFile, base_url: str, expires: int) -> dict[str, str]:
    return {
        "type": "output_file",
        "fileUrl": signed_address("files", task_id, item.name, base_url, expires),
        "fileName": item.name,
        "mimeType": item.mime_type,
    }
