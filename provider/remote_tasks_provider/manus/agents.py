"""Manus as a *managed agent* of Airflow's ``common.ai`` provider: a tool that other agents' models may use.

Apart from :mod:`remote_tasks_provider.manus.hooks`, which must not need ``common.ai``; this module does. It
must not import ``pydantic_ai``: what presents an agent to a model is ``common.ai``'s ``ManagedAgentToolset``.
"""

from __future__ import annotations

import logging
import time
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

from remote_tasks_provider.bases.agents import (
    AgentTask,
    ManagedAgentCapabilities,
    ManagedAgentInvocationError,
    ManagedAgentRef,
    ManagedAgentRequest,
    ManagedAgentResponse,
    ManagedAgentUsage,
    OrphanedAgentTaskError,
    RemoteAgentHook,
    prompt_of,
    sorted_errors,
    with_file_names,
    with_value,
)
from remote_tasks_provider.bases.once import appears, send_or_find
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import (
    BudgetExceededError,
    InvalidArgumentError,
    OutputMissingError,
    RemoteTaskError,
    TaskCancelledError,
    TaskFailedError,
    TaskNeedsInputError,
    WaitTimeoutError,
)
from remote_tasks_provider.core.http.parsing import one_line
from remote_tasks_provider.core.log import in_brackets
from remote_tasks_provider.core.polling.policy import PollPolicy
from remote_tasks_provider.core.polling.tracker import PollTracker
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.manus.api.options import check_prompt
from remote_tasks_provider.manus.effects import Message
from remote_tasks_provider.manus.hooks import ManusHook
from remote_tasks_provider.manus.results import ManusResult, failure_text
from remote_tasks_provider.manus.service import MANUS_TASK

__all__ = ["ManusAgentHook", "ManusAgentUsage", "OrphanedAgentTaskError"]

log = logging.getLogger(__name__)

_APP = "the Manus app"
# Options that the contract has its own fields for, or that would address another agent.
_RESERVED_OPTIONS = frozenset({"agent_profile", "content", "project_id", "prompt", "remote_task_id"})


@dataclass(frozen=True)
class ManusAgentUsage(ManagedAgentUsage):
    """What an answer cost. Manus counts credits, not tokens.

    :param credits: of the whole task so far, earlier turns of its conversation included.
    """

    credits: int | None = None


class ManusAgentHook(ManusHook, RemoteAgentHook):
    """Manus behind the managed-agent contract of ``common.ai``. Needs the extra ``ai``.

    An agent's name is a Manus agent profile, or a profile and the id of a project whose instructions and
    connectors the agent has: ``manus-1.6``, ``manus-1.6-max/<project id>``.

    Each request creates a Manus task, which costs credits, and waits for it on the worker. The answer's
    ``session_id`` is the task's id; a request with that ``session_id`` continues the task's conversation.
    ``vendor_options`` are the other options of :meth:`~.hooks.ManusHook.create_task`, or of
    :meth:`~.hooks.ManusHook.send_message` for a request with a ``session_id``. A typed answer
    (``structured_output_schema``) needs API v2.

    Failures are sorted as the contract has it:

    * ``ManagedAgentRejected``: Manus refused the prompt (400, 413, 422), or it is empty or too long.
    * ``ManagedAgentInvocationError``: no key, no such project or session; or the task failed, was cancelled,
      or waits for an answer, which the message quotes.
    * :class:`OrphanedAgentTaskError`, one of those: it is not known whether a task was created, or it was
      created and cannot be polled, or ``timeout`` passed and it was left running.
    * A :class:`~remote_tasks_provider.core.errors.RemoteTaskError` as it is, when no task was created and a
      retry helps.

    .. code-block:: python

        from airflow.providers.common.ai.toolsets import ManagedAgentToolset

        researcher = ManagedAgentToolset(
            ManusAgentHook(timeout=1800).agent("manus-1.6-lite"),
            tool_name="ask_researcher",
            description="Researches a question on the web. Takes minutes.",
        )

    :param manus_conn_id: the Airflow connection.
    :param poll_interval: seconds between polls, or a ``timedelta``.
    :param timeout: seconds (or a ``timedelta``) to wait for an answer at most; a request's own ``timeout``
        goes before it. Make it shorter than the Airflow task's ``execution_timeout``, which cannot interrupt
        a tool.
    :param cancel_on_timeout: stop the Manus task then. API v2; with v1 it keeps running, and costs
        credits.
    :param max_credits: what one task may cost. When a poll finds that it has cost more, it is stopped.
        Between two polls it can go over. API v2.
    """

    agent_platform = "manus.agent"

    def __init__(
        self,
        manus_conn_id: str = ManusHook.default_conn_name,
        *,
        poll_interval: Any = 15.0,
        timeout: Any = 3600.0,
        cancel_on_timeout: bool = True,
        max_credits: int | None = None,
    ) -> None:
        super().__init__(manus_conn_id)
        self.wait_by(poll_interval, timeout, cancel_on_timeout=cancel_on_timeout)
        self.max_credits = (
            None if max_credits is None else validation.whole_number(max_credits, "max_credits", least=1)
        )

    def resolve_agent(self, agent: str) -> ManagedAgentRef:
        """Return which agent ``agent`` is.

        :raises ValueError: when it cannot be a profile, or a profile and a project.
        """
        _profile_and_project(agent)
        return ManagedAgentRef(self.agent_platform, agent)

    def get_agent_capabilities(self, agent: str) -> ManagedAgentCapabilities:
        """Return what every Manus agent can do."""
        return ManagedAgentCapabilities(sessions=True, structured_output=True, usage=True, trace=True)

    def invoke_agent(self, agent: str, request: ManagedAgentRequest) -> ManagedAgentResponse:
        """Give ``request`` to ``agent`` and return its answer, minutes or hours later.

        Raises what the class describes, and ``ValueError`` for an option that cannot be right.
        """
        profile, project_id = _profile_and_project(agent)
        options = dict(request.vendor_options)
        if reserved := _RESERVED_OPTIONS & options.keys():
            raise InvalidArgumentError(
                f"vendor_options cannot say what the request or the agent's name says: {reserved}"
            )
        prompt = prompt_of(request, "files", check_prompt)
        seconds = self.seconds_for(request)
        # A hook for each request: a model may ask two things at once, and one call must not close the other's
        # connections.
        with closing(ManusHook(self.conn_id)) as hook:
            with sorted_errors():
                hook.api.require(max_credits=self.max_credits)
            if request.session_id is None:
                options["project_id"] = project_id
                turn = _Turn.submit(hook, prompt, agent_profile=profile, **options)
            else:
                turn = _Turn.resume(hook, request.session_id, prompt, agent_profile=profile, **options)
            policy = self.policy(seconds, max_credits=self.max_credits)
            result = turn.wait(policy, self.cancel_on_timeout, "structured_output_schema" in options)
        return _response(result)


class _Turn(AgentTask):
    """One request that Manus works on: the only one of a task, or the latest of its conversation.

    :param messages_before: user messages before this one; a task that shows no more of them has not read this
        one yet, and its state is that of the turn before.
    """

    task_type = MANUS_TASK
    was_cancelled = "was stopped"
    may_run = "may still be working, and costing"

    def __init__(
        self, hook: ManusHook, task_id: str, url: str | None, messages_before: int | None = None
    ) -> None:
        super().__init__(hook, task_id)
        self.url = url
        self.messages_before = messages_before

    @classmethod
    def submit(cls, hook: ManusHook, prompt: str, **options: Any) -> _Turn:
        with sorted_errors("a task was created", look_at=_APP):
            ref = hook.create_task(prompt, **options)
        log.info("Created Manus task %s%s.", ref.id, in_brackets(ref.url))
        return cls(hook, ref.id, ref.url)

    @classmethod
    def resume(cls, hook: ManusHook, task_id: str, content: str, **options: Any) -> _Turn:
        message = Message(hook, task_id, content, lambda: options)
        with sorted_errors():
            url = hook.get_task(task_id).url
            before, facts = _user_messages(hook, task_id), message.facts()
        with sorted_errors(f"task {task_id} received the message", look_at=_APP):
            send_or_find(partial(message.send, facts), partial(appears, message, facts))
        log.info("Sent a message to Manus task %s%s.", task_id, in_brackets(url))
        return cls(hook, task_id, url, before)

    def wait(self, policy: PollPolicy, cancel_on_timeout: bool, structured: bool) -> ManusResult:
        with self.awaited(cancel_on_timeout=cancel_on_timeout):
            try:
                return self._result(policy, structured=structured)
            except BudgetExceededError as error:
                raise self.give_up(str(error), cancel=True) from error
            except OutputMissingError as error:
                raise OrphanedAgentTaskError(
                    f"{self} has completed, but its structured output has not come yet. Read it later with "
                    f"ManusHook.get_result({self.task_id!r}, structured=True); another would be paid for "
                    "again."
                ) from error

    def _result(self, policy: PollPolicy, *, structured: bool) -> ManusResult:
        while True:
            time.sleep(policy.poll_interval)
            self.poll_until_settled(policy)
            # In this order: the first read may be older.
            is_received = (
                self.messages_before is None or _user_messages(self.hook, self.task_id) > self.messages_before
            )
            result: ManusResult = self.hook.get_result(self.task_id, structured=structured)
            # What the conversation had before is no answer to this request.
            result = result.since((self.messages_before or 0) + 1)
            if is_received and (result.state.is_terminal or result.state is TaskState.WAITING):
                return result.requiring_value() if structured else result
            if policy.max_credits and (result.credit_usage or 0) > policy.max_credits:
                raise BudgetExceededError(f"has cost more than max_credits ({policy.max_credits})")
            if policy.deadline is not None and time.time() >= policy.deadline:
                raise WaitTimeoutError("Manus did not react to the message in time")

    def report(self, tracker: PollTracker, now: float, pause: float | None) -> None:
        for warning in tracker.take_warnings():
            log.warning("%s", warning)
        if pause is not None:
            log.info("%s", tracker.summary(now, pause))

    def __str__(self) -> str:
        return _task_name(self.task_id, self.url)


def _profile_and_project(agent: str) -> tuple[str, str | None]:
    profile, slash, project_id = agent.partition("/")
    return (
        validation.object_id(profile, "agent's profile"),
        validation.object_id(project_id, "agent's project") if slash else None,
    )


def _user_messages(hook: ManusHook, task_id: str) -> int:
    return sum(message.role == "user" for message in hook.iter_messages(task_id))


def _response(result: ManusResult) -> ManagedAgentResponse:
    if failure := _failure(result):
        raise ManagedAgentInvocationError(str(failure)) from failure
    text = with_file_names(result.text or "", (file.name for file in result.files))
    return ManagedAgentResponse(
        text=with_value(text, result.structured, "The value asked for"),
        raw=result,
        structured=result.structured,
        session_id=result.id,
        usage=ManusAgentUsage(credits=result.credit_usage),
        trace_ref=result.url or result.id,
    )


def _failure(result: ManusResult) -> RemoteTaskError | None:
    name = _task_name(result.id, result.url)
    if result.state is TaskState.FAILED:
        return TaskFailedError(failure_text(result))
    if result.state is TaskState.CANCELLED:
        return TaskCancelledError(f"{name} was stopped by a person")
    if result.state is TaskState.WAITING:
        asked = result.question
        text = one_line((asked.text if asked else result.text) or "a question on its page", 1000)
        way = f", or send a request with session_id={result.id!r}" if asked and asked.in_words else ""
        return TaskNeedsInputError(f'{name} waits for an answer to "{text}". Answer it there{way}.')
    return None


def _task_name(task_id: str, url: str | None) -> str:
    return f"Manus task {task_id}{in_brackets(url)}"
