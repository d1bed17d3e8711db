"""A process that waits: one event loop, one trigger per task, as in a triggerer. Says what that cost.

The triggers are started in small batches, as a triggerer does. Nothing is patched: connections come from the
environment and calls go over a real socket.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from dev.bench.processes import Memory, Voice, stopwatch

WARM_UP = "warm-up"
TICK = 0.01
# What a triggerer starts at a time, [triggerer] max_trigger_to_select_per_loop.
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
        response_check_path="dev.bench.checks.has_ended",
        poll_interval=interval,
    )


def asleep(interval: float) -> MakeTrigger:
    """Make triggers that do nothing: what so many of them cost Python alone."""
    from airflow.triggers.base import BaseTrigger, TriggerEvent

    class Asleep(BaseTrigger):
        def __init__(self, task_id: str) -> None:
            super().__init__()
            self.looks = 1 + sum(task_id.encode()) % 6

        def serialize(self) -> tuple[str, dict[str, Any]]:
            raise NotImplementedError

        async def run(self) -> AsyncIterator[Any]:
            for _ in range(self.looks):
                await asyncio.sleep(interval)
            yield TriggerEvent({"status": "success"})

    return Asleep


VARIANTS = {"ours": ours, "http": http, "asleep": asleep}


def completed(task_id: str, payload: Any) -> bool:
    """Whether the event of either trigger says that the task has completed."""
    if "records" in payload:
        record = payload["records"][task_id]
        return record is not None and record["state"] == "completed"
    return payload["status"] == "success"


class Ticker:
    """Notices for how long the event loop let nobody else run.

    ``computing`` is without the time that the machine gave to other processes, and ``collecting`` is the
    longest pass of Python's garbage collector alone, which looks at all that the process holds.
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
    """Return the CPU seconds that each second costs in which nobody waits."""
    ticker = Ticker()
    with stopwatch() as spent:
        await asyncio.sleep(seconds)
    ticker.stop()
    return spent["cpu"] / spent["wall"]


async def wait_for(make: MakeTrigger, task_ids: Sequence[str]) -> dict[str, Any]:
    """Wait for all tasks; return when each was detected, and what it cost."""
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
        # Not gathered: that would hang a callback with a context on each, which a triggerer does not.
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


async def measure(voice: Voice) -> None:
    make = VARIANTS[voice.argument["variant"]](voice.argument["interval"])
    # Once, so that what is imported or set up only once is not counted for each wait.
    await wait_for(make, [WARM_UP])
    rate = await idle(voice.argument["idle"])
    gc.collect()
    voice.say("ready")
    task_ids = voice.hear()
    voice.say({**await wait_for(make, task_ids), "idle": rate})


if __name__ == "__main__":
    asyncio.run(measure(Voice()))
