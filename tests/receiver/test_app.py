"""The receiver over real sockets: what it takes, what it refuses, and that nothing gets around its checks."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("starlette")

import requests
from starlette.routing import Mount, Router

from remote_tasks_provider.core.push.events import VerifiedEvent
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.receiver import app as app_module
from remote_tasks_provider.receiver.app import MOST_BYTES, Receiver, make_app
from remote_tasks_provider.receiver.known import KnownConnection, hook_class
from tests.receiver.bells import (
    CONNECTIONS,
    SETTINGS,
    TYPES,
    Notes,
    define_connections,
    post,
    served,
    webhook,
)


class Running:
    """A receiver that is served, and what it leaves."""

    def __init__(self, address: str, notes: Notes) -> None:
        self.address = address
        self.notes = notes

    def url(self, service: str, conn_id: str | None = None) -> str:
        return f"{self.address}/remote-tasks/webhooks/{service}/{conn_id or f'{service}_default'}"

    def post(self, service: str, headers: dict[str, str], body: bytes) -> int:
        return post(self.url(service), headers, body)


def make_receiver(notes: Notes) -> Any:
    connections = {(service, one): KnownConnection(hook_class(service), one) for service, one in CONNECTIONS}
    receiver = Receiver(SETTINGS, connections, notes)
    return Router([Mount("/remote-tasks", make_app(receiver))])


@pytest.fixture
def running(set_connection: Callable[..., str]) -> Iterator[Running]:
    define_connections(set_connection)
    notes = Notes()
    with served(make_receiver(notes)) as address:
        yield Running(address, notes)
        notes.held.set()


@pytest.mark.parametrize("service", TYPES)
class TestEveryService:
    def test_webhook_that_is_verified_rings_once(self, running: Running, service: str) -> None:
        assert running.post(service, *webhook(service)) == 200
        assert running.notes.rings == [(service, f"{service}_default")]
        assert running.notes.events == []

    def test_webhook_that_is_replayed_rings_once(self, running: Running, service: str) -> None:
        assert [running.post(service, *webhook(service)) for _ in range(3)] == [200, 200, 200]
        assert len(running.notes.rings) == 1

    def test_webhook_that_is_replayed_at_another_replica_rings_once(
        self, running: Running, service: str
    ) -> None:
        running.post(service, *webhook(service))
        with served(make_receiver(running.notes)) as other:
            assert Running(other, running.notes).post(service, *webhook(service)) == 200

        assert len(running.notes.rings) == 1

    def test_webhook_that_is_forged_is_refused(self, running: Running, service: str) -> None:
        headers, body = webhook(service)
        forged = [
            ({}, body),
            (headers | {name: f"{value[:-9]}AAAAAAAAA" for name, value in headers.items()}, body),
            *(
                []
                if service == "a2a"
                else [(headers, body + b" "), webhook(service, url="https://evil.test")]
            ),
        ]

        assert {running.post(service, *one) for one in forged} == {401}
        assert running.notes.rings == []

    def test_webhook_for_another_service_is_refused(self, running: Running, service: str) -> None:
        for other in set(TYPES) - {service}:
            assert running.post(other, *webhook(service)) == 401
        assert running.notes.rings == []

    def test_webhook_that_cannot_be_stored_may_be_sent_again(self, running: Running, service: str) -> None:
        running.notes.broken = True
        assert running.post(service, *webhook(service)) == 503
        running.notes.broken = False

        assert running.post(service, *webhook(service)) == 200
        assert len(running.notes.rings) == 1

    def test_webhook_of_a_connection_that_is_not_configured_is_unknown(
        self, running: Running, service: str
    ) -> None:
        assert post(running.url(service, "other"), *webhook(service)) == 404
        assert post(running.url("nothing"), *webhook(service)) == 404

    def test_webhook_is_answered_within_a_second_while_the_database_hangs(
        self, running: Running, service: str
    ) -> None:
        running.post(service, *webhook(service, "first"))
        running.notes.held.clear()
        begin = time.monotonic()

        assert running.post(service, *webhook(service)) == 503
        assert time.monotonic() - begin < 1.5

    def test_log_shows_nothing_that_was_not_proved(
        self, running: Running, service: str, log_lines: list[str]
    ) -> None:
        headers, body = webhook(service, "forged")
        running.post(service, {**headers, **dict.fromkeys(headers, "tell-tale")}, body)
        running.post(service, *webhook(service, "good"))
        text = "\n".join(log_lines)

        assert "tell-tale" not in text
        assert "forged" not in text
        assert body.decode() not in text
        assert "about tgood" in text


class TestAddress:
    @pytest.mark.parametrize("service", ["manus", "qstash"])
    def test_address_is_the_configured_one_whatever_the_request_says(
        self, running: Running, service: str
    ) -> None:
        url = f"https://evil.test/remote-tasks/webhooks/{service}/{service}_default"
        headers, body = webhook(service, url=url)
        claims = {"Host": "evil.test", "X-Forwarded-Host": "evil.test", "X-Forwarded-Proto": "https"}

        assert running.post(service, headers | claims, body) == 401

    def test_methods_but_post_are_refused(self, running: Running) -> None:
        assert requests.get(running.url("manus"), timeout=10).status_code == 405


class TestBody:
    def begin(self, running: Running, *headers: str) -> bytes:
        """Send the head of a request and three bytes; return the begin of the answer."""
        parts = urlsplit(running.url("manus"))
        head = "\r\n".join([f"POST {parts.path} HTTP/1.1", "Host: x", *headers, "", "abc"])
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as connection:
            connection.sendall(head.encode())
            return connection.recv(1024)

    def test_body_that_is_too_large_is_refused_before_it_is_read(self, running: Running) -> None:
        headers, body = webhook("manus")

        assert running.post("manus", headers, body.ljust(MOST_BYTES + 1)) == 413
        for length in ("999999999", "9" * 30):
            assert b" 4" in self.begin(running, f"Content-Length: {length}")

    def test_body_without_a_length_is_cut_off(self, running: Running) -> None:
        def chunks() -> Iterator[bytes]:
            for _ in range(1000):
                yield b"x" * 1024

        assert requests.post(running.url("manus"), data=chunks(), timeout=10).status_code == 413

    def test_body_that_never_ends_is_given_up(
        self, running: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(app_module, "_BODY_SECONDS", 0.2)

        assert b" 408 " in self.begin(running, "Content-Length: 100")

    def test_client_that_goes_away_leaves_nothing(self, running: Running) -> None:
        parts = urlsplit(running.url("manus"))
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as connection:
            connection.sendall(
                f"POST {parts.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n".encode()
            )

        assert running.post("manus", *webhook("manus")) == 200


class TestEvents:
    def test_event_of_a_receiver_that_died_after_its_claim_comes_with_the_repeat(self) -> None:
        notes = Notes()
        notes.claim("manus", "manus_default", "e")

        is_new = notes.keep("manus", "manus_default", VerifiedEvent("e"), starts_dags=True)

        assert not is_new
        assert notes.rings == []
        assert [one["event_id"] for one in notes.events] == ["e"]

    def test_event_of_a_task_that_goes_on_rings_no_bell(self) -> None:
        notes = Notes()
        for state in TaskState:
            event = VerifiedEvent(state, ("t1",), state)
            notes.keep("manus", "manus_default", event, starts_dags=True)

        assert len(notes.events) == len(TaskState)
        assert len(notes.rings) == len(TaskState) - 2

    def test_asset_gets_an_event_where_the_connection_asks_for_it(
        self, running: Running, set_connection: Callable[..., str]
    ) -> None:
        notes = Notes()
        event = VerifiedEvent("e", ("t1",), None)
        notes.keep("manus", "manus_default", event, starts_dags=True)
        notes.keep("manus", "manus_default", event, starts_dags=True)

        assert notes.events == [
            {
                "service": "manus",
                "conn_id": "manus_default",
                "event_id": "e",
                "remote_ids": ("t1",),
                "state": None,
            }
        ]


class TestTrouble:
    def test_receiver_without_keys_takes_nothing(
        self, running: Running, set_connection: Callable[..., str], log_lines: list[str]
    ) -> None:
        set_connection("a2a_default", conn_type="a2a", host="http://127.0.0.1:9")

        assert running.post("a2a", *webhook("a2a")) == 503
        assert "has no webhook_secret" in "\n".join(log_lines)

    def test_secret_that_is_the_password_takes_nothing(
        self, running: Running, set_connection: Callable[..., str], log_lines: list[str]
    ) -> None:
        secret = "tell-nobody-0123456789"
        extra = {"webhook_secret": secret}
        set_connection(
            "a2a_default", conn_type="a2a", host="http://127.0.0.1:9", password=secret, extra=extra
        )

        assert running.post("a2a", *webhook("a2a")) == 503
        assert "is its password" in "\n".join(log_lines)

    def test_check_that_stumbles_has_proved_nothing(
        self, running: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def stumble(*_: Any) -> VerifiedEvent:
            raise RuntimeError("tell-tale")

        monkeypatch.setattr(KnownConnection, "verify", stumble)

        assert running.post("manus", *webhook("manus")) == 401

    def test_store_that_stumbles_is_no_error_of_the_server(
        self, running: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def stumble(*_: Any, **__: Any) -> bool:
            raise RuntimeError("tell-tale")

        monkeypatch.setattr(running.notes, "keep", stumble)

        assert running.post("manus", *webhook("manus")) == 503

    def test_refusals_are_logged_once_a_minute(self, running: Running, log_lines: list[str]) -> None:
        for _ in range(20):
            running.post("manus", {}, b"{}")

        assert len([line for line in log_lines if "refused a webhook" in line]) == 1


class TestFlood:
    def test_thousand_bad_requests_leave_nothing_and_good_ones_pass(self, running: Running) -> None:
        good, headers, body = webhook("manus", "good"), *webhook("manus", "bad")
        running.post("manus", *good)
        bad = [
            *[(headers | {"x-webhook-timestamp": str(index)}, body) for index in range(300)],
            *[good for _ in range(300)],
            *[({"x-webhook-signature": "A" * index}, b"\xff" * index) for index in range(400)],
        ]
        url = running.url("manus")

        def send(requested: list[tuple[dict[str, str], bytes]]) -> list[int]:
            with requests.Session() as session:
                return [
                    session.post(url, headers=headers, data=body, timeout=10).status_code
                    for headers, body in requested
                ]

        with ThreadPoolExecutor(8) as threads:
            statuses = [
                one for found in threads.map(send, [bad[part::8] for part in range(8)]) for one in found
            ]

        assert set(statuses) == {200, 401}
        assert statuses.count(200) == 300
        assert running.notes.rings == [("manus", "manus_default")]
        assert running.post("manus", *webhook("manus", "after")) == 200
