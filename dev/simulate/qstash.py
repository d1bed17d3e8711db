"""QStash's logs and dead letter queue, as far as waits need them. The shapes are those of the sandbox."""

from __future__ import annotations

import base64
import math
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

from dev.simulate.vendor import Account, RemoteTask, dump
from remote_tasks_provider.core.http.operation import Request

__all__ = ["QStashAccount", "message_id"]

_IN_PROGRESS = frozenset({"ACTIVE", "RETRY", "ERROR"})
_BODY = base64.b64encode(b'{"report":"weekly"}').decode()
_REFUSED = dump({"error": "rate limit exceeded"})


def message_id(number: int) -> str:
    """Return an id as QStash makes them."""
    return f"msg_26hZCxZCuWyyTWPmSVBrNB882AxJ7SxLcKsTTmHHMGYANkBPdCo{number:08d}"


class QStashAccount(Account):
    """``GET /v2/logs`` and ``GET /v2/dlq``."""

    def operation(self, request: Request) -> str:
        """Return the operation."""
        return f"GET {request.path}"

    def window(self, operation: str) -> str:
        """Return one name for all: QStash counts the calls of an account together."""
        return "all"

    def limit_headers(self, left: int, wait: float | None) -> Mapping[str, str]:
        """Return what QStash says of its limit in every answer."""
        reset = math.ceil(self.wall(self._loop.time())) + (1 if wait is None else max(1, math.ceil(wait)))
        return {
            "burst-ratelimit-limit": str(self.limits.calls),
            "burst-ratelimit-remaining": str(left),
            "burst-ratelimit-reset": str(reset),
        }

    def reply(self, operation: str, request: Request, now: float) -> tuple[int, bytes, int]:
        """Answer a call within the limit."""
        query: dict[str, list[str]] = {}
        for name, value in request.query:
            query.setdefault(name, []).append(value)
        ids = query.get("messageIds", []) + query.get("messageId", [])
        asked = [self._by_id[one] for one in ids if one in self._by_id] if ids else self._tasks
        if operation == "GET /v2/dlq":
            failed = [task for task in asked if task.fails and task.ends <= now]
            return 200, dump({"messages": [self._dlq_message(task) for task in failed[:100]]}), len(failed)
        return self._logs(query, asked, now)

    def _logs(
        self, query: Mapping[str, list[str]], asked: list[RemoteTask], now: float
    ) -> tuple[int, bytes, int]:
        states = {state for word in query.get("state", []) for state in _meant(word)}
        entries = [
            (int(at * 1000), 4 * task.number + step, state, task)
            for task in asked
            for step, (at, state) in enumerate(_steps(task))
            if at <= now and (not states or state in states)
        ]
        entries.sort(key=lambda one: one[:2], reverse=True)
        count = int(query.get("count", ["100"])[0])
        if cursor := query.get("cursor", [""])[0]:
            place = tuple(map(int, cursor.split("_")))
            # Newest first, so what follows is what is smaller.
            keys = [(-one[0], -one[1]) for one in entries]
            entries = entries[bisect_left(keys, (-place[0], -place[1])) + 1 :]
        page = entries[:count]
        parts = [b'{"events":[', b",".join([self._entry(state, task, at) for at, _, state, task in page])]
        end = b'],"cursor":"%d_%d"}' % page[-1][:2] if len(entries) > count else b"]}"
        return 200, b"".join([*parts, end]), len(page)

    def _entry(self, state: str, task: RemoteTask, at: int) -> bytes:
        known = task.wire.get(state)
        if known is None:
            known = task.wire[state] = dump(self._fields(state, task, int(self.wall(0) * 1000) + at))
        return known

    def _fields(self, state: str, task: RemoteTask, time_ms: int) -> dict[str, Any]:
        refusal = {"error": "HTTP status 503", "nextDeliveryTime": time_ms, "responseStatus": 503}
        return {
            "time": time_ms,
            "messageId": task.id,
            "state": state,
            "maxRetries": 3,
            "url": f"https://example.com/branches/{task.number}",
            "header": {"Content-Type": ["application/json"]},
            "body": _BODY,
            "method": "POST",
            **(refusal if state == "ERROR" else {}),
        }

    def _dlq_message(self, task: RemoteTask) -> dict[str, Any]:
        return {
            "messageId": task.id,
            "method": "POST",
            "maxRetries": 3,
            "url": f"https://example.com/branches/{task.number}",
            "header": {"Content-Type": ["application/json"]},
            "body": "{}",
            "createdAt": int(self.wall(task.created) * 1000),
            "notBefore": int(self.wall(task.created) * 1000),
            "callerIP": "127.0.0.1",
            "dlqId": f"{int(self.wall(task.ends) * 1000)}-0",
            "responseStatus": 503,
        }

    def refusal(self) -> bytes:
        """Return the body of a 429."""
        return _REFUSED


def _steps(task: RemoteTask) -> list[tuple[float, str]]:
    """Return a message's log: created, delivered to its destination, ended."""
    begun = min(task.created + 0.2, task.ends)
    steps = [(task.created, "CREATED"), (begun, "ACTIVE")]
    if task.fails:
        return [*steps, (task.ends, "ERROR"), (task.ends, "FAILED")]
    return [*steps, (task.ends, "DELIVERED")]


def _meant(word: str) -> frozenset[str]:
    if word == "IN_PROGRESS":
        return _IN_PROGRESS
    return frozenset({"CANCELLED", "CANCELED"} if word in ("CANCELLED", "CANCELED") else {word})
