"""QStash v2: schedules, queues, URL groups, flow control and signing keys.

https://upstash.com/docs/qstash
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from remote_tasks_sandbox.calls import Answer, Call, Refused, json_answer
from remote_tasks_sandbox.faults import Plan
from remote_tasks_sandbox.qstash.account import QStashAccount, Topic
from remote_tasks_sandbox.qstash.message import Gate, milliseconds
from remote_tasks_sandbox.qstash.options import PLANS, read_options
from remote_tasks_sandbox.qstash.parsing import check_url, flag, json_body, whole
from remote_tasks_sandbox.qstash.schedules import Cron
from remote_tasks_sandbox.qstash.v2_messages import Handler, destination_of, publish_headers
from remote_tasks_sandbox.tasks import random_id
from remote_tasks_sandbox.vendor import Context

__all__ = ["SetupOperations"]

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_DONE = Answer(200, b"")
_GLOBAL_PARALLELISM = 100


class SetupOperations:
    """What stands around messages, by method and path."""

    def __init__(self, context: Context, account: QStashAccount) -> None:
        self._context = context
        self._account = account
        self._engine = account.engine
        schedules, topics = account.schedules, account.topics
        queues, flows = self._engine.queues, self._engine.flows
        schedule, topic = "/v2/schedules/{scheduleId}", "/v2/topics/{urlGroupName}"
        queue, flow = "/v2/queues/{queueName}", "/v2/flowControl/{flowControlKey}"
        by_family: dict[str, dict[str, Handler]] = {
            "qstash.schedules": {
                "GET /v2/schedules": _all(schedules.all, lambda one: one.wire()),
                f"GET {schedule}": _one(schedules.all, "schedule", lambda one: one.wire()),
                f"DELETE {schedule}": _done(lambda call: schedules.remove(call.segments[2])),
                **dict.fromkeys((f"POST {schedule}/pause", f"PATCH {schedule}/pause"), self._pause(True)),
                **dict.fromkeys((f"POST {schedule}/resume", f"PATCH {schedule}/resume"), self._pause(False)),
                "POST /v2/schedules/{destination}": self._put_schedule,
            },
            "qstash.queues": {
                "POST /v2/queues": self._put_queue,
                "GET /v2/queues": _all(queues, self._queue_wire),
                f"GET {queue}": _one(queues, "queue", self._queue_wire),
                f"DELETE {queue}": _done(self._delete_queue),
                f"POST {queue}/pause": self._change(queues, "queue", paused=True),
                f"POST {queue}/resume": self._change(queues, "queue", paused=False),
            },
            "qstash.topics": {
                "GET /v2/topics": _all(topics, Topic.wire),
                f"GET {topic}": _one(topics, "url group", Topic.wire),
                f"DELETE {topic}": _done(lambda call: topics.pop(call.segments[2], None)),
                f"POST {topic}/endpoints": _done(self._put_endpoints),
                f"DELETE {topic}/endpoints": _done(self._remove_endpoints),
            },
            "qstash.flow_control": {
                "GET /v2/flowControl": self._list_flows,
                f"GET {flow}": _one(flows, "flow control key", _flow_wire),
                f"POST {flow}/pause": self._change(flows, "flow control key", paused=True),
                f"POST {flow}/resume": self._change(flows, "flow control key", paused=False),
                f"POST {flow}/pin": self._change(flows, "flow control key", _pin),
                f"POST {flow}/unpin": self._change(flows, "flow control key", _unpin),
                f"POST {flow}/resetRate": self._change(flows, "flow control key", self._reset_rate),
                "GET /v2/globalParallelism": self._global_parallelism,
            },
            "qstash.keys": {"GET /v2/keys": self._keys, "POST /v2/keys/rotate": self._rotate},
        }
        self.operations: Mapping[str, tuple[str, Handler]] = {
            name: (family, handler) for family, found in by_family.items() for name, handler in found.items()
        }

    @property
    def _now(self) -> float:
        return self._context.clock.now()

    def _change(
        self,
        gates: Mapping[str, Gate],
        what: str,
        change: Callable[[Gate, Call], None] | None = None,
        *,
        paused: bool | None = None,
    ) -> Handler:
        """Return what changes a queue or a flow control and begins what it held back."""

        def handle(call: Call, _: Plan) -> Answer:
            gate = _found(gates, call, what, status=400)
            if change is not None:
                change(gate, call)
            self._changed(gate, paused=gate.paused if paused is None else paused)
            return _DONE

        return handle

    def _changed(self, gate: Gate, *, paused: bool) -> None:
        gate.paused, gate.updated_at = paused, self._now
        self._engine.open(gate, self._now)

    def _put_schedule(self, call: Call, plan: Plan) -> Answer:
        destination, headers = destination_of(call, 2), publish_headers(call)
        expression = headers.get("upstash-cron")
        if not expression:
            raise Refused(400, "invalid cron: the header Upstash-Cron is required")
        cron = Cron.parse(expression)
        url = self._account.targets(destination)[0].url
        limits, queue = PLANS[self._context.settings.qstash_plan], headers.get("upstash-queue-name")
        options = read_options(url, headers, call.body, limits, self._now, queue=queue, scheduled=True)
        schedule_id = headers.get("upstash-schedule-id") or random_id(28, "scd_")
        self._account.schedules.put(schedule_id, destination, expression, cron, options, self._now)
        return json_answer({"scheduleId": schedule_id})

    def _pause(self, paused: bool) -> Handler:
        schedules = self._account.schedules
        return _done(
            lambda call: schedules.pause(_found(schedules.all, call, "schedule"), self._now, paused=paused)
        )

    def _put_queue(self, call: Call, plan: Plan) -> Answer:
        body = json_body(call)
        name = body.get("queueName") if isinstance(body, dict) else None
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise Refused(400, f"invalid queue name: {name!r}")
        parallelism, paused = body.get("parallelism", 1), body.get("paused")
        if isinstance(parallelism, bool) or not isinstance(parallelism, int) or parallelism < 1:
            raise Refused(400, f"invalid parallelism: {parallelism!r} is not a whole number from 1 on")
        queue = self._engine.queue(name, self._now)
        queue.parallelism = parallelism
        self._changed(queue, paused=queue.paused if paused is None else bool(paused))
        return _DONE

    def _delete_queue(self, call: Call) -> None:
        name = call.segments[2]
        for message in self._of_queue(name):
            self._engine.cancel(message, self._now)
        self._engine.queues.pop(name, None)

    def _of_queue(self, name: str) -> list[Any]:
        messages = self._engine.messages.values()
        return [one for one in messages if one.options.queue == name and not one.finished]

    def _queue_wire(self, queue: Gate) -> dict[str, Any]:
        return {
            "name": queue.name,
            "createdAt": milliseconds(queue.created_at),
            "updatedAt": milliseconds(queue.updated_at),
            "parallelism": queue.parallelism,
            "paused": queue.paused,
            "lag": len(self._of_queue(queue.name)),
        }

    def _put_endpoints(self, call: Call) -> None:
        name, topics = call.segments[2], self._account.topics
        if not _NAME.fullmatch(name):
            raise Refused(400, f"invalid url group name: {name!r}")
        endpoints = _endpoints(call)
        for one in endpoints:
            check_url("endpoint", one.get("url", ""))
        topic = topics.setdefault(name, Topic(name, self._now))
        topic.endpoints |= {one["url"]: one.get("name") for one in endpoints}
        topic.updated_at = self._now

    def _remove_endpoints(self, call: Call) -> None:
        topic = _found(self._account.topics, call, "url group")
        for one in _endpoints(call):
            for url, name in list(topic.endpoints.items()):
                if one.get("url") == url or (name is not None and one.get("name") == name):
                    del topic.endpoints[url]
        topic.updated_at = self._now
        if not topic.endpoints:
            del self._account.topics[topic.name]

    def _list_flows(self, call: Call, plan: Plan) -> Answer:
        search = "".join(call.values("search")[:1])
        return json_answer([_flow_wire(one) for one in self._engine.flows.values() if search in one.name])

    def _reset_rate(self, gate: Gate, call: Call) -> None:
        gate.reset_rate(self._now)

    def _global_parallelism(self, call: Call, plan: Plan) -> Answer:
        active = sum(message.attempting for message in self._engine.messages.values())
        return json_answer({"parallelismMax": _GLOBAL_PARALLELISM, "parallelismCount": active})

    def _keys(self, call: Call, plan: Plan) -> Answer:
        settings = self._context.settings
        keys = {"current": settings.qstash_current_signing_key, "next": settings.qstash_next_signing_key}
        return json_answer(keys)

    def _rotate(self, call: Call, plan: Plan) -> Answer:
        settings = self._context.settings
        settings.qstash_current_signing_key = settings.qstash_next_signing_key
        settings.qstash_next_signing_key = random_id(32, "sig_")
        return self._keys(call, plan)


def _found(things: Mapping[str, T], call: Call, what: str, *, status: int = 404) -> T:
    name = call.segments[2]
    if name not in things:
        raise Refused(status, f"{what} {name} not found")
    return things[name]


def _all(things: Mapping[str, T], wire: Callable[[T], Any]) -> Handler:
    return lambda _call, _plan: json_answer([wire(one) for one in things.values()])


def _one(things: Mapping[str, T], what: str, wire: Callable[[T], Any]) -> Handler:
    return lambda call, _: json_answer(wire(_found(things, call, what)))


def _done(change: Callable[[Call], Any]) -> Handler:
    def handle(call: Call, _: Plan) -> Answer:
        change(call)
        return _DONE

    return handle


def _endpoints(call: Call) -> list[dict[str, Any]]:
    body = json_body(call)
    found = body.get("endpoints") if isinstance(body, dict) else None
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) for one in found):
        raise Refused(400, "invalid endpoints: they must be an array of objects, not empty")
    return found


def _pin(gate: Gate, call: Call) -> None:
    given = {
        name: whole(name, call.values(name)[0], least=1)
        for name in ("parallelism", "rate", "period")
        if call.values(name)
    }
    if "parallelism" in given:
        gate.parallelism, gate.pinned_parallelism = given["parallelism"], True
    if "rate" in given:
        gate.rate, gate.period, gate.pinned_rate = given["rate"], given.get("period", gate.period), True


def _unpin(gate: Gate, call: Call) -> None:
    asked = {name: flag(name, "".join(call.values(name)[:1]) or "false") for name in ("parallelism", "rate")}
    gate.pinned_parallelism = gate.pinned_parallelism and not asked["parallelism"]
    gate.pinned_rate = gate.pinned_rate and not asked["rate"]


def _flow_wire(gate: Gate) -> dict[str, Any]:
    return {
        "flowControlKey": gate.name,
        "waitListSize": len(gate.line),
        "parallelismMax": gate.parallelism or 0,
        "parallelismCount": len(gate.running),
        "rateMax": gate.rate or 0,
        "rateCount": gate.begun,
        "ratePeriod": gate.period,
        "ratePeriodStart": int(gate.period_began),
        "isPaused": gate.paused,
        "isPinnedParallelism": gate.pinned_parallelism,
        "isPinnedRate": gate.pinned_rate,
    }
