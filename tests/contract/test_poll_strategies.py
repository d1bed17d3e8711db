"""A worker and a triggerer get the same poll results by the same calls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from remote_tasks_sandbox import Sandbox, SandboxServer
from tests.contract.conftest import Vendor
from tests.poll_driver import PollDriver

IDS = [f"t{number}" for number in range(2, 32)]


@pytest.fixture
def pair(vendor: Vendor, server: SandboxServer, sandbox: Sandbox) -> Iterator[tuple[PollDriver, PollDriver]]:
    with (
        PollDriver("run_plan", vendor.service, vendor.url, vendor.key, sandbox) as worker,
        PollDriver("arun_plan", vendor.service, vendor.url, vendor.key, sandbox) as triggerer,
    ):
        yield worker, triggerer


def same(pair: tuple[PollDriver, PollDriver], ids: list[str], free: list[str]) -> None:
    results = [
        {
            task_id: str(result) if isinstance(result, Exception) else result
            for task_id, result in driver(ids, free).items()
        }
        for driver in pair
    ]
    assert results[0] == results[1]
    calls = [sorted((record.path, record.query) for record in driver.calls) for driver in pair]
    assert calls[0] == calls[1]


def test_worker_and_triggerer_agree_over_a_history(
    pair: tuple[PollDriver, PollDriver], vendor: Vendor
) -> None:
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
    listing = vendor.sandbox.faults.add("status", path="*tasks", status=500)
    same(pair, IDS, [])
    vendor.sandbox.faults.remove(listing)
    tasks.set_status("t8", "dreaming")
    for _ in range(11):
        same(pair, IDS, [])
    same(pair, IDS[:1], [])
    same(pair, [], IDS[:1])
    same(pair, [], [])


@pytest.mark.parametrize("status", [401, 429])
def test_worker_and_triggerer_agree_on_an_error_for_all(
    pair: tuple[PollDriver, PollDriver], vendor: Vendor, status: int
) -> None:
    for task_id in IDS:
        vendor.add_task(task_id)
    for driver in pair:
        driver(IDS)
    vendor.sandbox.faults.add("status", status=status)

    assert pair[0].words(IDS) == pair[1].words(IDS)
    assert len(set(pair[0].words(IDS).values())) == 1
