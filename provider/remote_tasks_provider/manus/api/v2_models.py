"""The responses of API v2, typed: a task with the field names of :class:`~.models.ManusTask`; its events.

Schema: https://open.manus.ai/docs/v2/task.detail and https://open.manus.ai/docs/v2/task.listMessages.
A v2 task holds neither its conversation nor the text of its error; both are in its events.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from remote_tasks_provider.core.http.parsing import (
    Items,
    Json,
    JsonObject,
    LenientBool,
    LenientInt,
    LenientStr,
    Moment,
    OrEmpty,
    OrNone,
    RemoteModel,
)
from remote_tasks_provider.core.states import StateTable, TaskState
from remote_tasks_provider.manus.models import ManusTask

__all__ = [
    "MANUS_V2_STATES",
    "ManusEvent",
    "ManusTaskV2",
    "ManusUsage",
    "as_message",
    "how_it_finished",
    "latest_turn",
]

MANUS_V2_STATES = StateTable(
    {
        "running": TaskState.RUNNING,
        "waiting": TaskState.WAITING,
        # Not published; clients have met it.
        "paused": TaskState.WAITING,
        # "task has finished or been stopped": https://open.manus.ai/docs/v2/task-lifecycle
        "stopped": TaskState.COMPLETED,
        "error": TaskState.FAILED,
    }
)


class Attachment(RemoteModel):
    """A file of a message; ``url`` is signed, expires, and works for anyone who has it."""

    filename: LenientStr = None
    url: LenientStr = Field(default=None, repr=False)
    content_type: LenientStr = None


class UserMessage(RemoteModel):
    """A message from a user or from this provider."""

    content: LenientStr = None
    attachments: Annotated[Items[Attachment], OrEmpty(list)] = Field(default_factory=list)


class QuestionExpectation(RemoteModel):
    """How the agent wants its question answered; not in the published schema."""

    selection_mode: LenientStr = None
    options: Annotated[list[Any], OrEmpty(list)] = Field(default_factory=list)


class AssistantMessage(UserMessage):
    """A message from the agent.

    :param delivery_kind: ``result`` or ``progress``; not in the published schema.
    """

    delivery_kind: LenientStr = None
    question_expectation: Annotated[QuestionExpectation | None, OrNone()] = None


class ErrorMessage(RemoteModel):
    """Why a task failed."""

    content: LenientStr = None


class WaitingDetail(RemoteModel):
    """What the agent waits for."""

    waiting_for_event_id: LenientStr = None
    waiting_for_event_type: LenientStr = None
    waiting_description: LenientStr = None
    confirm_input_schema: Annotated[JsonObject, OrEmpty(dict)] = Field(default_factory=dict)


class StatusUpdate(RemoteModel):
    """A change of the agent's status."""

    agent_status: LenientStr = None
    status_detail: Annotated[WaitingDetail | None, OrNone()] = None


class StructuredOutput(RemoteModel):
    """The value that a schema asked for. Without ``success``, ``value`` is an empty placeholder."""

    success: Annotated[bool | None, OrNone()] = None
    value: Json = None
    error: LenientStr = None


class ManusEvent(RemoteModel):
    """One event of a task; its payload is in the field named like its type."""

    model_config = ConfigDict(extra="ignore")

    id: LenientStr = None
    type: LenientStr = None
    timestamp: Moment = None
    user_message: Annotated[UserMessage | None, OrNone()] = None
    assistant_message: Annotated[AssistantMessage | None, OrNone()] = None
    error_message: Annotated[ErrorMessage | None, OrNone()] = None
    status_update: Annotated[StatusUpdate | None, OrNone()] = None
    structured_output_result: Annotated[StructuredOutput | None, OrNone()] = None


class ManusUsage(RemoteModel):
    """A change of the account's credits.

    :param credits: how many; below zero for what was spent.
    :param type: ``cost``, ``refund`` or ``grant``.
    """

    task_id: LenientStr = None
    title: LenientStr = None
    credits: LenientInt = None
    created_at: Moment = None
    type: LenientStr = None


class ManusTaskV2(ManusTask):
    """A Manus task of API v2.

    :param has_running_background_jobs: whether jobs still run although the agent has stopped; not in the
        published schema, and absent on older servers.
    :param stopped_by_user: whether a user stopped it. Only its events say so; a list of tasks does not.
    """

    task_title: LenientStr = Field(default=None, alias="title")
    task_url: LenientStr = None
    model: LenientStr = Field(default=None, alias="agent_profile")
    task_type: LenientStr = None
    share_visibility: LenientStr = None
    has_running_background_jobs: LenientBool = None
    stopped_by_user: Annotated[bool, OrEmpty(bool)] = False

    @property
    def state(self) -> TaskState:
        """The task's state."""
        state = MANUS_V2_STATES.read(self.status)
        if state is not TaskState.COMPLETED:
            return state
        if self.has_running_background_jobs:
            return TaskState.RUNNING
        return TaskState.CANCELLED if self.stopped_by_user else state

    @property
    def title(self) -> str | None:
        """The task's title in the Manus app."""
        return self.task_title or None

    @property
    def url(self) -> str | None:
        """The task's page in the Manus app."""
        return self.task_url or None

    def with_events(self, events: Iterable[ManusEvent]) -> ManusTaskV2:
        """Return the task with what its events, oldest first, add: conversation, error, stopped or not."""
        known = list(events)
        messages = [message for event in known if (message := as_message(event))]
        error, stopped_by_user = how_it_finished(known)
        error = error if self.state is TaskState.FAILED else None
        update = {"raw_output": messages, "error": error, "stopped_by_user": stopped_by_user}
        complete = self.model_copy(update=update)
        # The copy has the cached conversation too.
        complete.__dict__.pop("output", None)
        return complete


def latest_turn(events: Iterable[ManusEvent]) -> list[ManusEvent]:
    """Return the events since the last message to the agent, oldest first like ``events``.

    Each message to a task begins a new turn; how the turn before finished does not matter any more.
    """
    turn: list[ManusEvent] = []
    for event in events:
        if event.type == "user_message":
            turn = []
        else:
            turn.append(event)
    return turn


def how_it_finished(events: Iterable[ManusEvent]) -> tuple[str | None, bool]:
    """Return the error of the latest turn of ``events``, oldest first, and whether a user stopped it."""
    turn = latest_turn(events)
    errors = [event.error_message.content for event in turn if event.error_message]
    return (errors[-1] if errors else None), any(event.type == "user_stop" for event in turn)


def as_message(event: ManusEvent) -> dict[str, Any] | None:
    """Return an event as API v1 would show it in the conversation; ``None`` if it is no message."""
    message = event.user_message or event.assistant_message
    if message is None:
        return None
    files = [
        {"type": "output_file", "fileUrl": one.url, "fileName": one.filename, "mimeType": one.content_type}
        for one in message.attachments
    ]
    text = [{"type": "output_text", "text": message.content}] if message.content else []
    role = "user" if event.user_message else "assistant"
    return {"id": event.id, "role": role, "type": "message", "content": [*text, *files]}
