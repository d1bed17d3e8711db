"""What every test shares: an Airflow home of its own, a served sandbox, and guards that keep tests honest.

The guards hold for the whole run: no socket leaves this machine, and nothing blocks a running event loop.
"""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import json
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

# Importing Airflow reads and writes its home, so this comes before anything that may import it.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="remote-tasks-airflow-home-")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
# No scheduler runs here that could mistake the end of one process for that of another.
os.environ["AIRFLOW__REMOTE_TASKS__SHORTEST_DEFERRAL"] = "0"

import pytest
import requests

from dev.a2a.peers import Agent
from remote_tasks_sandbox import Sandbox, SandboxServer
from tests.log_lines import provider_lines

_HOME = os.environ["AIRFLOW_HOME"]

MANUS_KEY = "sk-sandbox"
QSTASH_TOKEN = "sandbox-token"

# Short, so that a test of silence or of failure is over soon.
IMPATIENT = {"connect_timeout": 2, "read_timeout": 2, "max_attempts": 2}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run one process more than there are processors: some tests wait."""
    return (os.cpu_count() or 1) + 1


def pytest_configure() -> None:
    """Look for no garbage while Airflow is imported and tests are collected, which stay to the end."""
    gc.disable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the tests that wait longest first, so that the other workers run everything else meanwhile."""
    items.sort(key=lambda item: "test_example_dags" not in item.nodeid)


def pytest_collection_finish() -> None:
    """Look for garbage from now on, seldom, and only among what tests make: that took a third of the time."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


def pytest_unconfigure() -> None:
    shutil.rmtree(_HOME, ignore_errors=True)


def _is_loopback(host: str) -> bool:
    if host in ("", "localhost", socket.gethostname()):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _only_loopback(connect: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
            raise AssertionError(f"a test tried to reach {address[0]}; only loopback is allowed")
        return connect(self, address)

    return guarded


def _resolve_locally(getaddrinfo: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host or ""
        if name.endswith(".invalid"):  # RFC 2606: never resolves, so nobody need be asked
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if not _is_loopback(name):
            raise AssertionError(f"a test tried to resolve {name}; only loopback is allowed")
        return getaddrinfo(host, *args, **kwargs)

    return guarded


def _not_on_a_loop(blocking: Callable[..., Any], name: str) -> Callable[..., Any]:
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return blocking(*args, **kwargs)
        raise AssertionError(f"{name} was called on a running event loop, which it would block")

    return guarded


@pytest.fixture(scope="session", autouse=True)
def _guards() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        # A proxy of the machine's would see requests that are meant for loopback.
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            patch.delenv(name, raising=False)
            patch.delenv(name.upper(), raising=False)
        patch.setattr(socket.socket, "connect", _only_loopback(socket.socket.connect))
        patch.setattr(socket.socket, "connect_ex", _only_loopback(socket.socket.connect_ex))
        patch.setattr(socket, "getaddrinfo", _resolve_locally(socket.getaddrinfo))
        patch.setattr(time, "sleep", _not_on_a_loop(time.sleep, "time.sleep"))
        patch.setattr(requests.Session, "send", _not_on_a_loop(requests.Session.send, "requests"))
        yield


@pytest.fixture(autouse=True)
def _fresh_rate_limits() -> None:
    """Forget what other tests have learnt of an account."""
    from remote_tasks_provider.a2a.api.interfaces import AGENTS
    from remote_tasks_provider.core.http import rate_limit
    from remote_tasks_provider.manus.api.gone import V1_GONE

    rate_limit._LIMITERS.clear()
    V1_GONE.forget()
    AGENTS.forget()


@pytest.fixture(autouse=True)
def log_lines() -> Iterator[list[str]]:
    """What the provider says in its logs during the test; no line may say None, which tells nothing."""
    with provider_lines() as lines:
        yield lines
    assert [line for line in lines if re.search(r"\bNone\b", line)] == []


@pytest.fixture(scope="session")
def server() -> Iterator[SandboxServer]:
    """Both emulated services on a real socket."""
    with SandboxServer() as running:
        yield running


@pytest.fixture
def sandbox(server: SandboxServer) -> Iterator[Sandbox]:
    """The served sandbox, empty: add tasks and faults, read its journal."""
    server.sandbox.reset()
    yield server.sandbox
    server.sandbox.reset()


@pytest.fixture
def set_connection(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Define an Airflow connection through the environment; returns its id."""

    def define(conn_id: str, **fields: Any) -> str:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))
        return conn_id

    return define


@pytest.fixture
def manus_conn(server: SandboxServer, set_connection: Callable[..., str]) -> str:
    """The connection ``manus_default``, which leads to the sandbox."""
    return set_connection(
        "manus_default", conn_type="manus", host=server.manus_url, password=MANUS_KEY, extra=IMPATIENT
    )


@pytest.fixture
def qstash_conn(server: SandboxServer, set_connection: Callable[..., str]) -> str:
    """The connection ``qstash_default``, which leads to the sandbox."""
    return set_connection(
        "qstash_default", conn_type="qstash", host=server.qstash_url, password=QSTASH_TOKEN, extra=IMPATIENT
    )


@pytest.fixture(scope="session")
def a2a_v1() -> Iterator[Agent]:
    """An agent on the official server of A2A 1.0, with its layer for 0.3; it keeps tasks in memory."""
    with Agent("1.x") as agent:
        yield agent


@pytest.fixture(scope="session")
def a2a_v03() -> Iterator[Agent]:
    """An agent on the official server of A2A 0.3."""
    with Agent("0.3") as agent:
        yield agent


@pytest.fixture
def a2a_conn(a2a_v1: Agent, set_connection: Callable[..., str]) -> str:
    """The connection ``a2a_default``, which leads to an agent."""
    a2a_v1.control("reset")
    return set_connection("a2a_default", conn_type="a2a", host=a2a_v1.url, extra=IMPATIENT)
