"""QStash in the sandbox: its account and its API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remote_tasks_sandbox.calls import Answer, Call
from remote_tasks_sandbox.faults import Plan
from remote_tasks_sandbox.qstash.account import QStashAccount
from remote_tasks_sandbox.qstash.api import QStashApi, qstash_error
from remote_tasks_sandbox.qstash.settings import QStashSettings
from remote_tasks_sandbox.qstash.wire import dlq_message_wire
from remote_tasks_sandbox.vendor import Context, Vendor

__all__ = ["VENDOR"]

_LISTS = (
    *(("v2", "logs"), ("v2", "events"), ("v2", "dlq")),
    *(("v2", "workflows", name) for name in ("logs", "events", "dlq")),
)


class QStash(Vendor):
    """v1 tasks and v2 messages over one account."""

    name = "qstash"
    settings = QStashSettings
    key_setting = "qstash_token"
    key_headers = ("authorization",)

    def __init__(self, context: Context) -> None:
        self._context = context
        self.account: QStashAccount = QStashAccount(context)
        self.api = QStashApi(context, self.account)

    def answer(self, call: Call, plan: Plan) -> Answer:
        """Answer one call; the caller holds the lock."""
        return self.api.answer(call, plan)

    def error(self, call: Call, status: int, message: str, headers: Mapping[str, str]) -> Answer:
        """Return an error in QStash's form."""
        return qstash_error(status, message, dict(headers))

    def target(self, call: Call) -> str | None:
        """Return the task, message, run or DLQ message that a call is for."""
        if call.segments[:2] == ("v2", "workflows"):
            return call.segments[-1] if len(call.segments) > 3 else None
        place = 3 if call.segments[:3] == ("v2", "dlq", "retry") else 2
        return call.segments[place] if len(call.segments) > place else None

    def is_list(self, call: Call) -> bool:
        """Whether a call lists the tasks of a message, the log or the dead letter queue."""
        return call.method != "POST" and (call.segments[-1:] == ("tasks",) or call.segments in _LISTS)

    def state(self) -> dict[str, Any]:
        """Return all tasks, messages and DLQ messages."""
        now = self._context.clock.now()
        return {
            "qstash": [task.describe(now) for task in self.account.newest()],
            "qstash_messages": [message.describe() for message in reversed(self.account.messages)],
            "workflow_runs": [run.describe(now) for run in reversed(self.account.workflows.all())],
            "dead_letters": [dlq_message_wire(one) for one in reversed(self.account.dlq_messages)],
        }


VENDOR = QStash
