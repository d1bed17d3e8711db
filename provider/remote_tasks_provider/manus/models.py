"""The responses of Manus, typed: the whole schema of API v1, tolerant of what Manus adds or leaves out.

Schema: https://open.manus.ai/docs/v1/get-tasks.
Manus sends 64-bit integers as JSON strings and leaves out empty fields.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError

from remote_tasks_provider.core.http.parsing import (
    Items,
    LenientInt,
    LenientStr,
    Moment,
    OrEmpty,
    RemoteModel,
    one_line,
)
from remote_tasks_provider.core.states import StateTable, TaskSnapshot, TaskState
from remote_tasks_provider.core.storable import storable_json

__all__ = ["MANUS_STATES", "ManusContent", "ManusMessage", "ManusTask", "ManusTaskSummary", "snapshot"]

MANUS_STATES = StateTable(
    {
        "running": TaskState.RUNNING,
        # "paused and is waiting for more input from a user", in spite of the word:
        # https://open.manus.ai/docs/v1/openai-compatibility
        "pending": TaskState.WAITING,
        # Not published; clients have met it.
        "paused": TaskState.WAITING,
        "completed": TaskState.COMPLETED,
        "failed": TaskState.FAILED,
        # The OpenAI-compatible pages call the same state "error".
        "error": TaskState.FAILED,
    }
)


class ManusContent(RemoteModel):
    """One part of a message.

    :param type: ``output_text`` or ``output_file``.
    :param text: for a text.
    :param file_url: for a file: a signed link, which expires and works for anyone who has it.
    """

    type: LenientStr = None
    text: LenientStr = None
    file_url: LenientStr = Field(default=None, alias="fileUrl", repr=False)
    file_name: LenientStr = Field(default=None, alias="fileName")
    mime_type: LenientStr = Field(default=None, alias="mimeType")


class ManusMessage(RemoteModel):
    """One message of a task's conversation.

    :param role: ``user`` or ``assistant``.
    """

    id: LenientStr = None
    status: LenientStr = None
    role: LenientStr = None
    type: LenientStr = None
    content: Annotated[Items[ManusContent], OrEmpty(list)] = Field(default_factory=list)


class ManusTaskSummary(RemoteModel):
    """A Manus task without its conversation, which is by far its largest part.

    :param id: Manus's id, 22 letters and digits today.
    :param status: Manus's own word; :attr:`state` says what it means.
    :param credit_usage: credits consumed so far; ``None`` until there are any.
    :param metadata: holds ``task_title`` and ``task_url``; see :attr:`title` and :attr:`url`.
    """

    # Other fields are skipped while parsing and become no objects.
    model_config = ConfigDict(extra="ignore")

    id: str = Field(min_length=1)
    status: Annotated[str, OrEmpty(str)] = ""
    created_at: Moment = None
    updated_at: Moment = None
    error: LenientStr = None
    incomplete_details: LenientStr = None
    model: LenientStr = None
    metadata: Annotated[dict[str, Any], OrEmpty(dict)] = Field(default_factory=dict)
    credit_usage: LenientInt = None

    @property
    def state(self) -> TaskState:
        """The task's state."""
        return MANUS_STATES.read(self.status)

    @property
    def title(self) -> str | None:
        """The task's title in the Manus app."""
        return _text(self.metadata.get("task_title"))

    @property
    def url(self) -> str | None:
        """The task's page in the Manus app."""
        return _text(self.metadata.get("task_url"))


class ManusTask(ManusTaskSummary):
    """A Manus task.

    :param raw_output: the conversation as Manus sent it; :attr:`output` is the typed form.
    """

    model_config = ConfigDict(extra="allow")

    object: LenientStr = None
    instructions: LenientStr = None
    max_output_tokens: LenientInt = None
    raw_output: Annotated[list[Any], OrEmpty(list)] = Field(default_factory=list, alias="output", repr=False)
    locale: LenientStr = None

    @cached_property
    def output(self) -> list[ManusMessage]:
        """The whole conversation, oldest message first.

        Parsed on first use: of a hundred thousand listed tasks, few conversations are read. One odd message
        does not affect the others.
        """
        messages = []
        for one in self.raw_output:
            with suppress(ValidationError):
                messages.append(ManusMessage.model_validate(one))
        return messages

    def to_json(self, *, include_output: bool = False) -> dict[str, Any]:
        """Return the task as a JSON object, with :attr:`state`, :attr:`title` and :attr:`url`.

        :param include_output: also include the conversation, without links to files: they are signed, so
            every reader of the XCom could open them, and they expire.
        """
        data = self.model_dump(mode="json", exclude={"raw_output"})
        data |= {"state": self.state.value, "title": self.title, "url": self.url}
        if include_output:
            data["output"] = [
                message.model_dump(mode="json", exclude={"content": {"__all__": {"file_url"}}})
                for message in self.output
            ]
        found: dict[str, Any] = storable_json(data)
        return found


def snapshot(task: ManusTaskSummary) -> TaskSnapshot:
    """Return the part of ``task`` that a wait needs: never its conversation or a link to a file."""
    error = task.error or task.incomplete_details
    return TaskSnapshot(
        id=task.id,
        state=task.state,
        status=task.status,
        url=task.url,
        title=task.title,
        error=one_line(error, 1000) if error else None,
        created_at=task.created_at,
        updated_at=task.updated_at,
        credit_usage=task.credit_usage,
        details={"model": task.model},
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
