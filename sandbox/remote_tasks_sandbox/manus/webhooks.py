"""The webhooks of the emulated Manus account: who is told what a task did, and how each delivery is signed.

https://open.manus.ai/docs/v2/webhooks-overview and https://open.manus.ai/docs/v2/webhooks-security. The
operations are in ``v1_api`` and ``v2_webhooks``. A thread sends what is due, so that nobody needs to ask.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from remote_tasks_sandbox.calls import Later, Refused, dump_json, is_loopback
from remote_tasks_sandbox.delivery import Agenda, Courier, Pump, Response, can_reach, send
from remote_tasks_sandbox.manus.files import signed_address, signed_until
from remote_tasks_sandbox.manus.task import ManusTask
from remote_tasks_sandbox.manus.wire import task_url
from remote_tasks_sandbox.tasks import random_id
from remote_tasks_sandbox.vendor import Context

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

__all__ = ["Webhook", "WebhookDelivery", "Webhooks", "public_key"]

_ANSWER_SECONDS = 10.0


@dataclass(frozen=True)
class Webhook:
    """An address that is told of all tasks; ``created_at`` is in unix seconds."""

    id: str
    url: str
    created_at: int

    def describe(self) -> dict[str, Any]:
        """Return the webhook as v2 shows it."""
        return {"id": self.id, "url": self.url, "status": "active", "created_at": self.created_at}


@dataclass(frozen=True)
class _Event:
    type: str
    task_id: str
    body: bytes


@dataclass
class WebhookDelivery:
    """One request to a webhook.

    :param fault: the fault that made it what it is
    :param real: whether it went over a socket; addresses of elsewhere are never contacted
    :param at: sandbox time, unix seconds
    :param status: what the webhook answered, 0 when it did not; ``None`` as long as that is not known
    """

    webhook_id: str
    url: str
    event_type: str
    task_id: str
    headers: dict[str, str]
    body: bytes
    fault: str | None
    real: bool
    at: float
    status: int | None = None

    @property
    def json(self) -> Any:
        """Return the event."""
        return json.loads(self.body)

    def describe(self) -> dict[str, Any]:
        """Return the delivery as JSON-ready data."""
        return asdict(self) | {"body": self.body.decode()}


class Webhooks:
    """The webhooks of an account and what they are told; thread safe.

    :param tasks: those of the account
    """

    def __init__(self, context: Context, tasks: Mapping[str, ManusTask]) -> None:
        self._context = context
        self._lock = context.lock
        self._clock = context.clock
        self._tasks = tasks
        self._agenda = Agenda(context.clock)
        self._courier = Courier()
        self._pump = Pump(self._pumped)
        self._webhooks: dict[str, Webhook] = {}
        self._deliveries: list[WebhookDelivery] = []
        self._held: list[Callable[[float], None]] = []

    def register(self, url: str, show: Callable[[Webhook], Any]) -> Later:
        """Add a webhook as the API does: once the address has answered a test request with 200.

        :param show: makes the answer
        """
        _check_address(url)

        def end(response: Response) -> Any:
            if response.status != 200:
                raise Refused(400, f"url must answer the test request with 200: {response.reason}")
            return show(self.add(url))

        return Later(partial(self._test, url), end)

    def _test(self, url: str) -> Response:
        if not can_reach(url):
            return Response(200)
        now = time.time()
        body = dump_json({"event_id": f"webhook_test_{int(now)}", "event_type": "webhook_test"})
        return send("POST", url, self._headers(url, body, now), body, _ANSWER_SECONDS)

    def add(self, url: str) -> Webhook:
        """Add a webhook without a test request; it is told what happens from now on."""
        with self._lock:
            self._agenda.settle()
            now = self._clock.now()
            if not self._webhooks:
                for task in self._tasks.values():
                    task.told = task.timeline.index(now)
                    self._wait_for(task, now)
            webhook = Webhook(random_id(22), url, int(now))
            self._webhooks[webhook.id] = webhook
            self._pump.wake()
            return webhook

    def remove(self, webhook_id: str) -> None:
        """Remove a webhook, to which nothing is sent any more; ``KeyError`` when there is none."""
        with self._lock:
            self._agenda.settle()
            del self._webhooks[webhook_id]
            if not self._webhooks:
                self._agenda.clear()

    def all(self) -> list[Webhook]:
        """Return the webhooks, oldest first."""
        with self._lock:
            return list(self._webhooks.values())

    @property
    def deliveries(self) -> list[WebhookDelivery]:
        """Return what was sent, oldest first; the test requests are not among it."""
        with self._lock:
            self._agenda.settle()
            return list(self._deliveries)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._webhooks.clear()
            self._deliveries.clear()
            self._held.clear()
            self._agenda.clear()

    def watch(self, task: ManusTask) -> None:
        """Tell of a task that is new or follows another script now; the caller holds the lock."""
        if self._webhooks:
            self._agenda.later(self._clock.now(), lambda _: self._tell(task))
            self._pump.wake()

    def _pumped(self) -> bool:
        with self._lock:
            self._agenda.settle()
            return len(self._agenda) > 0

    def _wait_for(self, task: ManusTask, now: float) -> None:
        change = task.timeline.next_change(now)
        if change is not None:
            self._agenda.later(change, lambda _: self._tell(task))

    def _tell(self, task: ManusTask) -> None:
        """Tell what a task did since this was called last, and plan to do so when its status changes."""
        if self._tasks.get(task.id) is not task:
            return
        now = self._clock.now()  # once: a test may advance the clock at any moment
        visited = task.timeline.visited(task.timeline.index(now))
        if task.told is None:
            self._announce("task_created", task, task.added_at, {})
        begin = 0 if task.told is None else task.told + 1
        for position, (start, _) in enumerate(visited[begin:], start=begin):
            ending = self._ending(task, position)
            if ending is not None:
                self._announce("task_stopped", task, max(start, task.added_at), ending)
        task.told = len(visited) - 1
        self._wait_for(task, now)

    def _ending(self, task: ManusTask, position: int) -> dict[str, Any] | None:
        """Return what is told of a task that asks or has finished, ``None`` for any other status."""
        # All that belongs to this status counts, also what the API shows only later.
        entries = {entry.key: entry for entry in task.history(position, math.inf)}
        said = entries.get(f"ask-{position}") or entries.get(f"answer-{position}")
        if said is None:
            return None
        ending: dict[str, Any] = {"message": said.text, "stop_reason": "ask" if said.question else "finish"}
        if said.files:
            expires = signed_until(self._clock.now(), self._context.settings.file_url_seconds)
            ending["attachments"] = [
                {
                    "file_name": item.name,
                    "url": signed_address("files", task.id, item.name, self._context.base_url, expires),
                    "size_bytes": len(item.content),
                }
                for item in said.files
            ]
        if result := entries.get(f"structured-{position}"):
            ending["structured_output"] = result.result
        return ending

    def _announce(self, kind: str, task: ManusTask, at: float, more: Mapping[str, Any]) -> None:
        url = task_url(task, self._context.base_url)
        body = {
            "event_id": f"{kind}_{task.id}_{int(at)}",
            "event_type": kind,
            "task_detail": {"task_id": task.id, "task_title": task.title, "task_url": url, **more},
        }
        for webhook in self._webhooks.values():
            self._deliver(webhook, _Event(kind, task.id, dump_json(body)), at)

    def _deliver(self, webhook: Webhook, event: _Event, at: float) -> None:
        """Send an event, or do with it what a fault says."""
        fault = self._context.faults.of_delivery(f"/manus/webhooks/{event.type}", event.task_id)
        kind, options = (fault.kind, fault.options) if fault else (None, {})
        seconds, signed_at = float(options.get("seconds") or 0), time.time()
        dispatch = partial(self._dispatch, webhook, event, kind)
        if kind == "delivery_late":
            self._agenda.later(at + seconds, lambda _: dispatch(time.time()))
        elif kind == "delivery_reordered":
            self._held.append(dispatch)
        elif kind != "delivery_lost":
            dispatch(signed_at)
            self._release()
        if kind == "delivery_doubled":
            dispatch(signed_at)
        elif kind == "delivery_replayed":
            self._agenda.later(at + seconds, lambda _: dispatch(_aged(signed_at, seconds)))

    def _release(self) -> None:
        """Send what was to be sent after the next delivery."""
        held, self._held[:] = list(self._held), []
        for dispatch in held:
            dispatch(time.time())

    def _dispatch(self, webhook: Webhook, event: _Event, fault: str | None, signed_at: float) -> None:
        if webhook.id not in self._webhooks:
            return
        signed = b"" if fault == "delivery_forged" else event.body
        delivery = WebhookDelivery(
            *(webhook.id, webhook.url, event.type, event.task_id),
            *(self._headers(webhook.url, signed, signed_at), event.body, fault),
            *(can_reach(webhook.url), self._clock.now()),
        )
        self._deliveries.append(delivery)
        if delivery.real:
            self._courier.submit(lambda: self._post(delivery))
        else:
            delivery.status = 200

    def _post(self, delivery: WebhookDelivery) -> None:
        """Make a real delivery; runs in a thread of the courier's."""
        response = send("POST", delivery.url, delivery.headers, delivery.body, _ANSWER_SECONDS)
        delivery.status = response.status

    def _headers(self, url: str, body: bytes, signed_at: float) -> dict[str, str]:
        """Return the headers of a delivery.

        :param body: what is signed
        :param signed_at: the machine's time and not the sandbox's, as the receiver has a clock of its own
        """
        stamp = int(signed_at)
        content = f"{stamp}.{url}.{hashlib.sha256(body).hexdigest()}".encode()
        if self._context.settings.manus_webhook_hash == "double":
            content = hashlib.sha256(content).digest()
        return {
            "Content-Type": "application/json",
            "X-Webhook-Signature": _sign(content),
            "X-Webhook-Timestamp": str(stamp),
        }


def _aged(signed_at: float, seconds: float) -> float:
    """Return the time of so many seconds ago: ``signed_at``, unless the sandbox's clock ran ahead."""
    return signed_at - max(round(seconds - (time.time() - signed_at)), 0)


def _check_address(url: str) -> None:
    """Refuse what is not ``https``; on this machine ``http`` will do, too, which Manus does not take."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise Refused(400, "url is not an address") from None
    allowed = ("https", "http") if is_loopback(host) else ("https",)
    if not host or parts.scheme not in allowed:
        raise Refused(400, "url must be an https address")


_making_the_key = threading.Lock()


@cache
def _new_key() -> tuple[RSAPrivateKey, datetime]:
    # Imported here: most sandboxes never sign anything.
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(public_exponent=65537, key_size=2048), datetime.now(UTC)


def _key() -> tuple[RSAPrivateKey, datetime]:
    """Return the key of this process and when it was made."""
    # A cache alone would make a key for each thread that comes before the first one is ready.
    with _making_the_key:
        return _new_key()


def _sign(content: bytes) -> str:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    signature = _key()[0].sign(content, padding.PKCS1v15(), hashes.SHA256())
    return base64.b64encode(signature).decode()


def public_key() -> tuple[dict[str, Any], datetime]:
    """Return what both versions tell of the key that deliveries are signed with, and when it was made."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key, made_at = _key()
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return {"public_key": pem.decode(), "algorithm": "RSA-SHA256"}, made_at
