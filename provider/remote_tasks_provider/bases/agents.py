"""What services share as *managed agents* of Airflow's ``common.ai`` provider, tools that models may use.

It needs ``common.ai``, so no hook may import it but one that is such an agent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from airflow.providers.common.compat.sdk import AirflowFailException

from remote_tasks_provider.core.errors import InvalidArgumentError, InvalidRequestError, RemoteTaskError
from remote_tasks_provider.core.submission import may_have_submitted

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
    "BaseManagedAgentHook",
    "ManagedAgentCapabilities",
    "ManagedAgentInvocationError",
    "ManagedAgentRef",
    "ManagedAgentRejected",
    "ManagedAgentRequest",
    "ManagedAgentResponse",
    "ManagedAgentUsage",
    "OrphanedAgentTaskError",
    "prompt_of",
    "sorted_errors",
]

# Refusals of the prompt, not of the key: malformed, too large, unprocessable.
_ABOUT_THE_PROMPT = frozenset({400, 413, 422})


class OrphanedAgentTaskError(ManagedAgentInvocationError, AirflowFailException):
    """A remote task was created, or may have been, and nothing waits for its answer any more.

    Fails the Airflow task without a retry: a retry would create, and pay for, another remote task.
    """


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


def prompt_of(request: ManagedAgentRequest, files: str) -> str | None:
    """Return the prompt; a conversation becomes one text, for services that accept only one.

    :param files: the option in which files are given instead.
    """
    if request.messages is None:
        return request.prompt
    messages = [
        (str(one.get("role") or "user"), _words(one.get("content"), files)) for one in request.messages
    ]
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
