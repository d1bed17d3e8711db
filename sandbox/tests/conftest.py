"""One sandbox on a real socket for all tests of this folder, emptied and its clock reset for each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from remote_tasks_sandbox import ManualClock, Sandbox, SandboxServer

if TYPE_CHECKING:
    from collections.abc import Iterator


class Client:
    """A plain HTTP client with a base URL, which follows no redirect and reads no environment."""

    def __init__(self, base_url: str, headers: dict[str, str] | None = None) -> None:
        self.base_url = base_url
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers.update(headers or {})

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        options = {"timeout": 10, "allow_redirects": False} | options
        return self.session.request(method, self.base_url + path, **options)

    def get(self, path: str, /, **params: Any) -> requests.Response:
        return self.call("GET", path, params=params)


class ManusV2(Client):
    """A client of Manus v2: it reads with GET and writes with POST."""

    def read(self, operation: str, **params: Any) -> requests.Response:
        return self.get(f"/v2/{operation}", **params)

    def write(self, operation: str, **body: Any) -> requests.Response:
        return self.call("POST", f"/v2/{operation}", json=body)

    def create(self, content: Any = "Count", **body: Any) -> str:
        answer = self.write("task.create", message={"content": content}, **body)
        assert answer.status_code == 200, answer.text
        return answer.json()["task_id"]

    def task(self, task_id: str) -> dict[str, Any]:
        return self.read("task.detail", task_id=task_id).json()["task"]

    def events(self, task_id: str, **params: Any) -> list[dict[str, Any]]:
        """Return the events, oldest first."""
        return self.read("task.listMessages", task_id=task_id, order="asc", **params).json()["messages"]

    def types(self, task_id: str, **params: Any) -> list[str]:
        return [event["type"] for event in self.events(task_id, **params)]


@pytest.fixture(scope="session")
def running_server() -> Iterator[SandboxServer]:
    with SandboxServer(sandbox=Sandbox(clock=ManualClock())) as server:
        yield server


@pytest.fixture
def server(running_server: SandboxServer) -> Iterator[SandboxServer]:
    running_server.sandbox.reset()
    yield running_server
    running_server.sandbox.reset()


@pytest.fixture
def sandbox(server: SandboxServer) -> Sandbox:
    return server.sandbox


@pytest.fixture
def manus(server: SandboxServer) -> Iterator[Client]:
    client = Client(server.manus_url, {"API_KEY": "sk-sandbox"})
    with client.session:
        yield client


@pytest.fixture
def manus_v2(server: SandboxServer) -> Iterator[ManusV2]:
    client = ManusV2(server.manus_url, {"x-manus-api-key": "sk-sandbox"})
    with client.session:
        yield client


@pytest.fixture
def qstash(server: SandboxServer) -> Iterator[Client]:
    client = Client(server.qstash_url, {"Authorization": "Bearer sandbox-token"})
    with client.session:
        yield client


@pytest.fixture
def anyone(server: SandboxServer) -> Iterator[Client]:
    """A client without any key, at the root of the sandbox."""
    client = Client(server.url)
    with client.session:
        yield client
