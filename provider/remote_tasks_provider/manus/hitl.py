"""What to do when the agent asks a question: wait, return, fail, confirm if allowed, ask a person.

https://open.manus.ai/docs/v2/task-lifecycle: a question in words is answered by a message, an action by an
input of its own schema. No action is confirmed unless a person has entered the input, or the DAG's author has
put the action's type into ``auto_confirm``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NoReturn

from remote_tasks_provider.bases.agent_tasks import AgentQuestions
from remote_tasks_provider.bases.compat import FORMS_ARE_REPLACED
from remote_tasks_provider.bases.exceptions import request_exception
from remote_tasks_provider.bases.hitl_forms import Reply
from remote_tasks_provider.bases.requests import sending
from remote_tasks_provider.core.errors import (
    InvalidRequestError,
    RemoteTaskError,
    TaskCancelledError,
)
from remote_tasks_provider.core.log import in_brackets
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.core.submission import may_have_submitted
from remote_tasks_provider.manus.hitl_forms import Answer, form_for, read_answer
from remote_tasks_provider.manus.results import ManusQuestion, ManusResult

__all__ = ["ManusQuestions"]


class ManusQuestions(AgentQuestions):
    """Deals with the questions that one Manus task stops at; what was asked is an ``event_id``.

    Also whether its form was ``rich``, with more than the plain one.
    """

    first_pauses = (2.0, 4.0, 8.0)
    longest_pause = 15.0
    answered_elsewhere = "in the Manus app"

    def deal_with(self, task: ManusResult) -> Any:
        """Confirm what the agent waits for if that is allowed; otherwise as every agent's."""
        operator, question = self.operator, task.asked
        if task.state is TaskState.WAITING and question.kind in (operator.auto_confirm or {}):
            if self._may_confirm():
                return self._confirm(task.id, question)
            operator.log.warning(
                "auto_confirm_limit is reached (%d); %s is not confirmed automatically.",
                operator.auto_confirm_limit,
                question.kind,
            )
        if task.state is TaskState.WAITING and operator.on_waiting != "human":
            operator.push_credits(self.context, task.credit_usage)
        return super().deal_with(task)

    def returned(self, task: ManusResult) -> dict[str, Any]:
        """Return the result so far, with the question as its text."""
        return {**task.to_json(), "text": task.asked.text}

    def fail(self, task_id: str, why: str) -> NoReturn:
        """Fail with the question that the agent waits with."""
        raise self.needs_input(self.read_once(task_id), why)

    def answered(self, reply: Reply, *, carried: Mapping[str, Any], **asked: Any) -> Any:
        """Count the answers; only the first form of an attempt can be rich everywhere."""
        return super().answered(reply, carried={**carried, "rounds": carried["rounds"] + 1}, **asked)

    def unanswered(self, task: ManusResult, reply: Reply, asked: Mapping[str, Any]) -> BaseException:
        """Ask once more with a plain form if Airflow could not show a rich one."""
        if reply.unasked is not None and asked["rich"]:
            self._ask(task, rich=False)
        why = reply.unasked or f"No answer was given in Airflow within {self.operator.response_timeout:g} s."
        return self.needs_input(task, why)

    def take(self, task: ManusResult, reply: Reply, asked: Mapping[str, Any]) -> Any:
        """Send Manus the answer, stop the task, or ask again."""
        answer = read_answer(task.asked, reply)
        if isinstance(answer, Answer) and answer.stop:
            raise self._stopped(task, reply.by or "a person")
        if isinstance(answer, Answer) and self._send(task.id, task.asked, answer):
            return self.operator.wait(self.context)
        problem = answer if isinstance(answer, str) else "the agent still waits"
        self.operator.log.warning("The question is put again: %s.", problem)
        return self._ask(task, rich=asked["rich"])

    # -------------------------------------------------------------------------------------------- reads

    def get(self, hook: Any, task_id: str) -> Any:
        """Return the task's result so far."""
        return hook.get_result(task_id, output_grace=0)

    def read(self, task_id: str) -> ManusResult:
        """Read until the events show what the status says, or for long enough: each can lag behind."""
        for left in self.reads():
            result: ManusResult = self.read_once(task_id)
            if result.state is not TaskState.WAITING or result.question is not None or not left:
                break
        return result

    def is_asked(self, task: ManusResult, asked: Mapping[str, Any]) -> bool:
        """Return whether the task waits for the answer to the same question.

        An older version has put questions without an id with ``None``.
        """
        question, key = task.asked, asked["event_id"]
        if task.state is not TaskState.WAITING:
            return False
        return question.event_id is None if key is None else question.key == key

    def _takes_effect(self, task_id: str, question: ManusQuestion) -> bool:
        """Wait, for a short while, until the task no longer waits for the answer to ``question``.

        The status tells most, and v2 shows it without the conversation, which may be long.
        """
        hook = self.operator.hook
        for _ in self.reads():
            with sending(hook):
                if hook.api.get_state(task_id) is not TaskState.WAITING:
                    return True
            if not self.is_asked(self.read_once(task_id), {"event_id": question.key}):
                return True
        return False

    # ------------------------------------------------------------------------------------------ answers

    def _may_confirm(self) -> bool:
        """Count an automatic confirmation, unless there were enough."""
        operator = self.operator
        confirmed = operator.carried.get("confirmed", 0)
        limit = operator.auto_confirm_limit
        if limit is not None and confirmed >= limit:
            return False
        operator.carried = {**operator.carried, "confirmed": confirmed + 1}
        return True

    def _confirm(self, task_id: str, question: ManusQuestion) -> Any:
        given = dict(self.operator.auto_confirm[question.kind])
        self.operator.log.info(
            "Confirming %s of Manus task %s by auto_confirm: %s", question.kind, task_id, given
        )
        if self._send(task_id, question, Answer(input=given)):
            return self.operator.wait(self.context)
        why = f"Manus did not accept what auto_confirm has for {question.kind}."
        raise self.needs_input(replace(self.read_once(task_id), question=question), why)

    def put(self, task: ManusResult) -> NoReturn:
        """Ask, in as rich a form as Airflow shows."""
        self._ask(task, rich=FORMS_ARE_REPLACED or self.operator.carried["rounds"] == 0)

    def _ask(self, task: ManusResult, *, rich: bool) -> NoReturn:
        self.ask(form_for(task.asked, task.title, task.url, rich=rich), event_id=task.asked.key, rich=rich)

    def _send(self, task_id: str, question: ManusQuestion, answer: Answer) -> bool:
        """Send Manus the answer; return whether the agent took it."""
        hook = self.operator.hook
        try:
            if answer.message is not None:
                hook.send_message(task_id, answer.message)
            elif answer.input is not None and not hook.confirm_action(
                task_id, question.event_id or "", answer.input
            ):
                return False
        except InvalidRequestError as error:
            # It does not fit the question, or the question was answered meanwhile.
            self.operator.log.warning("Manus did not accept the answer: %s", error)
            return False
        except RemoteTaskError as error:
            if not may_have_submitted(error):
                raise request_exception(error) from error
            self.operator.log.warning("It is not known whether the answer arrived: %s", error)
            if not self._takes_effect(task_id, question):
                raise
            return True
        finally:
            hook.close()
        return self._takes_effect(task_id, question)

    # ------------------------------------------------------------------------------------------- errors

    def _stopped(self, result: ManusResult, by: str) -> BaseException:
        aftermath = self.operator.cancel(f"{by} chose so")
        if aftermath.still_run:
            text = f"could not be stopped, as {by} chose{in_brackets(result.url)}. {aftermath}"
        else:
            text = f"was stopped by {by}."
        return self.failure(TaskCancelledError(f"{self.named(result)} {text}"))

    def question(self, task: ManusResult) -> tuple[str, str]:
        """Return what the agent asks, and the task's page."""
        return task.asked.text, in_brackets(task.url)
