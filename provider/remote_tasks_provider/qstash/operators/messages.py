"""Operators around QStash messages: their outcome, logs, DLQ messages, and cancelling."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from remote_tasks_provider.bases.branching import RemoteTaskBranchOperator
from remote_tasks_provider.bases.exceptions import request_exception
from remote_tasks_provider.bases.listing import RemoteListOperator
from remote_tasks_provider.bases.operators import Submitted
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import NotFoundError, RemoteTaskError
from remote_tasks_provider.qstash.api.v2_models import PublishedMessage
from remote_tasks_provider.qstash.hooks import QStashHook
from remote_tasks_provider.qstash.operators.publish import MessageOperator
from remote_tasks_provider.qstash.service import QSTASH_MESSAGE
from remote_tasks_provider.qstash.submission import recall
from remote_tasks_provider.qstash.triggers import QStashMessageTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = [
    "QStashCancelMessageOperator",
    "QStashDeleteDlqOperator",
    "QStashListDlqOperator",
    "QStashListLogsOperator",
    "QStashMessageBranchOperator",
    "QStashRetryDlqOperator",
]

_COLOR = "#dff3ea"

Moment = datetime | int | str
Words = str | Iterable[str]


class QStashMessageBranchOperator(RemoteTaskBranchOperator):
    """Waits for a QStash message, then runs the branch of its outcome and skips the others.

    The message's record (see :class:`~remote_tasks_provider.qstash.sensors.QStashMessageSensor`) is left in
    XCom under the key ``remote_task``.

    :param message_id: the message's id. Templated.
    :param completed: task or task group id, or several, to run on delivery; ``None`` skips everything
        downstream.
    :param failed: what to run on failure; ``None`` fails this operator without a retry.
    :param cancelled: likewise.
    :param deferrable: wait in the triggerer; default ``[operators] default_deferrable``.
    :param poll_interval: seconds between polls, or a ``timedelta``.
    :param timeout: seconds (or a ``timedelta``) from the first attempt's start until the operator gives up
        and fails; default ``[sensors] default_timeout``.
    :param max_poll_failures: consecutive polls that may fail.
    :param not_found_grace: seconds for which no log entry may tell of the message.
    :param qstash_conn_id: the Airflow connection. Templated.
    """

    template_fields: Sequence[str] = ("message_id", "completed", "failed", "cancelled", "qstash_conn_id")
    remote_task_type = QSTASH_MESSAGE
    trigger_class = QStashMessageTrigger
    hook_class = QStashHook
    ui_color = _COLOR

    def __init__(
        self,
        *,
        message_id: str,
        not_found_grace: float = 300.0,
        qstash_conn_id: str = QStashHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            remote_task_id=message_id, not_found_grace=not_found_grace, conn_id=qstash_conn_id, **kwargs
        )


class QStashListLogsOperator(RemoteListOperator):
    """Lists log entries, newest first: up to 1000 to XCom, or any number to a file.

    Returns like :class:`~remote_tasks_provider.manus.operators.ManusListTasksOperator`. Headers and bodies,
    which may hold secrets, are never returned.

    :param message_ids: only these messages' entries; one id or several.
    :param state: only these steps, such as ``FAILED``; one or several.
    :param url: only deliveries to this URL.
    :param url_group: only this URL group's.
    :param schedule_id: only this schedule's.
    :param qstash_queue: only this queue's.
    :param labels: only messages with one of these labels.
    :param from_date: only entries from this moment on: an aware ``datetime``, an ISO 8601 string with an
        offset, or Unix seconds.
    :param to_date: only entries up to this moment.
    :param limit: entries at most; default 100 to XCom, all to a file.
    :param output_path: a file to write as JSON Lines, any URL that ``ObjectStoragePath`` knows.
    :param qstash_conn_id: the Airflow connection.

    All are templated.
    """

    filters: Sequence[str] = (
        "message_ids",
        "state",
        "url",
        "url_group",
        "schedule_id",
        "labels",
        "from_date",
        "to_date",
    )
    template_fields: Sequence[str] = (*filters, "qstash_queue", "limit", "output_path", "qstash_conn_id")
    ui_color = _COLOR

    def __init__(
        self,
        *,
        message_ids: Words | None = None,
        state: Words | None = None,
        url: Words | None = None,
        url_group: Words | None = None,
        schedule_id: Words | None = None,
        qstash_queue: Words | None = None,
        labels: Words | None = None,
        from_date: Moment | None = None,
        to_date: Moment | None = None,
        qstash_conn_id: str = QStashHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.message_ids = message_ids
        self.state = state
        self.url = url
        self.url_group = url_group
        self.schedule_id = schedule_id
        self.qstash_queue = qstash_queue
        self.labels = labels
        self.from_date = from_date
        self.to_date = to_date
        self.qstash_conn_id = qstash_conn_id

    def items(self, limit: int | None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the entries that pass the filters."""
        hook = QStashHook(self.qstash_conn_id)
        try:
            given = {name: getattr(self, name) for name in self.filters}
            for entry in hook.iter_logs(limit=limit, queue=self.qstash_queue, **given):
                yield entry.message_id, entry.to_json()
        finally:
            hook.close()


class _SelectsDlqMessages(BaseOperator):
    """An operator with the filters of the dead letter queue (DLQ)."""

    filters: Sequence[str] = (
        "dlq_ids",
        "message_ids",
        "url",
        "url_group",
        "schedule_id",
        "labels",
        "response_status",
        "from_date",
        "to_date",
    )

    def __init__(
        self,
        *,
        dlq_ids: Words | None = None,
        message_ids: Words | None = None,
        url: Words | None = None,
        url_group: Words | None = None,
        schedule_id: Words | None = None,
        qstash_queue: Words | None = None,
        labels: Words | None = None,
        response_status: int | Iterable[int] | None = None,
        from_date: Moment | None = None,
        to_date: Moment | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dlq_ids = dlq_ids
        self.message_ids = message_ids
        self.url = url
        self.url_group = url_group
        self.schedule_id = schedule_id
        self.qstash_queue = qstash_queue
        self.labels = labels
        self.response_status = response_status
        self.from_date = from_date
        self.to_date = to_date

    def given_filters(self) -> dict[str, Any]:
        """Return the filters in the hook's words; the hook refuses an empty one."""
        named = {name: getattr(self, name) for name in self.filters} | {"queue": self.qstash_queue}
        return {name: value for name, value in named.items() if value is not None}

    def chosen(self, dlq_id: str | None) -> dict[str, Any]:
        """Return one DLQ message or the filters.

        :raises ValueError: for neither, or both.
        """
        given = self.given_filters()
        if (dlq_id is None) == (not given):
            raise ValueError("give dlq_id for one DLQ message, or at least one filter for many; not both")
        return given if dlq_id is None else {"dlq_id": validation.object_id(dlq_id, "dlq_id")}


class QStashListDlqOperator(_SelectsDlqMessages, RemoteListOperator):
    """Lists DLQ messages: those whose attempts have all failed.

    Returns like :class:`~remote_tasks_provider.manus.operators.ManusListTasksOperator`. What was sent is
    never returned; of the destination's last answer the start, without what looks like a secret.

    :param dlq_ids: only these DLQ messages; one id or several.
    :param message_ids: only these messages'.
    :param url: only messages to this URL.
    :param url_group: only this URL group's.
    :param schedule_id: only this schedule's.
    :param qstash_queue: only this queue's.
    :param labels: only messages with one of these labels.
    :param response_status: only those that were last answered with one of these HTTP statuses.
    :param from_date: only those that failed from this moment on.
    :param to_date: only those that failed up to this moment.
    :param limit: DLQ messages at most; default 100 to XCom, all to a file.
    :param output_path: a file to write as JSON Lines, any URL that ``ObjectStoragePath`` knows.
    :param qstash_conn_id: the Airflow connection.

    All are templated.
    """

    template_fields: Sequence[str] = (
        *_SelectsDlqMessages.filters,
        "qstash_queue",
        "limit",
        "output_path",
        "qstash_conn_id",
    )
    ui_color = _COLOR

    def __init__(self, *, qstash_conn_id: str = QStashHook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.qstash_conn_id = qstash_conn_id

    def items(self, limit: int | None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the DLQ messages that pass the filters."""
        hook = QStashHook(self.qstash_conn_id)
        try:
            for dlq_message in hook.iter_dlq(limit=limit, **self.given_filters()):
                yield dlq_message.dlq_id or dlq_message.message_id, dlq_message.to_json()
        finally:
            hook.close()


class QStashRetryDlqOperator(_SelectsDlqMessages, MessageOperator):
    """Publishes DLQ messages again, each as a new message, and may wait for those.

    Returns the new messages' ids, or with ``wait_for_completion`` a list of what
    :class:`~remote_tasks_provider.qstash.sensors.QStashMessageSensor` returns. Several filters narrow the
    choice down; at least one, or ``dlq_id``, must be given. No match is not an error.

    :param dlq_id: one DLQ message. Templated.
    :param dlq_ids: or several. Templated.
    :param message_ids: or those of these messages. Templated.
    :param url: or of messages to this URL. Templated.
    :param url_group: or of this URL group. Templated.
    :param schedule_id: or of this schedule. Templated.
    :param qstash_queue: or of this queue. Templated.
    :param labels: or of messages with one of these labels. Templated.
    :param response_status: or those last answered with one of these HTTP statuses. Templated.
    :param from_date: or those that failed from this moment on. Templated.
    :param to_date: or those that failed up to this moment. Templated.
    :param wait_for_completion: wait until all are delivered, failed or cancelled.
    :param deferrable: wait in the triggerer and use no worker meanwhile; default ``[operators]
        default_deferrable``.
    :param poll_interval: seconds between polls, or a ``timedelta``.
    :param timeout: seconds (or a ``timedelta``) from the first attempt's start until the operator gives up;
        default ``[sensors] default_timeout``.
    :param raise_on_failure: fail without a retry when one failed again or was cancelled.
    :param cancel_on_kill: cancel the new messages when a user marks this task failed or successful while it
        waits.
    :param max_poll_failures: consecutive polls that may fail.
    :param not_found_grace: seconds for which no log entry may tell of a message.
    :param qstash_conn_id: the Airflow connection. Templated.
    """

    template_fields: Sequence[str] = (
        "dlq_id",
        *_SelectsDlqMessages.filters,
        "qstash_queue",
        "qstash_conn_id",
    )
    ui_color = _COLOR

    def __init__(self, *, dlq_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dlq_id = dlq_id

    def submit(self, context: Context) -> Submitted:
        """Send them again, or re-attach to what an earlier attempt has sent."""
        chosen = self.chosen(self.dlq_id)
        try:
            messages = recall(self, context) or self._send_again(chosen)
        except RemoteTaskError as error:
            raise request_exception(error) from error
        finally:
            self.hook.close()
        self.log.info("%d DLQ messages were sent again.", len(messages))
        ids = [message.message_id for message in messages]
        return self.submitted(context, messages, ids, single=False)

    def _send_again(self, chosen: dict[str, Any]) -> list[PublishedMessage]:
        try:
            sent: list[PublishedMessage] = self.hook.retry_dlq(**chosen)
        except NotFoundError:
            # QStash answers so where none of several messages is there (any more).
            if self.dlq_id is not None:
                raise
            return []
        return sent


class QStashDeleteDlqOperator(_SelectsDlqMessages):
    """Deletes DLQ messages for ever; returns how many.

    Several filters narrow the choice down; at least one, or ``dlq_id``, must be given.

    :param dlq_id: one DLQ message. Templated.
    :param dlq_ids: or several. Templated.
    :param message_ids: or those of these messages. Templated.
    :param url: or of messages to this URL. Templated.
    :param url_group: or of this URL group. Templated.
    :param schedule_id: or of this schedule. Templated.
    :param qstash_queue: or of this queue. Templated.
    :param labels: or of messages with one of these labels. Templated.
    :param response_status: or those last answered with one of these HTTP statuses. Templated.
    :param from_date: or those that failed from this moment on. Templated.
    :param to_date: or those that failed up to this moment. Templated.
    :param qstash_conn_id: the Airflow connection. Templated.
    """

    template_fields: Sequence[str] = (
        "dlq_id",
        *_SelectsDlqMessages.filters,
        "qstash_queue",
        "qstash_conn_id",
    )
    ui_color = _COLOR

    def __init__(
        self,
        *,
        dlq_id: str | None = None,
        qstash_conn_id: str = QStashHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dlq_id = dlq_id
        self.qstash_conn_id = qstash_conn_id

    def execute(self, context: Context) -> int:
        """Delete them."""
        chosen = self.chosen(self.dlq_id)
        hook = QStashHook(self.qstash_conn_id)
        try:
            deleted = hook.delete_dlq(**chosen)
        except NotFoundError:
            self.log.info("There is no such DLQ message (any more).")
            return 0
        except RemoteTaskError as error:
            raise request_exception(error) from error
        finally:
            hook.close()
        self.log.info("%d DLQ messages were deleted.", deleted)
        return deleted


class QStashCancelMessageOperator(BaseOperator):
    """Cancels messages that are not delivered yet; returns how many.

    One that is no longer in flight is not an error. All that match a filter are cancelled only with
    ``filters``, never because an id came out empty.

    :param message_id: the message's id, or a list of ids. Templated.
    :param filters: instead of ids: which messages to cancel, by ``url``, ``url_group``, ``queue``,
        ``labels``, ``schedule_id``, ``flow_control_key``, ``from_date``, ``to_date``; at least one.
        Templated.
    :param qstash_conn_id: the Airflow connection. Templated.
    """

    template_fields: Sequence[str] = ("message_id", "filters", "qstash_conn_id")
    ui_color = _COLOR

    def __init__(
        self,
        *,
        message_id: Words | None = None,
        filters: dict[str, Any] | None = None,
        qstash_conn_id: str = QStashHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.message_id = message_id
        self.filters = filters
        self.qstash_conn_id = qstash_conn_id

    def execute(self, context: Context) -> int:
        """Cancel them."""
        if (self.message_id is None) == (self.filters is None):
            raise ValueError("give message_id, or filters to cancel all messages that match; not both")
        hook = QStashHook(self.qstash_conn_id)
        try:
            cancelled = self._all_that_match(hook) if self.filters is not None else self._named(hook)
        except RemoteTaskError as error:
            raise request_exception(error) from error
        finally:
            hook.close()
        self.log.info("%d messages were cancelled.", cancelled)
        return cancelled

    def _all_that_match(self, hook: QStashHook) -> int:
        return hook.cancel_messages(**dict(self.filters or {}))

    def _named(self, hook: QStashHook) -> int:
        ids = validation.object_ids(self.message_id, "message_id")
        if not ids:
            raise ValueError("message_id is an empty list: nothing was cancelled")
        cancelled = 0
        for message_id in ids:
            try:
                hook.cancel_message(message_id)
                cancelled += 1
            except NotFoundError:
                self.log.info("QStash message %s is no longer in flight.", message_id)
        return cancelled
