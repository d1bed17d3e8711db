"""The sandbox rings a real receiver, with every fault that a delivery can have: it costs a ring at most."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("starlette")

from remote_tasks_provider.bases.webhooks import WebhookSettings
from remote_tasks_provider.receiver.serving import receiver_alone
from remote_tasks_sandbox import Sandbox
from sandbox.tests.receiver import until
from tests.receiver.bells import Notes, served

FAULTS = [
    "delivery_lost",
    "delivery_doubled",
    "delivery_late",
    "delivery_reordered",
    "delivery_replayed",
    "delivery_forged",
]


class Rung:
    """The sandbox with a receiver at its other end."""

    def __init__(self, sandbox: Sandbox, settings: WebhookSettings, notes: Notes) -> None:
        self.sandbox = sandbox
        self.notes = notes
        self._count = 0
        self._url = {service: settings.url_of(service, conn) for service, conn in settings.connections}
        sandbox.manus.webhooks.add(self._url["manus"])

    def events(self, service: str, count: int) -> None:
        """Let that many things happen at the service."""
        for _ in range(count):
            self._count += 1
            if service == "manus":
                self.sandbox.manus.add_task(f"task{self._count}", [("completed", None)])
            else:
                headers = {"Upstash-Callback": self._url["qstash"]}
                self.sandbox.qstash.publish("https://example.com/hook", headers=headers)
            self.sandbox.clock.advance(1)

    def path(self, service: str) -> str:
        return {"manus": "*/task_stopped", "qstash": "/qstash/callbacks/callback"}[service]

    def rings(self, service: str) -> int:
        return [one for one, _ in self.notes.rings].count(service)


@pytest.fixture
def rung(
    sandbox: Sandbox, manus_conn: str, qstash_conn: str, set_connection: Callable[..., str]
) -> Iterator[Rung]:
    holder: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await holder["app"](scope, receive, send)

    with served(app) as address:
        pairs = (("manus", "manus_default"), ("qstash", "qstash_default"))
        settings = WebhookSettings(f"{address}/remote-tasks", pairs)
        notes = Notes()
        holder["app"] = receiver_alone(settings, notes)
        yield Rung(sandbox, settings, notes)
        notes.held.set()


@pytest.mark.parametrize("service", ["manus", "qstash"])
class TestBells:
    def test_service_rings_for_each_end(self, rung: Rung, service: str) -> None:
        rung.events(service, 3)

        until(lambda: rung.rings(service) == 3)

    @pytest.mark.parametrize("fault", FAULTS)
    def test_fault_costs_a_ring_at_most(self, rung: Rung, service: str, fault: str) -> None:
        rung.sandbox.faults.add(fault, path=rung.path(service), times=1)
        rung.events(service, 3)
        lost = fault in ("delivery_lost", "delivery_forged")
        until(lambda: rung.rings(service) >= 3 - (lost or fault == "delivery_late"))
        rung.sandbox.clock.advance(700)

        until(lambda: rung.rings(service) == 3 - lost)

    def test_receiver_that_is_slow_loses_nothing_of_what_follows(self, rung: Rung, service: str) -> None:
        rung.notes.held.clear()
        rung.events(service, 1)
        rung.notes.held.set()
        rung.events(service, 2)

        until(lambda: rung.rings(service) >= 2)
