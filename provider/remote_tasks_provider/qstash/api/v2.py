"""QStash API v2, messages: what is sent, and how the response is read. No I/O.

https://upstash.com/docs/qstash. Publishing is keyed when the message carries a deduplication id (or a hash of
its content), and not idempotent otherwise; the other operations are idempotent unless they say so. Schedules,
queues and URL groups are in :mod:`.settings`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, model_validator

from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import InvalidArgumentError
from remote_tasks_provider.core.http.operation import Idempotency, Operation, Page, Request, path
from remote_tasks_provider.core.http.parsing import (
    Items,
    LenientBool,
    LenientInt,
    LenientStr,
    OrEmpty,
    Reader,
    RemoteModel,
    one_line,
)
from remote_tasks_provider.qstash.api.filters import (
    DLQ_FILTERS,
    LOG_FILTERS,
    MESSAGE_FILTERS,
    Filters,
    filters_of,
    narrowing,
)
from remote_tasks_provider.qstash.api.operations import CursorPage, acknowledged, paged
from remote_tasks_provider.qstash.api.options import PublishOptions
from remote_tasks_provider.qstash.api.v2_models import (
    CreatedMessage,
    DlqMessage,
    LogEntry,
    PublishedMessage,
)

__all__ = [
    "MAX_PAGE_SIZE",
    "UNREADABLE",
    "cancel_by_ids",
    "cancel_message",
    "cancel_messages",
    "delete_dlq_message",
    "delete_dlq_messages",
    "get_dlq_message",
    "get_message",
    "list_created",
    "list_dlq_messages",
    "list_logs",
    "publish",
    "publish_batch",
    "retry_dlq_message",
    "retry_dlq_messages",
]

MAX_PAGE_SIZE = 100
"""Entries a page of logs or DLQ messages; older pages of the documentation name other numbers."""

MAX_CANCELLED = 500
"""Messages that one request cancels at most."""


class _LogPage(CursorPage):
    # Documented as "logs"; the service sends "events".
    events: Items[LogEntry] | None = None
    logs: Items[LogEntry] | None = None

    def entries(self) -> list[LogEntry]:
        if self.events is None and self.logs is None:
            raise ValueError("neither 'events' nor 'logs' is there")
        return self.events if self.events is not None else self.logs or []


class _DlqPage(CursorPage):
    messages: Items[DlqMessage] | None = None

    def entries(self) -> list[DlqMessage]:
        if self.messages is None:
            raise ValueError("'messages' is missing")
        return self.messages


class _Published(RemoteModel):
    message_id: LenientStr = Field(default=None, alias="messageId")
    deduplicated: LenientBool = None
    url: LenientStr = None
    error: LenientStr = None

    @model_validator(mode="after")
    def _check(self) -> _Published:
        if not self.message_id and not self.error:
            raise ValueError("'messageId' is missing")
        return self

    def message(self) -> PublishedMessage:
        """Return the message, or the refused element of a batch."""
        return PublishedMessage(
            self.message_id or "",
            bool(self.deduplicated),
            self.url,
            self.error if not self.message_id else None,
        )


class _Group(RemoteModel):
    # Not lenient: a wait for some of a group's messages would not be one for all.
    messages: list[_Published]


class _CreatedPage(_LogPage):
    # For the messages that a lost answer would have named.
    events: Items[CreatedMessage] | None = None  # type: ignore[assignment]
    logs: Items[CreatedMessage] | None = None  # type: ignore[assignment]


class _Retried(RemoteModel):
    responses: list[Annotated[_Published, OrEmpty(lambda: _unreadable())]] | None = None


class _Deleted(RemoteModel):
    deleted: LenientInt = None


class _Cancelled(RemoteModel):
    cancelled: LenientInt = None


UNREADABLE = "what QStash answered for it cannot be read; its logs say whether it was accepted"
"""The error of an element whose answer is odd: it may have been accepted."""


def _unreadable() -> _Published:
    return _Published(error=UNREADABLE)


_Answer = _Group | list[_Published] | _Published


_read_logs = Reader(_LogPage)
_read_created = Reader(_CreatedPage)
_read_dlq = Reader(_DlqPage)
_read_dlq_message = Reader(DlqMessage)
_read_published = Reader(_Answer)
_read_batch = Reader(list[Annotated[_Answer, OrEmpty(_unreadable)]])
_read_retried = Reader(_Retried)
_read_deleted = Reader(_Deleted)
_read_message = Reader(dict[str, Any])
_read_cancelled = Reader(_Cancelled)


def list_logs(
    filters: Filters, *, page_size: int = MAX_PAGE_SIZE, cursor: str | None = None
) -> Operation[Page[LogEntry]]:
    """``GET /v2/logs``: what happened to messages, newest first."""
    request = Request("GET", "/v2/logs", query=(*filters, ("count", str(page_size))))
    return paged("GET /v2/logs", request, "QStash's logs", _read_logs, cursor=cursor, is_private=True)


def list_dlq_messages(filters: Filters, *, page_size: int = MAX_PAGE_SIZE) -> Operation[Page[DlqMessage]]:
    """``GET /v2/dlq``: the messages in the dead letter queue, whose attempts have all failed."""
    request = Request("GET", "/v2/dlq", query=(*filters, ("count", str(page_size))))
    return paged("GET /v2/dlq", request, "QStash's DLQ messages", _read_dlq, is_private=True)


def list_created(from_date: float, to_date: float) -> Operation[Page[CreatedMessage]]:
    """``GET /v2/logs``: the messages that were accepted between two moments, newest first."""
    given = {"state": "CREATED", "from_date": int(from_date), "to_date": int(to_date) + 1}
    query = (*filters_of(given, LOG_FILTERS), ("count", str(MAX_PAGE_SIZE)))
    request = Request("GET", "/v2/logs", query=query)
    return paged("GET /v2/logs", request, "QStash's logs", _read_created, is_private=True)


def publish(options: PublishOptions) -> Operation[list[PublishedMessage]]:
    """``POST /v2/publish`` or, into a queue, ``/v2/enqueue``: one message for each destination.

    A message of a URL group that was refused has an ``error`` instead of a ``message_id``.
    The destination is in the path as it is: QStash accepts no percent-encoded one.
    """
    if options.queue is None:
        name, prefix = "POST /v2/publish", "/v2/publish/"
    else:
        name, prefix = "POST /v2/enqueue", path("/v2/enqueue/{queue}/", queue=options.queue)
    return Operation(
        name=name,
        request=Request(
            "POST", f"{prefix}{options.target}", content=options.content, headers=options.sent_headers
        ),
        expects="a published message",
        parse=lambda response: _some_accepted(_messages(_read_published(response))),
        idempotency=Idempotency.KEYED if options.has_key else Idempotency.NOT_IDEMPOTENT,
    )


def publish_batch(batch: Sequence[PublishOptions]) -> Operation[list[list[PublishedMessage]]]:
    """``POST /v2/batch``: many messages with one request; returns a list for each.

    An element that was refused has an ``error`` instead of a ``message_id``; the others are sent.
    """
    elements = [
        {
            "destination": options.target,
            **({"queue": options.queue} if options.queue else {}),
            "headers": dict(options.sent_headers),
            **({"body": _as_text(options.content)} if options.content else {}),
        }
        for options in batch
    ]
    return Operation(
        name="POST /v2/batch",
        request=Request(
            "POST",
            "/v2/batch",
            content=json.dumps(elements, ensure_ascii=False).encode(),
            headers=(("Content-Type", "application/json"),),
        ),
        expects="published messages",
        parse=lambda response: _of_batch(_read_batch(response), len(batch)),
        idempotency=Idempotency.KEYED
        if all(options.has_key for options in batch)
        else Idempotency.NOT_IDEMPOTENT,
    )


def _as_text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise InvalidArgumentError(
            "a batch is sent as JSON, which holds text only: publish this body by itself, or encode it, as "
            f"with base64 ({base64.b64encode(body[:12]).decode()}…)"
        ) from None


def _messages(answer: Any) -> list[PublishedMessage]:
    found = answer.messages if isinstance(answer, _Group) else answer
    return [one.message() for one in (found if isinstance(found, list) else [found])]


def _of_batch(answers: Sequence[Any], count: int) -> list[list[PublishedMessage]]:
    found = [_messages(one) for one in answers]
    if len(found) != count:
        # Nobody can tell which answer is missing. A repeat would, where QStash recognises it.
        ids = ", ".join(one.message_id for messages in found for one in messages if one.message_id)
        raise ValueError(f"there are {len(found)} answers to {count} messages; accepted: {ids or 'none'}")
    return found


def _some_accepted(messages: list[PublishedMessage]) -> list[PublishedMessage]:
    """Return a URL group's messages, of which some may have been refused."""
    return messages if any(one.message_id for one in messages) else _accepted(messages)


def _accepted(messages: list[PublishedMessage]) -> list[PublishedMessage]:
    """Return messages that all have an id: a wait without an id would be one for any message."""
    if not messages:
        raise ValueError("there is no message")
    for message in messages:
        if message.error is not None:
            raise ValueError(f"a message was refused: {one_line(message.error)}")
    return messages


def get_message(message_id: str) -> Operation[Any]:
    """``GET /v2/messages/{messageId}``: a message that is in flight. One that has finished answers 404."""
    place = path("/v2/messages/{message_id}", message_id=validation.object_id(message_id, "message_id"))
    name = "GET /v2/messages/{messageId}"
    return Operation(name, Request("GET", place), "a message", _read_message, is_private=True)


def cancel_message(message_id: str) -> Operation[None]:
    """``DELETE /v2/messages/{messageId}``: one message. Without an id it would be all messages."""
    place = path("/v2/messages/{message_id}", message_id=validation.object_id(message_id, "message_id"))
    return acknowledged("DELETE /v2/messages/{messageId}", Request("DELETE", place))


def cancel_messages(filters: Filters) -> Operation[int]:
    """``DELETE /v2/messages``: messages that match, 500 at most; returns how many. Needs a filter."""
    return Operation(
        "DELETE /v2/messages",
        Request("DELETE", "/v2/messages", query=(*narrowing(filters), ("count", str(MAX_CANCELLED)))),
        "a count",
        lambda response: _read_cancelled(response).cancelled or 0,
    )


def cancel_by_ids(message_ids: Sequence[str]) -> Operation[int | None]:
    """Like :func:`cancel_messages`, for up to 100 ids; ``None`` where QStash gives no count."""
    operation = cancel_messages(filters_of({"message_ids": message_ids}, MESSAGE_FILTERS))
    return Operation(
        operation.name, operation.request, operation.expects, lambda answer: _read_cancelled(answer).cancelled
    )


def delete_dlq_message(dlq_id: str) -> Operation[None]:
    """``DELETE /v2/dlq/{dlqId}``."""
    place = path("/v2/dlq/{dlq_id}", dlq_id=validation.object_id(dlq_id, "dlq_id"))
    return acknowledged("DELETE /v2/dlq/{dlqId}", Request("DELETE", place))


def get_dlq_message(dlq_id: str) -> Operation[DlqMessage]:
    """``GET /v2/dlq/{dlqId}``: one that has left the dead letter queue answers 404."""
    place = path("/v2/dlq/{dlq_id}", dlq_id=validation.object_id(dlq_id, "dlq_id"))
    request = Request("GET", place)
    return Operation("GET /v2/dlq/{dlqId}", request, "a DLQ message", _read_dlq_message, is_private=True)


def delete_dlq_messages(dlq_ids: Sequence[str]) -> Operation[int]:
    """``DELETE /v2/dlq``: up to 100 DLQ messages; returns how many there were."""
    return Operation(
        "DELETE /v2/dlq",
        Request("DELETE", "/v2/dlq", query=_ids(dlq_ids)),
        "a count",
        lambda response: _read_deleted(response).deleted or 0,
    )


def retry_dlq_message(dlq_id: str) -> Operation[PublishedMessage]:
    """``POST /v2/dlq/retry/{dlqId}``: publishes a DLQ message again, as a new message."""
    place = path("/v2/dlq/retry/{dlq_id}", dlq_id=validation.object_id(dlq_id, "dlq_id"))
    return Operation(
        "POST /v2/dlq/retry/{dlqId}",
        Request("POST", place),
        "a published message",
        lambda response: _accepted(_messages(_read_published(response)))[0],
        # A retried message leaves the dead letter queue: a repeat finds nothing, and publishes nothing twice.
        Idempotency.KEYED,
    )


def retry_dlq_messages(dlq_ids: Sequence[str]) -> Operation[list[PublishedMessage]]:
    """``POST /v2/dlq/retry``: publishes up to 100 DLQ messages again, by their ids.

    It returns the new messages of those that were in the queue, without saying which is whose. One that
    QStash refuses has an ``error``.
    """
    return Operation(
        "POST /v2/dlq/retry",
        Request("POST", "/v2/dlq/retry", query=_ids(dlq_ids)),
        "new messages",
        lambda response: [one.message() for one in _read_retried(response).responses or []],
        # As for one: a repeat finds what is left, and publishes nothing twice.
        Idempotency.KEYED,
    )


def _ids(dlq_ids: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return tuple(narrowing(filters_of({"dlq_ids": dlq_ids}, DLQ_FILTERS)))
