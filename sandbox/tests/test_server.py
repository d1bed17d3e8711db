from __future__ import annotations

import asyncio
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime

import httpx
import pytest
import requests

from remote_tasks_sandbox import Sandbox, SandboxApp, SandboxServer


class TestLife:
    def test_server_serves_on_a_free_port_of_this_machine_and_leaves_no_thread(self):
        before = set(threading.enumerate())
        with SandboxServer(port=0, seed_demo=False) as server:
            assert server.url.startswith("http://127.0.0.1:")
            assert (server.manus_url, server.qstash_url) == (f"{server.url}/manus", f"{server.url}/qstash")
            assert requests.get(server.url, timeout=10).status_code == 200
        assert set(threading.enumerate()) == before
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(server.url, timeout=10)

    def test_answers_are_dated_by_the_clock_of_the_sandbox(self):
        with SandboxServer() as server:
            server.sandbox.clock.advance(3 * 86_400)
            answer = requests.get(f"{server.manus_url}/v1/tasks", timeout=10)
            said = parsedate_to_datetime(answer.headers["date"]).timestamp()
            assert abs(said - server.sandbox.clock.now()) < 60

    def test_server_stops_quickly_with_an_idle_connection_open(self):
        with requests.Session() as session, SandboxServer() as server:
            session.get(server.url, timeout=10)
            began = time.monotonic()
            server.stop()
            assert time.monotonic() - began < 1

    def test_server_may_be_stopped_twice_and_started_again(self):
        server = SandboxServer(seed_demo=True)
        for _ in range(2):
            server.start()
            assert requests.get(server.url, timeout=10).status_code == 200
            server.stop()
            server.stop()
        assert len(server.sandbox.manus) == 4

    def test_server_is_not_started_twice_at_once(self):
        with SandboxServer() as server, pytest.raises(RuntimeError, match="running already"):
            server.start()

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", ""])
    def test_server_refuses_to_listen_to_the_world(self, host):
        with pytest.raises(ValueError, match="loopback only"):
            SandboxServer(host=host)

    def test_port_in_use_is_an_error(self, server):
        taken = int(server.url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            SandboxServer(port=taken).start()

    def test_servers_can_run_side_by_side(self, server):
        with SandboxServer() as other:
            other.sandbox.manus.add_task("mine")
            assert other.url != server.url
            assert server.sandbox.manus.get("mine") is None


class TestInProcess:
    def test_app_answers_without_a_socket(self):
        sandbox = Sandbox(base_url="http://sandbox")
        sandbox.manus.add_task("one")

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=SandboxApp(sandbox))
            async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as client:
                return await client.get("/manus/v1/tasks/one", headers={"API_KEY": "sk-sandbox"})

        answer = asyncio.run(ask())
        assert answer.json()["metadata"]["task_url"] == "http://sandbox/manus/app/one"


class TestBodies:
    def test_client_that_leaves_in_the_middle_of_a_body_changes_nothing(self, server, sandbox, manus):
        host, _, port = server.url.removeprefix("http://").partition(":")
        head = (
            "POST /manus/v1/tasks HTTP/1.1\r\nHost: x\r\nAPI_KEY: sk-sandbox\r\nContent-Length: 99\r\n\r\n{"
        )
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(head.encode())
            assert manus.get("/v1/tasks").status_code == 200
        assert manus.get("/v1/tasks").json() == {"object": "list"}
        assert [record.method for record in sandbox.requests] == ["GET", "GET"]

    def test_long_body_arrives_whole_after_a_hang(self, sandbox, manus):
        sandbox.faults.add("hang", seconds=0.05)
        body = {"prompt": "x" * 1_000_000, "agentProfile": "manus-1.6"}
        assert manus.call("POST", "/v1/tasks", json=body).status_code == 200
        assert sandbox.manus.created[0].body == body


class TestLoad:
    def test_answer_does_not_wait_for_a_delayed_acknowledgement(self, manus):
        began = time.monotonic()
        for _ in range(50):
            manus.get("/v1/tasks")
        # 40 ms each with Nagle's algorithm on.
        assert time.monotonic() - began < 1.5

    def test_parallel_clients_and_changes_do_not_disturb_each_other(self, server, sandbox):
        ids = [sandbox.manus.add_task() for _ in range(20)]

        def work(number: int) -> set[int]:
            with requests.Session() as session:
                session.headers["API_KEY"] = "sk-sandbox"
                codes = set()
                for task_id in ids:
                    codes.add(session.get(f"{server.manus_url}/v1/tasks/{task_id}", timeout=10).status_code)
                    sandbox.manus.add_task(f"{number}-{task_id}")
                return codes

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(work, range(8))) == [{200}] * 8
        assert len(sandbox.requests) == 160
        assert len(sandbox.manus) == 180

    def test_ten_thousand_tasks_are_listed_in_ten_pages(self, sandbox, manus):
        for _ in range(10_000):
            sandbox.manus.add_task(script=[("running", None)])
        seen: set[str] = set()
        page: dict[str, object] = {"has_more": True, "last_id": None}
        pages = 0
        while page.get("has_more"):
            page = manus.get("/v1/tasks", limit=1000, after=page["last_id"]).json()
            seen |= {task["id"] for task in page["data"]}
            pages += 1
        assert (len(seen), pages) == (10_000, 10)
