"""QStash v2: publish, enqueue, batch, and messages on their way.

https://upstash.com/docs/qstash/api/publish. A destination stands in the path as it is, scheme and all; the
query is the destination's too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from remote_tasks_sandbox.calls import Answer, Call, Refused, json_answer
from remote_tasks_sandbox.faults import Plan
from remote_tasks_sandbox.qstash.account import Accepted, QStashAccount
from remote_tasks_sandbox.qstash.filters import CANCEL_FILTERS, Filters, from_request
from remote_tasks_sandbox.qstash.message import Message
from remote_tasks_sandbox.qstash.parsing import json_body, whole
from remote_tasks_sandbox.qstash.wire import message_wire
from remote_tasks_sandbox.vendor import Context

__all__ = ["Handler", "MessageOperations", "destination_of", "publish_headers"]

Handler = Callable[[Call, "Plan"], Answer]

_MOST_CANCELLED = 500


class MessageOperations:
    """What can be done with messages, by method and path."""

    def __init__(self, context: Context, account: QStashAccount) -> None:
        self._context = context
        self._account = account
        self.operations: Mapping[str, tuple[str, Handler]] = {
            "POST /v2/publish/{destination}": ("qstash.publish", self._publish),
            "POST /v2/enqueue/{queueName}/{destination}": ("qstash.publish", self._enqueue),
            "POST /v2/batch": ("qstash.publish", self._batch),
            "GET /v2/messages/{messageId}": ("qstash.messages", self._get),
            "DELETE /v2/messages/{messageId}": ("qstash.messages", self._cancel),
            "DELETE /v2/messages": ("qstash.messages", self._cancel_many),
        }

    def _publish(self, call: Call, plan: Plan) -> Answer:
        return self._submitted(call, destination_of(call, 2), None, "publish")

    def _enqueue(self, call: Call, plan: Plan) -> Answer:
        return self._submitted(call, destination_of(call, 3), call.segments[2], "enqueue")

    def _submitted(self, call: Call, destination: str, queue: str | None, via: str) -> Answer:
        accepted = self._account.submit(destination, call.body, publish_headers(call), queue=queue, via=via)
        status = 202 if all(known for _, _, known in accepted) else 200
        return json_answer(self._accepted_wire(destination, accepted), status)

    def _accepted_wire(self, destination: str, accepted: list[Accepted]) -> Any:
        wires = [{"messageId": one} | ({"deduplicated": True} if known else {}) for one, _, known in accepted]
        if destination not in self._account.topics:
            return wires[0]
        members = [wire | {"url": url} for wire, (_, url, _) in zip(wires, accepted, strict=True)]
        return {"messages": members} if self._context.settings.qstash_groups_as_object else members

    def _batch(self, call: Call, plan: Plan) -> Answer:
        items = json_body(call)
        if not isinstance(items, list) or not items:
            raise Refused(400, "invalid request body: it must be an array of messages, not empty")
        return json_answer([self._element(item) for item in items])

    def _element(self, item: Any) -> Any:
        """Send one message of a batch; one that is refused does not hinder the others."""
        try:
            destination, body, headers, queue = _read_element(item)
            accepted = self._account.submit(destination, body, headers, queue=queue, via="batch")
        except Refused as refused:
            return {"error": refused.message}
        return self._accepted_wire(destination, accepted)

    def _get(self, call: Call, plan: Plan) -> Answer:
        return json_answer(message_wire(self._unfinished(call, plan)))

    def _cancel(self, call: Call, plan: Plan) -> Answer:
        message = self._unfinished(call, plan)
        self._account.engine.cancel(message, self._context.clock.now())
        return json_answer({"cancelled": 1})

    def _unfinished(self, call: Call, plan: Plan) -> Message:
        message = self._account.engine.messages.get(call.segments[2])
        hidden = message is not None and plan.hides(message.id, message.created_at, self._context.clock.now())
        if message is None or message.finished or hidden:
            raise Refused(404, f"message {call.segments[2]} not found")
        return message

    def _cancel_many(self, call: Call, plan: Plan) -> Answer:
        count = "".join(call.values("count")[:1])
        most = whole("count", count, least=1, most=_MOST_CANCELLED) if count else None
        if self._context.settings.qstash_ignores_cancel_count:
            most = None
        filters = from_request(call, CANCEL_FILTERS)
        now = self._context.clock.now()
        found = [one for one in self._account.engine.messages.values() if _is_meant(one, filters)][:most]
        # In reverse, so that no member of a queue begins because the one before it is gone.
        cancelled = sum(self._account.engine.cancel(message, now) for message in reversed(found))
        self._account.bulk_cancels.append({"filters": filters.values, "cancelled": cancelled, "at": now})
        return json_answer({"cancelled": cancelled})


def destination_of(call: Call, start: int) -> str:
    """Return the destination that stands in the path from segment ``start`` on, with the query.

    What is percent-encoded stays so: an encoded scheme is none.
    """
    path = "/".join(call.raw_segments[start:])
    if "://" not in path:
        return path if "://" in unquote(path) else unquote(path)
    own = [pair for pair in call.raw_query.split("&") if pair and not _is_option(pair)]
    return path + (f"?{'&'.join(own)}" if own else "")


def publish_headers(call: Call) -> dict[str, str]:
    """Return the headers to publish with: those sent and those given as parameters, without the token."""
    given = {name.lower(): value for name, value in parse_qsl(call.raw_query) if _is_option(name)}
    headers = {**given, **call.headers}
    return {name: value for name, value in headers.items() if name not in ("authorization", "qstash_token")}


def _is_option(pair: str) -> bool:
    name = pair.partition("=")[0].lower()
    return name == "qstash_token" or name.startswith("upstash-")


def _is_meant(message: Message, filters: Filters) -> bool:
    created_ms = message.created_at * 1000
    in_time = filters.from_ms <= created_ms <= filters.to_ms
    open_still = not message.finished and not message.cancel_requested
    return open_still and in_time and filters.fit(message)


def _read_element(item: Any) -> tuple[str, bytes, dict[str, str], str | None]:
    if not isinstance(item, dict) or not isinstance(item.get("destination"), str):
        raise Refused(400, "invalid batch element: destination is required")
    headers, body, queue = item.get("headers") or {}, item.get("body"), item.get("queue")
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise Refused(400, "invalid batch element: headers must be an object of strings")
    if not isinstance(body, str | None) or not isinstance(queue, str | None):
        raise Refused(400, "invalid batch element: body and queue must be strings")
    lower = {name.lower(): value for name, value in headers.items()}
    return item["destination"], (body or "").encode(), lower, queue or None
