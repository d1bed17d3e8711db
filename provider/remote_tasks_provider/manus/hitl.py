"""What to do when the agent asks a question: wait, return, fail, confirm if allowed, ask a person.

https://open.manus.ai/docs/v2/task-lifecycle: a question in words is answered by a message, an action by an
input of its own schema. No action is confirmed unless a person has entered the input, or the DAG's author has
put the action's type into ``auto_confirm``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from remote_tasks_provider.bases.compat import FORMS_ARE_REPLACED
from remote_tasks_provider.bases.exceptions import request_exception
from remote_tasks_provider.bases.hitl_forms import Reply
from remote_tasks_provider.bases.requests import sending
from remote_tasks_provider.bases.xcoms import hand_over
from remote_tasks_provider.core.clocks import rounds
from remote_tasks_provider.core.errors import (
    InvalidRequestError,
    RemoteTaskError,
    TaskCancelledError,
    TaskNeedsInputError,
)
from remote_tasks_provider.core.log import in_brackets
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.core.submission import may_have_submitted
from remote_tasks_provider.manus.hitl_forms import Answer, form_for, read_answer
from remote_tasks_provider.manus.results import ManusQuestion, ManusResult

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["ON_WAITING_FOR_INPUT", "AgentQuestions", "OnWaitingForInput"]

OnWaitingForInput = Literal["wait", "return", "fail", "human"]
ON_WAITING_FOR_INPUT: tuple[OnWaitingForInput, ...] = ("wait", "return", "fail", "human")

# How long an answer may take until the status of the task shows it, and the pauses between reads; seconds.
_LONGEST_EFFECT = 60.0
_FIRST_PAUSES, _LONGEST_PAUSE = (2.0, 4.0, 8.0), 15.0


class AgentQuestions:
    """Deals with the questions that one Manus task stops at, as the parameters of its operator say."""

    def __init__(self, operator: Any, context: Context) -> None:
        self._operator = operator
        self._context = context
        self._log = operator.log
        self._auto_confirm = operator.auto_confirm or {}

    def handle(self, task_id: str) -> Any:
        """Answer what the agent waits for, put it to a person, return it, or fail."""
        return self._deal_with(self._read_clear(task_id))

    def _deal_with(self, result: ManusResult) -> Any:
        operator, task_id, question = self._operator, result.id, result.asked
        if result.state is not TaskState.WAITING:
            return operator.wait(self._context)
        if question.kind in self._auto_confirm:
            if self._may_confirm():
                return self._confirm(task_id, question)
            self._log.warning(
                "auto_confirm_limit is reached (%d); %s is not confirmed automatically.",
                operator.auto_confirm_limit,
                question.kind,
            )
        if operator.on_waiting == "human":
            self._ask(result, question, rich=FORMS_ARE_REPLACED or operator.carried["rounds"] == 0)
        operator.push_credits(self._context, result.credit_usage)
        if operator.on_waiting == "fail":
            raise self._needs_input(result, question, "on_waiting is 'fail'.")
        return hand_over(operator, self._context, {**result.to_json(), "text": question.text})

    def fail(self, task_id: str, why: str) -> NoReturn:
        """Fail with the question that the agent waits with."""
        result = self._read(task_id)
        raise self._needs_input(result, result.asked, why)

    def answered(
        self, reply: Reply, *, event_id: str | None, rich: bool, asked_at: float, carried: Mapping[str, Any]
    ) -> Any:
        """Send the agent what a person has answered, and wait again.

        :param event_id: the question that was put.
        :param rich: whether its form had more than the plain one.
        :param asked_at: when it was put; the time since does not count as waiting for the agent.
        :param carried: what the operator carried then.
        """
        operator = self._operator
        started_at = carried.get("started_at", asked_at) + time.time() - asked_at
        operator.carried = {**carried, "started_at": started_at, "rounds": carried["rounds"] + 1}
        (task_id,) = operator.carried["ids"]
        operator.own(self._context, [task_id])
        result = self._read_clear(task_id)
        question = result.asked
        if not _is_asked(event_id, result):
            self._log.info("The question was answered elsewhere, or is no longer asked.")
            return self._deal_with(result)
        if reply.unasked is not None and rich:
            self._ask(result, question, rich=False)
        if reply.unasked is not None or reply.timed_out:
            why = reply.unasked or f"No answer was given in Airflow within {operator.response_timeout:g} s."
            raise self._needs_input(result, question, why)
        answer = read_answer(question, reply)
        if isinstance(answer, Answer) and answer.stop:
            raise self._stopped(result, reply.by or "a person")
        if isinstance(answer, Answer) and self._send(result.id, question, answer):
            return operator.wait(self._context)
        problem = answer if isinstance(answer, str) else "the agent still waits"
        self._log.warning("The question is put again: %s.", problem)
        return self._ask(result, question, rich=rich)

    # -------------------------------------------------------------------------------------------- reads

    def _read(self, task_id: str) -> ManusResult:
        hook = self._operator.hook
        with sending(hook):
            result: ManusResult = hook.get_result(task_id, output_grace=0)
        return result

    def _takes_effect(self, task_id: str, question: ManusQuestion) -> bool:
        """Wait, for a short while, until the task no longer waits for the answer to ``question``.

        The status tells most, and v2 shows it without the conversation, which may be long.
        """
        hook = self._operator.hook
        for _ in rounds(time.time() + _LONGEST_EFFECT, _pauses(), time):
            with sending(hook):
                if hook.api.get_state(task_id) is not TaskState.WAITING:
                    return True
            result = self._read(task_id)
            if not _is_asked(question.key, result):
                return True
        return False

    def _read_clear(self, task_id: str) -> ManusResult:
        """Read until the events show what the status says, or for long enough: each can lag behind."""
        for left in rounds(time.time() + _LONGEST_EFFECT, _pauses(), time):
            result = self._read(task_id)
            if result.state is not TaskState.WAITING or result.question is not None or not left:
                break
        return result

    # ------------------------------------------------------------------------------------------ answers

    def _may_confirm(self) -> bool:
        """Count an automatic confirmation, unless there were enough."""
        operator = self._operator
        confirmed = operator.carried.get("confirmed", 0)
        limit = operator.auto_confirm_limit
        if limit is not None and confirmed >= limit:
            return False
        operator.carried = {**operator.carried, "confirmed": confirmed + 1}
        return True

    def _confirm(self, task_id: str, question: ManusQuestion) -> Any:
        given = dict(self._auto_confirm[question.kind])
        self._log.info("Confirming %s of Manus task %s by auto_confirm: %s", question.kind, task_id, given)
        if self._send(task_id, question, Answer(input=given)):
            return self._operator.wait(self._context)
        why = f"Manus did not accept what auto_confirm has for {question.kind}."
        raise self._needs_input(self._read(task_id), question, why)

    def _ask(self, result: ManusResult, question: ManusQuestion, *, rich: bool) -> Any:
        return self._operator.ask(
            self._context,
            form_for(question, result.title, result.url, rich=rich),
            then="answered",
            kwargs={
                "event_id": question.key,
                "rich": rich,
                "asked_at": time.time(),
                "carried": dict(self._operator.carried),
            },
            response_timeout=self._operator.response_timeout,
            assigned_users=self._operator.assigned_users,
        )

    def _send(self, task_id: str, question: ManusQuestion, answer: Answer) -> bool:
        """Send Manus the answer; return whether the agent took it."""
        hook = self._operator.hook
        try:
            if answer.message is not None:
                hook.send_message(task_id, answer.message)
            elif answer.input is not None and not hook.confirm_action(
                task_id, question.event_id or "", answer.input
            ):
                return False
        except InvalidRequestError as error:
            # It does not fit the question, or the question was answered meanwhile.
            self._log.warning("Manus did not accept the answer: %s", error)
            return False
        except RemoteTaskError as error:
            if not may_have_submitted(error):
                raise request_exception(error) from error
            self._log.warning("It is not known whether the answer arrived: %s", error)
            if not self._takes_effect(task_id, question):
                raise
            return True
        finally:
            hook.close()
        return self._takes_effect(task_id, question)

    # ------------------------------------------------------------------------------------------- errors

    def _stopped(self, result: ManusResult, by: str) -> BaseException:
        aftermath = self._operator.cancel(f"{by} chose so")
        if aftermath.still_run:
            text = f"could not be stopped, as {by} chose{in_brackets(result.url)}. {aftermath}"
        else:
            text = f"was stopped by {by}."
        return self._failure(TaskCancelledError, result, text)

    def _needs_input(self, result: ManusResult, question: ManusQuestion, why: str) -> BaseException:
        text = (
            f"waits for an answer: {question.text[:500]!r}{in_brackets(result.url)}. {why} "
            "Answer it in the Manus app, then clear this task: it resumes the wait for the same remote task."
        )
        return self._failure(TaskNeedsInputError, result, text)

    def _failure(self, error_type: type[RemoteTaskError], result: ManusResult, text: str) -> BaseException:
        error = error_type(f"{self._operator.remote_task_type.label} {result.id} {text}")
        raised: BaseException = self._operator.wait_exception(error, None)
        return raised


def _pauses() -> Iterator[float]:
    return chain(_FIRST_PAUSES, repeat(_LONGEST_PAUSE))


def _is_asked(key: str | None, result: ManusResult) -> bool:
    """Whether the task waits for the answer to this question.

    :param key: ``None`` for one without an id that an older version has put.
    """
    question = result.asked
    if result.state is not TaskState.WAITING:
        return False
    return question.event_id is None if key is None else question.key == key
