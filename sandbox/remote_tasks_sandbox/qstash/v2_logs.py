"""QStash v2: the log, and the dead letter queue.

https://upstash.com/docs/qstash/api/events/list, https://upstash.com/docs/qstash/api/dlq/listMessages
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from remote_tasks_sandbox.calls import Answer, Call, Refused, json_answer
from remote_tasks_sandbox.faults import Plan
from remote_tasks_sandbox.qstash.account import QStashAccount
from remote_tasks_sandbox.qstash.filters import DLQ_FILTERS, Filters, Page, from_query, from_request
from remote_tasks_sandbox.qstash.message import DlqMessage, milliseconds
from remote_tasks_sandbox.qstash.v2_messages import Handler
from remote_tasks_sandbox.qstash.wire import dlq_message_wire, entry_wire
from remote_tasks_sandbox.qstash.workflows import MESSAGE_DLQ_FILTERS, WorkflowDlqOperations
from remote_tasks_sandbox.vendor import Context

__all__ = ["LogOperations"]

_IN_PROGRESS = frozenset({"ACTIVE", "RETRY", "ERROR"})
_STATES = _IN_PROGRESS | {"CREATED", "DELIVERED", "FAILED", "CANCEL_REQUESTED", "CANCELLED", "CANCELED"}
_CANCELLED = frozenset({"CANCELLED", "CANCELED"})


class LogOperations:
    """What can be asked about the log of messages, and done with DLQ messages, by method and path."""

    def __init__(self, context: Context, account: QStashAccount) -> None:
        self._context = context
        self._account = account
        self._failed_runs = WorkflowDlqOperations(context, account)
        self.operations: Mapping[str, tuple[str, Handler]] = {
            "GET /v2/logs": ("qstash.logs", self._logs),
            "GET /v2/events": ("qstash.logs", self._logs),
            "GET /v2/dlq": ("qstash.dlq", self._dlq),
            "DELETE /v2/dlq": ("qstash.dlq", self._delete_many),
            "GET /v2/dlq/{dlqId}": ("qstash.dlq", self._get),
            "DELETE /v2/dlq/{dlqId}": ("qstash.dlq", self._delete),
            "POST /v2/dlq/retry": ("qstash.dlq", self._retry_many),
            "POST /v2/dlq/retry/{dlqId}": ("qstash.dlq", self._retry),
        }

    def _logs(self, call: Call, plan: Plan) -> Answer:
        page = Page(call)
        filters, states = from_query(call), _states(call)
        latest_first = page.order(call, "latestFirst") == "latestFirst"
        settings, now = self._context.settings, self._context.clock.now()
        entries = self._account.engine.log.read(
            self._asked_for(filters),
            after=None if plan.repeats_cursor else page.after,
            latest_first=latest_first,
            since_ms=max(milliseconds(now - settings.qstash_log_retention), filters.from_ms),
            until_ms=min(milliseconds(now - settings.qstash_log_lag), filters.to_ms),
        )
        shown = (
            entry
            for entry in entries
            if (states is None or entry.state.upper() in states)
            and filters.fit(entry.message)
            and not (plan.shaping and plan.unlisted(entry.message.id, entry.message.created_at, now))
        )
        found = list(islice(shown, page.count + 1))
        more, found = len(found) > page.count, found[: page.count]
        body = self._cursor(found[-1].key if found else None, more=more, repeat=plan.repeats_cursor)
        return json_answer(
            body | {settings.qstash_logs_key: [entry_wire(entry, settings) for entry in found]}
        )

    def _asked_for(self, filters: Filters) -> list[Any] | None:
        """Return the messages that were asked for by id, or ``None`` for all."""
        ids = filters.get("messageId")
        if ids is None:
            return None
        known = self._account.engine.messages
        return [known[message_id] for message_id in ids if message_id in known]

    def _cursor(self, last: tuple[int, int] | None, *, more: bool, repeat: bool) -> dict[str, Any]:
        if more or repeat:
            time_ms, number = last or (1, 0)
            return {"cursor": f"{time_ms}-{number}"}
        end = self._context.settings.cursor_end
        return {} if end == "absent" else {"cursor": end}

    def _dlq(self, call: Call, plan: Plan) -> Answer:
        if call.values("source") == ["workflow"]:
            return self._failed_runs.listed(call, plan, MESSAGE_DLQ_FILTERS)
        page = Page(call)
        dlq_messages = list(self._dlq_messages(from_query(call, DLQ_FILTERS)))
        latest_first = page.order(call, "earliestFirst") == "latestFirst"
        if latest_first:
            dlq_messages.reverse()
        after = None if plan.repeats_cursor else page.after
        if after is not None:
            dlq_messages = [
                one for one in dlq_messages if (_key(one) < after if latest_first else _key(one) > after)
            ]
        if plan.shaping:
            now = self._context.clock.now()
            dlq_messages = [
                one for one in dlq_messages if not plan.unlisted(one.message.id, one.at_ms / 1000, now)
            ]
        more, dlq_messages = len(dlq_messages) > page.count, dlq_messages[: page.count]
        last = _key(dlq_messages[-1]) if dlq_messages else None
        body = self._cursor(last, more=more, repeat=plan.repeats_cursor)
        return json_answer(body | {"messages": [dlq_message_wire(one) for one in dlq_messages]})

    def _dlq_messages(self, filters: Filters) -> Iterator[DlqMessage]:
        """Yield the DLQ messages that fit, oldest first."""
        ids, statuses = filters.get("dlqIds"), filters.get("responseStatus")
        for dlq_message in sorted(self._account.dlq_messages, key=_key):
            if (
                (ids is None or dlq_message.id in ids)
                and (statuses is None or str(dlq_message.response.status) in statuses)
                and filters.from_ms <= dlq_message.at_ms <= filters.to_ms
                and filters.fit(dlq_message.message)
            ):
                yield dlq_message

    def _dlq_message(self, dlq_id: str) -> DlqMessage:
        found = next((one for one in self._account.dlq_messages if one.id == dlq_id), None)
        if found is None:
            raise Refused(404, f"message {dlq_id} not found in the DLQ")
        return found

    def _get(self, call: Call, plan: Plan) -> Answer:
        return json_answer(dlq_message_wire(self._dlq_message(call.segments[2])))

    def _delete(self, call: Call, plan: Plan) -> Answer:
        del self._account.engine.dlq_messages[self._dlq_message(call.segments[2]).id]
        return Answer(200, b"")

    def _delete_many(self, call: Call, plan: Plan) -> Answer:
        found, more = self._chosen(call, Page(call).count)
        for dlq_message in found:
            del self._account.engine.dlq_messages[dlq_message.id]
        cursor = {"cursor": "{}-{}".format(*_key(found[-1]))} if more else {}
        return json_answer({"deleted": len(found)} | cursor)

    def _retry(self, call: Call, plan: Plan) -> Answer:
        message = self._account.retry(self._dlq_message(call.segments[3]), _overrides(call))
        return json_answer({"messageId": message.id}, 201)

    def _retry_many(self, call: Call, plan: Plan) -> Answer:
        found, more = self._chosen(call, Page(call).count)
        if not found and call.values("dlqIds"):
            raise Refused(404, "no such message in the DLQ")
        cursor = "{}-{}".format(*_key(found[-1])) if more else ""
        answers = [
            {"messageId": self._account.retry(dlq_message, _overrides(call)).id} for dlq_message in found
        ]
        return json_answer({"cursor": cursor, "responses": answers}, 201)

    def _chosen(self, call: Call, count: int) -> tuple[list[DlqMessage], bool]:
        """Return the DLQ messages a bulk operation is for, and whether more remain."""
        found = list(self._dlq_messages(from_request(call, DLQ_FILTERS)))
        return found[:count], len(found) > count


def _states(call: Call) -> frozenset[str] | None:
    words = [word.strip() for value in call.values("state") for word in value.split(",") if word.strip()]
    found: set[str] = set()
    for word in words:
        if word not in _STATES | {"IN_PROGRESS"}:
            raise Refused(400, f"invalid state: {word!r}")
        found |= _IN_PROGRESS if word == "IN_PROGRESS" else _CANCELLED if word in _CANCELLED else {word}
    return frozenset(found) if words else None


def _key(dlq_message: DlqMessage) -> tuple[int, int]:
    time_ms, _, number = dlq_message.id.partition("-")
    return int(time_ms), int(number)


def _overrides(call: Call) -> dict[str, str]:
    return {name: value for name, value in call.headers.items() if name.startswith("upstash-")}
