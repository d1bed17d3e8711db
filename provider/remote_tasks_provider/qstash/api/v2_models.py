"""The responses of API v2, typed: messages, their outcomes, DLQ messages.

Schema: https://upstash.com/docs/qstash. There is no task object: a message's outcome is in the logs and, when
it failed, in the dead letter queue. Entries carry the headers and bodies that were forwarded, which may hold
secrets; they are skipped while parsing, so that nothing can show them.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Self

from pydantic import AliasChoices, Field, ModelWrapValidatorHandler, PrivateAttr, model_validator

from remote_tasks_provider.core.http.parsing import (
    Items,
    LenientInt,
    LenientStr,
    Moment,
    OrEmpty,
    one_line,
)
from remote_tasks_provider.core.states import TaskSnapshot, TaskState
from remote_tasks_provider.qstash.models import QSTASH_STATES, NamedFieldsModel, Url, public_url

__all__ = [
    "CreatedMessage",
    "DlqMessage",
    "LogEntry",
    "MessageOutcome",
    "PublishedMessage",
    "outcome_of",
    "redacted",
    "snapshot_of",
]

_MAX_RESPONSE = 300
_LONG_WORD = re.compile(r"[A-Za-z0-9+/_=-]{20,}(\.[A-Za-z0-9+/_=-]{6,})*")
# A name that stands for a secret, and its value: quoted, also where JSON is in JSON, or bare.
_NAMED_SECRET = re.compile(
    r"(?i)([\w-]*(?:pass|token|secret|key|auth|cookie|session|credential)[\w-]*(?:\\*[\"'])?\s*[:=]\s*)"
    r"(\\+\".*?(?:\\+\"|$)|\"(?:\\.|[^\"\\])*(?:\"|$)|'(?:\\.|[^'\\])*(?:'|$)"
    r"|(?:(?:bearer|basic|digest|token)\s+)?[^\s,;&}\"']+)",
    re.DOTALL,
)
_SCHEME_AND_SECRET = re.compile(r"(?i)\b(bearer|basic)\s+[^\s,;\"'\\]+")
# What a cut may have left of a word: too little to recognise a secret.
_LAST_WORD = re.compile(r"[A-Za-z0-9+/_=.-]+\Z")


class _MessageFacts(NamedFieldsModel):
    """What both a log entry and a DLQ message have."""

    message_id: str = Field(alias="messageId", min_length=1)
    url: Url = Field(default=None, repr=False)
    url_group: LenientStr = Field(default=None, alias="topicName")
    endpoint_name: LenientStr = Field(default=None, alias="endpointName")
    schedule_id: LenientStr = Field(default=None, alias="scheduleId")
    queue: LenientStr = Field(default=None, alias="queueName")
    response_status: LenientInt = Field(default=None, alias="responseStatus")
    max_retries: LenientInt = Field(default=None, alias="maxRetries")
    labels: Annotated[Items[str], OrEmpty(list)] = Field(default_factory=list)


class LogEntry(_MessageFacts):
    """One event of a message.

    :param status: QStash's own word, its field ``state``; :attr:`state` says what it means.
    :param error: why an attempt failed.
    :param next_delivery_at: when the next attempt is due.
    :param response_status: the destination's HTTP status.
    """

    status: Annotated[str, OrEmpty(str)] = Field(default="", alias="state")
    time: Moment = None
    error: LenientStr = Field(default=None, repr=False)
    next_delivery_at: Moment = Field(default=None, alias="nextDeliveryTime")

    @property
    def state(self) -> TaskState:
        """The message's state after this event."""
        return QSTASH_STATES.read(self.status)

    def to_json(self) -> dict[str, Any]:
        """Return the entry as a JSON object: the destination without its query, the error redacted."""
        error = redacted(self.error) if self.error else None
        return super().to_json() | {"state": self.state.value, "error": error}


class _ContentHash(_MessageFacts):
    """A message that is recognised by its destination and body, which are not kept."""

    _content: str = PrivateAttr(default="")

    @property
    def content(self) -> str:
        """A hash of the destination and the body."""
        return self._content

    @model_validator(mode="wrap")
    @classmethod
    def _hash(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        found = handler(data)
        if isinstance(data, dict):
            destination = (found.url or "").encode(errors="replace")
            found._content = hashlib.sha256(destination + b"\0" + cls._body(data)).hexdigest()[:16]
        return found

    @staticmethod
    def _body(data: dict[str, Any]) -> bytes:
        return _decoded(data.get("body"))


class CreatedMessage(_ContentHash):
    """A message as the first entry of its log shows it."""


class DlqMessage(_ContentHash):
    """A message in the dead letter queue: all its attempts have failed.

    :param dlq_id: the id to retry or delete it by.
    :param response: the destination's last response, cut and redacted.
    """

    dlq_id: LenientStr = Field(default=None, alias="dlqId")
    method: LenientStr = None
    created_at: Moment = Field(default=None, alias="createdAt")
    response_text: LenientStr = Field(default=None, alias="responseBody", exclude=True, repr=False)
    response_base64: LenientStr = Field(
        default=None,
        validation_alias=AliasChoices("responseBodyBase64", "response_base64"),
        exclude=True,
        repr=False,
    )

    @staticmethod
    def _body(data: dict[str, Any]) -> bytes:
        text = data.get("body")
        return text.encode(errors="replace") if isinstance(text, str) else _decoded(data.get("bodyBase64"))

    @property
    def response(self) -> str | None:
        """The destination's last response, cut and redacted."""
        text = self.response_text
        if not text and self.response_base64:
            try:
                text = base64.b64decode(self.response_base64).decode("utf-8", "replace")
            except ValueError:
                return None
        return redacted(text) if text else None

    def to_json(self) -> dict[str, Any]:
        """Return the message as a JSON object: no header, no body, the destination without its query."""
        return super().to_json() | {"response": self.response}


def _decoded(text: Any) -> bytes:
    try:
        return base64.b64decode(text or "")
    except (TypeError, ValueError):
        return b""


@dataclass(frozen=True, slots=True)
class PublishedMessage:
    """A message that QStash has accepted.

    :param deduplicated: whether it was accepted before: this is the earlier message, and nothing new is sent.
    :param url: the destination, where a URL group has several.
    :param error: why this element of a batch was refused; then there is no ``message_id``.
    """

    message_id: str
    deduplicated: bool = False
    url: str | None = field(default=None, repr=False)
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object, the destination without its query."""
        return {**asdict(self), "url": public_url(self.url)}


@dataclass(frozen=True, slots=True)
class MessageOutcome:
    """The outcome of a message.

    :param state: ``unknown`` when the logs have no entry of it: not yet, not any more, or never.
    :param status: QStash's own word.
    :param dlq_id: the id of a failed message in the dead letter queue.
    :param response_status: the destination's last HTTP status.
    :param response: the destination's last response, cut and redacted.
    :param next_delivery_at: when the next attempt is due; ISO 8601.
    """

    message_id: str
    state: TaskState
    status: str = ""
    url: str | None = None
    error: str | None = None
    dlq_id: str | None = None
    response_status: int | None = None
    response: str | None = None
    at: Any = None
    next_delivery_at: Any = None

    def with_dlq_message(self, dlq_message: DlqMessage) -> MessageOutcome:
        """Return the outcome with the facts of the DLQ message."""
        return replace(
            self,
            dlq_id=dlq_message.dlq_id,
            response_status=self.response_status or dlq_message.response_status,
            response=dlq_message.response,
        )


def outcome_of(message_id: str, entries: Iterable[LogEntry]) -> MessageOutcome:
    """Return the outcome of a message, from its log entries in any order.

    A terminal state counts wherever it is, as entries of one millisecond have no order; ``ERROR`` is none, as
    more attempts may follow. Without a terminal state, the newest entry counts.
    """
    own = [entry for entry in entries if entry.message_id == message_id]
    if not own:
        return MessageOutcome(message_id, TaskState.UNKNOWN)
    newest_first = sorted(own, key=lambda one: one.time.timestamp() if one.time else 0.0, reverse=True)
    newest = newest_first[0]
    latest = next((entry for entry in own if entry.state.is_terminal), newest)
    last = next((entry for entry in newest_first if entry.error), None)
    error = last.error if last and latest.state is not TaskState.COMPLETED else None
    response_status = latest.response_status or (last.response_status if last else None)
    return MessageOutcome(
        message_id=message_id,
        state=latest.state,
        status=latest.status,
        url=public_url(latest.url),
        error=redacted(error) if error else None,
        response_status=response_status,
        at=latest.time,
        next_delivery_at=None if latest.state.is_terminal else newest.next_delivery_at,
    )


def snapshot_of(outcome: MessageOutcome) -> TaskSnapshot:
    """Return the part of ``outcome`` that a wait needs: never a header, a body or a destination's query."""
    code = outcome.response_status
    is_reported = code is None or str(code) in (outcome.error or "")
    parts = [outcome.error, None if is_reported else f"HTTP {code}", outcome.response]
    failed = outcome.state is TaskState.FAILED
    return TaskSnapshot(
        id=outcome.message_id,
        state=outcome.state,
        status=outcome.status,
        url=outcome.url,
        error=one_line(": ".join(part for part in parts if part), 1000) or None if failed else outcome.error,
        updated_at=outcome.at,
        details={
            "message_id": outcome.message_id,
            "dlq_id": outcome.dlq_id,
            "response_status": outcome.response_status,
        },
    )


def redacted(text: str) -> str:
    """Return a destination's text on one line, cut, and without what looks like a secret."""
    start = text[: 4 * _MAX_RESPONSE]
    if len(start) < len(text):
        start = _LAST_WORD.sub("…", start)
    named = _SCHEME_AND_SECRET.sub(r"\1 ***", _NAMED_SECRET.sub(r"\1***", start))
    return one_line(_LONG_WORD.sub("***", named), _MAX_RESPONSE)
