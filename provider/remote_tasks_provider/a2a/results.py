"""What a task has come to: a text, a value and files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from remote_tasks_provider.a2a.models import A2AMessage, A2APart, A2ATask, text_of
from remote_tasks_provider.core.states import TaskState

__all__ = ["A2AFile", "A2AResult", "result_of_message", "result_of_task"]


@dataclass(frozen=True, slots=True)
class A2AFile:
    """A file of a result: somewhere else (``url``), or here (``raw``, in base64)."""

    name: str | None
    media_type: str | None
    artifact_id: str | None = None
    url: str | None = field(default=None, repr=False)
    raw: str | None = field(default=None, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return what may be stored: a URL can hold a key, and content can be large."""
        return {"name": self.name, "media_type": self.media_type, "artifact_id": self.artifact_id}


@dataclass(frozen=True, slots=True)
class A2AResult:
    """What a task has come to.

    :param text: of its artifacts; without any, of its last status.
    :param structured: the value of its last part that is data. Agents in Python make floats of integers.
    """

    state: TaskState
    text: str
    structured: Any = None
    files: Sequence[A2AFile] = ()
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "state": self.state.value,
            "text": self.text,
            "structured": self.structured,
            "files": [file.to_json() for file in self.files],
            "error": self.error,
        }


def result_of_task(task: A2ATask) -> A2AResult:
    """Return the result of a task, as far as it has come."""
    artifacts = [(artifact.artifact_id, artifact.parts) for artifact in task.artifacts]
    last = task.message.parts if task.message else []
    text = "\n\n".join(filter(None, (text_of(parts) for _, parts in artifacts))) or text_of(last)
    parts = artifacts if any(found for _, found in artifacts) else [(None, last)]
    return A2AResult(task.state, text, _value(parts), _files(parts), task.error)


def result_of_message(message: A2AMessage) -> A2AResult:
    """Return the result that an answer without a task is."""
    parts = [(None, message.parts)]
    return A2AResult(TaskState.COMPLETED, message.text, _value(parts), _files(parts))


_Parts = Iterable[tuple[str | None, Sequence[A2APart]]]


def _value(groups: _Parts) -> Any:
    values = [part.data for _, parts in groups for part in parts if part.data is not None]
    return values[-1] if values else None


def _files(groups: _Parts) -> list[A2AFile]:
    return [
        A2AFile(
            part.filename or None, part.media_type or None, artifact_id, part.url or None, part.raw or None
        )
        for artifact_id, parts in groups
        for part in parts
        if part.is_file
    ]
