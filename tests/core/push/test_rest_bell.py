"""The bell that is rung from outside Airflow, over its REST API as 3.3 has it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from remote_tasks_provider.core.errors import ConnectionConfigError
from remote_tasks_provider.core.push.bell import ANY_BELL, WEBHOOK_ASSET, BellNotStored, events_asset_name
from remote_tasks_provider.core.push.rest_bell import RestBell

EVENTS = events_asset_name("manus", "manus_default")
#: As Airflow shows it.
REWRITTEN = (WEBHOOK_ASSET[0], WEBHOOK_ASSET[1] + "/")


class Airflow:
    """The few routes of Airflow's API that a bell needs."""

    def __init__(self) -> None:
        self.assets: dict[int, tuple[str, str]] = {7: REWRITTEN, 8: EVENTS}
        self.notes: list[tuple[int, str, Any]] = []
        self.store: dict[str, Any] = {}
        self.events: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self.tokens = 0
        self.logs_in = True
        self.odd: dict[str, Any] = {}
        airflow = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                parts = urlsplit(self.path)
                airflow.calls.append(f"{self.command} {unquote(parts.path)}")
                status, found = airflow.answer(
                    self.command, parts.path, parse_qs(parts.query), body, self.headers["authorization"]
                )
                raw = b"" if status == 204 else json.dumps(found).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = do_PUT = do_DELETE = _answer

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, method: str, place: str, query: Any, body: Any, token: str | None) -> tuple[int, Any]:
        if place in self.odd:
            return self.odd[place]
        if place == "/auth/token":
            self.tokens += 1
            return (
                (201, {"access_token": f"token-{self.tokens}"}) if self.logs_in else (401, {"detail": "no"})
            )
        if token != f"Bearer token-{self.tokens}":
            return 401, {"detail": "Invalid JWT token"}
        if place == "/api/v2/assets":
            found = [
                {"id": number, "name": name, "uri": uri}
                for number, (name, uri) in self.assets.items()
                if name.startswith(query["name_pattern"][0])
            ]
            return 200, {"assets": found, "total_entries": len(found)}
        if place == "/api/v2/assets/events" and method == "POST":
            self.events.append(body)
            return 200, {"id": len(self.events)}
        if place == "/api/v2/assets/events":
            found = [one for one in self.events if one["asset_id"] == int(query["asset_id"][0])]
            return 200, {"asset_events": found}
        number, _, key = place.removeprefix("/api/v2/assets/").replace("/", " ", 1).partition(" state-store")
        key = key.removeprefix("/")
        if int(number) not in self.assets:
            return 404, {"detail": "Asset not found"}
        return self.answer_note(int(number), method, unquote(key), query, body)

    def answer_note(self, number: int, method: str, key: str, query: Any, body: Any) -> tuple[int, Any]:
        if not key:
            first = int(query["offset"][0])
            found = [{"key": one, "value": self.store[one]} for one in sorted(self.store)]
            return 200, {"asset_state_store": found[first : first + int(query["limit"][0])]}
        if method == "GET":
            return (200, {"value": self.store[key]}) if key in self.store else (404, {"detail": "no key"})
        if method == "DELETE":
            self.store.pop(key, None)
        else:
            self.notes.append((number, key, body["value"]))
            self.store[key] = body["value"]
        return 204, None


@pytest.fixture
def airflow() -> Iterator[Airflow]:
    made = Airflow()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join(5)


@pytest.fixture
def bell(airflow: Airflow) -> Iterator[RestBell]:
    made = RestBell(airflow.url, "bell", "secret")
    yield made
    made.close()


class TestRing:
    def test_ring_writes_both_notes_the_watched_one_last(self, airflow: Airflow, bell: RestBell) -> None:
        bell.ring("manus", "manus_default")

        assert [(number, key) for number, key, _ in airflow.notes] == [
            (7, "bell:manus:manus_default"),
            (7, ANY_BELL),
        ]
        assert airflow.notes[0][2] == airflow.notes[1][2]

    def test_key_with_odd_letters_arrives_as_it_is(self, airflow: Airflow, bell: RestBell) -> None:
        bell.ring("manus", "a/b c%")

        assert airflow.notes[0][1] == "bell:manus:a/b c%"

    def test_later_rings_neither_log_in_nor_look_for_the_asset(
        self, airflow: Airflow, bell: RestBell
    ) -> None:
        bell.ring("manus", "one")
        airflow.calls.clear()
        bell.ring("manus", "two")

        assert [call.split(" ")[0] for call in airflow.calls] == ["PUT", "PUT"]
        assert airflow.tokens == 1

    def test_ring_logs_in_again_when_the_token_has_run_out(self, airflow: Airflow, bell: RestBell) -> None:
        bell.ring("manus", "one")
        airflow.tokens += 1
        bell.ring("manus", "two")

        assert [key for _, key, _ in airflow.notes][-2:] == ["bell:manus:two", ANY_BELL]

    def test_ring_finds_an_asset_that_was_made_again(self, airflow: Airflow, bell: RestBell) -> None:
        bell.ring("manus", "one")
        airflow.assets = {9: WEBHOOK_ASSET}
        bell.ring("manus", "two")

        assert {number for number, _, _ in airflow.notes[2:]} == {9}

    def test_asset_of_a_like_name_is_not_taken(self, airflow: Airflow, bell: RestBell) -> None:
        airflow.assets = {1: (WEBHOOK_ASSET[0] + "-2", "x://y"), 2: WEBHOOK_ASSET}
        bell.ring("manus", "one")

        assert {number for number, _, _ in airflow.notes} == {2}

    def test_ring_says_when_no_dag_names_the_asset(self, airflow: Airflow, bell: RestBell) -> None:
        airflow.assets = {}

        with pytest.raises(BellNotStored, match="no DAG names the asset 'remote-tasks-webhooks'"):
            bell.ring("manus", "one")

    def test_bell_that_was_opened_rings_without_another_login(self, airflow: Airflow, bell: RestBell) -> None:
        bell.open()
        opened = list(airflow.calls)
        bell.ring("manus", "manus_default")

        assert opened == ["POST /auth/token", "GET /api/v2/assets"]
        assert [call.split()[0] for call in airflow.calls[len(opened) :]] == ["PUT", "PUT"]

    def test_bell_cannot_be_opened_where_no_dag_names_the_asset(
        self, airflow: Airflow, bell: RestBell
    ) -> None:
        airflow.assets.clear()

        with pytest.raises(BellNotStored, match="no DAG names the asset"):
            bell.open()

    def test_refused_login_is_not_repeated(self, airflow: Airflow, bell: RestBell) -> None:
        airflow.logs_in = False

        with pytest.raises(BellNotStored, match="401"):
            bell.ring("manus", "one")
        assert airflow.tokens == 1

    def test_ring_works_again_after_airflow_was_away(self, airflow: Airflow, bell: RestBell) -> None:
        airflow.odd["/api/v2/assets"] = (400, {"detail": "no"})
        with pytest.raises(BellNotStored):
            bell.ring("manus", "one")
        airflow.odd.clear()
        bell.ring("manus", "one")

        assert len(airflow.notes) == 2

    @pytest.mark.parametrize(
        ("place", "body"),
        [
            ("/auth/token", {"token": "x"}),
            ("/auth/token", []),
            ("/auth/token", {"access_token": ""}),
            ("/api/v2/assets", {"assets": "none"}),
            ("/api/v2/assets", {"assets": [1]}),
        ],
    )
    def test_answer_of_another_shape_is_no_ring(
        self, airflow: Airflow, bell: RestBell, place: str, body: Any
    ) -> None:
        airflow.odd[place] = (200, body)

        with pytest.raises(BellNotStored):
            bell.ring("manus", "one")

    def test_error_does_not_show_the_password(self, airflow: Airflow, bell: RestBell) -> None:
        airflow.odd["/auth/token"] = (400, {"detail": "no user has secret"})

        with pytest.raises(BellNotStored) as caught:
            bell.ring("manus", "one")
        assert "secret" not in caught.value.reason

    def test_address_that_would_show_the_password_is_refused(self) -> None:
        with pytest.raises(ConnectionConfigError, match="http://"):
            RestBell("http://airflow.example.com", "bell", "secret")


class TestPublish:
    def test_event_is_published_once(self, airflow: Airflow, bell: RestBell) -> None:
        facts = {"event_id": "e1", "remote_ids": ["t1"], "state": "completed"}

        assert bell.publish("manus", "manus_default", **facts)
        assert not bell.publish("manus", "manus_default", **facts)
        assert [event["asset_id"] for event in airflow.events] == [8]
        assert airflow.events[0]["extra"] == {
            "service": "manus",
            "conn_id": "manus_default",
            **facts,
        }

    def test_event_without_a_dag_is_none(self, airflow: Airflow, bell: RestBell) -> None:
        del airflow.assets[8]

        assert not bell.publish("manus", "manus_default", event_id="e1", remote_ids=[], state=None)
        assert airflow.events == []
