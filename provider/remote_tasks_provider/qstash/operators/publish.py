"""Operators that publish QStash messages, once, and may wait for their outcome."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from remote_tasks_provider.bases.exceptions import request_exception
from remote_tasks_provider.bases.operators import RemoteTaskOperator, Submitted
from remote_tasks_provider.bases.requests import sending
from remote_tasks_provider.bases.webhooks import webhook_url
from remote_tasks_provider.core.errors import (
    ConnectionConfigError,
    InvalidArgumentError,
    RemoteTaskError,
    TaskFailedError,
)
from remote_tasks_provider.core.log import counted
from remote_tasks_provider.core.polling.result import WaitResult
from remote_tasks_provider.core.submission import may_have_submitted
from remote_tasks_provider.qstash.api.options import PublishOptions
from remote_tasks_provider.qstash.api.v2_models import PublishedMessage
from remote_tasks_provider.qstash.connected import QStashConnected
from remote_tasks_provider.qstash.hooks import QStashHook
from remote_tasks_provider.qstash.models import public_url
from remote_tasks_provider.qstash.operators import checks as check
from remote_tasks_provider.qstash.service import QSTASH_MESSAGE
from remote_tasks_provider.qstash.submission import Order, Publisher, recall
from remote_tasks_provider.qstash.triggers import QStashMessageTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["QStashPublishBatchOperator", "QStashPublishOperator"]

MESSAGES_KEY = "message_ids"
"""The XCom key that holds the ids of the messages that were published."""


class MessageOperator(QStashConnected, RemoteTaskOperator):
    """An operator that publishes messages and may wait for their delivery.

    :param wait_for_completion: wait until all messages are delivered, failed or cancelled.
    :param not_found_grace: seconds for which the logs may have no entry of a message.
    :param qstash_conn_id: the Airflow connection. Templated.
    """

    remote_task_type = QSTASH_MESSAGE
    trigger_class = QStashMessageTrigger
    still_running = "may still be delivered"
    deduplication_id: str | None = None
    """A parameter where the message carries one."""
    are_own = True
    """Whether this task has published the messages itself."""

    def __init__(
        self,
        *,
        wait_for_completion: bool = False,
        poll_interval: float | str | timedelta = 15.0,
        not_found_grace: float | str | timedelta = 300.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            wait_for_completion=wait_for_completion,
            poll_interval=poll_interval,
            not_found_grace=not_found_grace,
            **kwargs,
        )

    def publish(self, context: Context) -> list[PublishedMessage]:
        """Publish the messages."""
        raise NotImplementedError

    def result(self, messages: Sequence[PublishedMessage]) -> Any:
        """Return what the operator returns without waiting."""
        return [message.message_id for message in messages]

    def is_single(self, messages: Sequence[PublishedMessage] | None) -> bool:
        """Whether a wait returns one record, not a list; ``messages`` is ``None`` where it is not known."""
        return False

    def submit(self, context: Context) -> Submitted:
        """Publish, or re-attach to what an earlier attempt has published."""
        known = recall(self, context)
        with sending(self.hook):
            messages = known or self.publish(context)
        for message in messages:
            if message.message_id:
                how = "was published before" if message.deduplicated else "is published"
                self.log.info("QStash message %s %s.", message.message_id, how)
        ids = [message.message_id for message in messages if message.message_id]
        context["ti"].xcom_push(key=MESSAGES_KEY, value=ids)
        refused = [f"{public_url(one.url)}: {one.error}" for one in messages if one.error]
        if refused:
            error = TaskFailedError(
                f"{len(refused)} of {len(messages)} refused: {'; '.join(refused[:5])}. The XCom "
                f"{MESSAGES_KEY} has the others."
            )
            raise request_exception(error)
        # An older version has not recorded whose they are.
        are_own = self.deduplication_id is None if known else self.are_own
        if self.wait_for_completion and self.cancel_on_kill and not are_own:
            self.log.info(
                "The message was published before, perhaps by another task: a kill does not cancel it."
            )
        return Submitted(ids, self.result(messages), are_own, {"single": self.is_single(messages)})

    def collect(self, context: Context, result: WaitResult) -> Any:
        """Return the records of the messages."""
        result.report(self.remote_task_type.label, self.log)
        records = result.in_order(self.carried["ids"])
        return records[0] if self.carried.get("single", self.is_single(None)) else records

    def what_remains(self, context: Context) -> str:
        """Return what a reader must know when the wait is over and the messages are not finished."""
        return "The messages were left as they are and may still be delivered."


class QStashPublishOperator(MessageOperator):
    """Publishes a message: QStash delivers it to a URL, or to each URL of a group, and repeats what fails.

    The message carries a deduplication id made of the deployment, the DAG, the run, the task, its map index
    or loop iteration, and the destination, so that a retried task, a lost answer or a 429 leads to one
    message, whatever its body is then. QStash remembers such an id for ten minutes
    (https://upstash.com/docs/qstash/features/deduplication). From Airflow 3.3 on a retry waits for the
    messages of the attempt before, and an answer that was lost longer ago is left to you; below that, a retry
    later than ten minutes publishes again. A cleared task publishes again, too. See
    ``docs/concepts/submitting.md``.

    Returns ``{"message_id": …, "deduplicated": …, "url": …}``, or a list of those for a URL group. With
    ``wait_for_completion`` it returns what
    :class:`~remote_tasks_provider.qstash.sensors.QStashMessageSensor` returns, as a list for a URL group.

    .. code-block:: python

        notify = QStashPublishOperator(
            task_id="notify", destination="https://example.com/hook", body={"run": "{{ run_id }}"},
            wait_for_completion=True, deferrable=True,
        )

    :param destination: a URL with its scheme, or the name of a URL group. Templated.
    :param body: text, bytes, or a JSON value. Templated.
    :param url_group: the name of a URL group, where it could be taken for a host. Templated.
    :param qstash_queue: the queue to put it into, which delivers in order. Templated.
    :param method: of the delivery. Templated.
    :param headers: headers for the destination. Templated.
    :param delay: when to deliver: in so many seconds, a ``timedelta`` or ``1d10h30m``. Templated.
    :param not_before: when to deliver: an aware ``datetime``, ISO 8601 or Unix seconds. Templated.
    :param delivery_retries: how often QStash repeats a failed delivery; default 3, over about 33 minutes.
        (``retries`` is Airflow's, for this task.)
    :param delivery_retry_delay: milliseconds between deliveries, as QStash's formula in ``retried``.
    :param delivery_timeout: how long a destination may take to answer: seconds, a ``timedelta`` or ``2m``.
    :param deduplication_id: another id than the one of the task; ``""`` for none, and then a lost answer
        fails the task without a retry. Templated.
    :param callback: a URL that QStash calls for every delivery. Templated.
    :param callback_options: how it is called: ``{"headers": {…}, "method": …, "retries": …, "retry_delay":
        …, "delay": …, "timeout": …}``, each as for the message itself. Templated.
    :param failure_callback: a URL that QStash calls when the message has failed. Templated.
    :param failure_callback_options: how it is called, likewise. Templated.
    :param notify_airflow: call the receiver of webhooks for every delivery and when the message has failed,
        so that a deferred wait polls at once; instead of ``callback`` and ``failure_callback``. Each call
        counts as a message of your account. See ``docs/how-to/webhooks.md``.
    :param flow_control: ``{"key": …, "parallelism": …, "rate": …, "period": …}``.
    :param labels: by which logs and DLQ messages can be filtered. Templated.
    :param redact: what to hide in the logs, as QStash writes it: ``body, header[Authorization]``.
    :param extra_headers: headers for QStash that this provider does not know yet, such as
        ``{"Upstash-New-Option": "5"}``. Only their form is checked. Templated.
    """

    checks = check.PUBLISH
    template_fields: Sequence[str] = (
        "destination",
        "body",
        "url_group",
        "qstash_queue",
        "method",
        "headers",
        "delay",
        "not_before",
        "deduplication_id",
        "callback",
        "callback_options",
        "failure_callback",
        "failure_callback_options",
        "labels",
        "extra_headers",
        "qstash_conn_id",
    )

    def __init__(
        self,
        *,
        destination: str | None = None,
        body: Any = None,
        url_group: str | None = None,
        qstash_queue: str | None = None,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        delay: float | str | timedelta | None = None,
        not_before: datetime | int | str | None = None,
        delivery_retries: int | str | None = None,
        delivery_retry_delay: str | None = None,
        delivery_timeout: float | str | timedelta | None = None,
        deduplication_id: str | None = None,
        callback: str | None = None,
        callback_options: Mapping[str, Any] | None = None,
        failure_callback: str | None = None,
        failure_callback_options: Mapping[str, Any] | None = None,
        notify_airflow: bool = False,
        flow_control: Mapping[str, Any] | None = None,
        labels: str | Iterable[str] | None = None,
        redact: str | None = None,
        extra_headers: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.body = body
        self.url_group = url_group
        self.qstash_queue = qstash_queue
        self.method = method
        self.headers = headers
        self.delay = delay
        self.not_before = not_before
        self.delivery_retries = delivery_retries
        self.delivery_retry_delay = delivery_retry_delay
        self.delivery_timeout = delivery_timeout
        self.deduplication_id = deduplication_id
        self.callback = callback
        self.callback_options = callback_options
        self.failure_callback = failure_callback
        self.failure_callback_options = failure_callback_options
        self.notify_airflow = notify_airflow
        self.flow_control = flow_control
        self.labels = labels
        self.redact = redact
        self.extra_headers = extra_headers
        self.check_together()

    def refuse_together(self) -> None:
        """Refuse what cannot be published or kept in a queue."""
        check.one_destination(self.destination, self.url_group)
        if self.delay is not None and self.not_before is not None:
            raise InvalidArgumentError("delay and not_before are both given; choose one")
        if self.qstash_queue is not None and (self.delay is not None or self.not_before is not None):
            raise InvalidArgumentError(
                "delay or not_before is given with qstash_queue, which delivers in order; leave out one"
            )

        if self.notify_airflow and (self.callback is not None or self.failure_callback is not None):
            raise InvalidArgumentError(
                "notify_airflow is given with callback or failure_callback, which would be the receiver's; "
                "leave out one"
            )

    def publish(self, context: Context) -> list[PublishedMessage]:
        """Publish the message."""
        given = PublishOptions.values_of(self) | {"deduplication_id": self.deduplication_id or None}
        if self.notify_airflow:
            url = webhook_url(QStashHook.manifest.folder, self.qstash_conn_id)
            given |= {"callback": url, "failure_callback": url}
        options = self.hook.order(**given)
        order = Order(options, "" if self.deduplication_id is None else None)
        publisher = Publisher(self, context, self.hook.client, grace=self.not_found_grace)
        try:
            (found,) = publisher.publish([order], self._send)
        except RemoteTaskError as error:
            raise _not_published(error, has_key=self.deduplication_id != "") from error
        self.are_own = publisher.are_own
        return found

    def _send(
        self, some: Sequence[PublishOptions], *, give_up_at: float | None
    ) -> list[list[PublishedMessage]]:
        return [self.hook.send(one, give_up_at=give_up_at) for one in some]

    def result(self, messages: Sequence[PublishedMessage]) -> Any:
        """Return the message, or a list for a URL group."""
        return _as_json(messages)

    def is_single(self, messages: Sequence[PublishedMessage] | None) -> bool:
        """Whether the destination is a URL, and not a group of them."""
        return "://" in str(self.destination or "") if messages is None else _is_single(messages)


class QStashPublishBatchOperator(MessageOperator):
    """Publishes many messages with one request, and may wait for their outcome.

    Each element is a dict of the parameters of :class:`QStashPublishOperator`, ``destination`` (or
    ``url_group``) and ``body`` among them. If it has no deduplication id of its own, it gets one as from
    :class:`QStashPublishOperator`, of its place in the list too. From Airflow 3.3 on a retry sends only what
    was not accepted, and so does a cleared task until all was accepted; then it sends all again.

    Returns a list in the order of ``messages``, each ``{"message_id": …, "deduplicated": …, "url": …,
    "error": …}``, or a list of those for a URL group. An element that QStash refused has an ``error``; the
    others are sent all the same. The operator then fails, with all results in XCom under ``published``,
    unless ``raise_on_failure`` is off.

    With ``wait_for_completion`` it returns a list of what
    :class:`~remote_tasks_provider.qstash.sensors.QStashMessageSensor` returns, one for each message that was
    accepted, in the same order.

    :param messages: the messages. Templated.
    :param raise_on_failure: fail when an element was refused, or when a message that was waited for failed or
        was cancelled.
    """

    checks = check.BATCH
    template_fields: Sequence[str] = ("messages", "qstash_conn_id")

    def __init__(
        self, *, messages: Iterable[Mapping[str, Any]], raise_on_failure: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(raise_on_failure=raise_on_failure, **kwargs)
        self.messages = messages

    def submit(self, context: Context) -> Submitted:
        """Publish all."""
        with sending(self.hook):
            batch = self._batch(self.hook)
            publisher = Publisher(self, context, self.hook.client, grace=self.not_found_grace)
            try:
                published = publisher.publish(batch, self.hook.publish_batch)
            except RemoteTaskError as error:
                has_key = all(order.part is not None or order.options.has_key for order in batch)
                raise _not_published(error, has_key=has_key) from error
            results = [_as_json(messages) for messages in published]
            accepted = [one.message_id for messages in published for one in messages if one.message_id]
            context["ti"].xcom_push(key=MESSAGES_KEY, value=accepted)
            self._report(context, published, results)
        return Submitted(accepted, results, publisher.are_own)

    def _report(
        self, context: Context, published: Sequence[Sequence[PublishedMessage]], results: list[Any]
    ) -> None:
        refused = [
            f"messages[{index}]: {message.error}"
            for index, messages in enumerate(published)
            for message in messages
            if message.error
        ]
        self.log.info(
            "Published %d of %s.", len(published) - len(refused), counted(len(published), "element")
        )
        if refused and self.raise_on_failure:
            context["ti"].xcom_push(key="published", value=results)
            raise TaskFailedError(f"{len(refused)} of {len(published)} refused: {'; '.join(refused[:5])}")

    def _batch(self, hook: QStashHook) -> list[Order]:
        batch: list[Order] = []
        for index, given in enumerate(self.messages):
            options = {"destination": None, **given}
            is_default = "deduplication_id" not in given and not given.get("content_based_deduplication")
            try:
                batch.append(Order(hook.order(**options), str(index) if is_default else None))
            except ConnectionConfigError:
                # A ValueError too, but it concerns all messages.
                raise
            except (TypeError, ValueError) as error:
                raise InvalidArgumentError(f"messages[{index}]: {error}") from None
        if not batch:
            raise InvalidArgumentError("the batch is empty; give at least one message")
        return batch


def _not_published(error: RemoteTaskError, *, has_key: bool) -> BaseException:
    """Return what to raise when publishing failed; with a key, QStash would recognise a repeat."""
    if not has_key and may_have_submitted(error):
        return AirflowFailException(
            f"{error} It is not known whether the message was accepted, and without a deduplication id a "
            "retry would send it again. Check QStash's logs, then clear this task."
        )
    return request_exception(error)


def _is_single(messages: Sequence[PublishedMessage]) -> bool:
    """Whether it is one message to a URL, and not the only one of a URL group."""
    return len(messages) == 1 and messages[0].url is None


def _as_json(messages: Sequence[PublishedMessage]) -> Any:
    records = [message.to_json() for message in messages]
    return records[0] if _is_single(messages) else records
