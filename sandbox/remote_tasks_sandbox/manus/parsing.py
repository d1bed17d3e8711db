"""How the emulated Manus API checks parameters and bodies, and what both versions take in different forms.

A refusal is neutral here; ``v1_api`` and ``v2_api`` each write it in their own form.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from remote_tasks_sandbox.calls import Call, Refused
from remote_tasks_sandbox.manus.account import ManusAccount
from remote_tasks_sandbox.manus.files import Upload, Uploads
from remote_tasks_sandbox.manus.schemas import schema_problem
from remote_tasks_sandbox.manus.task import Attachment

__all__ = [
    "Message",
    "check_connectors",
    "check_fields",
    "check_project",
    "check_schema",
    "choice",
    "flag",
    "integer",
    "json_body",
    "limit",
    "read_message",
    "required",
    "single",
    "v1_attachments",
]

#: What a field may hold: a type, a list with the type of its items, or the words to choose from.
Shape = type | list[type] | tuple[str, ...]

_NAMES = {str: "string", bool: "boolean", dict: "object", list: "array"}


def json_body(call: Call) -> dict[str, Any]:
    """Return the body as a JSON object."""
    try:
        body = json.loads(call.body)
    except ValueError:
        raise Refused(400, "the request body is not valid JSON") from None
    if not isinstance(body, dict):
        raise Refused(400, "the request body must be a JSON object")
    return body


def check_fields(
    given: Any, shapes: Mapping[str, Shape], required: Iterable[str] = (), where: str = ""
) -> dict[str, Any]:
    """Return the fields of a JSON object that are set, each of its shape.

    :param where: prefix of the names in error texts, such as ``message.``
    """
    if not isinstance(given, dict):
        raise Refused(400, f"{where.rstrip('.') or 'the request body'} must be an object")
    # proto3 JSON reads null as "not sent".
    found = {name: value for name, value in given.items() if value is not None}
    for name in required:
        if name not in found:
            raise Refused(400, f"{where}{name} is required")
    for name, value in found.items():
        if name not in shapes:
            raise Refused(400, f"unknown field {where + name!r}")
        _check_shape(f"{where}{name}", value, shapes[name])
    return found


def _check_shape(name: str, value: Any, shape: Shape) -> None:
    if isinstance(shape, tuple):
        if value not in shape:
            raise Refused(400, f"{name} must be one of: {', '.join(shape)}")
    elif isinstance(shape, list):
        if not isinstance(value, list) or not all(isinstance(item, shape[0]) for item in value):
            raise Refused(400, f"{name} must be an array of {_NAMES[shape[0]]}s")
    elif not isinstance(value, shape):
        raise Refused(400, f"{name} must be a{'n' if shape in (dict, list) else ''} {_NAMES[shape]}")


def single(call: Call, *names: str) -> str | None:
    """Return the one value of a parameter; an empty one counts as not sent: proto3 can't tell them apart."""
    values = call.values(*names)
    if len(values) > 1:
        raise Refused(400, f"too many values for field {names[0]!r}")
    return (values[0] or None) if values else None


def required(call: Call, name: str) -> str:
    """Return the value of a parameter that must be sent."""
    value = single(call, name)
    if value is None:
        raise Refused(400, f"{name} is required")
    return value


def choice(call: Call, allowed: tuple[str, ...], *names: str) -> str:
    """Return the value of a parameter that has a fixed set of words; the first is its default."""
    value = single(call, *names) or allowed[0]
    if value not in allowed:
        raise Refused(400, f"{names[0]} must be one of: {', '.join(allowed)}")
    return value


def integer(call: Call, *names: str) -> int | None:
    """Return the value of a whole-numbered parameter, or ``None`` when it was not sent."""
    value = single(call, *names)
    if value is None:
        return None
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 20):
        raise Refused(400, f"parsing field {names[0]!r}: invalid integer")
    return int(value)


def limit(call: Call, default: int, most: int) -> int:
    """Return the page size that a list was asked for."""
    value = integer(call, "limit")
    if value is not None and not 1 <= value <= most:
        raise Refused(400, f"limit must be between 1 and {most}")
    return default if value is None else value


def flag(call: Call, name: str) -> bool:
    """Return the value of a boolean parameter; ``False`` when it was not sent."""
    values = call.values(name)
    if any(value not in ("true", "false", "1", "0") for value in values):
        raise Refused(400, f'parsing field "{name}": invalid bool')
    return values[-1:] in (["true"], ["1"])


#: "about 5,000 estimated tokens"; how they are estimated is not documented, so four characters for each.
_MOST_CHARACTERS = 5_000 * 4
_MOST_REFERENCES = 20
#: Bytes in a ``file_data`` of at most 20 MB, as base64.
_MOST_DATA = 20 * 1024 * 1024 * 4 // 3

_MESSAGE: dict[str, Shape] = {
    "content": object,
    "connectors": [str],
    "enable_skills": [str],
    "force_skills": [str],
    "task_references": [str],
}
_FILE: dict[str, Shape] = {
    "type": str,
    "file_id": str,
    "file_url": str,
    "file_data": str,
    "filename": str,
    "mime_type": str,
}
_V1_FILE: dict[str, Shape] = {"filename": str, "file_id": str, "url": str, "mimeType": str, "fileData": str}


@dataclass(frozen=True)
class Message:
    """What a client says to a task.

    :param connectors: ``None`` when none were named
    """

    text: str
    attachments: tuple[Attachment, ...]
    connectors: tuple[str, ...] | None


def read_message(raw: Any, uploads: Uploads) -> Message:
    """Check the ``message`` of a v2 request."""
    given = check_fields(raw, _MESSAGE, required=("content",), where="message.")
    content = given["content"]
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise Refused(400, "message.content must be a string or an array")
    texts: list[str] = []
    attachments: list[Attachment] = []
    for number, part in enumerate(content):
        where = f"message.content[{number}]."
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            texts.append(check_fields(part, {"type": str, "text": str}, ("text",), where)["text"])
        elif kind in ("file", "voice"):
            attachments.append(_attachment(check_fields(part, _FILE, (), where), uploads, where))
        else:
            raise Refused(400, f"{where}type must be one of: text, file, voice")
    text = "\n".join(texts)
    if not text.strip() and not attachments:
        raise Refused(400, "message.content must not be empty")
    if len(text) > _MOST_CHARACTERS:
        raise Refused(400, "message.content exceeds the limit of about 5000 tokens; send a file instead")
    if len(given.get("task_references", [])) > _MOST_REFERENCES:
        raise Refused(400, f"message.task_references must not hold more than {_MOST_REFERENCES} ids")
    connectors = given.get("connectors")
    check_connectors(connectors or [])
    return Message(text, tuple(attachments), None if connectors is None else tuple(connectors))


def _attachment(part: Mapping[str, Any], uploads: Uploads, where: str) -> Attachment:
    sources = [name for name in ("file_id", "file_url", "file_data") if name in part]
    if len(sources) != 1:
        raise Refused(400, f"{where.rstrip('.')} needs exactly one of file_id, file_url, file_data")
    mime_type = part.get("mime_type", "application/octet-stream")
    if "file_id" in part:
        upload = _uploaded(part["file_id"], uploads)
        return Attachment(upload.name, upload.content_type or mime_type)
    if "file_url" in part:
        return _linked(part["file_url"], part.get("filename"), mime_type, f"{where}file_url")
    if not part.get("filename"):
        raise Refused(400, f"{where}filename is required with file_data")
    return Attachment(part["filename"], _data_type(part["file_data"], f"{where}file_data"))


def v1_attachments(raw: list[dict[str, Any]], uploads: Uploads) -> tuple[Attachment, ...]:
    """Check the ``attachments`` of a v1 request."""
    found = []
    for number, item in enumerate(raw):
        where = f"attachments[{number}]."
        given = check_fields(item, _V1_FILE, required=("filename",), where=where)
        sources = [name for name in ("file_id", "url", "fileData") if name in given]
        if len(sources) != 1 or ("mimeType" in given and sources != ["url"]):
            raise Refused(400, f"{where.rstrip('.')} matches none of the forms of an attachment")
        mime_type = given.get("mimeType", "application/octet-stream")
        if "file_id" in given:
            upload = _uploaded(given["file_id"], uploads)
            found.append(Attachment(given["filename"], upload.content_type or mime_type))
        elif "url" in given:
            found.append(_linked(given["url"], given["filename"], mime_type, f"{where}url"))
        else:
            found.append(Attachment(given["filename"], _data_type(given["fileData"], f"{where}fileData")))
    return tuple(found)


def _uploaded(file_id: str, uploads: Uploads) -> Upload:
    upload = uploads.get(file_id)
    if upload is None:
        raise Refused(404, "file not found or has been deleted")
    if upload.content is None:
        raise Refused(400, f"file {file_id} is not uploaded yet")
    return upload


def _linked(url: str, name: str | None, mime_type: str, where: str) -> Attachment:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise Refused(400, f"{where} must be an http or https address")
    return Attachment(name or parts.path.rpartition("/")[2] or "file", mime_type, url)


def _data_type(data: str, where: str) -> str:
    """Return the mime type of a data URI."""
    head, comma, _ = data.partition(",")
    if not head.startswith("data:") or not head.endswith(";base64") or not comma:
        raise Refused(400, f"{where} must be a data URI: data:<mime>;base64,<data>")
    if len(data) > _MOST_DATA:
        raise Refused(400, f"{where} is larger than 20 MB")
    return head.removeprefix("data:").removesuffix(";base64") or "text/plain"


def check_connectors(ids: list[str] | tuple[str, ...]) -> None:
    """Refuse connectors whose ids are no UUIDs."""
    for one in ids:
        try:
            uuid.UUID(one)
        except ValueError:
            raise Refused(400, f"connectors: invalid id {one!r}") from None


def check_project(project_id: str | None, account: ManusAccount) -> None:
    """Refuse a project that the account has not."""
    if project_id is not None and project_id not in account.projects:
        raise Refused(404, "project not found")


def check_schema(schema: Mapping[str, Any] | None) -> None:
    """Refuse a schema outside the subset that structured output knows."""
    problem = None if schema is None else schema_problem(schema)
    if problem:
        raise Refused(400, f"structured_output_schema: {problem}")
