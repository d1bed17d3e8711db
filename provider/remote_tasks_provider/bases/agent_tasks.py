"""The base of the operators whose remote task is an agent's, which may stop at a question to a person.

What the parameter ``on_waiting`` means is decided here, once; what a question is, and how the agent takes an
answer, a service's :class:`AgentQuestions` knows.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn, get_args

from remote_tasks_provider.bases.compat import SUPPORTS_HITL
from remote_tasks_provider.bases.hitl import HITL_REQUIREMENT, HITLMixin
from remote_tasks_provider.bases.hitl_forms import Question, Reply
from remote_tasks_provider.bases.requests import sending
from remote_tasks_provider.bases.submitting import SubmittingOperator
from remote_tasks_provider.bases.xcoms import hand_over
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.clocks import rounds
from remote_tasks_provider.core.errors import InvalidArgumentError, RemoteTaskError, TaskNeedsInputError
from remote_tasks_provider.core.polling.result import WaitResult
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.core.validation import Check

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["ON_WAITING_FOR_INPUT", "AgentQuestions", "AgentTaskOperator", "OnWaitingForInput"]

OnWaitingForInput = Literal["wait", "return", "fail", "human"]
ON_WAITING_FOR_INPUT: tuple[OnWaitingForInput, ...] = get_args(OnWaitingForInput)

# How long an answer may take until the service shows its effect; seconds.
_LONGEST_EFFECT = 60.0


class AgentQuestions:
    """Deals with what one task of an agent waits for, as the parameters of its operator say.

    ``task`` is what :meth:`read` returns, with a ``state``; ``asked`` is what :meth:`ask` was given.
    """

    first_pauses: ClassVar[tuple[float, ...]]
    """Seconds between the first reads of a task that may show the effect of an answer."""
    longest_pause: ClassVar[float]
    """Seconds between all further ones."""
    answered_elsewhere: ClassVar[str]
    """How else than here a person can answer, for messages."""

    def __init__(self, operator: Any, context: Context) -> None:
        self.operator = operator
        self.context = context

    # ---------------------------------------------------------------------------- what a service supplies

    def get(self, hook: Any, task_id: str) -> Any:
        """Return the task as it is now."""
        raise NotImplementedError

    def returned(self, task: Any) -> dict[str, Any]:
        """Return what the operator returns of a task that waits."""
        raise NotImplementedError

    def put(self, task: Any) -> NoReturn:
        """Put what the task waits for to a person; see :meth:`ask`."""
        raise NotImplementedError

    def is_asked(self, task: Any, asked: Mapping[str, Any]) -> bool:
        """Return whether the task still waits for the answer to what was ``asked``."""
        raise NotImplementedError

    def named(self, task: Any) -> str:
        """Return what a message calls the task."""
        return f"{self.operator.remote_task_type.label} {task.id}"

    def question(self, task: Any) -> tuple[str, str]:
        """Return the text of what the task waits for, and what follows it in brackets, such as its page."""
        raise NotImplementedError

    def unanswered(self, task: Any, reply: Reply, asked: Mapping[str, Any]) -> BaseException:
        """Return the error when no answer was given in Airflow."""
        return self.needs_input(task, reply.unasked or "No answer was given in Airflow in time.")

    def take(self, task: Any, reply: Reply, asked: Mapping[str, Any]) -> Any:
        """Send the agent what a person has answered, and wait again."""
        raise NotImplementedError

    # -------------------------------------------------------------------------------- what they all share

    def read_once(self, task_id: str) -> Any:
        """Return the task as it is now; errors are Airflow's."""
        hook = self.operator.hook
        with sending(hook):
            return self.get(hook, task_id)

    def read(self, task_id: str) -> Any:
        """Return the task as it is now, once it is known what it waits for."""
        return self.read_once(task_id)

    def handle(self, task_id: str) -> Any:
        """Put what the agent waits for to a person, return it, or fail; wait on if it waits no more."""
        return self.deal_with(self.read(task_id))

    def deal_with(self, task: Any) -> Any:
        """Do what :meth:`handle` does, for a task that was just read."""
        operator = self.operator
        if task.state is not TaskState.WAITING:
            return operator.wait(self.context)
        if operator.on_waiting == "human":
            self.put(task)
        if operator.on_waiting == "fail":
            raise self.needs_input(task, "on_waiting is 'fail'.")
        return hand_over(operator, self.context, self.returned(task))

    def needs_input(self, task: Any, why: str) -> BaseException:
        """Return the error of a question that nobody answered."""
        text, place = self.question(task)
        error = TaskNeedsInputError(
            f"{self.named(task)} waits for an answer: {text[:500]!r}{place}. {why} Answer it "
            f"{self.answered_elsewhere}, then clear this task: it resumes the wait for the same remote task."
        )
        return self.failure(error)

    def fail(self, task_id: str, why: str) -> NoReturn:
        """Fail with what the agent waits for."""
        raise self.needs_input(self.read(task_id), why)

    def ask(self, question: Question, **asked: Any) -> NoReturn:
        """Pause the operator until a person has answered.

        :param asked: what tells this question from others; plain JSON values.
        """
        operator = self.operator
        operator.ask(
            self.context,
            question,
            then="answered",
            kwargs={**asked, "asked_at": time.time(), "carried": dict(operator.carried)},
            response_timeout=operator.response_timeout,
            assigned_users=operator.assigned_users,
        )
        raise AssertionError("it has paused the task")

    def answered(self, reply: Reply, *, asked_at: float, carried: Mapping[str, Any], **asked: Any) -> Any:
        """Resume after a question, also without an answer.

        :param asked_at: when it was put; the time since does not count as waiting for the agent.
        :param carried: what the operator carried then.
        :param asked: what :meth:`ask` was given.
        """
        operator = self.operator
        started_at = carried.get("started_at", asked_at) + time.time() - asked_at
        operator.carried = {**carried, "started_at": started_at}
        (task_id,) = operator.carried["ids"]
        operator.own(self.context, [task_id])
        task = self.read(task_id)
        if not self.is_asked(task, asked):
            operator.log.info("The question was answered elsewhere, or is no longer asked.")
            return self.deal_with(task)
        if reply.unasked is not None or reply.timed_out:
            raise self.unanswered(task, reply, asked)
        return self.take(task, reply, asked)

    def reads(self) -> Iterator[float]:
        """Yield, while an answer may take effect, when to read the task; what is left of that time."""
        pauses = chain(self.first_pauses, repeat(self.longest_pause))
        return rounds(time.time() + _LONGEST_EFFECT, pauses, time)

    def failure(self, error: RemoteTaskError) -> BaseException:
        """Return what the operator raises for ``error``."""
        raised: BaseException = self.operator.wait_exception(error, None)
        return raised


class AgentTaskOperator(HITLMixin, SubmittingOperator):
    """Submits a task to an agent, waits for it, and returns its result; a person may have to answer it.

    :param on_waiting: when the agent waits for a person: ``wait`` on, ``return`` (succeed, with state
        ``waiting`` and the question as ``text``), ``fail``, or ``human``: put the question under *Required
        Actions* in Airflow (3.1.3 or newer) and send the agent what a person answers there.
    :param response_timeout: with ``human``: seconds (or a ``timedelta``) a person has to answer. Default: no
        limit.
    :param assigned_users: with ``human``: the ids of those who may answer; default everybody who may.
    """

    checks: ClassVar[Mapping[str, Check]] = {
        "on_waiting": partial(validation.choice, allowed=ON_WAITING_FOR_INPUT),
        "response_timeout": validation.optional(validation.seconds),
        "assigned_users": validation.object_ids,
    }
    questions_class: ClassVar[type[AgentQuestions]]

    def __init__(
        self,
        *,
        on_waiting: OnWaitingForInput = "wait",
        response_timeout: float | str | timedelta | None = None,
        assigned_users: Iterable[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.on_waiting = on_waiting
        self.response_timeout: Any = response_timeout
        self.assigned_users = assigned_users

    def refuse_together(self) -> None:
        """Refuse a question that this Airflow cannot show."""
        super().refuse_together()
        if self.on_waiting == "human" and not SUPPORTS_HITL:
            raise InvalidArgumentError(f"on_waiting is 'human'. {HITL_REQUIREMENT}")

    def poll_rules(self) -> dict[str, Any]:
        """Return whether a question ends the wait."""
        return {"on_waiting": "wait" if self.on_waiting == "wait" else "return"}

    def finish(self, context: Context, result: WaitResult) -> Any:
        """Return the result, deal with a question, or raise."""
        self._restore(context, result.records)
        ((task_id, record),) = result.records.items()
        questions = self.questions_class(self, context)
        is_waiting = record is not None and record["state"] == TaskState.WAITING
        if is_waiting and self.on_waiting != "wait" and not result.timed_out:
            return questions.handle(task_id)
        if any(one["type"] == TaskNeedsInputError.__name__ for one in result.errors.values()):
            questions.fail(task_id, "Nobody answered it within waiting_timeout.")
        return super().finish(context, result)

    def answered(self, context: Context, reply: Reply, **asked: Any) -> Any:
        """Send the agent what a person has answered, and wait again."""
        return self.questions_class(self, context).answered(reply, **asked)
