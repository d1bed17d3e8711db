"""Messages to an agent, as each version of the protocol writes them."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from remote_tasks_provider.a2a.models import OLD_FILE_NAMES
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import InvalidArgumentError
from remote_tasks_provider.core.http.operation import present

__all__ = ["OutgoingMessage", "PushTarget", "check_parts", "outgoing"]

# What a part has exactly one of, and what that must be.
_CONTENTS: Mapping[str, tuple[type, str]] = {
    "text": (str, "a text"),
    "data": (object, "any JSON"),
    "url": (str, "a text"),
    "raw": (bytes, "bytes"),
}
_PART_NAMES = frozenset({*_CONTENTS, "filename", "media_type", "metadata"})


@dataclass(frozen=True, slots=True)
class PushTarget:
    """Where an agent is asked to call back when a task changes.

    https://a2a-protocol.org/latest/specification/#43-push-notification-objects

    :param token: what it sends along, so that it is believed.
    """

    url: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message that is to be sent; every argument is checked.

    :param parts: as protocol 1.0 writes them.
    :param message_id: ours; an agent keeps it in the task's history.
    :param push: where to call back, if the agent can.
    """

    parts: Sequence[Mapping[str, Any]] = field(repr=False)
    context_id: str | None = None
    task_id: str | None = None
    metadata: Mapping[str, Any] | None = field(default=None, repr=False)
    message_id: str = field(default_factory=lambda: str(uuid4()))
    push: PushTarget | None = None

    def params(self, version: str) -> dict[str, Any]:
        """Return the body of a request that does not wait for the agent."""
        is_old = version == "0.3"
        message = {
            "messageId": self.message_id,
            "role": "user" if is_old else "ROLE_USER",
            "parts": [_old_part(part) if is_old else dict(part) for part in self.parts],
            "contextId": self.context_id,
            "taskId": self.task_id,
            "metadata": self.metadata,
        }
        configuration: dict[str, Any] = {"blocking": False} if is_old else {"returnImmediately": True}
        if self.push is not None:
            name = "pushNotificationConfig" if is_old else "taskPushNotificationConfig"
            configuration[name] = {"url": self.push.url, "token": self.push.token}
        if is_old:
            message = {"kind": "message", **message}
        return {"message": present(message), "configuration": configuration}


def outgoing(
    text: str | None,
    parts: Iterable[Mapping[str, Any]] | None = None,
    *,
    context_id: str | None = None,
    task_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    message_id: str | None = None,
) -> OutgoingMessage:
    """Return the message; the text is its first part.

    :raises InvalidArgumentError: naming the argument that cannot be right.
    """
    contents: list[Mapping[str, Any]] = [] if parts is None else list(check_parts(parts, "parts"))
    if text is not None:
        contents.insert(0, {"text": validation.text(text, "text")})
    if not contents:
        raise InvalidArgumentError("text is None and there are no parts: the message would be empty")
    return OutgoingMessage(
        contents,
        None if context_id is None else validation.object_id(context_id, "context_id"),
        None if task_id is None else validation.object_id(task_id, "task_id"),
        None if metadata is None else validation.mapping(metadata, "metadata"),
        str(uuid4()) if message_id is None else message_id,
    )


def check_parts(value: Any, name: str) -> list[dict[str, Any]]:
    """Return parts as protocol 1.0 writes them."""
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise InvalidArgumentError(f"{name} is a {type(value).__name__}; it must be a list of parts")
    return [_part(one, f"{name}[{index}]") for index, one in enumerate(value)]


def _part(value: Any, name: str) -> dict[str, Any]:
    part = dict(validation.mapping(value, name))
    given = [content for content in _CONTENTS if part.get(content) is not None]
    if len(given) != 1 or part.keys() - _PART_NAMES:
        raise InvalidArgumentError(
            f"{name} has {', '.join(part) or 'nothing'}; a part has exactly one of {', '.join(_CONTENTS)}, "
            "and may have filename, media_type and metadata"
        )
    content = given[0]
    kind, wanted = _CONTENTS[content]
    if not isinstance(part[content], kind):
        raise InvalidArgumentError(
            f"{name}: {content} is a {type(part[content]).__name__}; it must be {wanted}"
        )
    if content == "raw":
        part["raw"] = base64.b64encode(part["raw"]).decode()
    media_type = part.pop("media_type", None)
    return present({**part, "mediaType": media_type})


def _old_part(part: Mapping[str, Any]) -> dict[str, Any]:
    """Return a part as protocol 0.3 writes it, whose data are always an object."""
    more = {"metadata": part["metadata"]} if "metadata" in part else {}
    if "text" in part:
        return {"kind": "text", "text": part["text"], **more}
    if "data" in part:
        data = part["data"] if isinstance(part["data"], Mapping) else {"value": part["data"]}
        return {"kind": "data", "data": data, **more}
    names = {name: old for old, name in OLD_FILE_NAMES.items()}
    file = {names[name]: value for name, value in part.items() if name in names}
    return {"kind": "file", "file": file, **more}
