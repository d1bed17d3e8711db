"""QStash v2: schedules, queues, URL groups, flow control and signing keys.

https://upstash.com/docs/qstash
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from remote_tasks_sandbox.calls import Answer, Call, Refused, json_answer
from remote_tasks_sandbox.faults import Plan
from remote_tasks_sandbox.qstash.account import QStashAccount, Topic
from remote_tasks_sandbox.qstash.cron import Cron
from remote_tasks_sandbox.qstash.gates import Gate
from remote_tasks_sandbox.qstash.message import milliseconds
from remote_tasks_sandbox.qstash.options import PLANS, read_options
from remote_tasks_sandbox.qstash.parsing import check_url, flag, json_body, whole
from remote_tasks_sandbox.qstash.schedules import Schedule
from remote_tasks_sandbox.qstash.v2_messages import Handler, destination_of, publish_headers
from remote_tasks_sandbox.tasks import random_id
from remote_tasks_sandbox.vendor import Context

__all__ = ["SetupOperations"]

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_DONE = Answer(200, b"")
_GLOBAL_PARALLELISM = 100


class SetupOperations:
    """What stands around messages, by method and path."""

    def __init__(self, context: Context, account: QStashAccount) -> None:
        self._context = context
        self._account = account
        self._engine = account.engine
        schedule, queue, topic = (
            "/v2/schedules/{scheduleId}",
            "/v2/queues/{queueName}",
            "/v2/topics/{urlGroupName}",
        )
        flow = "/v2/flowControl/{flowControlKey}"
        by_family: dict[str, dict[str, Handler]] = {
            "qstash.schedules": {
                "GET /v2/schedules": self._list_schedules,
                f"GET {schedule}": self._get_schedule,
                f"DELETE {schedule}": self._delete_schedule,
                f"POST {schedule}/pause": self._pause_schedule,
                f"PATCH {schedule}/pause": self._pause_schedule,
                f"POST {schedule}/resume": self._resume_schedule,
                f"PATCH {schedule}/resume": self._resume_schedule,
                "POST /v2/schedules/{destination}": self._put_schedule,
            },
            "qstash.queues": {
                "POST /v2/queues": self._put_queue,
                "GET /v2/queues": self._list_queues,
                f"GET {queue}": self._get_queue,
                f"DELETE {queue}": self._delete_queue,
                f"POST {queue}/pause": self._pause_queue,
                f"POST {queue}/resume": self._resume_queue,
            },
            "qstash.topics": {
                "GET /v2/topics": self._list_topics,
                f"GET {topic}": self._get_topic,
                f"DELETE {topic}": self._delete_topic,
                f"POST {topic}/endpoints": self._put_endpoints,
                f"DELETE {topic}/endpoints": self._remove_endpoints,
            },
            "qstash.flow_control": {
                "GET /v2/flowControl": self._list_flows,
                f"GET {flow}": self._get_flow,
                f"POST {flow}/pause": self._pause_flow,
                f"POST {flow}/resume": self._resume_flow,
                f"POST {flow}/pin": self._pin_flow,
                f"POST {flow}/unpin": self._unpin_flow,
                f"POST {flow}/resetRate": self._reset_rate,
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

    # ------------------------------------------------------------------------------------------ schedules

    def _put_schedule(self, call: Call, plan: Plan) -> Answer:
        destination, headers = destination_of(call, 2), publish_headers(call)
        expression = headers.get("upstash-cron")
        if not expression:
            raise Refused(400, "invalid cron: the header Upstash-Cron is required")
        cron = Cron.parse(expression)
        url = self._account.targets(destination)[0].url
        limits = PLANS[self._context.settings.qstash_plan]
        options = read_options(
            url, headers, call.body, limits, self._now, queue=headers.get("upstash-queue-name")
        )
        schedule_id = headers.get("upstash-schedule-id") or random_id(28, "scd_")
        self._account.schedules.put(schedule_id, destination, expression, cron, options, self._now)
        return json_answer({"scheduleId": schedule_id})

    def _schedule(self, call: Call) -> Schedule:
        found = self._account.schedules.all.get(call.segments[2])
        if found is None:
            raise Refused(404, f"schedule {call.segments[2]} not found")
        return found

    def _list_schedules(self, call: Call, plan: Plan) -> Answer:
        return json_answer([schedule.wire() for schedule in self._account.schedules.all.values()])

    def _get_schedule(self, call: Call, plan: Plan) -> Answer:
        return json_answer(self._schedule(call).wire())

    def _delete_schedule(self, call: Call, plan: Plan) -> Answer:
        self._account.schedules.remove(call.segments[2])
        return _DONE

    def _pause_schedule(self, call: Call, plan: Plan) -> Answer:
        self._account.schedules.pause(self._schedule(call), self._now, paused=True)
        return _DONE

    def _resume_schedule(self, call: Call, plan: Plan) -> Answer:
        self._account.schedules.pause(self._schedule(call), self._now, paused=False)
        return _DONE

    # --------------------------------------------------------------------------------------------- queues

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
        self._change(queue, paused=queue.paused if paused is None else bool(paused))
        return _DONE

    def _queue(self, call: Call, status: int = 404) -> Gate:
        found = self._engine.queues.get(call.segments[2])
        if found is None:
            raise Refused(status, f"queue {call.segments[2]} not found")
        return found

    def _list_queues(self, call: Call, plan: Plan) -> Answer:
        return json_answer([self._queue_wire(queue) for queue in self._engine.queues.values()])

    def _get_queue(self, call: Call, plan: Plan) -> Answer:
        return json_answer(self._queue_wire(self._queue(call)))

    def _delete_queue(self, call: Call, plan: Plan) -> Answer:
        name = call.segments[2]
        for message in list(self._engine.messages.values()):
            if message.options.queue == name and not message.finished:
                self._engine.cancel(message, self._now)
        self._engine.queues.pop(name, None)
        return _DONE

    def _pause_queue(self, call: Call, plan: Plan) -> Answer:
        self._change(self._queue(call, 400), paused=True)
        return _DONE

    def _resume_queue(self, call: Call, plan: Plan) -> Answer:
        self._change(self._queue(call, 400), paused=False)
        return _DONE

    def _change(self, gate: Gate, *, paused: bool) -> None:
        gate.paused, gate.updated_at = paused, self._now
        self._engine.open(gate, self._now)

    def _queue_wire(self, queue: Gate) -> dict[str, Any]:
        messages = self._engine.messages.values()
        lag = sum(one.options.queue == queue.name and not one.finished for one in messages)
        return {
            "name": queue.name,
            "createdAt": milliseconds(queue.created_at),
            "updatedAt": milliseconds(queue.updated_at),
            "parallelism": queue.parallelism,
            "paused": queue.paused,
            "lag": lag,
        }

    # ----------------------------------------------------------------------------------------- URL groups

    def _topic(self, call: Call) -> Topic:
        found = self._account.topics.get(call.segments[2])
        if found is None:
            raise Refused(404, f"url group {call.segments[2]} not found")
        return found

    def _list_topics(self, call: Call, plan: Plan) -> Answer:
        return json_answer([topic.wire() for topic in self._account.topics.values()])

    def _get_topic(self, call: Call, plan: Plan) -> Answer:
        return json_answer(self._topic(call).wire())

    def _delete_topic(self, call: Call, plan: Plan) -> Answer:
        self._account.topics.pop(call.segments[2], None)
        return _DONE

    def _put_endpoints(self, call: Call, plan: Plan) -> Answer:
        name = call.segments[2]
        if not _NAME.fullmatch(name):
            raise Refused(400, f"invalid url group name: {name!r}")
        endpoints = _endpoints(call)
        for one in endpoints:
            check_url("endpoint", one.get("url", ""))
        topic = self._account.topics.setdefault(name, Topic(name, self._now))
        for one in endpoints:
            topic.endpoints[one["url"]] = one.get("name")
        topic.updated_at = self._now
        return _DONE

    def _remove_endpoints(self, call: Call, plan: Plan) -> Answer:
        topic = self._topic(call)
        for one in _endpoints(call):
            for url, name in list(topic.endpoints.items()):
                if one.get("url") == url or (name is not None and one.get("name") == name):
                    del topic.endpoints[url]
        topic.updated_at = self._now
        if not topic.endpoints:
            del self._account.topics[topic.name]
        return _DONE

    # --------------------------------------------------------------------------------------- flow control

    def _flow(self, call: Call, status: int = 400) -> Gate:
        found = self._engine.flows.get(call.segments[2])
        if found is None:
            raise Refused(status, f"flow control key {call.segments[2]} not found")
        return found

    def _list_flows(self, call: Call, plan: Plan) -> Answer:
        search = "".join(call.values("search")[:1])
        return json_answer([_flow_wire(one) for one in self._engine.flows.values() if search in one.name])

    def _get_flow(self, call: Call, plan: Plan) -> Answer:
        return json_answer(_flow_wire(self._flow(call, 404)))

    def _pause_flow(self, call: Call, plan: Plan) -> Answer:
        self._change(self._flow(call), paused=True)
        return _DONE

    def _resume_flow(self, call: Call, plan: Plan) -> Answer:
        self._change(self._flow(call), paused=False)
        return _DONE

    def _pin_flow(self, call: Call, plan: Plan) -> Answer:
        gate = self._flow(call)
        given = {
            name: whole(name, call.values(name)[0], least=1)
            for name in ("parallelism", "rate", "period")
            if call.values(name)
        }
        if "parallelism" in given:
            gate.parallelism, gate.pinned_parallelism = given["parallelism"], True
        if "rate" in given:
            gate.rate, gate.period, gate.pinned_rate = given["rate"], given.get("period", gate.period), True
        self._change(gate, paused=gate.paused)
        return _DONE

    def _unpin_flow(self, call: Call, plan: Plan) -> Answer:
        gate = self._flow(call)
        asked = {
            name: flag(name, "".join(call.values(name)[:1]) or "false") for name in ("parallelism", "rate")
        }
        gate.pinned_parallelism = gate.pinned_parallelism and not asked["parallelism"]
        gate.pinned_rate = gate.pinned_rate and not asked["rate"]
        return _DONE

    def _reset_rate(self, call: Call, plan: Plan) -> Answer:
        gate = self._flow(call)
        gate.reset_rate(self._now)
        self._change(gate, paused=gate.paused)
        return _DONE

    def _global_parallelism(self, call: Call, plan: Plan) -> Answer:
        active = sum(message.attempting for message in self._engine.messages.values())
        return json_answer({"parallelismMax": _GLOBAL_PARALLELISM, "parallelismCount": active})

    # ----------------------------------------------------------------------------------------------- keys

    def _keys(self, call: Call, plan: Plan) -> Answer:
        settings = self._context.settings
        keys = {"current": settings.qstash_current_signing_key, "next": settings.qstash_next_signing_key}
        return json_answer(keys)

    def _rotate(self, call: Call, plan: Plan) -> Answer:
        settings = self._context.settings
        settings.qstash_current_signing_key = settings.qstash_next_signing_key
        settings.qstash_next_signing_key = random_id(32, "sig_")
        return self._keys(call, plan)


def _endpoints(call: Call) -> list[dict[str, Any]]:
    body = json_body(call)
    found = body.get("endpoints") if isinstance(body, dict) else None
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) for one in found):
        raise Refused(400, "invalid endpoints: they must be an array of objects, not empty")
    return found


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
