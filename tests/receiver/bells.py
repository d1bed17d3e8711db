"""A receiver on a real socket, the three services' signatures, and a store that only remembers."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import requests
import uvicorn
from cryptography.hazmat.primitives.asymmetric import rsa

from remote_tasks_provider.bases.webhooks import WebhookSettings
from remote_tasks_provider.core.push.bell import BellNotStored
from remote_tasks_provider.core.push.events import VerifiedEvent
from remote_tasks_provider.receiver.stores import Store
from tests.manus.test_push import pem
from tests.manus.test_push import signed as signed_by_manus
from tests.qstash.test_signature import CURRENT, NEXT
from tests.qstash.test_signature import signed as signed_by_qstash

PUBLIC = "https://hooks.example.com/remote-tasks"
CONNECTIONS = (("manus", "manus_default"), ("qstash", "qstash_default"), ("a2a", "a2a_default"))
SETTINGS = WebhookSettings(PUBLIC, CONNECTIONS)
SECRET = "tell-nobody-0123456789"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
TYPES = [service for service, _ in CONNECTIONS]


def define_connections(set_connection: Callable[..., str]) -> None:
    """Define a connection for each service, with pasted keys."""
    set_connection(
        "manus_default", conn_type="manus", password="sk-sandbox", extra={"webhook_public_key": pem(KEY)}
    )
    set_connection(
        "qstash_default", conn_type="qstash", password="token", extra={"webhook_secret": f"{CURRENT},{NEXT}"}
    )
    set_connection(
        "a2a_default", conn_type="a2a", host="http://127.0.0.1:9", extra={"webhook_secret": SECRET}
    )


def webhook(service: str, name: str = "1", **facts: Any) -> tuple[dict[str, str], bytes]:
    """Return headers and body as the service sends them.

    :param name: of the event.
    :param facts: what the signature is to hold instead.
    """
    url = facts.pop("url", SETTINGS.url_of(service, f"{service}_default"))
    if service == "manus":
        body = json.dumps({"event_id": f"e{name}", "task_detail": {"task_id": f"t{name}"}}).encode()
        made = signed_by_manus(body, **({"key": KEY, "url": url, "at": time.time()} | facts))
        return dict(made.headers), body
    if service == "qstash":
        body = json.dumps({"status": 200, "sourceMessageId": f"t{name}"}).encode()
        return {"Upstash-Signature": signed_by_qstash(body=body, sub=url, jti=f"jwt_{name}", **facts)}, body
    body = json.dumps({"statusUpdate": {"taskId": f"t{name}"}}).encode()
    return {"X-A2A-Notification-Token": facts.get("key", SECRET)}, body


class Notes(Store):
    """Keeps what it is given in memory, as Airflow would; ``broken`` makes it refuse, ``slow`` wait."""

    def __init__(self) -> None:
        super().__init__(self, self)
        self.rings: list[tuple[str, str]] = []
        self.events: list[dict[str, Any]] = []
        self.claims: set[tuple[str, str, str]] = set()
        self.broken = False
        self.held = threading.Event()
        self.held.set()
        self._lock = threading.Lock()

    def claim(self, *event: str) -> bool:
        with self._lock:
            is_new = event not in self.claims
            self.claims.add(event)
        return is_new

    def release(self, *event: str) -> None:
        self.claims.discard(event)

    def ring(self, service: str, conn_id: str) -> None:
        self.held.wait(10)
        if self.broken:
            raise BellNotStored("the database is away")
        self.rings.append((service, conn_id))

    def publish(self, service: str, conn_id: str, **event: Any) -> bool:
        found = {"service": service, "conn_id": conn_id, **event}
        if is_new := event["event_id"] not in [one["event_id"] for one in self.events]:
            self.events.append(found)
        return is_new

    def keep(self, service: str, conn_id: str, event: VerifiedEvent, *, starts_dags: bool) -> bool:
        return super().keep(service, conn_id, event, starts_dags=starts_dags)


@contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve an ASGI app on a loopback port for as long as the block lasts; yields its address."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", ws="none"))
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_until_complete, args=[server.serve([listening])])
        thread.start()
        try:
            while not server.started and thread.is_alive():
                threading.Event().wait(0.01)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)
            loop.close()


def post(url: str, headers: Mapping[str, str], body: bytes) -> int:
    """Send a webhook; return the status of the answer."""
    return requests.post(url, data=body, headers=dict(headers), timeout=10).status_code
