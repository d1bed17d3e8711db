"""The small A2A agent behind the sandbox's faults and journal: trouble meets it as it meets the vendors.

It is no part of the sandbox: the official servers run offline. But none of them fails on command.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from remote_tasks_provider.core.http.operation import Request
from remote_tasks_sandbox.calls import Answer, Call, json_answer
from remote_tasks_sandbox.faults import Plan
from remote_tasks_sandbox.settings import Settings
from remote_tasks_sandbox.vendor import Context, Vendor
from tests.conformance.agent import FakeAgent

__all__ = ["TOKEN", "AgentVendor"]

TOKEN = "sandbox-a2a-token"


class Account:
    """The tasks of one user."""

    def __init__(self, agent: FakeAgent) -> None:
        self.agent = agent

    def add_task(self, task_id: str, script: list[str]) -> None:
        """Add a task whose status is, and stays, the last word of ``script``."""
        self.agent.add_task([(script[-1], None)])
        self.agent.tasks[-1].id = task_id

    def clear(self) -> None:
        """Forget all tasks."""
        self.agent.tasks.clear()


class AgentVendor(Vendor):
    """An agent at ``/a2a``, over each wire form."""

    name = "a2a"
    settings = Settings
    key_setting = ""
    key_headers = ("authorization",)

    def __init__(self, context: Context) -> None:
        self._context = context
        self.account = Account(FakeAgent(context.clock, f"{context.base_url}/a2a"))

    def answer(self, call: Call, plan: Plan) -> Answer:
        """Answer one call."""
        if call.headers.get("authorization") != f"Bearer {TOKEN}":
            return self.error(call, 401, "no such token", {})
        request = Request(
            call.method,
            "/" + "/".join(call.raw_segments),
            call.query,
            json.loads(call.body) if call.body else None,
            headers=(("A2A-Version", call.headers.get("a2a-version", "")),),
        )
        if plan.repeats_cursor:
            request = _without_token(request)
        status, body = self.account.agent.answer(request, f"{self._context.base_url}/a2a")
        if plan.repeats_cursor:
            (body["result"] if "jsonrpc" in body else body)["nextPageToken"] = "again"
        return json_answer(body, status)

    def error(self, call: Call, status: int, message: str, headers: Mapping[str, str]) -> Answer:
        """Return an error as what stands before an agent gives it: without a reason of the protocol."""
        return json_answer({"error": {"code": status, "message": message}}, status, headers)

    def target(self, call: Call) -> str | None:
        """Return nothing: no fault here is for one task."""
        return None

    def is_list(self, call: Call) -> bool:
        """Return that it is none: no fault here leaves a task out."""
        return False

    def state(self) -> dict[str, Any]:
        """Return nothing to show."""
        return {}


def _without_token(request: Request) -> Request:
    query = tuple((name, value) for name, value in request.query if name != "pageToken")
    params = dict((request.json or {}).get("params", {}))
    params.pop("pageToken", None)
    return replace(request, query=query, json=request.json and {**request.json, "params": params})
