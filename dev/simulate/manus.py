"""Manus, both versions of its API, as far as waits need it. The shapes are those of the sandbox.

A page of a thousand tasks is joined from JSON that was written before, so that most of the time of a
simulation goes into the provider's own code.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from dev.simulate.clock import START, VirtualLoop
from dev.simulate.vendor import Account, Limits, RemoteTask, dump
from remote_tasks_provider.core.http.operation import Request

__all__ = ["ManusV1Account", "ManusV2Account", "task_id"]

_ANSWER = "The branch did well this week. " * 8
_NOT_FOUND_V1 = dump({"code": 5, "message": "task not found", "details": []})
_REFUSED_V1 = dump({"code": 8, "message": "rate limit exceeded", "details": []})
_REQUEST = "req_4f1c2e9ab07d4d6c"


def task_id(number: int) -> str:
    """Return an id as Manus makes them, 22 letters and digits that do not sort by age."""
    return hashlib.sha256(b"%d" % number).hexdigest()[:22]


def _error_v2(code: str, message: str) -> bytes:
    return dump({"ok": False, "request_id": _REQUEST, "error": {"code": code, "message": message}})


class _ManusAccount(Account):
    """What both versions have in common: the tasks in the order of their creation and of their ends."""

    def __init__(self, loop: VirtualLoop, tasks: list[RemoteTask], limits: Limits) -> None:
        super().__init__(loop, tasks, limits)
        self._listed = [task for task in tasks if not task.is_hidden]
        self._made = [task.created for task in self._listed]
        self._place = {task.id: place for place, task in enumerate(self._listed)}
        self._ended = sorted((task for task in self._listed if task.ends < 1e12), key=lambda one: one.ends)
        self._ends = [task.ends for task in self._ended]
        self._ended_place = {task.id: place for place, task in enumerate(self._ended)}

    def _newest_first(self, now: float, after: int | None) -> Iterator[RemoteTask]:
        """Yield the tasks that exist.

        :param after: begin behind the task at this place.
        """
        begin = bisect_right(self._made, now) if after is None else after
        return (self._listed[place] for place in range(begin - 1, -1, -1))

    def _last_ended_first(self, now: float, after: str | None) -> Iterator[RemoteTask]:
        begin = bisect_right(self._ends, now) if after is None else self._ended_place[after]
        return (self._ended[place] for place in range(begin - 1, -1, -1))

    def _wire(self, task: RemoteTask, now: float) -> bytes:
        """Return the task's JSON."""
        ended = now >= task.ends
        state = "ended" if ended else "running"
        known = task.wire.get(state)
        if known is None:
            known = task.wire[state] = dump(self._fields(task, ended=ended))
        return known

    def _fields(self, task: RemoteTask, *, ended: bool) -> dict[str, Any]:
        raise NotImplementedError

    def _find(self, one: str, now: float) -> RemoteTask | None:
        task = self._by_id.get(one)
        return task if task is not None and task.created <= now else None


class ManusV1Account(_ManusAccount):
    """``GET /v1/tasks`` and ``GET /v1/tasks/{task_id}``."""

    def operation(self, request: Request) -> str:
        """Return the operation, named as the provider names it."""
        return "GET /v1/tasks" if request.path == "/v1/tasks" else "GET /v1/tasks/{task_id}"

    def reply(self, operation: str, request: Request, now: float) -> tuple[int, bytes, int]:
        """Answer a call within the limit."""
        if operation != "GET /v1/tasks":
            task = self._find(request.path.rpartition("/")[2], now)
            return (404, _NOT_FOUND_V1, 0) if task is None else (200, self._wire(task, now), 1)
        query = _grouped(request.query)
        size = int(query.get("limit", ["100"])[0])
        found = list(islice(self._matching(query, now), size + 1))
        more, found = len(found) > size, found[:size]
        parts = [b'{"object":"list"']
        if found:
            parts += [b',"data":[', b",".join([self._wire(task, now) for task in found]), b"]"]
            parts.append(b',"first_id":"%b","last_id":"%b"' % (found[0].id.encode(), found[-1].id.encode()))
        if more:
            parts.append(b',"has_more":true')
        return 200, b"".join([*parts, b"}"]), len(found)

    def _matching(self, query: Mapping[str, Sequence[str]], now: float) -> Iterator[RemoteTask]:
        words = set(query.get("status", ()))
        after = query.get("after", [None])[0]
        earliest = float(query["createdAfter"][0]) - START if "createdAfter" in query else -1e12
        latest = float(query["createdBefore"][0]) - START if "createdBefore" in query else 1e12
        if query.get("orderBy") == ["updated_at"]:
            if words and "running" not in words:
                found = self._last_ended_first(now, after)
            else:
                found = self._last_updated_first(now, after)
        else:
            found = self._newest_first(now, None if after is None else self._place[after])
        by_age = query.get("orderBy") != ["updated_at"]
        for task in found:
            if task.created <= earliest:
                if by_age:
                    return
                continue
            if task.created < latest and (not words or _word_v1(task, now) in words):
                yield task

    def _last_updated_first(self, now: float, after: str | None) -> Iterator[RemoteTask]:
        """Yield all tasks, those that run by their creation. Slow; nothing asks for it often."""
        known = [task for task in self._listed if task.created <= now]
        known.sort(key=lambda one: one.ends if one.ends <= now else one.created, reverse=True)
        ids = [task.id for task in known]
        return iter(known if after is None else known[ids.index(after) + 1 :])

    def _fields(self, task: RemoteTask, *, ended: bool) -> dict[str, Any]:
        output = [_message(task, "user", f"Summarise the weekly report of branch {task.number}")]
        word = "running"
        if ended:
            word = "failed" if task.fails else "completed"
        if word == "completed":
            output.append(_message(task, "assistant", _ANSWER))
        full = {
            "id": task.id,
            "object": "task",
            "created_at": str(int(self.wall(task.created))),
            "updated_at": str(int(self.wall(task.ends if ended else task.created))),
            "status": word,
            "error": "The agent gave up." if word == "failed" else "",
            "model": "manus-1.6-agent",
            "metadata": {
                "task_title": f"Weekly report of branch {task.number}",
                "task_url": f"https://manus.im/app/{task.id}",
            },
            "output": output,
            "credit_usage": 100 + task.number % 50,
        }
        return {name: value for name, value in full.items() if value}

    def refusal(self) -> bytes:
        """Return the body of a 429."""
        return _REFUSED_V1


class ManusV2Account(_ManusAccount):
    """``task.list``, ``task.detail`` and ``task.listMessages``."""

    def operation(self, request: Request) -> str:
        """Return the operation, named as the vendor names it."""
        return f"GET {request.path}"

    def reply(self, operation: str, request: Request, now: float) -> tuple[int, bytes, int]:
        """Answer a call within the limit."""
        query = dict(request.query)
        if operation == "GET /v2/task.list":
            return self._list(query, now)
        task = self._find(query["task_id"], now)
        if task is None:
            return 404, _error_v2("not_found", "task not found"), 0
        if operation == "GET /v2/task.listMessages":
            body = {"ok": True, "request_id": _REQUEST, "task_id": task.id, "has_more": False}
            return 200, dump(body | {"messages": _events(task, now)}), 1
        head = b'{"ok":true,"request_id":"%b","task":' % _REQUEST.encode()
        return 200, head + self._wire(task, now) + b"}", 1

    def _list(self, query: Mapping[str, str], now: float) -> tuple[int, bytes, int]:
        size, cursor = min(int(query.get("limit", "20")), 100), query.get("cursor")
        found = list(islice(self._newest_first(now, None if cursor is None else int(cursor[2:])), size + 1))
        more, found = len(found) > size, found[:size]
        parts = [b'{"ok":true,"request_id":"%b","data":[' % _REQUEST.encode()]
        parts += [b",".join([self._wire(task, now) for task in found]), b"]"]
        if more:
            parts.append(b',"has_more":true,"next_cursor":"c-%d"}' % self._place[found[-1].id])
        else:
            parts.append(b',"has_more":false}')
        return 200, b"".join(parts), len(found)

    def _fields(self, task: RemoteTask, *, ended: bool) -> dict[str, Any]:
        word = ("error" if task.fails else "stopped") if ended else "running"
        return {
            "id": task.id,
            "status": word,
            "created_at": int(self.wall(task.created)),
            "updated_at": int(self.wall(task.ends if ended else task.created)),
            "task_type": "standard",
            "share_visibility": "private",
            "title": f"Weekly report of branch {task.number}",
            "task_url": f"https://manus.im/app/{task.id}",
            "created_by_api_key": None,
            "agent_profile": "manus-1.6",
            "credit_usage": 100 + task.number % 50,
        }

    def refusal(self) -> bytes:
        """Return the body of a 429."""
        return _error_v2("rate_limited", "Rate limit exceeded. Please retry after a short backoff.")


def _word_v1(task: RemoteTask, now: float) -> str:
    return "running" if now < task.ends else "failed" if task.fails else "completed"


def _message(task: RemoteTask, role: str, text: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text}]
    whole = {"id": f"{role}-{task.id}", "status": "completed", "role": role, "type": "message"}
    return whole | {"content": content}


def _events(task: RemoteTask, now: float) -> list[dict[str, Any]]:
    """Return the task's events, newest first, whatever the order asked for: there are few."""

    def event(kind: str, at: float, payload: Any) -> dict[str, Any]:
        known = {"id": f"{kind}-{task.id}", "type": kind, "timestamp": int((START + at) * 1000)}
        return known | {kind: payload}

    asked = f"Summarise the weekly report of branch {task.number}"
    message = {"content": asked, "message_type": "text", "attachments": []}
    found = [event("user_message", task.created, message)]
    if now >= task.ends:
        if task.fails:
            payload = {"error_type": "agent_error", "content": "The agent gave up."}
            found.append(event("error_message", task.ends, payload))
        else:
            found.append(event("assistant_message", task.ends, {"content": _ANSWER, "attachments": []}))
        word = "error" if task.fails else "stopped"
        update = {"agent_status": word, "brief": f"Task is {word}", "description": ""}
        found.append(event("status_update", task.ends, update))
    return found[::-1]


def _grouped(query: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in query:
        found[name].append(value)
    return dict(found)
