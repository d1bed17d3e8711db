"""What is done to a task of an agent once: a message to it; see :mod:`remote_tasks_provider.bases.once`.

The id of a message is ours, and the agent keeps it in the task's history. It takes a second message with the
same id all the same, so the history is read before one is repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from remote_tasks_provider.a2a.api.messages import outgoing
from remote_tasks_provider.a2a.hooks import A2AHook
from remote_tasks_provider.a2a.models import A2ATask
from remote_tasks_provider.bases.origin import Origin
from remote_tasks_provider.core.errors import TaskFailedError
from remote_tasks_provider.core.states import TaskState

__all__ = ["Answer", "has_message", "uuid_of"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A message to a task that waits for one.

    :param origin: whose message it is.
    :param parts: what it says beside the text.
    """

    hook: A2AHook
    task_id: str
    text: str | None
    origin: Origin
    parts: Sequence[Mapping[str, Any]] = ()
    metadata: Mapping[str, Any] | None = None

    @property
    def subject(self) -> str:
        """The task."""
        return f"message {self.task_id}"

    def facts(self) -> dict[str, Any]:
        """Return which message it is."""
        max_tries = str(self.origin.max_tries)
        return {"message_id": uuid_of(self.origin, "message", self.task_id, str(self.text), max_tries)}

    def is_there(self, facts: dict[str, Any]) -> bool:
        """Return whether the task's history has it."""
        return has_message(self.hook.get_task(self.task_id), facts["message_id"])

    def send(self, facts: dict[str, Any]) -> A2ATask | None:
        """Send the message.

        :raises TaskFailedError: when the task does not wait: an agent would queue it, and run once more.
        """
        task = self.hook.get_task(self.task_id)
        if task.state is not TaskState.WAITING:
            raise TaskFailedError(
                f"A2A task {task.id} is {task.status} and waits for no message; nothing was sent"
            )
        message = outgoing(
            self.text,
            self.parts,
            context_id=task.context_id,
            task_id=task.id,
            metadata=self.metadata,
            message_id=facts["message_id"],
        )
        found = self.hook.send(message)
        return found if isinstance(found, A2ATask) else None

    def doubt(self) -> str | None:
        """Return that the history has the message already, if it has."""
        if not self.is_there(self.facts()):
            return None
        return f"The history of A2A task {self.task_id} has this message already."


def has_message(task: A2ATask, message_id: str) -> bool:
    """Return whether the history of a task has a message."""
    return any(message.message_id == message_id for message in task.history)


def uuid_of(origin: Origin, *parts: str) -> str:
    """Return a UUID that is the same for all attempts of one task instance, and for no other."""
    return str(UUID(origin.digest(*parts)[:32], version=5))
