"""Both ways to carry out a look at the sandbox's messages, and an account there for whole Airflow tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from remote_tasks_provider.qstash.service import QSTASH_MESSAGES
from remote_tasks_sandbox import Sandbox, SandboxServer
from tests.conftest import QSTASH_TOKEN
from tests.poll_driver import Looker
from tests.qstash.account import QStash


@pytest.fixture(params=["look", "alook"])
def make_message_looker(
    request: pytest.FixtureRequest, server: SandboxServer, sandbox: Sandbox
) -> Iterator[Callable[..., Looker]]:
    lookers: list[Looker] = []

    def make(key: str = QSTASH_TOKEN, **extras: Any) -> Looker:
        lookers.append(Looker(request.param, QSTASH_MESSAGES, server.qstash_url, key, sandbox, **extras))
        return lookers[-1]

    yield make
    for looker in lookers:
        looker.__exit__(None, None, None)


@pytest.fixture
def message_looker(make_message_looker: Callable[..., Looker]) -> Looker:
    return make_message_looker()


@pytest.fixture
def account(
    server: SandboxServer,
    sandbox: Sandbox,
    set_connection: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> QStash:
    return QStash(sandbox, server.qstash_url, set_connection, monkeypatch)
