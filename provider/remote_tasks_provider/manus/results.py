"""The result of a task: its final text, its files, its structured value, or the question it stopped at.

The same for both versions of the API, which show it very differently: v1 in a task's conversation, v2 in its
events.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import Field

from remote_tasks_provider.core.errors import OutputMissingError
from remote_tasks_provider.core.http.parsing import LenientStr, RemoteModel
from remote_tasks_provider.core.log import counted, in_brackets
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.manus.api.v2_models import (
    MANUS_V2_STATES,
    AssistantMessage,
    ManusEvent,
    QuestionExpectation,
    latest_turn,
)
from remote_tasks_provider.manus.models import ManusMessage, ManusTask

__all__ = [
    "CreatedTask",
    "ManusFile",
    "ManusQuestion",
    "ManusResult",
    "ManusTaskRef",
    "failure_text",
    "result_v1",
    "result_v2",
    "summary_of",
]

# Answered by a message; anything else that the agent waits for is answered by an input of its own schema.
# https://open.manus.ai/docs/v2/task-lifecycle
_ASKED_IN_WORDS = frozenset({"messageAskUser", "cascadeAskUser"})
_NOT_WAITING = frozenset({TaskState.RUNNING, TaskState.COMPLETED, TaskState.FAILED})


@dataclass(frozen=True, slots=True)
class ManusTaskRef:
    """A task that was just created.

    :param url: its page in the Manus app.
    """

    id: str
    url: str | None
    title: str | None


class CreatedTask(RemoteModel):
    """A task that was created or changed, as both versions send it."""

    task_id: str = Field(min_length=1)
    task_title: LenientStr = None
    task_url: LenientStr = None

    @property
    def ref(self) -> ManusTaskRef:
        """The task as a hook returns it."""
        return ManusTaskRef(self.task_id, self.task_url, self.task_title)


@dataclass(frozen=True, slots=True)
class ManusFile:
    """A file that the agent created.

    :param name: the agent's name for it; it may be empty or unfit for a path.
    :param url: signed: it expires, and it works for anyone who has it.
    :param turn: which turn of the task it belongs to: 1 for the prompt, 2 for the message after it.
    """

    name: str
    url: str = field(repr=False)
    content_type: str | None = None
    turn: int = 1


@dataclass(frozen=True, slots=True)
class ManusQuestion:
    """What the agent waits for.

    :param event_id: which event, in API v1 which message, waits.
    :param turn: the turn of the task that it ends.
    :param kind: ``messageAskUser`` for a question in words, else the type of the action to be confirmed.
    :param schema: JSON schema of the input that confirms an action.
    :param options: answers the agent proposes.
    :param multiple: whether several of them may be chosen.
    """

    text: str
    event_id: str | None = None
    kind: str = "messageAskUser"
    schema: Mapping[str, Any] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    multiple: bool = False
    turn: int = 0

    @property
    def key(self) -> str:
        """What tells it from any other question of the task, where Manus gives it no id, too."""
        if self.event_id:
            return self.event_id
        digest = hashlib.sha256(f"{self.kind}\n{self.text}".encode()).hexdigest()[:16]
        return f"turn {self.turn}: {digest}"

    @property
    def in_words(self) -> bool:
        """Whether a message answers it, and not the confirmation of an action."""
        return self.kind in _ASKED_IN_WORDS


@dataclass(frozen=True, slots=True)
class ManusResult:
    """The result of a task.

    :param state: the task's state. A task that completed and could not make the structured value has
        ``failed``, and ``error`` says why.
    :param text: the agent's last message.
    :param structured: the value that a schema asked for, the latest there is.
    :param files: what the agent has created in all turns, oldest first.
    :param question: what it waits for in state ``waiting``, unless that was just answered.
    :param unchanged_for: the seconds since the task last changed, by the service's own clock, if it tells.
    :param turn: which turn the task is in: 1 for the prompt, 2 for the message after it.
    :param structured_turn: the turn that ``structured`` was made in; ``None`` without a value.
    """

    id: str
    state: TaskState
    url: str | None = None
    title: str | None = None
    text: str | None = None
    structured: Any = None
    files: tuple[ManusFile, ...] = ()
    credit_usage: int | None = None
    error: str | None = None
    question: ManusQuestion | None = None
    unchanged_for: float | None = field(default=None, compare=False, repr=False)
    turn: int = field(default=1, compare=False, repr=False)
    structured_turn: int | None = field(default=None, compare=False, repr=False)

    @property
    def structured_is_late(self) -> bool:
        """Whether the value is of an earlier turn than the last one, which may still make another."""
        return self.structured_turn is not None and self.structured_turn < self.turn

    @property
    def asked(self) -> ManusQuestion:
        """What it waits for; its last words where no event says so, as some servers send none."""
        return self.question or ManusQuestion(self.text or "", turn=self.turn)

    def since(self, turn: int) -> ManusResult:
        """Return the result without the value and the files that were made before ``turn``."""
        files = tuple(file for file in self.files if file.turn >= turn)
        if self.structured_turn is None or self.structured_turn >= turn:
            return replace(self, files=files)
        return replace(self, files=files, structured=None, structured_turn=None)

    def requiring_value(self) -> ManusResult:
        """Return the result, unless it is of a completed task and the structured value is missing.

        :raises OutputMissingError: in that case.
        """
        if self.state is not TaskState.COMPLETED or self.structured is not None:
            return self
        raise OutputMissingError(
            f"Manus task {self.id} has completed, but the structured output that was asked for has not come "
            f"yet{in_brackets(self.url)}. Retry or clear this Airflow task: that reads the result of the "
            "finished task again, and pays for no other one. If it never comes, ManusGetResultOperator reads "
            "the text."
        )

    def to_json(self) -> dict[str, Any]:
        """Return the result as a JSON object, files without their links, which work for anyone."""
        names = ("id", "state", "url", "title", "text", "structured", "files", "credit_usage", "error")
        files = [
            {"name": file.name, "content_type": file.content_type, "turn": file.turn} for file in self.files
        ]
        return {name: getattr(self, name) for name in names} | {"state": self.state.value, "files": files}


def summary_of(found: Mapping[str, Any]) -> str:
    """Return what the log says of a result, which is a JSON object; nothing about what is not known."""
    files = f", with {counted(len(found['files']), 'file')}" if found["files"] else ""
    cost = found["credit_usage"]
    price = "" if cost is None else f"; it cost {counted(cost, 'credit')}"
    return f"Manus task {found['id']} is {found['state']}{files}{price}."


def failure_text(result: ManusResult) -> str:
    """Return why a task has failed."""
    reason = (result.error or "Manus gave no reason").rstrip(".")
    return f"Manus task {result.id} failed: {reason}{in_brackets(result.url)}"


def result_v1(task: ManusTask) -> ManusResult:
    """Return the result in a v1 task's conversation."""
    turn: list[ManusMessage] = []
    files: list[ManusFile] = []
    number = 0
    for message in task.output:
        if message.role == "user":
            turn, number = [], number + 1
            continue
        turn.append(message)
        files += [
            ManusFile(one.file_name or "", one.file_url, one.mime_type, max(number, 1))
            for one in message.content
            if one.file_url
        ]
    texts = ["\n".join(part.text for part in message.content if part.text) for message in turn]
    text = next((one for one in reversed(texts) if one), None)
    asks = bool(turn) and task.state is TaskState.WAITING
    question = ManusQuestion(text or "", event_id=turn[-1].id, turn=number) if asks else None
    return replace(_result(task, text, files, question), turn=max(number, 1))


def result_v2(task: ManusTask, events: Sequence[ManusEvent]) -> ManusResult:
    """Return the result in a v2 task's events, oldest first."""
    turn = latest_turn(events)
    words = [one for event in turn if (one := event.assistant_message) and one.content]
    results = [one for one in words if one.delivery_kind == "result"]
    # The last message may have nothing but files.
    words = results or [one for one in words if one.delivery_kind != "progress"] or words
    number, files = 0, list[ManusFile]()
    for event in events:
        number += event.type == "user_message"
        files += [
            ManusFile(one.filename or "", one.url, one.content_type, max(number, 1))
            for one in (event.assistant_message.attachments if event.assistant_message else ())
            if one.url
        ]
    question = _question(turn, number) if task.state is TaskState.WAITING else None
    result = _result(task, words[-1].content if words else None, files, question)
    return _with_value(replace(result, turn=max(number, 1)), events)


def _with_value(result: ManusResult, events: Sequence[ManusEvent]) -> ManusResult:
    """Return the result with the latest value, or failed if the latest turn could not make its value.

    A later message, such as thanks in the app, takes nothing away that was made before it.
    """
    number, latest = 0, None
    for event in events:
        number += event.type == "user_message"
        value = event.structured_output_result
        if value is None:
            continue
        made_in = max(number, 1)
        if value.success or made_in == result.turn:
            latest = value
        if value.success:
            result = replace(result, structured=value.value, structured_turn=made_in)
    if latest is None or latest.success:
        return result
    result = replace(result, structured=None, structured_turn=None)
    if result.state is not TaskState.COMPLETED:
        return result
    # "value" is then an empty placeholder that fits the schema.
    error = f"the structured output could not be made: {latest.error or 'no reason was given'}"
    return replace(result, state=TaskState.FAILED, error=error)


def _result(
    task: ManusTask, text: str | None, files: Iterable[ManusFile], question: ManusQuestion | None
) -> ManusResult:
    distinct = {(file.name, file.url.split("?")[0]): file for file in files}
    return ManusResult(
        id=task.id,
        state=task.state,
        url=task.url,
        title=task.title,
        text=text or None,
        files=tuple(distinct.values()),
        credit_usage=task.credit_usage,
        error=task.error or task.incomplete_details,
        question=question,
    )


def _question(turn: Sequence[ManusEvent], number: int) -> ManusQuestion | None:
    """Return what the agent waits for.

    ``None`` if it was answered and the status has not changed yet, or if no event says yet that it waits:
    its last words may be about something else.
    """
    updates = [event.status_update for event in turn if event.status_update]
    if not updates:
        return None
    latest = updates[-1]
    detail = latest.status_detail
    if detail is None and MANUS_V2_STATES.read(latest.agent_status) in _NOT_WAITING:
        # An action that was confirmed meanwhile must not be put to a person again.
        return None
    said = [event.assistant_message for event in turn if event.assistant_message]
    last = said[-1] if said else AssistantMessage()
    wanted = last.question_expectation or QuestionExpectation()
    words = last.content or ""
    if detail is None:
        return ManusQuestion(words, turn=number)
    kind = detail.waiting_for_event_type or "messageAskUser"
    described = detail.waiting_description or ""
    return ManusQuestion(
        text=(words or described) if kind in _ASKED_IN_WORDS else (described or words),
        event_id=detail.waiting_for_event_id,
        kind=kind,
        schema=detail.confirm_input_schema,
        options=tuple(str(one) for one in wanted.options),
        multiple=wanted.selection_mode == "multiple",
        turn=number,
    )
