"""Files of the emulated Manus account: those that tasks leave behind, and those that clients upload.

Both have signed addresses that need no key. The signatures look like the real thing and protect nothing.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from mimetypes import guess_type
from typing import Any
from urllib.parse import quote

from remote_tasks_sandbox.calls import Answer, Call, Refused, dump_json, is_same
from remote_tasks_sandbox.clock import Clock
from remote_tasks_sandbox.tasks import random_id

__all__ = [
    "OutputFile",
    "Upload",
    "Uploads",
    "file_signature",
    "signature_holds",
    "signed_address",
    "signed_until",
]

UPLOAD_SECONDS = 180.0
_LIFE_SECONDS = 48 * 3600.0
#: Executables and scripts: https://open.manus.ai/docs/v2/file.upload. ``.bin`` was observed.
_REFUSED_ENDINGS = (".exe", ".sh", ".bat", ".dmg", ".bin")


@dataclass(frozen=True)
class OutputFile:
    """A file that a task leaves behind when it ends."""

    name: str
    mime_type: str
    content: bytes

    @classmethod
    def parse(cls, raw: str | Mapping[str, Any] | OutputFile) -> OutputFile:
        """Accept a bare name or ``{"name": ..., "content": ..., "mime_type": ..., "size": ...}``."""
        if isinstance(raw, OutputFile):
            return raw
        given: dict[str, Any] = {"name": raw} if isinstance(raw, str) else dict(raw)
        if unknown := sorted(set(given) - {"name", "content", "mime_type", "size"}):
            raise ValueError(f"a file has no {unknown}; it has name, content, mime_type, size")
        name = given.get("name", "")
        if not name:
            raise ValueError("a file needs a name")
        mime_type = given.get("mime_type") or guess_type(name)[0] or "application/octet-stream"
        content = given.get("content", f"Sandbox content of {name}\n")
        if "size" in given:
            content = b"x" * int(given["size"])
        return cls(name, mime_type, content if isinstance(content, bytes) else content.encode())


@dataclass
class Upload:
    """A file that a client was given an address for; times are whole unix seconds."""

    id: str
    name: str
    created_at: int
    upload_expires_at: int
    content: bytes | None = None
    content_type: str | None = None
    deleted: bool = False

    @property
    def status(self) -> str:
        """Return the word both versions of the API have for it."""
        if self.deleted:
            return "deleted"
        return "pending" if self.content is None else "uploaded"

    @property
    def expires_at(self) -> int:
        """Return when the vendor removes the file."""
        return self.created_at + int(_LIFE_SECONDS)


class Uploads:
    """All uploaded files; the caller holds the sandbox's lock.

    :param clock: what time it is
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._uploads: dict[str, Upload] = {}

    def open(self, name: str) -> Upload:
        """Announce a file."""
        if not name.strip():
            raise Refused(400, "filename must not be empty")
        if name.lower().endswith(_REFUSED_ENDINGS):
            raise Refused(400, "blocked file type")
        now = int(self._clock.now())
        upload = Upload(random_id(22, "file-"), name, now, now + int(UPLOAD_SECONDS))
        self._uploads[upload.id] = upload
        return upload

    def get(self, file_id: str) -> Upload | None:
        """Return a file that is neither unknown, nor deleted, nor past its 48 hours."""
        upload = self._uploads.get(file_id)
        return upload if upload and not upload.deleted and self._clock.now() < upload.expires_at else None

    def newest(self) -> list[Upload]:
        """Return the files there are, newest first."""
        return [found for file_id in reversed(self._uploads) if (found := self.get(file_id))]

    def address(self, upload: Upload, base_url: str) -> str:
        """Return where the bytes are to be put."""
        return signed_address("uploads", upload.id, upload.name, base_url, upload.upload_expires_at)

    def receive(self, call: Call) -> Answer:
        """Answer the call that brings the bytes."""
        if any(name in call.headers for name in ("api_key", "x-manus-api-key", "authorization")):
            # The real store refuses a request that is signed twice; a key must not travel there anyway.
            return _store_error(400, "InvalidArgument", "Only one auth mechanism allowed")
        upload = self.get(call.segments[1])
        if upload is None or call.method != "PUT" or not signature_holds(call, self._clock.now()):
            return _store_error(403, "AccessDenied", "Request has expired")
        upload.content = call.body
        upload.content_type = call.headers.get("content-type", "application/octet-stream")
        return Answer(200, b"", content_type="application/xml")

    def clear(self) -> None:
        """Forget all files."""
        self._uploads.clear()


def signed_until(now: float, lifetime: float) -> int:
    """Return when an address that is given out now expires: within its lifetime, not before half of it.

    It changes only every half lifetime, so that what was rendered with it can be kept for a while.
    """
    half = lifetime / 2
    return math.ceil((now // half + 2) * half)


def signed_address(kind: str, owner: str, name: str, base_url: str, expires: int) -> str:
    """Return the address of a file that anyone may use until it expires.

    :param kind: ``files`` for what tasks leave behind, ``uploads`` for what clients bring
    :param owner: id of the task or of the upload
    :param expires: unix seconds
    """
    policy = base64.urlsafe_b64encode(
        dump_json({"Statement": [{"Condition": {"Expires": expires}}]})
    ).decode()
    signature = quote(file_signature(owner, name, expires))
    address = f"{base_url}/manus/{kind}/{quote(owner, safe='')}/{quote(name, safe='')}"
    return f"{address}?Expires={expires}&Policy={quote(policy)}&Signature={signature}&Key-Pair-Id=KSANDBOX"


def file_signature(owner: str, name: str, expires: int) -> str:
    """Return the signature that opens a file."""
    return base64.urlsafe_b64encode(hashlib.sha512(f"{owner}/{name}?{expires}".encode()).digest()).decode()


def signature_holds(call: Call, now: float) -> bool:
    """Whether a call for ``.../{owner}/{name}`` carries that file's signature and comes in time."""
    expires = "".join(call.values("Expires")[:1])
    return (
        expires.isdecimal()
        and is_same(
            "".join(call.values("Signature")[:1]),
            file_signature(call.segments[1], call.segments[2], int(expires)),
        )
        and int(expires) >= now
    )


def _store_error(status: int, code: str, message: str) -> Answer:
    text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Answer(status, text.encode(), content_type="application/xml")
