"""Operators that list and cancel messages, and that list, retry and delete those in the dead letter queue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowFailException

from remote_tasks_provider.bases.arguments import CheckedOperator
from remote_tasks_provider.bases.listing import RemoteListOperator
from remote_tasks_provider.bases.origin import is_first_attempt
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import InvalidArgumentError, NotFoundError, RemoteTaskError
from remote_tasks_provider.core.log import counted
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.core.validation import Check
from remote_tasks_provider.qstash.api.v2_models import PublishedMessage
from remote_tasks_provider.qstash.dlq import DlqEntry, DlqRetry, StoredPages, delete_entries
from remote_tasks_provider.qstash.hooks import QStashHook
from remote_tasks_provider.qstash.operators import checks as check
from remote_tasks_provider.qstash.operators.base import MessageFilters, QStashOperator, Words
from remote_tasks_provider.qstash.operators.publish import MESSAGES_KEY, MessageOperator

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
    :param host: only messages to this host. Templated.
    :param path: only messages to this path of a URL. Templated.
    """

    filters: Sequence[str] = (*MessageFilters.filters, "state", "host", "path")
    template_fields: Sequence[str] = (*filters, "limit", "output_path", "qstash_conn_id")

    def __init__(
        self,
        *,
        state: Words | None = None,
        host: Words | None = None,
        path: Words | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.state = state
        self.host = host
        self.path = path

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


class _SelectsDlqMessages(_DlqFilters, CheckedOperator):
    """An operator that changes one DLQ message, or all that match the filters; one of the two must be given.

    :param dlq_id: one DLQ message. Templated.
    """

    template_fields: Sequence[str] = ("dlq_id", *_DlqFilters.filters, "qstash_conn_id")

    checks: ClassVar[Mapping[str, Check]] = {"dlq_id": validation.optional(validation.object_id)}

    def __init__(self, *, dlq_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dlq_id = dlq_id
        self.check_together()

    def refuse_together(self) -> None:
        """Refuse to choose between two selections, or without one."""
        if (self.dlq_id is None) == (not self.given_filters()):
            raise InvalidArgumentError(
                "give dlq_id for one DLQ message, or at least one filter for many; not both"
            )

    def selection(self) -> dict[str, Any]:
        """Return the one DLQ message or the filters."""
        given = self.given_filters()
        return given if self.dlq_id is None else {"dlq_id": validation.object_id(self.dlq_id, "dlq_id")}


class QStashRetryDlqOperator(_SelectsDlqMessages, MessageOperator):
    """Publishes DLQ messages again, each as a new message, and may wait for those.

    Returns the new messages' ids, or with ``wait_for_completion`` a list of what
    :class:`~remote_tasks_provider.qstash.sensors.QStashMessageSensor` returns. A message must match all
    filters; at least one, or ``dlq_id``, must be given. If no DLQ message matches, the operator succeeds.

    The DLQ messages that match are listed first, and each is retried once: one that fails again is not
    retried by the same task. From Airflow 3.3 on a later attempt resumes, whatever answer was lost. Where
    Airflow remembers nothing, an attempt after the first retries only DLQ messages that are given by id.
    """

    def publish(self, context: Context) -> list[PublishedMessage]:
        """Publish them again."""
        pages = StoredPages(context, self.log)
        try:
            if not pages.is_resumed:
                pages.begin(self._entries(context))
            found = DlqRetry(self.hook.client, pages, grace=self.not_found_grace).run()
        except RemoteTaskError as error:
            if not pages.has_sent:
                raise
            context["ti"].xcom_push(key=MESSAGES_KEY, value=pages.messages)
            self.log.warning("DLQ messages were published again as %s.", ", ".join(pages.messages) or "?")
            if pages.remembers:
                raise
            raise AirflowFailException(
                f"{error} {len(pages.messages)} DLQ messages were published again; the XCom {MESSAGES_KEY} "
                "has them. A retry would not know that. Clear this task to retry what matches then."
            ) from error
        self.log.info("Published %s again.", counted(len(found), "DLQ message"))
        return [PublishedMessage(message_id) for message_id in found]

    def _entries(self, context: Context) -> list[DlqEntry]:
        selection = self.selection()
        if context.get("task_state_store") is not None or is_first_attempt(self, context):
            found: list[DlqEntry] = self.hook.dlq_entries(**selection)
            return found
        # An earlier attempt may have retried some; those that failed again are other DLQ messages.
        if self.dlq_id is None and self.dlq_ids is None:
            raise AirflowFailException(
                "An earlier attempt may have retried DLQ messages, and below Airflow 3.3 nothing says which. "
                "Nothing was sent. Clear this task to retry the DLQ messages that match now."
            )
        given = validation.object_ids(self.dlq_id or self.dlq_ids, "dlq_ids")
        try:
            entries: list[DlqEntry] = self.hook.dlq_entries(**selection)
        except NotFoundError:
            entries = []
        if missing := sorted(set(given) - {one.dlq_id for one in entries}):
            raise AirflowFailException(
                "An earlier attempt may have retried these DLQ messages, which are not in the queue or do "
                f"not match: {', '.join(missing)}. Nothing was sent. Look in QStash's logs for their new "
                "messages. Clear this task without those ids to retry the others."
            )
        return entries


class QStashDeleteDlqOperator(_SelectsDlqMessages, QStashOperator):
    """Deletes DLQ messages permanently; returns how many.

    A message must match all filters; at least one, or ``dlq_id``, must be given. Those that match are listed
    first, and deleted by their ids. From Airflow 3.3 on a later attempt deletes, and counts, the same.
    """

    def act(self, hook: QStashHook, context: Context) -> int:
        """Delete them."""
        pages = StoredPages(context, self.log, "qstash_dlq_delete")
        try:
            if not pages.is_resumed:
                pages.begin(hook.dlq_entries(**self.selection()))
        except NotFoundError:
            self.log.info("There is no such DLQ message (any more).")
            return 0
        return sum(delete_entries(hook.client, page.left) for page in pages.pages)

    def summary(self, found: int) -> str:
        """Return how many were deleted."""
        return f"Deleted {counted(found, 'DLQ message')}."


class QStashCancelMessageOperator(QStashOperator):
    """Cancels messages that are not delivered yet; returns how many this attempt has cancelled.

    Where an answer was lost, the log says that there may be more. A message that is no longer in flight is
    not an error. All that match a filter are cancelled only with ``filters``, never because an id came out
    empty.

    :param message_id: the message's id, or a list of ids. Templated.
    :param filters: instead of ids: which messages to cancel, by ``url``, ``host``, ``path``, ``url_group``,
        ``queue``, ``labels``, ``schedule_id``, ``caller_ip``, ``flow_control_key``, ``from_date``,
        ``to_date``; at least one. Templated.
    """

    template_fields: Sequence[str] = ("message_id", "filters", "qstash_conn_id")
    checks = check.CANCEL

    def __init__(
        self, *, message_id: Words | None = None, filters: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.message_id = message_id
        self.filters = filters
        self.check_together()

    def refuse_together(self) -> None:
        """Refuse to choose between two selections, or without one."""
        if (self.message_id is None) == (self.filters is None):
            raise InvalidArgumentError(
                "give message_id, or filters to cancel all messages that match; not both"
            )

    def act(self, hook: QStashHook, context: Context) -> int:
        """Cancel them."""
        if self.filters is not None:
            cancelled = hook.cancel_messages(**dict(self.filters))
        else:
            cancelled = self._cancel_ids(hook)
        return cancelled

    def summary(self, found: int) -> str:
        """Return how many were cancelled."""
        return f"Cancelled {counted(found, 'message')}."

    def _cancel_ids(self, hook: QStashHook) -> int:
        ids = validation.object_ids(self.message_id, "message_id")
        taken = hook.client.taken
        if len(ids) > 1:
            slices = (ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH))
            return sum(hook.cancel_messages(message_ids=some) for some in slices)
        try:
            hook.cancel_message(ids[0])
        except NotFoundError:
            if hook.client.taken > taken + 1:
                # An answer was lost before this one.
                outcome = hook.get_outcomes(ids)[ids[0]]
                self.log.info("QStash message %s: the logs say %s.", ids[0], outcome.status or "nothing yet")
                return int(outcome.state is TaskState.CANCELLED or outcome.status == "CANCEL_REQUESTED")
            self.log.info("QStash message %s is no longer in flight.", ids[0])
            return 0
        return 1
