"""A driver of polls against the sandbox's Manus, and an account there for whole Airflow tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from remote_tasks_provider.manus.service import MANUS_TASK
from remote_tasks_sandbox import Sandbox, SandboxServer
from tests.conftest import MANUS_KEY
from tests.manus.airflow_task import Account
from tests.poll_driver import PollDriver


@pytest.fixture
def make_driver(server: SandboxServer, sandbox: Sandbox) -> Iterator[Callable[..., PollDriver]]:
    drivers: list[PollDriver] = []

    def make(key: str = MANUS_KEY, **extras: Any) -> PollDriver:
        extras.setdefault("api_version", "v1")
        drivers.append(PollDriver("run_plan", MANUS_TASK, server.manus_url, key, sandbox, **extras))
        return drivers[-1]

    yield make
    for driver in drivers:
        driver.__exit__(None, None, None)


@pytest.fixture
def driver(make_driver: Callable[..., PollDriver]) -> PollDriver:
    return make_driver()


@pytest.fixture
def account(
    server: SandboxServer,
    sandbox: Sandbox,
    set_connection: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> Account:
    return Account(sandbox, server.manus_url, set_connection, monkeypatch)
