"""How a task of an agent is begun once and found again; see :mod:`remote_tasks_provider.bases.submission`.

A2A knows no idempotency key. But every agent that lists tasks keeps the context id that a client chooses, and
lists by it. So each attempt of an Airflow task has a context id and a message id of its own. In a
conversation that the user continues, the message id alone tells the tasks apart. The correlation tag is in
the message's metadata, which the task's history keeps.

An agent may answer with a message instead of a task. Nothing at the agent tells of it later, so the answer is
put into Airflow's task state store before anything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any
from uuid import UUID

from remote_tasks_provider.a2a.api.filters import TaskFilter
from remote_tasks_provider.a2a.api.messages import OutgoingMessage
from remote_tasks_provider.a2a.hooks import A2AHook
from remote_tasks_provider.a2a.listing import whole_list
from remote_tasks_provider.a2a.models import A2ATask
from remote_tasks_provider.a2a.results import result_of_message
from remote_tasks_provider.bases.records import TaskRecord
from remote_tasks_provider.bases.submission import HookSubmission
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.core.submission import Candidate, CorrelationTag

__all__ = ["A2ASubmission", "is_message"]

_TAG = "airflow"
"""Where in a message's metadata the correlation tag is."""
# Stands for the id of the task that an agent did not make, as it has answered at once.
_MESSAGE = "message:"


class A2ASubmission(HookSubmission):
    """Begins one task.

    :param message: without ids, but with the context id of a conversation that is to continue.
    :param attempt: Airflow's try number: an earlier one may have begun a task.
    :param answers: where the answer of an agent that makes no task is kept.
    """

    _hook: A2AHook

    def __init__(self, hook: A2AHook, message: OutgoingMessage, attempt: int, answers: TaskRecord) -> None:
        super().__init__(hook)
        self._answers = answers
        self._message = message
        self._attempt = attempt
        self._key = ""
        self.answer: dict[str, Any] | None = None
        """The result that the agent has answered with instead of beginning a task."""

    @property
    def sees_all(self) -> bool:
        """Whether the agent lists tasks."""
        return self._hook.find_agent().lists

    finds_tags = sees_all
    """A task is found by what it was given; only in a list."""

    def prepare(self) -> None:
        """Find the agent: what can fail without cost comes first."""
        self._hook.find_agent()

    def submit(self, tag: CorrelationTag) -> Candidate:
        """Send the message."""
        attempt = tag.attempt or self._attempt
        message = replace(
            self._message,
            message_id=_uuid(tag.key, attempt, "message"),
            context_id=self._message.context_id or _uuid(tag.key, attempt, "context"),
            metadata={**(self._message.metadata or {}), _TAG: str(tag)},
        )
        found = self._hook.send(message)
        if isinstance(found, A2ATask):
            return Candidate(found.id, None, found.state)
        task_id = f"{_MESSAGE}{message.message_id}"
        self.answer = {"id": None, "context_id": found.context_id, **result_of_message(found).to_json()}
        self._answers.note({"of": task_id, "answer": self.answer})
        return Candidate(task_id, None, TaskState.COMPLETED)

    def read(self, task_id: str) -> Candidate:
        """Return a task as it is now."""
        if is_message(task_id):
            kept = self._answers.read()
            self.answer = kept["answer"] if kept and kept["of"] == task_id else None
            return Candidate(task_id, None, TaskState.COMPLETED)
        task = self._hook.get_task(task_id)
        return Candidate(task.id, None, task.state)

    def search(self, key: str, since: float) -> Sequence[Candidate]:
        """Return the tasks that the attempts so far have begun."""
        if not self.sees_all:
            return []
        return [one for attempt in range(1, self._attempt + 1) for one in self._of(key, attempt)]

    def listed(self, task_id: str, since: float) -> Candidate | None:
        """Return a task, if the list has it."""
        key = self._key
        return next((one for one in self.search(key, since) if one.task_id == task_id), None) if key else None

    def _of(self, key: str, attempt: int) -> Iterator[Candidate]:
        self._key = key
        message_id = _uuid(key, attempt, "message")
        own = _uuid(key, attempt, "context")
        query = TaskFilter(context_id=self._message.context_id or own, include_history=True)
        for task in whole_list(self._hook.client, query):
            first = next((one for one in task.history if one.message_id == message_id), None)
            # The context is the agent's to show to others, who may begin tasks in it.
            if first is not None or (task.context_id == own and not task.history):
                metadata = (first.model_extra or {}).get("metadata") if first else None
                text = metadata.get(_TAG) if isinstance(metadata, dict) else None
                tag = CorrelationTag.in_title(str(text), key) or CorrelationTag(key, attempt)
                yield Candidate(task.id, None, task.state, tag)


def is_message(task_id: str) -> bool:
    """Whether it stands for an agent's message, which is no task."""
    return task_id.startswith(_MESSAGE)


def _uuid(key: str, attempt: int, purpose: str) -> str:
    digest = sha256(f"{key}\0{attempt}\0{purpose}".encode()).digest()
    return str(UUID(bytes=digest[:16], version=5))
