"""The measured process of ``waits``: one event loop and one trigger per task, as in a triggerer.

Triggers start in small batches, as in a triggerer. Nothing is patched: connections come from the environment
and calls go over a real socket.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from dev.bench.processes import Channel, Memory, stopwatch

WARM_UP = "warm-up"
TICK = 0.01
# The number of triggers that a triggerer starts at a time, [triggerer] max_trigger_to_select_per_loop.
BATCH = 50

MakeTrigger = Callable[[str], Any]


def ours(interval: float) -> MakeTrigger:
    from remote_tasks_provider.manus.triggers import ManusTaskTrigger

    return lambda task_id: ManusTaskTrigger(
        conn_id="bench_manus", remote_task_ids=[task_id], poll_interval=interval
    )


def http(interval: float) -> MakeTrigger:
    from airflow.providers.http.triggers.http import HttpEventTrigger

    return lambda task_id: HttpEventTrigger(
        http_conn_id="bench_http",
        endpoint=f"manus/v1/tasks/{task_id}",
        response_check_path="dev.bench.checks.is_finished",
        poll_interval=interval,
    )


def agent(interval: float) -> MakeTrigger:
    from remote_tasks_provider.a2a.triggers import A2ATaskTrigger

    return lambda task_id: A2ATaskTrigger(
        conn_id="bench_agent", remote_task_ids=[task_id], poll_interval=interval
    )


def agent_by_http(interval: float) -> MakeTrigger:
    """Make triggers that ask an agent for one task each."""
    from airflow.providers.http.triggers.http import HttpEventTrigger

    return lambda task_id: HttpEventTrigger(
        http_conn_id="bench_agent_http",
        endpoint=f"rest/tasks/{task_id}?historyLength=0",
        headers={"A2A-Version": "1.0"},
        response_check_path="dev.bench.checks.is_agent_finished",
        poll_interval=interval,
    )


def asleep(interval: float) -> MakeTrigger:
    """Make triggers that only sleep: the cost of the event loop itself."""
    from airflow.triggers.base import BaseTrigger, TriggerEvent

    class Asleep(BaseTrigger):
        def __init__(self, task_id: str) -> None:
            super().__init__()
            self.sleeps = 1 + sum(task_id.encode()) % 6

        def serialize(self) -> tuple[str, dict[str, Any]]:
            raise NotImplementedError

        async def run(self) -> AsyncIterator[Any]:
            for _ in range(self.sleeps):
                await asyncio.sleep(interval)
            yield TriggerEvent({"status": "success"})

    return Asleep


VARIANTS = {
    "ours": ours,
    "http": http,
    "asleep": asleep,
    "agent": agent,
    "agent by http": agent_by_http,
}


def completed(task_id: str, payload: Any) -> bool:
    """Whether the event of either trigger reports a completed task."""
    if "records" in payload:
        record = payload["records"][task_id]
        return record is not None and record["state"] == "completed"
    return payload["status"] == "success"


class Ticker:
    """Measures the longest time for which the event loop was blocked.

    ``computing`` excludes the time that the machine gave to other processes; ``collecting`` is the longest
    pass of Python's garbage collector, which scans everything that the process holds.
    """

    def __init__(self) -> None:
        self.longest = self.computing = self.collecting = 0.0
        self._collects_since = 0.0
        gc.callbacks.append(self._collect)
        self._task = asyncio.get_running_loop().create_task(self._tick())

    async def _tick(self) -> None:
        while True:
            before, computed = time.perf_counter(), time.thread_time()
            await asyncio.sleep(TICK)
            late, computed = time.perf_counter() - before - TICK, time.thread_time() - computed
            self.longest = max(self.longest, late)
            self.computing = max(self.computing, min(late, computed))

    def _collect(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self._collects_since = time.thread_time()
        else:
            self.collecting = max(self.collecting, time.thread_time() - self._collects_since)

    def stop(self) -> None:
        self._task.cancel()
        gc.callbacks.remove(self._collect)


async def idle(seconds: float) -> float:
    """Return the CPU seconds used per second while nothing waits."""
    ticker = Ticker()
    with stopwatch() as spent:
        await asyncio.sleep(seconds)
    ticker.stop()
    return spent["cpu"] / spent["wall"]


async def wait_for(make: MakeTrigger, task_ids: Sequence[str]) -> dict[str, Any]:
    """Wait for all tasks; return the time at which each was detected, and the cost."""
    found: dict[str, float] = {}
    bad: list[str] = []

    async def wait(task_id: str) -> None:
        async for event in make(task_id).run():
            found[task_id] = time.time()
            if not completed(task_id, event.payload):
                bad.append(f"{task_id}: {event.payload}")

    memory, ticker = Memory(), Ticker()
    with stopwatch() as spent:
        waits = []
        for start in range(0, len(task_ids), BATCH):
            waits += [asyncio.create_task(wait(task_id)) for task_id in task_ids[start : start + BATCH]]
            await asyncio.sleep(0)
        # Not gathered: a triggerer does not attach a callback with a context to each either.
        for one in waits:
            await one
    ticker.stop()
    return {
        **spent,
        "found": found,
        "bad": bad[:3],
        "block": ticker.longest,
        "computing": ticker.computing,
        "collecting": ticker.collecting,
        "memory": memory.peak(),
    }


async def measure(channel: Channel) -> None:
    make = VARIANTS[channel.argument["variant"]](channel.argument["interval"])
    # Once, so that imports and one-time set-up do not count for each wait.
    await wait_for(make, [channel.argument.get("warm_up", WARM_UP)])
    rate = await idle(channel.argument["idle"])
    gc.collect()
    channel.send("ready")
    task_ids = channel.receive()
    channel.send({**await wait_for(make, task_ids), "idle": rate})


if __name__ == "__main__":
    asyncio.run(measure(Channel()))
