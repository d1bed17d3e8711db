"""QStash in the sandbox: its account and API, and the demo tasks and messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remote_tasks_sandbox.calls import Answer, Call
from remote_tasks_sandbox.faults import Plan
from remote_tasks_sandbox.qstash.account import QStashAccount
from remote_tasks_sandbox.qstash.api import QStashApi, qstash_error
from remote_tasks_sandbox.qstash.page import overview
from remote_tasks_sandbox.qstash.settings import QStashSettings
from remote_tasks_sandbox.qstash.wire import dlq_message_wire
from remote_tasks_sandbox.vendor import Context, Vendor

__all__ = ["VENDOR"]

_LISTS = (("v2", "logs"), ("v2", "events"), ("v2", "dlq"))


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
        """Return the task, message or DLQ message that a call is for."""
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
            "qstash_messages": [message.describe() for message in self.account.messages],
            "dead_letters": [dlq_message_wire(one) for one in self.account.dlq_messages],
        }

    def overview(self) -> list[dict[str, Any]]:
        """Return the tables of messages and tasks."""
        return overview(self.account, self._context.clock.now())

    def seed_demo(self, seconds: float) -> None:
        """Add tasks and messages, and say what becomes of those published to the same destinations."""
        account = self.account
        account.add_task("tsk_demo_delivered", "msg_demo", [("active", seconds / 4), ("delivered", None)])
        account.add_task(
            "tsk_demo_retrying",
            "msg_demo",
            [("active", seconds / 4), ("error", seconds / 2), ("active", seconds / 4), ("delivered", None)],
            url="https://example.com/flaky",
            error="HTTP status 503",
        )
        account.add_task(
            "tsk_demo_failed",
            "msg_demo",
            [("active", seconds / 2), ("error", seconds / 2), ("failed", None)],
            url="https://example.com/gone",
            error="HTTP status 410",
            max_retry=1,
        )
        account.plan_delivery("https://example.com/slow*", [200], latency=seconds)
        account.plan_delivery("https://example.com/flaky*", [503, 200], latency=seconds / 4)
        account.plan_delivery("https://example.com/gone*", [{"status": 410, "body": "This page is gone."}])
        start = ("CREATED", 0), ("ACTIVE", seconds / 4)
        account.add_message("msg_demo_delivered", [*start, ("DELIVERED", None)], labels=["demo"])
        account.add_message(
            "msg_demo_retrying",
            [*start, ("ERROR", 0), ("RETRY", seconds / 2), ("ACTIVE", seconds / 4), ("DELIVERED", None)],
            url="https://example.com/flaky",
            response_status=503,
            labels=["demo"],
        )
        account.add_message(
            "msg_demo_failed",
            [*start, ("ERROR", 0), ("FAILED", None)],
            url="https://example.com/gone",
            response_status=410,
            response_body="This page is gone.",
            max_retries=0,
            labels=["demo"],
        )


VENDOR = QStash
