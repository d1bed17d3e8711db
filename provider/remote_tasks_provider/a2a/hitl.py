"""What to do when an agent waits: return, fail, or ask a person in Airflow.

``auth-required`` is shown with its text, and answered by *done*: the authorisation itself is given elsewhere,
and no form ever asks for a secret (https://a2a-protocol.org/latest/specification/, 7.6.3).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from remote_tasks_provider.a2a.api.messages import outgoing
from remote_tasks_provider.a2a.effects import has_message, uuid_of
from remote_tasks_provider.a2a.models import A2ATask, text_of_status, word_of
from remote_tasks_provider.a2a.results import result_of_task
from remote_tasks_provider.bases.agent_tasks import AgentQuestions
from remote_tasks_provider.bases.hitl_forms import Question, Reply
from remote_tasks_provider.bases.once import send_or_find
from remote_tasks_provider.bases.origin import Origin
from remote_tasks_provider.bases.requests import sending
from remote_tasks_provider.core.errors import TaskCancelledError
from remote_tasks_provider.core.states import TaskState

__all__ = ["A2AQuestions"]

_SEND, _DONE, _CANCEL = "Send", "Done", "Cancel the task"
_FIELD = "answer"


class A2AQuestions(AgentQuestions):
    """Deals with what one task of an A2A agent waits for."""

    first_pauses = (0.5, 1.0, 2.0, 4.0)
    longest_pause = 8.0
    answered_elsewhere = "with A2ASendMessageOperator or in the agent's own app"

    def get(self, hook: Any, task_id: str) -> Any:
        """Return the task as it is now."""
        return hook.get_task(task_id)

    def returned(self, task: A2ATask) -> dict[str, Any]:
        """Return the result so far, with what the agent asks as its text."""
        result = result_of_task(task).to_json()
        text = task.message.text if task.message else result["text"]
        return {"id": task.id, **result, "status": task.status, "text": text}

    def put(self, task: A2ATask) -> NoReturn:
        """Ask for an answer, or only whether the authorisation was given."""
        text = text_of_status(task) or "The agent waits, and has not said what for."
        if word_of(task.status) == "auth_required":
            awaited, choice, fields = "an authorisation", _DONE, {}
            text += "\n\nAuthorise it where the agent says; no secret belongs here. Then choose Done."
        else:
            field = {"type": ["string", "null"], "title": "Answer"}
            awaited, choice, fields = "an answer", _SEND, {_FIELD: field}
        subject = f"A2A task {task.id} waits for {awaited}"
        self.ask(Question(subject, text, (choice, _CANCEL), fields), key=_key(task))

    def is_asked(self, task: A2ATask, asked: Mapping[str, Any]) -> bool:
        """Return whether the agent still asks the same."""
        return bool(_key(task) == asked["key"])

    def named(self, task: A2ATask) -> str:
        """Return the task's name with the agent's word for its state."""
        return f"{super().named(task)} ({task.status})"

    def question(self, task: A2ATask) -> tuple[str, str]:
        """Return what the agent asks."""
        return text_of_status(task), ""

    def take(self, task: A2ATask, reply: Reply, asked: Mapping[str, Any]) -> Any:
        """Send the agent the answer, or cancel the task."""
        if _CANCEL in reply.chosen:
            aftermath = self.operator.cancel(f"{reply.by or 'a person'} chose so")
            raise self.failure(TaskCancelledError(str(aftermath)))
        text = "Done." if _DONE in reply.chosen else (reply.fields.get(_FIELD) or "").strip()
        if not text:
            self.operator.log.warning("The answer is empty. The question is asked again.")
            self.put(task)
        self._send(task, text, asked["key"])
        return self.operator.wait(self.context)

    def _send(self, task: A2ATask, text: str, key: str) -> None:
        """Send the answer once; wait, for a short while, until the task no longer waits for it."""
        hook = self.operator.hook
        message_id = uuid_of(Origin.of(self.context), "answer", task.id, key)
        message = outgoing(text, context_id=task.context_id, task_id=task.id, message_id=message_id)
        with sending(hook):
            if not has_message(task, message_id):
                send_or_find(
                    lambda: hook.send(message), lambda: has_message(hook.get_task(task.id), message_id)
                )
            for _ in self.reads():
                if _key(hook.get_task(task.id)) != key:
                    return
        self.operator.log.warning("A2A task %s still asks what was answered.", task.id)


def _key(task: A2ATask) -> str:
    """Return what tells the questions of a task apart; empty while it asks none."""
    if task.state is not TaskState.WAITING:
        return ""
    message = task.message.message_id if task.message else None
    return f"{message or task.updated_at or task.status}"
