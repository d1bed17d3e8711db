"""Both ways to run a poll of the messages in the sandbox, and an account there for whole Airflow tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from remote_tasks_provider.qstash.service import QSTASH_MESSAGE
from remote_tasks_sandbox import Sandbox, SandboxServer
from tests.conftest import QSTASH_TOKEN
from tests.poll_driver import PollDriver
from tests.qstash.account import QStash


@pytest.fixture
def make_message_driver(server: SandboxServer, sandbox: Sandbox) -> Iterator[Callable[..., PollDriver]]:
    drivers: list[PollDriver] = []

    def make(key: str = QSTASH_TOKEN, **extras: Any) -> PollDriver:
        drivers.append(PollDriver("run_plan", QSTASH_MESSAGE, server.qstash_url, key, sandbox, **extras))
        return drivers[-1]

    yield make
    for driver in drivers:
        driver.__exit__(None, None, None)


@pytest.fixture
def message_driver(make_message_driver: Callable[..., PollDriver]) -> PollDriver:
    return make_message_driver()


@pytest.fixture
def account(
    server: SandboxServer,
    sandbox: Sandbox,
    set_connection: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> QStash:
    return QStash(sandbox, server.qstash_url, set_connection, monkeypatch)
