"""The hook to an A2A agent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any

from remote_tasks_provider.a2a.api import operations
from remote_tasks_provider.a2a.api.filters import task_filter
from remote_tasks_provider.a2a.api.interfaces import Agent
from remote_tasks_provider.a2a.api.messages import OutgoingMessage, PushTarget, outgoing
from remote_tasks_provider.a2a.listing import whole_list
from remote_tasks_provider.a2a.manifest import MANIFEST
from remote_tasks_provider.a2a.models import A2AAgentCard, A2AMessage, A2ATask
from remote_tasks_provider.a2a.results import A2AResult, result_of_task
from remote_tasks_provider.a2a.service import A2A
from remote_tasks_provider.bases.hooks import RemoteTaskHook
from remote_tasks_provider.bases.webhooks import WebhookSettings
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import ConnectionConfigError, TaskFailedError
from remote_tasks_provider.core.http.connection import ConnectionConfig

__all__ = ["A2AHook"]


class A2AHook(RemoteTaskHook):
    """Everything that you can do with the tasks of an agent that speaks A2A.

    The agent's card says which versions and bindings of the
    `protocol <https://a2a-protocol.org/latest/specification/>`__ it speaks; a call that only reads proves
    one: 1.0 over REST or JSON-RPC, or 0.3 over JSON-RPC. It is remembered for an hour, for each connection in
    a process.

    Idempotent requests are retried on connection errors, timeouts, 408, 425, 429 and 5xx.
    :meth:`send_message` would act twice: it is retried only after a 429, or when the request provably was not
    sent. Every method raises

    * :class:`~remote_tasks_provider.core.errors.ConnectionConfigError` when the connection cannot be used, or
      the agent cannot do what you ask for,
    * :class:`~remote_tasks_provider.core.errors.ApiError` (by status; ``code`` is the protocol's reason, such
      as ``TASK_NOT_FOUND``) when the agent refuses; only ``RateLimitedError`` and ``ServerError`` are worth a
      later retry,
    * :class:`~remote_tasks_provider.core.errors.TransportError` when the agent cannot be reached; a later
      retry helps,
    * :class:`~remote_tasks_provider.core.errors.InvalidResponseError` when no A2A agent responds there,
    * ``ValueError`` for an argument that cannot be right, before anything is sent.

    .. code-block:: python

        hook = A2AHook()
        task = hook.send_message("Summarise the news in 100 words.")
        print(hook.get_task(task.id).state)

    :param a2a_conn_id: the Airflow connection: host = the agent's base URL, password = token or empty.
    """

    service = A2A
    manifest = MANIFEST
    default_conn_name = "a2a_default"

    def __init__(self, a2a_conn_id: str = default_conn_name) -> None:
        super().__init__(a2a_conn_id)

    def get_agent_card(self) -> A2AAgentCard:
        """Return how the agent describes itself.

        :raises NotFoundError: when there is no card at the well-known paths, or at the extra ``card_path``.
        """
        return self.client.send(operations.agent_card())

    def get_task(self, remote_task_id: str) -> A2ATask:
        """Return one task with its artifacts and its messages.

        :raises NotFoundError: when the agent does not know it, has forgotten it, or it is another user's.
        """
        return self.client.send(operations.get_task(remote_task_id, history=True))

    def iter_tasks(
        self,
        *,
        status: str | None = None,
        context_id: str | None = None,
        updated_after: datetime | int | str | None = None,
        include_artifacts: bool = False,
        page_size: int = 100,
        limit: int | None = None,
    ) -> Iterator[A2ATask]:
        """Return a lazy iterator over the tasks of the connection's user, the latest status first.

        They come without their messages. If the agent ends the list early, as some do when a task changes
        meanwhile, it is read again; a warning tells if tasks are missing all the same.

        :param status: ``submitted``, ``working``, ``input_required``, ``auth_required``, ``completed``,
            ``failed``, ``rejected`` or ``canceled``.
        :param context_id: only the tasks of this conversation.
        :param updated_after: only tasks whose status is this new: an aware ``datetime``, an ISO 8601 string
            with an offset, or Unix seconds. Some agents mean "newer than". Tasks without a time are left out.
        :param include_artifacts: also give each task's artifacts.
        :param page_size: tasks a request, 1 to 100.
        :param limit: how many tasks to give at most.
        :raises ConnectionConfigError: when the agent lists no tasks, as one of protocol 0.3.
        """
        query = task_filter(
            status=status,
            context_id=context_id,
            updated_after=updated_after,
            include_artifacts=include_artifacts,
            page_size=page_size,
        )
        if limit is not None:
            limit = validation.whole_number(limit, "limit", least=0)
        wanted = (task for task in whole_list(self.client, query) if query.passes(task))
        return islice(wanted, limit)

    def send_message(
        self,
        text: str | None = None,
        *,
        parts: Iterable[Mapping[str, Any]] | None = None,
        context_id: str | None = None,
        task_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> A2ATask | A2AMessage:
        """Send a message, which begins a task or answers one, and do not wait for what the agent does.

        Sent twice it acts twice: the protocol knows no idempotency key. An agent that lists no tasks, but can
        stream, is asked for a stream, whose first event has the task's id early.

        :param text: what to say.
        :param parts: more of it: dicts with exactly one of ``text``, ``data`` (any JSON), ``url`` and ``raw``
            (bytes), and with ``filename``, ``media_type`` and ``metadata`` where you have them.
        :param context_id: the conversation to continue; of a task that you answer, its own, which is read if
            you leave it out.
        :param task_id: the task to answer, which must wait for it.
        :param metadata: of the message; agents keep it in the task's history.
        :return: the task, or the agent's message where it has answered at once without one.
        :raises TaskFailedError: when the answer to a task began another one; the message names both.
        """
        message = outgoing(text, parts, context_id=context_id, task_id=task_id, metadata=metadata)
        if task_id is not None and context_id is None:
            message = replace(message, context_id=self.get_task(task_id).context_id or None)
        return self.send(message)

    def send(self, message: OutgoingMessage) -> A2ATask | A2AMessage:
        """Send a message that is made already; see :meth:`send_message`."""
        message = replace(message, push=self._push_target())
        found = self.client.send(operations.send_message(message))
        if message.task_id is not None and isinstance(found, A2ATask) and found.id != message.task_id:
            raise TaskFailedError(
                f"The answer to A2A task {message.task_id} began another task, {found.id}: this agent "
                "continues no tasks. Cancel the new one if you do not want it."
            )
        return found

    def _push_target(self) -> PushTarget | None:
        """Return where an agent is asked to call back: the receiver, if it takes this connection's."""
        config = self.client.config
        extras: Any = config.extras
        if not extras.push or not extras.webhook_secret:
            return None
        settings, place = WebhookSettings.from_config(), (self.manifest.folder, self.conn_id)
        if not settings.url or place not in settings.connections:
            return None
        if extras.webhook_secret == config.secret:
            raise ConnectionConfigError(
                f"Connection {self.conn_id!r}: webhook_secret is the password. Agents are sent the one, and "
                "must never be sent the other: give it one of its own. Nothing was sent."
            )
        return PushTarget(settings.url_of(*place), extras.webhook_secret)

    def cancel_task(self, remote_task_id: str) -> A2ATask:
        """Cancel a task; return what has become of it.

        A refusal is an error only if the task has not finished. What a cancellation does is the agent's
        business: the task can fail by it, continue, or end for the record only.
        """
        return self.client.send(operations.cancel_task(remote_task_id))

    def stop_task(self, remote_task_id: str) -> A2ATask:
        """Like :meth:`cancel_task`, for a task that must not continue.

        :raises RemoteTaskError: if the agent took the cancellation, and the task continues all the same.
        """
        return self.client.send(operations.cancel_task(remote_task_id, for_good=True))

    def get_result(self, remote_task_id: str) -> A2AResult:
        """Return what a task has come to so far: ``state text structured files error``."""
        return result_of_task(self.client.send(operations.get_task(remote_task_id)))

    def find_agent(self) -> Agent:
        """Return the agent: its card, the interface that is used, and whether it lists tasks."""
        return self.client.send(operations.find_agent())

    def proved(self, config: ConnectionConfig, answer: Agent) -> str:
        """Return what the connection test has found out."""
        interface = answer.interface
        lists = "It lists its tasks." if answer.lists else "It lists no tasks: each is polled by itself."
        return (
            f"The agent {answer.card.name!r} speaks A2A {interface.version} over {interface.binding} at "
            f"{interface.url}. {lists}"
        )
