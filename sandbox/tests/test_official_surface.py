"""Every public method of the vendor's client is driven, synchronous and asynchronous.

A later version of the client with one more method fails here until somebody drives it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from qstash import AsyncQStash, QStash

from remote_tasks_sandbox import Sandbox, SandboxServer

HOOK = "https://example.com/hook"
FLOW = {"key": "user:1", "parallelism": 2}
#: Part and method to its arguments, in an order in which each call finds what it needs.
CALLS: dict[str, dict[str, Any]] = {
    "message.publish": {"url": HOOK, "body": "x", "delay": 60, "flow_control": FLOW},
    "message.publish_json": {"url": HOOK, "body": {}, "delay": 60},
    "message.enqueue": {"queue": "q", "url": HOOK, "body": "x"},
    "message.enqueue_json": {"queue": "q", "url": HOOK, "body": {}},
    "message.batch": {"messages": [{"url": HOOK, "body": "x"}]},
    "message.batch_json": {"messages": [{"url": HOOK, "body": {}}]},
    "message.get": {"message_id": "m1"},
    "message.cancel": {"message_id": "m1"},
    "message.cancel_many": {"message_ids": ["m2"]},
    "message.cancel_all": {},
    "url_group.upsert_endpoints": {"url_group": "g", "endpoints": [{"url": HOOK}, {"url": f"{HOOK}/2"}]},
    "url_group.get": {"url_group": "g"},
    "url_group.list": {},
    "url_group.remove_endpoints": {"url_group": "g", "endpoints": [{"url": HOOK}]},
    "url_group.delete": {"url_group": "g"},
    "queue.upsert": {"queue": "q", "parallelism": 2},
    "queue.get": {"queue": "q"},
    "queue.list": {},
    "queue.pause": {"queue": "q"},
    "queue.resume": {"queue": "q"},
    "queue.delete": {"queue": "q"},
    "schedule.create": {"destination": HOOK, "cron": "0 0 * * *", "schedule_id": "s"},
    "schedule.create_json": {"destination": HOOK, "cron": "0 0 * * *", "body": {}},
    "schedule.get": {"schedule_id": "s"},
    "schedule.list": {},
    "schedule.pause": {"schedule_id": "s"},
    "schedule.resume": {"schedule_id": "s"},
    "schedule.delete": {"schedule_id": "s"},
    "signing_key.get": {},
    "signing_key.rotate": {},
    "log.list": {"count": 5},
    "dlq.list": {},
    "dlq.get": {"dlq_id": "{0}"},
    "dlq.delete": {"dlq_id": "{0}"},
    "dlq.delete_many": {"dlq_ids": ["{1}"]},
    "flow_control.get": {"flow_control_key": "user:1"},
    "flow_control.get_global_parallelism": {},
    "flow_control.pause": {"flow_control_key": "user:1"},
    "flow_control.resume": {"flow_control_key": "user:1"},
    "flow_control.pin": {"flow_control_key": "user:1", "options": {"parallelism": 1}},
    "flow_control.unpin": {"flow_control_key": "user:1", "options": {"parallelism": True}},
    "flow_control.reset_rate": {"flow_control_key": "user:1"},
}


def surface(client: QStash | AsyncQStash) -> set[str]:
    """Return the public methods of all parts but the transport."""
    return {
        f"{part}.{name}"
        for part, found in vars(client).items()
        if part != "http" and type(found).__module__.startswith("qstash")
        for name, _ in inspect.getmembers(found, callable)
        if not name.startswith("_")
    }


def filled(value: Any, dlq_ids: list[str]) -> Any:
    """Return an argument with the ids of DLQ messages in their places."""
    if isinstance(value, list):
        return [filled(one, dlq_ids) for one in value]
    return value.format(*dlq_ids) if isinstance(value, str) and value.startswith("{") else value


def prepare(sandbox: Sandbox) -> list[str]:
    """Give the account two messages on their way and two DLQ messages; return the ids of the latter."""
    # The client cannot read the documented word.
    sandbox.settings.update({"qstash_cancelled_word": "CANCELED"})
    for name in ("m1", "m2"):
        sandbox.qstash.add_message(name, [("CREATED", None)])
        sandbox.qstash.add_message(f"failed-{name}", ["FAILED"])
    return [one.id for one in sandbox.qstash.dlq_messages]


@pytest.mark.parametrize("kind", [QStash, AsyncQStash])
class TestSurface:
    def test_surface_is_driven_whole(self, kind: Callable[..., Any]) -> None:
        assert surface(kind("token")) == CALLS.keys()

    @pytest.mark.usefixtures("capsys")
    def test_surface_works_against_the_sandbox(
        self, server: SandboxServer, sandbox: Sandbox, kind: Callable[..., Any]
    ) -> None:
        dlq_ids = prepare(sandbox)

        async def drive() -> None:
            client = kind("sandbox-token", base_url=server.qstash_url, retry=False)
            for name, options in CALLS.items():
                part, method = name.split(".")
                given = {key: filled(value, dlq_ids) for key, value in options.items()}
                answer = getattr(getattr(client, part), method)(**given)
                if inspect.isawaitable(answer):
                    await answer
            closed = client.http._client.aclose() if kind is AsyncQStash else client.http._client.close()
            if inspect.isawaitable(closed):
                await closed

        asyncio.run(drive())
        assert all(record.status in (200, 201, 202) for record in sandbox.journal.all())
        assert sandbox.qstash.dlq_messages == []
