"""What to do when an agent waits: return, fail, or ask a person in Airflow.

``auth-required`` is shown with its text, and answered by *done*: the authorisation itself is given elsewhere,
and no form ever asks for a secret (https://a2a-protocol.org/latest/specification/, 7.6.3).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Literal

from remote_tasks_provider.a2a.api.messages import outgoing
from remote_tasks_provider.a2a.effects import uuid_of
from remote_tasks_provider.a2a.models import A2ATask, word_of
from remote_tasks_provider.a2a.results import result_of_task
from remote_tasks_provider.bases.hitl_forms import Question, Reply
from remote_tasks_provider.bases.origin import Origin
from remote_tasks_provider.bases.requests import sending
from remote_tasks_provider.bases.xcoms import hand_over
from remote_tasks_provider.core.clocks import rounds
from remote_tasks_provider.core.errors import RemoteTaskError, TaskCancelledError, TaskNeedsInputError
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.core.submission import may_have_submitted

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["ON_WAITING_FOR_INPUT", "AgentQuestions", "OnWaitingForInput"]

OnWaitingForInput = Literal["wait", "return", "fail", "human"]
ON_WAITING_FOR_INPUT: tuple[OnWaitingForInput, ...] = ("wait", "return", "fail", "human")

_SEND, _DONE, _CANCEL = "Send", "Done", "Cancel the task"
_FIELD = "answer"
# How long an answer may take until the task shows it, and the pauses between reads; seconds.
_LONGEST_EFFECT = 60.0
_FIRST_PAUSES, _LONGEST_PAUSE = (0.5, 1.0, 2.0, 4.0), 8.0


class AgentQuestions:
    """Deals with what one task waits for, as the parameters of its operator say."""

    def __init__(self, operator: Any, context: Context) -> None:
        self._operator = operator
        self._context = context

    def handle(self, task_id: str) -> Any:
        """Put what the agent waits for to a person, return it, or fail."""
        task = self._read(task_id)
        operator = self._operator
        if task.state is not TaskState.WAITING:
            return operator.wait(self._context)
        if operator.on_waiting == "human":
            self._ask(task)
        if operator.on_waiting == "fail":
            raise self.needs_input(task, "on_waiting is 'fail'.")
        result = result_of_task(task).to_json()
        text = task.message.text if task.message else result["text"]
        return hand_over(
            operator, self._context, {"id": task.id, **result, "status": task.status, "text": text}
        )

    def answered(self, reply: Reply, *, key: str, asked_at: float, carried: Mapping[str, Any]) -> Any:
        """Send the agent what a person has answered, and wait again.

        :param key: the question that was put.
        :param asked_at: when; the time since does not count as waiting for the agent.
        :param carried: what the operator carried then.
        """
        operator = self._operator
        started_at = carried.get("started_at", asked_at) + time.time() - asked_at
        operator.carried = {**carried, "started_at": started_at}
        (task_id,) = operator.carried["ids"]
        operator.own(self._context, [task_id])
        task = self._read(task_id)
        if _key(task) != key:
            operator.log.info("The question was answered elsewhere, or is no longer asked.")
            return self.handle(task_id)
        if reply.unasked is not None or reply.timed_out:
            raise self.needs_input(task, reply.unasked or "No answer was given in Airflow in time.")
        if _CANCEL in reply.chosen:
            aftermath = operator.cancel(f"{reply.by or 'a person'} chose so")
            raise operator.wait_exception(TaskCancelledError(str(aftermath)), None)
        text = "Done." if _DONE in reply.chosen else (reply.fields.get(_FIELD) or "").strip()
        if not text:
            operator.log.warning("The answer is empty. The question is asked again.")
            return self._ask(task)
        self._send(task, text, key)
        return operator.wait(self._context)

    def needs_input(self, task: A2ATask, why: str) -> BaseException:
        """Return the error of a question that nobody answered."""
        text = task.message.text[:500] if task.message else ""
        error = TaskNeedsInputError(
            f"{self._operator.remote_task_type.label} {task.id} ({task.status}) waits for an answer: "
            f"{text!r}. {why} Answer it with A2ASendMessageOperator or in the agent's own app, then clear "
            "this task: it resumes the wait for the same remote task."
        )
        raised: BaseException = self._operator.wait_exception(error, None)
        return raised

    def _read(self, task_id: str) -> A2ATask:
        hook = self._operator.hook
        with sending(hook):
            task: A2ATask = hook.get_task(task_id)
        return task

    def _ask(self, task: A2ATask) -> Any:
        text = (task.message.text if task.message else "") or "The agent waits, and has not said what for."
        is_auth = word_of(task.status) == "auth_required"
        fields = {} if is_auth else {_FIELD: {"type": ["string", "null"], "title": "Answer"}}
        if is_auth:
            text += "\n\nAuthorise it where the agent says; no secret belongs here. Then choose Done."
        question = Question(
            f"A2A task {task.id} waits for {'an authorisation' if is_auth else 'an answer'}",
            text,
            (_DONE if is_auth else _SEND, _CANCEL),
            fields,
        )
        operator = self._operator
        kwargs = {"key": _key(task), "asked_at": time.time(), "carried": dict(operator.carried)}
        return operator.ask(
            self._context,
            question,
            then="answered",
            kwargs=kwargs,
            response_timeout=operator.response_timeout,
            assigned_users=operator.assigned_users,
        )

    def _send(self, task: A2ATask, text: str, key: str) -> None:
        """Send the answer once; wait, for a short while, until the task no longer waits for it."""
        hook = self._operator.hook
        message_id = uuid_of(Origin.of(self._context), "answer", task.id, key)
        message = outgoing(text, context_id=task.context_id, task_id=task.id, message_id=message_id)
        with sending(hook):
            if not _has(task, message_id):
                try:
                    hook.send(message)
                except RemoteTaskError as error:
                    if not may_have_submitted(error) or not _has(hook.get_task(task.id), message_id):
                        raise
            pauses = chain(_FIRST_PAUSES, repeat(_LONGEST_PAUSE))
            for _ in rounds(time.time() + _LONGEST_EFFECT, pauses, time):
                if _key(hook.get_task(task.id)) != key:
                    return
        self._operator.log.warning("A2A task %s still asks what was answered.", task.id)


def _key(task: A2ATask) -> str:
    """Return what tells the questions of a task apart; empty while it asks none."""
    if task.state is not TaskState.WAITING:
        return ""
    message = task.message.message_id if task.message else None
    return f"{message or task.updated_at or task.status}"


def _has(task: A2ATask, message_id: str) -> bool:
    return any(message.message_id == message_id for message in task.history)
