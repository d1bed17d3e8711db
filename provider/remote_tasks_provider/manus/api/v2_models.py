"""What API v2 answers, typed: a task under the names that :class:`~.models.ManusTask` gave it; its events.

Schema: https://open.manus.ai/docs/v2/task.detail and https://open.manus.ai/docs/v2/task.listMessages.
A v2 task holds neither its conversation nor the text of its error; both are in its events.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from remote_tasks_provider.core.http.parsing import (
    LenientBool,
    LenientStr,
    Moment,
    OrEmptyDict,
    OrEmptyList,
    OrNone,
    RemoteModel,
)
from remote_tasks_provider.core.states import StateTable, TaskState
from remote_tasks_provider.manus.models import ManusTask

__all__ = ["MANUS_V2_STATES", "ManusEvent", "ManusTaskV2", "as_message", "how_it_ended", "latest_turn"]

MANUS_V2_STATES = StateTable(
    {
        "running": TaskState.RUNNING,
        "waiting": TaskState.WAITING,
        # "task has finished or been stopped": https://open.manus.ai/docs/v2/task-lifecycle
        "stopped": TaskState.COMPLETED,
        "error": TaskState.FAILED,
    }
)


class Attachment(RemoteModel):
    """A file of a message; ``url`` is signed, expires, and works for anyone who has it."""

    type: LenientStr = None
    filename: LenientStr = None
    url: LenientStr = Field(default=None, repr=False)
    content_type: LenientStr = None


_Attachments = Annotated[list[Attachment], OrEmptyList()]


class UserMessage(RemoteModel):
    """What a person, or this provider, said."""

    content: LenientStr = None
    attachments: _Attachments = Field(default_factory=list)


class QuestionExpectation(RemoteModel):
    """How the agent wants its question answered; not in the published schema."""

    selection_mode: LenientStr = None
    options: Annotated[list[Any], OrEmptyList()] = Field(default_factory=list)


class AssistantMessage(RemoteModel):
    """What the agent said.

    :param delivery_kind: ``result`` or ``progress``; not in the published schema.
    """

    content: LenientStr = None
    attachments: _Attachments = Field(default_factory=list)
    delivery_kind: LenientStr = None
    question_expectation: Annotated[QuestionExpectation | None, OrNone()] = None


class ErrorMessage(RemoteModel):
    """Why a task could not go on."""

    error_type: LenientStr = None
    content: LenientStr = None


class WaitingDetail(RemoteModel):
    """What the agent waits for."""

    waiting_for_event_id: LenientStr = None
    waiting_for_event_type: LenientStr = None
    waiting_description: LenientStr = None
    confirm_input_schema: Annotated[dict[str, Any], OrEmptyDict()] = Field(default_factory=dict)


class StatusUpdate(RemoteModel):
    """A change of the agent's status."""

    agent_status: LenientStr = None
    status_detail: Annotated[WaitingDetail | None, OrNone()] = None
    brief: LenientStr = None
    description: LenientStr = None


class StructuredOutput(RemoteModel):
    """The value that was asked for by a schema. Without ``success``, ``value`` is an empty stand-in."""

    success: Annotated[bool | None, OrNone()] = None
    value: Any = None
    error: LenientStr = None


class ManusEvent(RemoteModel):
    """One event of a task; its payload is in the field that is named like its type."""

    model_config = ConfigDict(extra="ignore")

    id: LenientStr = None
    type: LenientStr = None
    timestamp: Moment = None
    user_message: Annotated[UserMessage | None, OrNone()] = None
    assistant_message: Annotated[AssistantMessage | None, OrNone()] = None
    error_message: Annotated[ErrorMessage | None, OrNone()] = None
    status_update: Annotated[StatusUpdate | None, OrNone()] = None
    structured_output_result: Annotated[StructuredOutput | None, OrNone()] = None


class ManusTaskV2(ManusTask):
    """A Manus task as API v2 tells it.

    :param has_running_background_jobs: whether work goes on though the agent has stopped; not in the
        published schema, and absent on older servers.
    :param stopped_by_user: whether its events tell so; a list of tasks does not know.
    """

    task_title: LenientStr = Field(default=None, alias="title")
    task_url: LenientStr = None
    model: LenientStr = Field(default=None, alias="agent_profile")
    task_type: LenientStr = None
    share_visibility: LenientStr = None
    has_running_background_jobs: LenientBool = None
    stopped_by_user: bool = False

    @property
    def state(self) -> TaskState:
        """Where the task stands."""
        state = MANUS_V2_STATES.read(self.status)
        if state is not TaskState.COMPLETED:
            return state
        if self.has_running_background_jobs:
            return TaskState.RUNNING
        return TaskState.CANCELLED if self.stopped_by_user else state

    @property
    def title(self) -> str | None:
        """What Manus calls the task."""
        return self.task_title or None

    @property
    def url(self) -> str | None:
        """The task's page in the Manus app."""
        return self.task_url or None

    def told_by(self, events: Iterable[ManusEvent]) -> ManusTaskV2:
        """Return the task with what its events tell of it: conversation, error text, and who stopped it.

        :param events: oldest first.
        """
        known = list(events)
        error, stopped_by_user = how_it_ended(known)
        told = self.model_copy(
            update={
                "raw_output": [message for event in known if (message := as_message(event))],
                "error": error if self.state is TaskState.FAILED else None,
                "stopped_by_user": stopped_by_user,
            }
        )
        # A conversation that was made before is copied too.
        told.__dict__.pop("output", None)
        return told


def latest_turn(events: Iterable[ManusEvent]) -> list[ManusEvent]:
    """Return the events since the last thing that was said to the agent, oldest first like ``events``.

    A task that was sent another message starts a new turn; what ended the turn before says nothing of it.
    """
    turn: list[ManusEvent] = []
    for event in events:
        if event.type == "user_message":
            turn = []
        else:
            turn.append(event)
    return turn


def how_it_ended(events: Iterable[ManusEvent]) -> tuple[str | None, bool]:
    """Return the text of the latest turn's error, if there is one, and whether a user stopped it.

    :param events: oldest first.
    """
    turn = latest_turn(events)
    errors = [event.error_message.content for event in turn if event.error_message]
    return (errors[-1] if errors else None), any(event.type == "user_stop" for event in turn)


def as_message(event: ManusEvent) -> dict[str, Any] | None:
    """Return an event as the message that API v1 would have made of it."""
    said = event.user_message or event.assistant_message
    if said is None:
        return None
    files = [
        {"type": "output_file", "fileUrl": one.url, "fileName": one.filename, "mimeType": one.content_type}
        for one in said.attachments
    ]
    text = [{"type": "output_text", "text": said.content}] if said.content else []
    role = "user" if event.user_message else "assistant"
    return {"id": event.id, "role": role, "type": "message", "content": [*text, *files]}
