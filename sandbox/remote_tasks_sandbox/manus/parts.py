"""What a client puts into a Manus task, checked: its message, the files sent along, connectors, the project.

Both versions of the API take the same things in different forms.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from remote_tasks_sandbox.calls import Refused
from remote_tasks_sandbox.manus.account import ManusAccount
from remote_tasks_sandbox.manus.files import Upload, Uploads
from remote_tasks_sandbox.manus.parsing import Shape, check_fields
from remote_tasks_sandbox.manus.schemas import schema_problem
from remote_tasks_sandbox.manus.task import Attachment

__all__ = ["Message", "check_connectors", "check_project", "check_schema", "read_message", "v1_attachments"]

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
_V1_FILE: dict[str, Shape] = {
    "filename": str,
    "file_id": str,
    "url": str,
    "mimeType": str,
    "fileData": str,
}


@dataclass(frozen=True)
class Message:
    """What a client says to a task.

    :param connectors: ``None`` when none were named
    """

    text: str
    attachments: tuple[Attachment, ...]
    connectors: tuple[str, ...] | None


def read_message(raw: Any, uploads: Uploads) -> Message:
    """Check the ``message`` of a v2 request.

    :raises Refused: when it is empty, too long, or not as documented
    """
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
