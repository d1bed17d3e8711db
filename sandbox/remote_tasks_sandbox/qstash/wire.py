"""The form of messages, log entries, DLQ messages and callbacks on the wire.

https://upstash.com/docs/qstash. Times are unix milliseconds. Fields without a value are left out.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from remote_tasks_sandbox.calls import dump_json
from remote_tasks_sandbox.delivery import Response
from remote_tasks_sandbox.qstash.message import DlqMessage, Entry, Message, milliseconds
from remote_tasks_sandbox.qstash.options import PublishOptions
from remote_tasks_sandbox.qstash.settings import QStashSettings

__all__ = [
    "CALLER_IP",
    "body_fields",
    "callback_body",
    "delivered_headers",
    "dlq_message_wire",
    "entry_wire",
    "header_lists",
    "message_wire",
    "option_fields",
    "present",
    "shown_body",
]

CALLER_IP = "127.0.0.1"

#: What the log calls otherwise than messages do. The last one is not in the schema; the official Python
#: client is tested with it against the live service.
_ENTRY_NAMES = {
    "callbackHeader": "callbackHeaders",
    "failureCallbackHeader": "failureCallbackHeaders",
    "retryDelayExpression": "retryDelayExpr",
}


def present(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that have a value."""
    return {name: value for name, value in fields.items() if value not in (None, "", [], {})}


def header_lists(headers: Mapping[str, str]) -> dict[str, list[str]]:
    """Return headers as QStash shows them: canonical names, lists of values."""
    return {
        "-".join(part.capitalize() for part in name.split("-")): [value] for name, value in headers.items()
    }


def body_fields(body: bytes, name: str = "body") -> dict[str, str]:
    """Return a body as text, or in base64 under another name when it is none."""
    try:
        return {name: body.decode()} if body else {}
    except UnicodeDecodeError:
        return {f"{name}Base64": _base64(body)}


def message_wire(message: Message) -> dict[str, Any]:
    """Return a message as ``GET /v2/messages/{messageId}`` shows it: without a state."""
    options = message.options
    times = {"createdAt": milliseconds(message.created_at), "notBefore": milliseconds(message.not_before)}
    return {
        "messageId": message.id,
        "method": options.method,
        "maxRetries": options.max_retries,
        **present(option_fields(options)),
        **body_fields(shown_body(options)),
        **times,
        "callerIP": CALLER_IP,
    }


def dlq_message_wire(dlq_message: DlqMessage) -> dict[str, Any]:
    """Return a DLQ message."""
    response = dlq_message.response
    return {
        **message_wire(dlq_message.message),
        "dlqId": dlq_message.id,
        "responseStatus": response.status,
        **present({"responseHeader": header_lists(response.headers)}),
        **body_fields(response.body, "responseBody"),
    }


def entry_wire(entry: Entry, settings: QStashSettings) -> dict[str, Any]:
    """Return a log entry; only that of a failed attempt has the answer."""
    message, response = entry.message, entry.response
    options = message.options
    fields = {
        **{_ENTRY_NAMES.get(name, name): value for name, value in option_fields(options).items()},
        "error": entry.error,
        "nextDeliveryTime": entry.next_ms,
        "body": _base64(shown_body(options)),
        "method": options.method,
        "timeout": None if options.timeout is None else options.timeout * 1000,
        "responseStatus": response.status if response else None,
        "responseBody": _base64(response.body) if response else None,
        "responseHeaders": header_lists(response.headers) if response else None,
    }
    return {
        "time": str(entry.time_ms) if settings.qstash_times_as_strings else entry.time_ms,
        "messageId": message.id,
        "state": entry.state.lower() if settings.qstash_lower_case_states else entry.state,
        "maxRetries": options.max_retries,
        **present(fields),
    }


def option_fields(options: PublishOptions) -> dict[str, Any]:
    """Return what messages, log entries and schedules show of the publish options alike."""
    flow = options.flow
    return {
        "url": options.url,
        "topicName": options.topic,
        "endpointName": options.endpoint,
        "queueName": options.queue,
        "scheduleId": options.schedule_id,
        "header": header_lists(_redacted_headers(options)),
        "callback": options.callback.url if options.callback else None,
        "callbackHeader": header_lists(options.callback.headers) if options.callback else None,
        "failureCallback": options.failure_callback.url if options.failure_callback else None,
        "failureCallbackHeader": header_lists(options.failure_callback.headers)
        if options.failure_callback
        else None,
        "retryDelayExpression": options.retry_delay,
        "label": options.labels[0] if options.labels else None,
        "labels": list(options.labels),
        "flowControlKey": flow.key if flow else None,
        "parallelism": flow.parallelism if flow else None,
        "rate": flow.rate if flow else None,
        "period": flow.period if flow else None,
    }


def shown_body(options: PublishOptions) -> bytes:
    """Return the body as QStash shows it, which hides one that is redacted."""
    return _redacted(options.body) if "body" in options.redact and options.body else options.body


def delivered_headers(message: Message, region: str) -> dict[str, str]:
    """Return what the destination gets, but for the signature."""
    options = message.options
    own = {
        "User-Agent": "Upstash-QStash",
        "Upstash-Message-Id": message.id,
        "Upstash-Retried": str(message.retried),
        "Upstash-Region": region.upper(),
        "Upstash-Caller-Ip": CALLER_IP,
        "Upstash-Schedule-Id": options.schedule_id,
        "Upstash-Topic-Name": options.topic,
    }
    passed = {name: value[0] for name, value in header_lists(options.headers).items()}
    return passed | {name: value for name, value in own.items() if value}


def callback_body(message: Message, response: Response, dlq_message: DlqMessage | None) -> bytes:
    """Return the body of a callback; its times are strings.

    https://upstash.com/docs/qstash/features/callbacks
    """
    options = message.options
    facts = {
        "header": header_lists(response.headers),
        "body": _base64(response.body),
        "sourceMessageId": message.id,
        "topicName": options.topic,
        "endpointName": options.endpoint,
        "url": options.url,
        "method": options.method,
        "sourceHeader": header_lists(options.headers),
        "sourceBody": _base64(options.body),
        "notBefore": str(milliseconds(message.not_before)),
        "createdAt": str(milliseconds(message.created_at)),
        "scheduleId": options.schedule_id,
        "callerIP": CALLER_IP,
        "dlqId": dlq_message.id if dlq_message else None,
    }
    counts = {"status": response.status, "retried": message.retried, "maxRetries": options.max_retries}
    return dump_json(counts | present(facts))


def _redacted_headers(options: PublishOptions) -> dict[str, str]:
    return {
        name: _redacted(value.encode()).decode()
        if "header" in options.redact or f"header[{name.lower()}]" in options.redact
        else value
        for name, value in options.headers.items()
    }


def _redacted(value: bytes) -> bytes:
    return f"REDACTED:{hashlib.sha256(value).hexdigest()}".encode()


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
