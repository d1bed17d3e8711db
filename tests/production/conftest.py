"""The deployment, and what must hold after every history."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.production.deployment import Account, Deployment

#: Where the figures of a run are written, as JSON lines; see docs/concepts/production.md.
FIGURES = os.environ.get("PRODUCTION_FIGURES")


@pytest.fixture(scope="session")
def deployment() -> Iterator[Deployment]:
    with Deployment() as running:
        yield running


@pytest.fixture
def account(request: pytest.FixtureRequest, deployment: Deployment) -> Iterator[Account]:
    """An account of this history alone; afterwards nothing was paid twice and no secret has been told."""
    began = time.monotonic()
    name = request.node.name.removeprefix("test_").replace("_", "-").replace("[", "-").replace("]", "")
    found = deployment.account(name)
    restarts = len(deployment.restarts)
    yield found
    assert_paid_once_and_nothing_told(deployment, found)
    down = deployment.restarts[restarts:]
    print(f"{name}: {time.monotonic() - began:.0f} s; restarted: {down}; {found.statuses}")


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Note figures of this history, with the load of the machine."""

    def note(**figures: Any) -> None:
        load = round(os.getloadavg()[0], 1)
        line = json.dumps({"history": request.node.name, **figures, "load": load})
        print(line)
        if FIGURES:
            with Path(FIGURES).open("a") as file:
                file.write(line + "\n")

    return note


def assert_paid_once_and_nothing_told(deployment: Deployment, account: Account) -> None:
    """What must hold after every history."""
    twice = {prompt: times for prompt, times in prompts(account).items() if times > 1}
    assert twice == {}, "paid twice"
    assert leaks(deployment, account.secrets) == []


def prompts(account: Account) -> Counter[str]:
    """Return how often each prompt was submitted."""
    return Counter(
        json.dumps(one.body.get("message", {}).get("content") or one.body.get("prompt"))
        for one in account.manus.created
    )


def leaks(deployment: Deployment, secrets: list[str]) -> list[tuple[str, str]]:
    """Return where secrets are that must be in no log, record, XCom, metric or lineage event."""
    found = []
    for place, content in evidence(deployment):
        found += [(place, secret) for secret in secrets if secret.encode() in content]
    return found


def evidence(deployment: Deployment) -> Iterator[tuple[str, bytes]]:
    """Return all that a deployment writes."""
    for path in Path(deployment.airflow.home).rglob("*"):
        if path.is_file() and path.suffix in {".log", ".out"}:
            yield str(path), path.read_bytes()
    lineage = deployment.home / "lineage.json"
    if lineage.exists():
        yield "lineage", lineage.read_bytes()
    yield "database", deployment.postgresql.dump()
    yield "metrics", "\n".join(line for _, line in deployment.statsd.lines).encode()
    yield "traces", b"\n".join(deployment.traces.received)
    yield from deployment.aws.contents()
