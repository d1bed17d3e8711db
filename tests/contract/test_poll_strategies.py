"""A worker and a triggerer get the same poll results by the same calls."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from remote_tasks_provider.core.service import TaskType
from remote_tasks_provider.qstash.service import QSTASH_MESSAGE, QSTASH_WORKFLOW
from remote_tasks_sandbox import Sandbox, SandboxServer
from tests.conftest import QSTASH_TOKEN
from tests.contract.conftest import Vendor
from tests.poll_driver import PollDriver

IDS = [f"t{number}" for number in range(2, 32)]


Pair = tuple[PollDriver, PollDriver]


@contextmanager
def drivers(task_type: TaskType, url: str, key: str, sandbox: Sandbox, **extras: Any) -> Iterator[Pair]:
    with (
        PollDriver("run_plan", task_type, url, key, sandbox, **extras) as worker,
        PollDriver("arun_plan", task_type, url, key, sandbox, **extras) as triggerer,
    ):
        yield worker, triggerer


@pytest.fixture
def extras(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(request.param)


@pytest.fixture
def pair(vendor: Vendor, sandbox: Sandbox, extras: dict[str, Any]) -> Iterator[Pair]:
    with drivers(vendor.task_type, vendor.url, vendor.key, sandbox, **extras) as found:
        yield found


strategies = pytest.mark.parametrize(
    ("vendor", "extras"),
    [("manus", {}), ("manus", {"api_version": "v2"}), ("qstash", {})],
    indirect=True,
    ids=["manus v1", "manus v2", "qstash"],
)


def same(pair: Pair, ids: list[str], free: list[str]) -> None:
    results = [
        {
            task_id: re.sub(r"request \w+", "", str(result)) if isinstance(result, Exception) else result
            for task_id, result in driver(ids, free).items()
        }
        for driver in pair
    ]
    assert results[0] == results[1]
    calls = [sorted((record.path, record.query) for record in driver.calls) for driver in pair]
    assert calls[0] == calls[1]


@strategies
def test_worker_and_triggerer_agree_over_a_history(pair: Pair, vendor: Vendor) -> None:
    tasks = getattr(vendor.sandbox, vendor.name)
    for task_id in IDS:
        vendor.add_task(task_id)
        tasks.set_status(task_id, "active" if vendor.name == "qstash" else "running")
    same(pair, IDS[:20], [])
    same(pair, IDS[:20], IDS[20:])
    tasks.set_status("t5", "failed")
    same(pair, IDS, [])
    vendor.sandbox.faults.add("omit", task_id="t6" if vendor.name == "manus" else "msg_1")
    tasks.delete_task("t7")
    same(pair, IDS, [])
    same(pair, IDS, [])
    listings = [
        vendor.sandbox.faults.add("status", path=path, status=500) for path in ("*tasks", "*task.list")
    ]
    same(pair, IDS, [])
    for listing in listings:
        vendor.sandbox.faults.remove(listing)
    tasks.set_status("t8", "dreaming")
    for _ in range(11):
        same(pair, IDS, [])
    same(pair, IDS[:1], [])
    same(pair, [], IDS[:1])
    same(pair, [], [])


@strategies
@pytest.mark.parametrize("status", [401, 429])
def test_worker_and_triggerer_agree_on_an_error_for_all(pair: Pair, vendor: Vendor, status: int) -> None:
    for task_id in IDS:
        vendor.add_task(task_id)
    for driver in pair:
        driver(IDS)
    vendor.sandbox.faults.add("status", status=status)

    assert pair[0].words(IDS) == pair[1].words(IDS)
    assert len(set(pair[0].words(IDS).values())) == 1


def test_worker_and_triggerer_agree_about_messages(server: SandboxServer, sandbox: Sandbox) -> None:
    ids = [sandbox.qstash.add_message(f"m{number}", [("CREATED", None)]) for number in range(250)]
    with drivers(QSTASH_MESSAGE, server.qstash_url, QSTASH_TOKEN, sandbox) as pair:
        same(pair, ids[:20], [])
        sandbox.qstash.set_message_state("m5", "FAILED")
        sandbox.qstash.set_message_state("m6", "CANCELLED")
        same(pair, [*ids, "unseen"], [])
        same(pair, ids[:20], ids[20:])
        listing = sandbox.faults.add("status", path="*/v2/logs", status=500)
        same(pair, ids, [])
        sandbox.faults.remove(listing)
        sandbox.faults.add("omit", path="*/v2/dlq")
        sandbox.qstash.set_message_state("m7", "FAILED")
        for _ in range(3):
            same(pair, ids, [])


def test_worker_and_triggerer_agree_about_workflow_runs(server: SandboxServer, sandbox: Sandbox) -> None:
    runs = sandbox.qstash.workflows
    ids = [runs.add(f"wfr_{number}", [("RUN_STARTED", None)]) for number in range(35)]
    with drivers(QSTASH_WORKFLOW, server.qstash_url, QSTASH_TOKEN, sandbox) as pair:
        same(pair, ids[:20], [])
        runs.set_state("wfr_5", "RUN_FAILED")
        runs.set_state("wfr_6", "RUN_CANCELED")
        same(pair, [*ids, "unseen"], [])
        same(pair, ids[:20], ids[20:])
        runs.remove("wfr_7")
        same(pair, ids, [])
        listing = sandbox.faults.add("status", path="*/v2/workflows/logs", status=500)
        same(pair, ids, [])
        sandbox.faults.remove(listing)
        same(pair, ids, [])
