"""Many kills at once, over real sockets, on an account that allows 40 stops a minute.

A minute of the sandbox, of the provider and of Airflow's patience takes half a second here.
"""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from remote_tasks_provider.bases import triggers as trigger_module
from remote_tasks_provider.core.clocks import Clocks
from remote_tasks_provider.manus.triggers import ManusTaskTrigger
from remote_tasks_sandbox import Sandbox, SandboxServer
from tests.conftest import MANUS_KEY

SPEED = 120.0
SOON = 60.0


class FastClock:
    def __init__(self) -> None:
        self._began = time.time()

    def now(self) -> float:
        return self._began + (time.time() - self._began) * SPEED

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / SPEED)


@pytest.fixture
def account(
    sandbox: Sandbox, server: SandboxServer, set_connection: Any, monkeypatch: pytest.MonkeyPatch
) -> Sandbox:
    """An account of which Airflow says that all of its tasks have failed."""
    clock = FastClock()
    monkeypatch.setattr(sandbox.clock, "now", clock.now)
    clocks = Clocks(wall=clock.now, monotonic=clock.now, sleep=clock.sleep)
    monkeypatch.setattr(ManusTaskTrigger, "clocks", clocks)
    monkeypatch.setattr(trigger_module, "_LONGEST_CANCELLATION", 20.0 / SPEED)
    monkeypatch.setattr(trigger_module, "task_state", lambda _: "failed")
    sandbox.settings.update({"rate_limits": {"manus.task.stop": 40}})
    set_connection(
        "manus_default",
        conn_type="manus",
        host=server.manus_url,
        password=MANUS_KEY,
        extra={"api_version": "v2"},
    )
    return sandbox


def running(sandbox: Sandbox, count: int) -> list[str]:
    found = {f"t{number}": sandbox.manus.get(f"t{number}") for number in range(count)}
    now = sandbox.clock.now()
    return [task_id for task_id, one in found.items() if one is None or one.timeline.word(now) == "running"]


async def kill(sandbox: Sandbox, triggers: int, each: int) -> int:
    """Let Airflow kill triggers; return how many remote tasks still ran when all triggers had returned."""
    ids = [f"t{number}" for number in range(triggers * each)]
    for task_id in ids:
        sandbox.manus.add_task(task_id, script=[("running", None)])
    killed = []
    for number in range(triggers):
        own = ids[number * each : (number + 1) * each]
        trigger = ManusTaskTrigger("manus_default", own, 15.0, cancel_on_kill=True)
        trigger.task_instance = SimpleNamespace(task_id="ask")  # type: ignore[assignment]
        killed.append(trigger.on_kill())
    await asyncio.gather(*killed)
    left = len(running(sandbox, len(ids)))
    async with asyncio.timeout(SOON):
        # The triggerer goes on.
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)
    return left


@pytest.mark.parametrize(("triggers", "each"), [(50, 1), (200, 1), (1, 300)])
def test_killed_triggers_leave_no_remote_task_running(account: Sandbox, triggers: int, each: int) -> None:
    left = asyncio.run(kill(account, triggers, each))

    assert left > 0
    assert running(account, triggers * each) == []
    assert [record for record in account.requests if record.status == 429] == []
