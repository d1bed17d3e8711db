"""What services share as *managed agents* of Airflow's ``common.ai`` provider, tools that models may use.

It needs ``common.ai``, so no hook may import it but one that is such an agent.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowFailException

from remote_tasks_provider.bases.hooks import RemoteTaskHook
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.cancel_worker import cancel_tasks
from remote_tasks_provider.core.cancellation import AFTER_A_TIMEOUT
from remote_tasks_provider.core.errors import (
    InvalidArgumentError,
    InvalidRequestError,
    RemoteTaskError,
    WaitTimeoutError,
)
from remote_tasks_provider.core.polling.drivers import poll_until_done
from remote_tasks_provider.core.polling.policy import PollPolicy
from remote_tasks_provider.core.polling.tracker import PollTracker
from remote_tasks_provider.core.service import TaskType
from remote_tasks_provider.core.submission import may_have_submitted
from remote_tasks_provider.core.validation import Check

try:
    from airflow.providers.common.ai.exceptions import ManagedAgentInvocationError, ManagedAgentRejected
    from airflow.providers.common.ai.managed_agents.base import (
        BaseManagedAgentHook,
        ManagedAgentCapabilities,
        ManagedAgentRef,
        ManagedAgentRequest,
        ManagedAgentResponse,
        ManagedAgentUsage,
    )
except ImportError as missing:
    raise ImportError(
        "Managed agents need Airflow's common.ai provider (the extra 'ai'): "
        "pip install apache-airflow-providers-common-ai"
    ) from missing

__all__ = [
    "AgentTask",
    "ManagedAgentCapabilities",
    "ManagedAgentInvocationError",
    "ManagedAgentRef",
    "ManagedAgentRejected",
    "ManagedAgentRequest",
    "ManagedAgentResponse",
    "ManagedAgentUsage",
    "OrphanedAgentTaskError",
    "RemoteAgentHook",
    "prompt_of",
    "sorted_errors",
    "with_file_names",
    "with_value",
]

log = logging.getLogger(__name__)

# Refusals of the prompt, not of the key: malformed, too large, unprocessable.
_ABOUT_THE_PROMPT = frozenset({400, 413, 422})


class OrphanedAgentTaskError(ManagedAgentInvocationError, AirflowFailException):
    """A remote task was created, or may have been, and nothing waits for its answer any more.

    Fails the Airflow task without a retry: a retry would create, and pay for, another remote task.
    """


class RemoteAgentHook(BaseManagedAgentHook):
    """A service's agents behind the managed-agent contract; a subclass is the service's hook, too."""

    poll_interval: float
    timeout: float
    cancel_on_timeout: bool

    def wait_by(self, poll_interval: Any, timeout: Any, *, cancel_on_timeout: bool) -> None:
        """Take how answers are waited for, as the constructor was given it."""
        self.poll_interval = validation.seconds(poll_interval, "poll_interval")
        self.timeout = validation.seconds(timeout, "timeout")
        self.cancel_on_timeout = cancel_on_timeout

    def seconds_for(self, request: ManagedAgentRequest) -> float:
        """Return how long the answer to a request may take."""
        return self.timeout if request.timeout is None else validation.seconds(request.timeout, "timeout")

    def policy(self, seconds: float, **rules: Any) -> PollPolicy:
        """Return the rules of a wait that begins now.

        :param rules: more of them.
        """
        now = time.time()
        return PollPolicy(
            started_at=now,
            poll_interval=self.poll_interval,
            deadline=now + seconds,
            on_waiting="return",
            **rules,
        )


class AgentTask:
    """A remote task that works on one request, and that the worker waits for."""

    task_type: ClassVar[TaskType]
    was_cancelled = "was cancelled"
    """What became of a task that was cancelled, for messages."""
    may_run = "may still work, and cost"
    """What one may do that was not, for messages."""

    def __init__(self, hook: RemoteTaskHook, task_id: str) -> None:
        self.hook: Any = hook
        self.task_id = task_id

    def __str__(self) -> str:
        return f"{self.task_type.label} {self.task_id}"

    def poll_until_settled(self, policy: PollPolicy) -> None:
        """Poll the task until it finishes or waits; raise at the deadline, or when it was given up."""
        tracker = PollTracker([self.task_id], policy, label=self.task_type.label)
        polling = self.hook.polling(self.task_type)
        result = poll_until_done(
            tracker, *polling, sleep=time.sleep, on_poll=lambda now, pause: self.report(tracker, now, pause)
        )
        if error := result.failure(self.task_type.label, raise_on_failure=False, on_waiting="return"):
            raise error

    def report(self, tracker: PollTracker, now: float, pause: float | None) -> None:
        """Say in the log how the task stands, after each poll; the log is that of another agent's run."""

    @contextmanager
    def awaited(self, *, cancel_on_timeout: bool) -> Iterator[None]:
        """Make of the errors of a wait what the contract has for them."""
        try:
            yield
        except WaitTimeoutError as error:
            raise self.give_up("did not answer in time", cancel=cancel_on_timeout) from error
        except RemoteTaskError as error:
            way = f"{type(self.hook).__name__}.get_result({self.task_id!r})"
            raise OrphanedAgentTaskError(
                f"{self} cannot be polled: {error} It {self.may_run}. Read its answer with {way}; another "
                "one would be paid for again."
            ) from error

    def give_up(self, why: str, *, cancel: bool) -> ManagedAgentInvocationError:
        """Return the error of a wait that ends before the task, which is cancelled if that is wanted."""
        if cancel:
            results = cancel_tasks(
                [self.task_id],
                task_type=self.task_type,
                connect=type(self.hook)(self.hook.conn_id).connect_once,
                confirm=lambda: f"it {why}",
                rules=AFTER_A_TIMEOUT,
                log=log,
            )
            if not results[self.task_id].may_run:
                return ManagedAgentInvocationError(f"{self} {why}, and {self.was_cancelled}.")
        return OrphanedAgentTaskError(f"{self} {why}. It was left as it is, and {self.may_run}.")


@contextmanager
def sorted_errors(lost: str | None = None, *, look_at: str = "the service") -> Iterator[None]:
    """Sort the errors of an operation as the contract has it; errors that a retry helps against pass.

    :param lost: what may have happened if the request was sent and its response was lost.
    :param look_at: where a person sees whether it has.
    """
    try:
        yield
    except RemoteTaskError as error:
        if isinstance(error, InvalidRequestError) and error.status_code in _ABOUT_THE_PROMPT:
            raise ManagedAgentRejected(str(error)) from error
        if lost is not None and may_have_submitted(error):
            raise OrphanedAgentTaskError(
                f"It is not known whether {lost}: {error} Check {look_at} before you try again."
            ) from error
        if error.retry_helps:
            raise
        raise ManagedAgentInvocationError(str(error)) from error


def prompt_of(request: ManagedAgentRequest, files: str, check: Check) -> str:
    """Return the prompt; a conversation becomes one text, for services that accept only one.

    :param files: the option in which files are given instead.
    :param check: what the prompt must be.
    """
    prompt = request.prompt if request.messages is None else _one_text(request.messages, files)
    try:
        return str(check(prompt, "the prompt"))
    except ValueError as error:
        raise ManagedAgentRejected(str(error)) from error


def with_value(text: str, value: Any, called: str = "The value") -> str:
    """Return an agent's text with the value that it has made: the toolset shows its model nothing else."""
    if value is None:
        return text
    return f"{text}\n\n{called}: {json.dumps(value, ensure_ascii=False)}".strip()


def with_file_names(text: str, names: Iterable[str]) -> str:
    """Return an agent's text, or the names of its files where it has said nothing."""
    named = "" if text else ", ".join(names)
    return f"Without a word, but with files: {named}" if named else text


def _one_text(conversation: Iterable[Mapping[str, Any]], files: str) -> str:
    messages = [(str(one.get("role") or "user"), _words(one.get("content"), files)) for one in conversation]
    if len(messages) == 1:
        return messages[0][1]
    return "\n\n".join(f"{role}: {words}" for role, words in messages)


def _words(content: Any, files: str) -> str:
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    texts = [one.get("text") for one in parts if isinstance(one, Mapping) and one.get("type") == "text"]
    words = [text for text in texts if isinstance(text, str)]
    if len(words) != len(parts):
        raise InvalidArgumentError(f"messages can hold text only; give files in vendor_options[{files!r}]")
    return "\n".join(words)
