"""Operators that list and cancel messages, and that list, retry and delete those in the dead letter queue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from remote_tasks_provider.bases.listing import RemoteListOperator
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import NotFoundError
from remote_tasks_provider.qstash.api.v2_models import PublishedMessage
from remote_tasks_provider.qstash.hooks import QStashHook
from remote_tasks_provider.qstash.operators.base import MessageFilters, QStashOperator, Words
from remote_tasks_provider.qstash.operators.publish import MessageOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = [
    "QStashCancelMessageOperator",
    "QStashDeleteDlqOperator",
    "QStashListDlqOperator",
    "QStashListLogsOperator",
    "QStashRetryDlqOperator",
]

# Ids in one request.
_BATCH = 100


class QStashListLogsOperator(MessageFilters, QStashOperator, RemoteListOperator):
    """Lists log entries, newest first: up to 1000 to XCom, or any number to a file.

    Returns like :class:`~remote_tasks_provider.manus.operators.ManusListTasksOperator`. Headers and bodies,
    which may hold secrets, are never returned.

    :param state: only these steps, such as ``FAILED``; one or several. Templated.
    """

    filters: Sequence[str] = (*MessageFilters.filters, "state")
    template_fields: Sequence[str] = (*filters, "limit", "output_path", "qstash_conn_id")

    def __init__(self, *, state: Words | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.state = state

    def read(self, hook: QStashHook, limit: int | None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the entries that match the filters."""
        for entry in hook.iter_logs(limit=limit, **self.given_filters()):
            yield entry.message_id, entry.to_json()


class _DlqFilters(MessageFilters):
    """An operator that selects DLQ messages by filters.

    :param dlq_ids: only these DLQ messages; one id or several. Templated.
    :param response_status: only messages whose last response had one of these HTTP statuses. Templated.
    """

    filters: Sequence[str] = ("dlq_ids", *MessageFilters.filters, "response_status")

    def __init__(
        self,
        *,
        dlq_ids: Words | None = None,
        response_status: int | Iterable[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dlq_ids = dlq_ids
        self.response_status = response_status


class QStashListDlqOperator(_DlqFilters, QStashOperator, RemoteListOperator):
    """Lists DLQ messages (dead letters): messages whose attempts have all failed.

    Returns like :class:`~remote_tasks_provider.manus.operators.ManusListTasksOperator`. What was sent is
    never returned; of the destination's last response the start, without what looks like a secret.
    """

    template_fields: Sequence[str] = (*_DlqFilters.filters, "limit", "output_path", "qstash_conn_id")

    def read(self, hook: QStashHook, limit: int | None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the DLQ messages that match the filters."""
        for dlq_message in hook.iter_dlq(limit=limit, **self.given_filters()):
            yield dlq_message.dlq_id or dlq_message.message_id, dlq_message.to_json()


class _SelectsDlqMessages(_DlqFilters):
    """An operator that changes one DLQ message, or all that match the filters; one of the two must be given.

    :param dlq_id: one DLQ message. Templated.
    """

    template_fields: Sequence[str] = ("dlq_id", *_DlqFilters.filters, "qstash_conn_id")

    def __init__(self, *, dlq_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dlq_id = dlq_id

    def selection(self) -> dict[str, Any]:
        """Return the one DLQ message or the filters.

        :raises ValueError: for neither, or both.
        """
        given = self.given_filters()
        if (self.dlq_id is None) == (not given):
            raise ValueError("give dlq_id for one DLQ message, or at least one filter for many; not both")
        return given if self.dlq_id is None else {"dlq_id": validation.object_id(self.dlq_id, "dlq_id")}


class QStashRetryDlqOperator(_SelectsDlqMessages, MessageOperator):
    """Publishes DLQ messages again, each as a new message, and may wait for those.

    Returns the new messages' ids, or with ``wait_for_completion`` a list of what
    :class:`~remote_tasks_provider.qstash.sensors.QStashMessageSensor` returns. A message must match all
    filters; at least one, or ``dlq_id``, must be given. If no DLQ message matches, the operator succeeds.
    """

    def publish(self, context: Context) -> list[PublishedMessage]:
        """Publish them again."""
        selection = self.selection()
        try:
            messages: list[PublishedMessage] = self.hook.retry_dlq(**selection)
        except NotFoundError:
            # QStash also answers 404 when none of several messages is there (any more).
            if self.dlq_id is not None:
                raise
            messages = []
        self.log.info("%d DLQ messages were published again.", len(messages))
        return messages


class QStashDeleteDlqOperator(_SelectsDlqMessages, QStashOperator):
    """Deletes DLQ messages permanently; returns how many.

    A message must match all filters; at least one, or ``dlq_id``, must be given.
    """

    def act(self, hook: QStashHook, context: Context) -> int:
        """Delete them."""
        try:
            deleted = hook.delete_dlq(**self.selection())
        except NotFoundError:
            self.log.info("There is no such DLQ message (any more).")
            return 0
        self.log.info("%d DLQ messages were deleted.", deleted)
        return deleted


class QStashCancelMessageOperator(QStashOperator):
    """Cancels messages that are not delivered yet; returns how many.

    A message that is no longer in flight is not an error. All that match a filter are cancelled only with
    ``filters``, never because an id came out empty.

    :param message_id: the message's id, or a list of ids. Templated.
    :param filters: instead of ids: which messages to cancel, by ``url``, ``url_group``, ``queue``,
        ``labels``, ``schedule_id``, ``flow_control_key``, ``from_date``, ``to_date``; at least one.
        Templated.
    """

    template_fields: Sequence[str] = ("message_id", "filters", "qstash_conn_id")

    def __init__(
        self, *, message_id: Words | None = None, filters: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.message_id = message_id
        self.filters = filters

    def act(self, hook: QStashHook, context: Context) -> int:
        """Cancel them."""
        if (self.message_id is None) == (self.filters is None):
            raise ValueError("give message_id, or filters to cancel all messages that match; not both")
        if self.filters is not None:
            cancelled = hook.cancel_messages(**dict(self.filters))
        else:
            cancelled = self._cancel_ids(hook)
        self.log.info("%d messages were cancelled.", cancelled)
        return cancelled

    def _cancel_ids(self, hook: QStashHook) -> int:
        ids = validation.object_ids(self.message_id, "message_id")
        if not ids:
            raise ValueError("message_id is an empty list: nothing was cancelled")
        if len(ids) > 1:
            slices = (ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH))
            return sum(hook.cancel_messages(message_ids=some) for some in slices)
        try:
            hook.cancel_message(ids[0])
        except NotFoundError:
            self.log.info("QStash message %s is no longer in flight.", ids[0])
            return 0
        return 1
