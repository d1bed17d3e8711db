"""Both ways to carry out a look at the sandbox's Manus, and an account there for whole Airflow tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from remote_tasks_provider.manus.service import MANUS
from remote_tasks_sandbox import Sandbox, SandboxServer
from tests.conftest import MANUS_KEY
from tests.manus.airflow_task import Account
from tests.poll_driver import Looker


@pytest.fixture(params=["look", "alook"])
def make_looker(
    request: pytest.FixtureRequest, server: SandboxServer, sandbox: Sandbox
) -> Iterator[Callable[..., Looker]]:
    lookers: list[Looker] = []

    def make(key: str = MANUS_KEY, **extras: Any) -> Looker:
        lookers.append(Looker(request.param, MANUS, server.manus_url, key, sandbox, **extras))
        return lookers[-1]

    yield make
    for looker in lookers:
        looker.__exit__(None, None, None)


@pytest.fixture
def looker(make_looker: Callable[..., Looker]) -> Looker:
    return make_looker()


@pytest.fixture
def account(
    server: SandboxServer,
    sandbox: Sandbox,
    set_connection: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> Account:
    return Account(sandbox, server.manus_url, set_connection, monkeypatch)
