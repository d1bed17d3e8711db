"""What becomes of a question that the agent stops at: wait, return, fail, confirm if allowed, ask a person.

https://open.manus.ai/docs/v2/task-lifecycle: a question in words is answered by a message, an action by an
input of its own schema. No action is confirmed unless a person has entered the input, or the DAG's author has
put the action's type into ``auto_confirm``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from remote_tasks_provider.bases.cancellation import CancelsTasks
from remote_tasks_provider.bases.exceptions import request_exception
from remote_tasks_provider.bases.hitl import HITLMixin
from remote_tasks_provider.bases.hitl_forms import Reply
from remote_tasks_provider.core.errors import (
    InvalidRequestError,
    RemoteTaskError,
    TaskCancelledError,
    TaskNeedsInputError,
)
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.core.submission import may_have_submitted
from remote_tasks_provider.manus.hitl_forms import Answer, form_for, read_response
from remote_tasks_provider.manus.hooks import ManusHook
from remote_tasks_provider.manus.results import ManusQuestion, ManusResult

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["ON_WAITING_FOR_INPUT", "ManusHITL", "OnWaitingForInput"]

OnWaitingForInput = Literal["wait", "return", "fail", "human"]
ON_WAITING_FOR_INPUT: tuple[OnWaitingForInput, ...] = ("wait", "return", "fail", "human")

CREDITS_KEY = "credit_usage"
"""The XCom key that holds what the task has cost."""

# How long an answer may take until the status of the task shows it, and how often to look, in seconds.
_LONGEST_EFFECT = 60.0
_BETWEEN_LOOKS = 2.0


class ManusHITL(HITLMixin, CancelsTasks):
    """An operator that waits for one Manus task and deals with the questions it stops at.

    ``carried`` holds ``remote_task_id``, ``started_at`` and ``rounds``, the questions put to a person so far.
    """

    manus_conn_id: str
    on_waiting: OnWaitingForInput
    auto_confirm: Mapping[str, Mapping[str, Any]] | None
    response_timeout: float | None
    assigned_users: Iterable[str]

    @cached_property
    def hook(self) -> ManusHook:
        """The hook for ``manus_conn_id``."""
        return ManusHook(self.manus_conn_id)

    def wait_on(self, context: Context) -> Any:
        """Wait for the task that ``carried`` names."""
        raise NotImplementedError

    def wait_again(self, context: Context, **kwargs: Any) -> Any:
        """Wait on: somebody answered a question that is not asked any more."""
        self.carried = kwargs
        return self.wait_on(context)

    def push_credits(self, context: Context, credits: int | None) -> None:
        """Leave in XCom what the task has cost; once, when the operator ends."""
        if credits is not None:
            context["ti"].xcom_push(key=CREDITS_KEY, value=credits)

    def on_question(self, context: Context, task_id: str) -> Any:
        """Answer what the agent waits for, put it to a person, return it, or fail."""
        result = self._settled(task_id)
        if result.state is not TaskState.WAITING:
            return self.wait_on(context)
        asked = result.question or ManusQuestion("")
        if asked.kind in (self.auto_confirm or {}):
            return self._confirm_by_itself(context, task_id, asked)
        if self.on_waiting == "human":
            self._ask_person(context, result, asked, rich=self.carried["rounds"] == 0)
        self.push_credits(context, result.credit_usage)
        if self.on_waiting == "fail":
            raise self._needs_input(result, asked, "on_waiting is 'fail'.")
        return {**result.to_json(), "text": asked.text}

    def _look(self, task_id: str) -> ManusResult:
        try:
            return self.hook.get_result(task_id, output_grace=0)
        except RemoteTaskError as error:
            raise request_exception(error) from error
        finally:
            self.hook.close()

    def _settled(self, task_id: str) -> ManusResult:
        """Return where the task stands, once its status shows the last answer; it can lag behind."""
        give_up_at = time.monotonic() + _LONGEST_EFFECT
        while True:
            result = self._look(task_id)
            is_settled = result.state is not TaskState.WAITING or result.question is not None
            if is_settled or time.monotonic() >= give_up_at:
                return result
            time.sleep(_BETWEEN_LOOKS)

    def _needs_input(self, result: ManusResult, asked: ManusQuestion, why: str) -> BaseException:
        return self.wait_exception(
            TaskNeedsInputError(
                f"{self.what} {result.id} waits for an answer: {asked.text[:500]!r} ({result.url}). {why} "
                "Answer it in the Manus app, then clear this task: it goes on with the same remote task."
            ),
            None,
        )

    def _confirm_by_itself(self, context: Context, task_id: str, asked: ManusQuestion) -> Any:
        given = dict((self.auto_confirm or {})[asked.kind])
        self.log.info("Confirming %s of Manus task %s by auto_confirm: %s", asked.kind, task_id, given)
        if self._give(task_id, asked, Answer(input=given)):
            return self.wait_on(context)
        raise self._needs_input(
            self._look(task_id), asked, f"Manus did not take what auto_confirm has for {asked.kind}."
        )

    def _ask_person(
        self, context: Context, result: ManusResult, asked: ManusQuestion, *, rich: bool
    ) -> NoReturn:
        self.ask(
            context,
            form_for(asked, result.title, result.url, rich=rich),
            then="answered",
            kwargs={
                "event_id": asked.event_id,
                "rich": rich,
                "asked_at": time.time(),
                "carried": dict(self.carried),
            },
            response_timeout=self.response_timeout,
            assigned_users=self.assigned_users,
        )

    def answered(
        self,
        context: Context,
        reply: Reply,
        *,
        event_id: str | None,
        rich: bool,
        asked_at: float,
        carried: Mapping[str, Any],
    ) -> Any:
        """Go on with what a person has answered.

        :param event_id: the question that was put.
        :param rich: whether its form had more than the plain one.
        :param asked_at: when it was put; the time since does not count as waiting for the agent.
        :param carried: what :attr:`carried` was then.
        """
        started_at = carried.get("started_at", asked_at) + time.time() - asked_at
        self.carried = {**carried, "started_at": started_at, "rounds": carried["rounds"] + 1}
        task_id = str(carried["remote_task_id"])
        self.owns(context, [task_id])
        result = self._look(task_id)
        asked = result.question
        if result.state is not TaskState.WAITING or asked is None or asked.event_id != event_id:
            self.log.info("The question was answered elsewhere, or is no longer asked.")
            return self.on_question(context, task_id)
        if reply.unasked is not None and rich:
            self._ask_person(context, result, asked, rich=False)
        if reply.unasked is not None or reply.timed_out:
            why = reply.unasked or f"Nobody answered in Airflow within {self.response_timeout:g} s."
            raise self._needs_input(result, asked, why)
        return self._carry_out(context, task_id, result, asked, reply, rich=rich)

    def _carry_out(
        self,
        context: Context,
        task_id: str,
        result: ManusResult,
        asked: ManusQuestion,
        reply: Reply,
        *,
        rich: bool,
    ) -> Any:
        answer = read_response(asked, reply)
        if isinstance(answer, Answer) and answer.stop:
            by = reply.by or "a person"
            stopped = self.stop_remote(f"{by} chose so")
            what_now = (
                f"was stopped by {by}." if stopped else f"could not be stopped, as {by} chose ({result.url})."
            )
            error = TaskCancelledError(f"{self.what} {task_id} {what_now}")
            raise self.wait_exception(error, None)
        if isinstance(answer, Answer) and self._give(task_id, asked, answer):
            return self.wait_on(context)
        why = answer if isinstance(answer, str) else "the agent still waits"
        self.log.warning("The question is put again: %s.", why)
        return self._ask_person(context, result, asked, rich=rich)

    def _give(self, task_id: str, asked: ManusQuestion, answer: Answer) -> bool:
        """Give Manus the answer; return whether the agent took it."""
        hook = self.hook
        try:
            if answer.message is not None:
                hook.send_message(task_id, answer.message)
            elif answer.input is not None and not hook.confirm_action(
                task_id, asked.event_id or "", answer.input
            ):
                return False
        except InvalidRequestError as error:
            # It does not fit what was asked, or somebody else was quicker.
            self.log.warning("Manus did not take the answer: %s", error)
            return False
        except RemoteTaskError as error:
            if not may_have_submitted(error):
                raise request_exception(error) from error
            self.log.warning("It is not known whether the answer arrived: %s", error)
            if not self._takes_effect(task_id, asked):
                raise
            return True
        finally:
            hook.close()
        return self._takes_effect(task_id, asked)

    def _takes_effect(self, task_id: str, asked: ManusQuestion) -> bool:
        """Wait, for a short while, until the task no longer waits for what was asked."""
        give_up_at = time.monotonic() + _LONGEST_EFFECT
        while True:
            result = self._look(task_id)
            now = result.question
            if result.state is not TaskState.WAITING or now is None or now.event_id != asked.event_id:
                return True
            if time.monotonic() >= give_up_at:
                return False
            time.sleep(_BETWEEN_LOOKS)
