"""A Manus task, its messages and events as the two API versions write them.

https://open.manus.ai/docs/v1/get-task, https://open.manus.ai/docs/v2/task.detail and
https://open.manus.ai/docs/v2/task.listMessages.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from remote_tasks_sandbox.calls import dump_json
from remote_tasks_sandbox.manus.files import OutputFile, signed_address, signed_until
from remote_tasks_sandbox.manus.task import Attachment, Entry, ManusTask, v1_word, v2_word

__all__ = ["as_proto3", "conversation", "events", "links", "made_up_id", "rendered", "task_url", "wire_task"]

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
    """Return the task as JSON, written again only when it changed.

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


#: Kinds of entries and events that are shown only when asked for with ``verbose``.
_VERBOSE = frozenset({"plan_update", "tool_used"})


#: 64-bit integers, which proto3 JSON writes as strings.
_LONG = frozenset({"created_at", "updated_at", "expires_at", "upload_expires_at", "timestamp", "started_at"})

#: What a client or the model wrote, which is passed on as it is.
_VERBATIM = frozenset({"value", "confirm_input_schema"})


def as_proto3(value: Any) -> Any:
    """Return an answer as proto3 JSON has it: 64-bit integers are strings, and what is empty is left out.

    v1 is known to answer like this. v2's pages show neither, but its clients are said to guard against it.
    """
    if isinstance(value, list):
        return [as_proto3(item) for item in value]
    if not isinstance(value, dict):
        return value
    written = {
        name: item if name in _VERBATIM else str(item) if name in _LONG and item else as_proto3(item)
        for name, item in value.items()
    }
    return {name: item for name, item in written.items() if item or name in _VERBATIM}


def links(task: ManusTask, base_url: str) -> dict[str, Any]:
    """Return what an answer to a write says of the task; only a shared one has ``share_url``."""
    url = task_url(task, base_url)
    named = {"task_id": task.id, "task_title": task.title, "task_url": url}
    return named if task.share_visibility == "private" else named | {"share_url": f"{url}?share=1"}


def wire_task(task: ManusTask, now: float, base_url: str) -> dict[str, Any]:
    """Return the task as ``task.detail`` and ``task.list`` show it: without output and text of its error."""
    wire: dict[str, Any] = {
        "id": task.id,
        "status": v2_word(task.timeline.word(now)),
        "created_at": task.created_at,
        "updated_at": task.updated_at(now),
        "task_type": "project" if task.project_id else "standard",
        "share_visibility": task.share_visibility,
        "title": task.title,
        "task_url": task_url(task, base_url),
        "created_by_api_key": None,
        "agent_profile": task.agent_profile,
    }
    if task.api_key_name is not None:
        wire["created_by_api_key"] = {"id": f"key_{task.api_key_name}", "name": task.api_key_name}
    # Both fields are absent at times: the one until credits were used, the other on older servers.
    if used := task.credits(now):
        wire["credit_usage"] = used
    if task.background_jobs is not None:
        wire["has_running_background_jobs"] = task.works_in_background(now)
    return wire | dict(task.extra)


def events(
    task: ManusTask, index: int, now: float, *, verbose: bool, base_url: str, expires_in: float
) -> list[dict[str, Any]]:
    """Return the task's events up to timeline position ``index``, oldest first."""
    found: list[dict[str, Any]] = []
    for entry in task.history(index, now):
        if entry.kind == "raw":
            known = {"id": made_up_id(task.id, entry.key), "timestamp": int(entry.at * 1000)}
            found.append(known | dict(entry.result or {}))
            continue
        for kind, payload in _payloads(task, entry, base_url, signed_until(now, expires_in)):
            if verbose or kind not in _VERBOSE:
                found.append(
                    {
                        "id": made_up_id(task.id, entry.key, kind),
                        "type": kind,
                        "timestamp": int(entry.at * 1000),
                        **payload,
                    }
                )
    return found


def _payloads(task: ManusTask, entry: Entry, base_url: str, expires: int) -> list[tuple[str, dict[str, Any]]]:
    """Return the events of one entry as (type, fields) pairs."""
    if entry.kind == "agent":
        # An action is described in its status update alone.
        if entry.question is not None and not entry.question.in_words:
            return []
        return [("assistant_message", {"assistant_message": _said(task, entry, base_url, expires)})]
    writers: dict[str, Callable[[Entry], list[tuple[str, dict[str, Any]]]]] = {
        "user": _user,
        "status": _status,
        "error": _error,
        "plan": _plan,
        "user_stop": lambda _: [("user_stop", {})],
        "structured": lambda one: [("structured_output_result", {"structured_output_result": one.result})],
    }
    return writers[entry.kind](entry)


def _said(task: ManusTask, entry: Entry, base_url: str, expires: int) -> dict[str, Any]:
    said: dict[str, Any] = {
        "content": entry.text,
        "attachments": [
            {
                "type": _attachment_type(item.mime_type),
                "filename": item.name,
                "url": signed_address("files", task.id, item.name, base_url, expires),
                "content_type": item.mime_type,
            }
            for item in entry.files
        ],
    }
    # The two fields that newer servers add; only where a test sets them up.
    if task.progress:
        said["delivery_kind"] = "progress" if entry.is_progress else "result"
    if entry.question is not None and entry.question.options:
        said["question_expectation"] = {
            "response_method": "send_message",
            "selection_mode": "multiple" if entry.question.multiple else "single",
            "options": list(entry.question.options),
        }
    return said


def _user(entry: Entry) -> list[tuple[str, dict[str, Any]]]:
    attachments = [_sent_file(one) for one in entry.attachments]
    said = {"content": entry.text, "message_type": "text", "attachments": attachments}
    return [("user_message", {"user_message": said})]


def _sent_file(one: Attachment) -> dict[str, Any]:
    sent = {"type": _attachment_type(one.mime_type), "filename": one.name, "content_type": one.mime_type}
    return sent if one.url is None else sent | {"url": one.url}


def _status(entry: Entry) -> list[tuple[str, dict[str, Any]]]:
    word = v2_word(entry.word)
    update: dict[str, Any] = {"agent_status": word, "brief": f"Task is {word}", "description": entry.text}
    if entry.question is not None:
        update["status_detail"] = {
            "waiting_for_event_id": entry.event_id,
            "waiting_for_event_type": entry.question.type,
            "waiting_description": entry.text,
        }
        if entry.question.input_schema is not None:
            update["status_detail"]["confirm_input_schema"] = dict(entry.question.input_schema)
    return [("status_update", {"status_update": update})]


def _error(entry: Entry) -> list[tuple[str, dict[str, Any]]]:
    failure = {"error_type": "agent_error", "content": entry.text}
    return [("error_message", {"error_message": failure})]


def _plan(entry: Entry) -> list[tuple[str, dict[str, Any]]]:
    step = {"status": "doing", "title": "Do the work", "started_at": int(entry.at), "end_at": None}
    tool = {
        "tool": "browser",
        "action_id": "act_1",
        "status": "success",
        "brief": "Looked something up",
        "description": "Looked something up",
        "message": {"action": "open", "param": "https://example.com"},
    }
    return [("plan_update", {"plan_update": {"steps": [step]}}), ("tool_used", {"tool_used": tool})]


def _attachment_type(mime_type: str) -> str:
    return "image" if mime_type.startswith("image/") else "file"
