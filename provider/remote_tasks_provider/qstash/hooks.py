"""The hook to QStash."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import (
    InvalidArgumentError,
    NotFoundError,
    RemoteTaskError,
)
from remote_tasks_provider.core.polling.drivers import results_of
from remote_tasks_provider.core.polling.strategy import PollRequest
from remote_tasks_provider.qstash.api import v1, v2
from remote_tasks_provider.qstash.api.filters import DLQ_FILTERS, LOG_FILTERS, MESSAGE_FILTERS, filters_of
from remote_tasks_provider.qstash.api.options import PLANS, PublishOptions
from remote_tasks_provider.qstash.api.v2_models import DlqMessage, LogEntry, MessageOutcome, PublishedMessage
from remote_tasks_provider.qstash.bulk import cancel_all
from remote_tasks_provider.qstash.dlq import (
    DlqEntry,
    DlqPages,
    DlqRetry,
    delete_entries,
    iter_messages,
    list_entries,
)
from remote_tasks_provider.qstash.manifest import MANIFEST
from remote_tasks_provider.qstash.models import QStashTask
from remote_tasks_provider.qstash.polling import QStashMessagePollStrategy
from remote_tasks_provider.qstash.service import QSTASH
from remote_tasks_provider.qstash.settings_hook import QStashSettingsHook
from remote_tasks_provider.qstash.workflow_hook import QStashWorkflowHook

__all__ = ["QStashHook"]


class QStashHook(QStashSettingsHook, QStashWorkflowHook):
    """Publishes messages, reads their outcomes, and manages DLQ messages, schedules, queues and URL groups.

    Triggers runs of Upstash workflows, too, which live on the same host and token.

    `QStash <https://upstash.com/docs/qstash>`__ API v2; only :meth:`get_task` and :meth:`iter_message_tasks`
    are v1. Requests are retried, and errors raised, as by
    :class:`~remote_tasks_provider.manus.hooks.ManusHook`; publishing is retried after a failure only if the
    message has a deduplication id. A token of another region is an ``AuthenticationError`` that names the
    region.

    :param qstash_conn_id: the Airflow connection: password = token, host = the region's base URL, or empty
        with ``region`` in the extra.
    """

    service = QSTASH
    manifest = MANIFEST
    default_conn_name = "qstash_default"

    def __init__(self, qstash_conn_id: str = default_conn_name) -> None:
        super().__init__(qstash_conn_id)

    # --------------------------------------------------------------------------------------- API v1: tasks

    def get_task(self, remote_task_id: str) -> QStashTask:
        """Return one task.

        :raises NotFoundError: for an unknown id.
        """
        return self.client.send(v1.get_task(remote_task_id))

    def iter_message_tasks(
        self, message_id: str, *, cursor: int | str | None = None, limit: int | None = None
    ) -> Iterator[QStashTask]:
        """Return an iterator over a message's tasks, one per destination, newest first.

        Lazy: QStash gives 100 tasks a page, and a page is requested when its first task is needed.

        :param cursor: where to begin (Unix milliseconds).
        :param limit: tasks at most; ``None`` for all.
        :raises PaginationError: (while iterating) when QStash's pages never end.
        """
        start = None if cursor is None else str(validation.whole_number(cursor, "cursor", least=0))
        most, _ = _limits(limit)
        return self.client.items(v1.list_message_tasks(message_id, start), most)

    # ------------------------------------------------------------------------------------------- messages

    def publish(
        self,
        destination: str | None,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
        delay: Any = None,
        deduplication_id: str | None = None,
        **options: Any,
    ) -> PublishedMessage | list[PublishedMessage]:
        """Publish a message; return it, or a list of messages for a URL group.

        A message of a group that was refused has an ``error`` instead of a ``message_id``.

        :param destination: a URL, or the name of a URL group.
        :param body: text, bytes, or a JSON value.
        :param headers: headers for the destination.
        :param method: the HTTP method of the delivery.
        :param delay: seconds, a ``timedelta`` or ``1d10h30m``.
        :param deduplication_id: QStash recognises a repeat by it for ten minutes. Without one, an error
            leaves open whether the message was accepted.
        :param options: ``url_group``, ``queue``, ``not_before``, ``retries``, ``retry_delay``, ``timeout``,
            ``content_based_deduplication``, ``callback``, ``callback_options``, ``failure_callback``,
            ``failure_callback_options``, ``flow_control``, ``labels``, ``redact``, ``extra_headers``: see
            :class:`~remote_tasks_provider.qstash.operators.QStashPublishOperator`, whose names are taken too.
        """
        options |= {
            "headers": headers,
            "method": method,
            "delay": delay,
            "deduplication_id": deduplication_id,
        }
        messages = self.send(self.order(destination, body, **options))
        return messages if len(messages) != 1 or messages[0].url else messages[0]

    def send(self, options: PublishOptions, *, give_up_at: float | None = None) -> list[PublishedMessage]:
        """Publish a message; return it, or those of a URL group, as a list.

        :param options: publish options, from :meth:`order`.
        :param give_up_at: when to stop repeating the request; monotonic.
        """
        return self.client.send(v2.publish(options), give_up_at=give_up_at)

    def publish_batch(
        self, orders: Sequence[PublishOptions], *, give_up_at: float | None = None
    ) -> list[list[PublishedMessage]]:
        """Publish many messages with one request; return a list for each of ``orders``.

        :param orders: publish options, from :meth:`order`.
        :param give_up_at: when to stop repeating the request; monotonic.
        """
        if not orders:
            raise InvalidArgumentError("the batch is empty; give at least one message")
        extras: Any = self.client.config.extras
        size, most = sum(len(order.content) for order in orders), PLANS[extras.plan].requests
        if size > most:
            raise InvalidArgumentError(
                f"the batch's bodies have {size} bytes; QStash takes {most} in one request"
            )
        return self.client.send(v2.publish_batch(orders), give_up_at=give_up_at)

    def get_outcomes(self, message_ids: Iterable[str]) -> dict[str, MessageOutcome]:
        """Return the outcomes of messages, in the order of the ids; ``unknown`` where the logs have no entry.

        A few requests for a hundred messages. If you ask for more than twenty, each one that has not finished
        is ``pending``.
        """
        ids = validation.object_ids(message_ids, "message_ids")
        strategy = QStashMessagePollStrategy()
        found: dict[str, MessageOutcome] = {}
        for start in range(0, len(ids), v2.MAX_PAGE_SIZE):
            chunk = ids[start : start + v2.MAX_PAGE_SIZE]
            left = set(chunk)
            while left:
                results = results_of(strategy.plan(PollRequest(chunk)), self.client.send)
                for result in results.values():
                    if isinstance(result, RemoteTaskError) and not isinstance(result, NotFoundError):
                        raise result
                if left.isdisjoint(results):
                    break
                left -= results.keys()
            found |= {message_id: strategy.outcome(message_id) for message_id in chunk}
        return found

    def iter_logs(self, *, limit: int | None = None, **filters: Any) -> Iterator[LogEntry]:
        """Return an iterator over log entries, newest first; lazy, 100 a page.

        :param limit: entries at most.
        :param filters: ``message_ids``, ``state``, ``url``, ``host``, ``path``, ``url_group``,
            ``schedule_id``, ``queue``, ``labels``, ``caller_ip``, ``flow_control_key``, ``from_date``,
            ``to_date`` (aware datetimes, or Unix seconds); several values of one filter match any.
        """
        most, size = _limits(limit)
        return self.client.items(v2.list_logs(filters_of(filters, LOG_FILTERS), page_size=size), most)

    def cancel_message(self, message_id: str) -> None:
        """Cancel a message that is not delivered yet.

        :raises NotFoundError: when it is no longer in flight.
        """
        self.client.send(v2.cancel_message(message_id))

    def cancel_messages(self, **filters: Any) -> int:
        """Cancel all messages that match; return how many, as far as QStash's answers tell.

        Where an answer was lost, the log says that there may be more.

        :param filters: those of :meth:`iter_logs`, without ``state``; at least one.
        """
        given = filters_of(filters, MESSAGE_FILTERS)
        most = sum(name == "messageIds" for name, _ in given) or float("inf")
        return cancel_all(self.client, v2.cancel_messages(given), "messages", most)

    # --------------------------------------------------------------------------------------- DLQ messages

    def iter_dlq(self, *, limit: int | None = None, **filters: Any) -> Iterator[DlqMessage]:
        """Return an iterator over the dead letter queue; lazy, 100 messages a page.

        :param limit: messages at most.
        :param filters: ``message_ids`` (each asked for by itself), ``dlq_ids``, ``url``, ``url_group``,
            ``schedule_id``, ``queue``, ``labels``, ``caller_ip``, ``flow_control_key``, ``response_status``,
            ``from_date``, ``to_date``.
        """
        most, size = _limits(limit)
        given = filters_of(filters, DLQ_FILTERS)
        return islice(iter_messages(self.client, given, page_size=size), most)

    def retry_dlq(self, dlq_id: str | None = None, **filters: Any) -> list[PublishedMessage]:
        """Publish DLQ messages again, each once, 100 a request; return the new messages.

        Those that match are listed first. After a lost answer the logs are searched for the new messages, for
        up to five minutes.

        :param dlq_id: one DLQ message; or give filters, as for :meth:`iter_dlq`.
        :raises NotFoundError: if the one is not there.
        :raises OrphanedStartError: when they do not tell which new messages the DLQ messages have become.
        """
        pages = DlqPages()
        pages.begin(self.dlq_entries(dlq_id, **filters))
        return [PublishedMessage(message_id) for message_id in DlqRetry(self.client, pages).run()]

    def delete_dlq(self, dlq_id: str | None = None, **filters: Any) -> int:
        """Delete DLQ messages permanently, 100 a request; return how many are gone.

        Those that match are listed first.

        :param dlq_id: one DLQ message; or give filters, as for :meth:`iter_dlq`.
        :raises NotFoundError: if the one is not there.
        """
        return delete_entries(self.client, self.dlq_entries(dlq_id, **filters))

    def dlq_entries(self, dlq_id: str | None = None, **filters: Any) -> list[DlqEntry]:
        """Return what identifies the one DLQ message, or all that match."""
        return list_entries(self.client, dlq_id, filters_of(filters, DLQ_FILTERS))

    # --------------------------------------------------------------------- schedules, queues, URL groups


def _limits(limit: int | None) -> tuple[int | None, int]:
    """Return how many items to read, ``None`` for all, and how many a page needs."""
    most = None if limit is None else validation.whole_number(limit, "limit", least=1)
    return most, min(most or v2.MAX_PAGE_SIZE, v2.MAX_PAGE_SIZE)
