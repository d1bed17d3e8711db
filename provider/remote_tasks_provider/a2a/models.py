"""What agents answer, in every spelling that is about; and their status words.

Protocol 1.0 and 0.3 differ in names, and servers mix them, so both are read everywhere. An absent value,
``null``, ``""`` and ``[]`` mean the same (https://a2a-protocol.org/latest/specification/).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AliasChoices, AliasPath, Field, model_validator

from remote_tasks_provider.core.http.parsing import (
    Items,
    Json,
    LenientStr,
    Moment,
    OrEmpty,
    OrNone,
    RemoteModel,
)
from remote_tasks_provider.core.states import StateTable, TaskSnapshot, TaskState, in_words
from remote_tasks_provider.core.storable import storable_json

__all__ = [
    "A2A_STATES",
    "OLD_FILE_NAMES",
    "A2AAgentCard",
    "A2AArtifact",
    "A2AMessage",
    "A2APart",
    "A2ATask",
    "snapshot",
    "state_in_words",
    "text_of",
    "text_of_status",
    "word_of",
]

A2A_STATES = StateTable(
    {
        "submitted": TaskState.PENDING,
        "working": TaskState.RUNNING,
        "input_required": TaskState.WAITING,
        "auth_required": TaskState.WAITING,
        "completed": TaskState.COMPLETED,
        "failed": TaskState.FAILED,
        "rejected": TaskState.FAILED,
        "canceled": TaskState.CANCELLED,
    }
)

OLD_FILE_NAMES = {
    "fileWithUri": "url",
    "fileWithBytes": "raw",
    "uri": "url",
    "bytes": "raw",
    "name": "filename",
    "mimeType": "mediaType",
}
"""What protocol 0.3 calls what a part has that is a file; the later name is JSON-RPC's, and goes before."""

# Of the parts of something: what holds a file or leads to one.
_FILES = {"parts": {"__all__": {"url", "raw", "file"}}}
_List = Annotated[Items[Json], OrEmpty(list)]


def word_of(status: str) -> str:
    """Return a status word as the table has it, whatever version it is of."""
    word = status.strip().casefold().replace("-", "_").removeprefix("task_state_")
    return "canceled" if word == "cancelled" else word


class A2APart(RemoteModel):
    """A part of a message or of an artifact; exactly one of ``text``, ``data``, ``url`` and ``raw`` is set.

    ``raw`` is base64. Servers in Python make floats of the integers in ``data``.
    """

    text: LenientStr = None
    data: Json = None
    url: LenientStr = None
    raw: LenientStr = None
    filename: LenientStr = None
    media_type: LenientStr = Field(default=None, alias="mediaType")

    @model_validator(mode="before")
    @classmethod
    def _any_version(cls, part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        file, data, metadata = part.get("file"), part.get("data"), part.get("metadata")
        # Protocol 0.3 has objects only; the official SDK wraps other values, and says so.
        if isinstance(data, dict) and "value" in data and isinstance(metadata, dict):
            part = {**part, "data": data["value"]} if metadata.get("data_part_compat") else part
        if not isinstance(file, dict):
            return part
        found = {name: file.get(old) for old, name in OLD_FILE_NAMES.items() if file.get(old) is not None}
        return {**part, **found}

    @property
    def is_file(self) -> bool:
        """Whether it is a file, here or elsewhere; one without content has a name."""
        is_empty_file = self.raw is not None and bool(self.filename) and not self.text and self.data is None
        return bool(self.url or self.raw) or is_empty_file


class A2AMessage(RemoteModel):
    """A message of a conversation with an agent."""

    message_id: LenientStr = Field(default=None, alias="messageId")
    role: LenientStr = None
    parts: Annotated[Items[A2APart], OrEmpty(list)] = Field(
        default_factory=list, validation_alias=AliasChoices("parts", "content")
    )
    context_id: LenientStr = Field(default=None, alias="contextId")
    task_id: LenientStr = Field(default=None, alias="taskId")

    @property
    def text(self) -> str:
        """The text of all its parts."""
        return text_of(self.parts)


class A2AArtifact(RemoteModel):
    """Something that an agent has made."""

    artifact_id: LenientStr = Field(default=None, alias="artifactId")
    name: LenientStr = None
    description: LenientStr = None
    parts: Annotated[Items[A2APart], OrEmpty(list)] = Field(default_factory=list)


class A2ATask(RemoteModel):
    """A task of an agent. ``status`` is the agent's own word.

    Only an answer about one task has its artifacts and its whole history, oldest first.
    """

    id: str = Field(min_length=1)
    context_id: LenientStr = Field(default=None, alias="contextId")
    status: Annotated[str, OrEmpty(str)] = Field(default="", validation_alias=AliasPath("status", "state"))
    message: Annotated[A2AMessage | None, OrNone()] = Field(
        default=None, validation_alias=AliasPath("status", "message")
    )
    artifacts: Annotated[Items[A2AArtifact], OrEmpty(list)] = Field(default_factory=list)
    history: Annotated[Items[A2AMessage], OrEmpty(list)] = Field(default_factory=list)
    updated_at: Moment = Field(default=None, validation_alias=AliasPath("status", "timestamp"))
    metadata: Annotated[dict[str, Json], OrEmpty(dict)] = Field(default_factory=dict)

    @property
    def state(self) -> TaskState:
        """What :attr:`status` means."""
        return A2A_STATES.read(word_of(self.status))

    @property
    def error(self) -> str | None:
        """The agent's text about what went wrong, if the task failed or was rejected."""
        is_bad = self.state in (TaskState.FAILED, TaskState.CANCELLED)
        return text_of_status(self) or None if is_bad else None

    def to_json(self, *, include_history: bool = False) -> dict[str, Any]:
        """Return it as a JSON object with :attr:`state` and :attr:`error`, without files: a URL can be a key.

        :param include_history: also the conversation, which can be long.
        """
        hidden: dict[str, Any] = {"artifacts": {"__all__": _FILES}, "message": _FILES}
        hidden["history"] = {"__all__": _FILES} if include_history else True
        shown: dict[str, Any] = storable_json(self.model_dump(mode="json", exclude=hidden))
        return {**shown, "state": self.state.value, "error": self.error}


class A2AAgentCard(RemoteModel):
    """How an agent describes itself."""

    name: LenientStr = None
    description: LenientStr = None
    version: LenientStr = None
    url: LenientStr = None
    preferred_transport: LenientStr = Field(default=None, alias="preferredTransport")
    protocol_version: LenientStr = Field(default=None, alias="protocolVersion")
    supported_interfaces: _List = Field(default_factory=list, alias="supportedInterfaces")
    additional_interfaces: _List = Field(default_factory=list, alias="additionalInterfaces")
    capabilities: Annotated[dict[str, Json], OrEmpty(dict)] = Field(default_factory=dict)
    skills: _List = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _is_a_card(cls, card: Any) -> Any:
        names = ("name", "url", "supportedInterfaces", "capabilities", "skills")
        if isinstance(card, Mapping) and not any(name in card for name in names):
            raise ValueError("it describes no agent")
        return card

    @property
    def streams(self) -> bool:
        """Whether the agent can answer with a stream of events."""
        return self.capabilities.get("streaming") is True

    @property
    def pushes(self) -> bool:
        """Whether the agent can call back when a task changes."""
        return self.capabilities.get("pushNotifications") is True

    @property
    def required_extensions(self) -> list[str]:
        """The extensions of the protocol that the agent demands."""
        known = self.capabilities.get("extensions")
        listed = known if isinstance(known, list) else []
        return [
            str(one.get("uri")) for one in listed if isinstance(one, dict) and one.get("required") is True
        ]


def text_of(parts: Sequence[A2APart]) -> str:
    """Return the text of parts; chunks of a stream are parts, so nothing is put between them."""
    return "".join(part.text for part in parts if part.text)


def text_of_status(task: A2ATask) -> str:
    """Return what the agent says of a task's status; empty if it says nothing."""
    return task.message.text if task.message else ""


def state_in_words(task: A2ATask) -> str:
    """Return a task's state as the log says it, with the agent's own word."""
    return in_words(task.state, word_of(task.status))


def snapshot(task: A2ATask) -> TaskSnapshot:
    """Return what a wait needs of ``task``. A task has no title, no page and no cost."""
    return TaskSnapshot(
        id=task.id,
        state=task.state,
        status=task.status,
        error=task.error,
        updated_at=task.updated_at,
        details={"context_id": task.context_id},
    )
