"""What bells save and what a lost one costs: a thousand deferred waits in one event loop, over real sockets.

The triggers, the shared poller and the reader of bells are the provider's. The notes are in memory instead of
in Airflow's database, so that the figures are those of polling and not of a database.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import time
from collections.abc import Callable
from statistics import quantiles
from typing import Any

from dev.airflow.connections import connection_fields
from dev.bench.figures import Row, Section
from remote_tasks_sandbox import SandboxServer

INTERVAL = 30.0
#: Seconds in which all remote tasks finish.
BURST = 10.0
#: Seconds that a bell may take at the most: the read, the distance of polls, and the poll.
SOON = 5.0


def section(say: Callable[[str], None], *, quick: bool) -> Section:
    """Measure, without and with bells that are lost."""
    waits = 50 if quick else 1000
    found = Section(f"Push: {waits:,} waits that finish within {BURST:.0f} s, polled every {INTERVAL:.0f} s")
    for lost in (0.0, 0.3):
        say(f"{lost:.0%} of the bells are lost ...")
        logging.disable(logging.WARNING)
        result = asyncio.run(_measure(waits, lost))
        logging.disable(logging.NOTSET)
        _report(found, result, lost, waits)
    found.notes.append(
        "API v1, whose list tells how a task finished. With the version left open, each finished task takes "
        "one more call of v2, with and without bells."
    )
    found.notes.append("Calls beyond the safety polls: those of the seconds from the first end to the last.")
    return found


def _report(found: Section, result: dict[str, Any], lost: float, waits: int) -> None:
    name = f"{lost:.0%} lost"
    delays = sorted(result["delays"])
    p95 = quantiles(delays, n=20)[-1]
    found.rows.append(_row(f"{name}: waits lost", waits - len(delays), "0", at_most=0))
    if not lost:
        extra = 100 * max(0.0, result["calls"] - result["seconds"] / INTERVAL) / waits
        found.rows.append(
            _row(f"{name}: calls beyond the safety polls, per 100 waits", extra, "1", at_most=1)
        )
        found.rows.append(_row(f"{name}: end to detection, p95, s", p95, f"{SOON:g}", at_most=SOON))
    else:
        longest = INTERVAL + SOON
        found.rows.append(
            _row(f"{name}: end to detection, at most, s", delays[-1], f"{longest:g}", at_most=longest)
        )
    found.rows.append(_row(f"{name}: reads of notes a second", result["reads"], "1.5", at_most=1.5))


def _row(what: str, value: float, target: str, *, at_most: float) -> Row:
    return Row(what, f"{value:.2f}", target=f"at most {target}", met=value <= at_most)


async def _measure(waits: int, lost: float) -> dict[str, Any]:
    from remote_tasks_provider.bases import triggers
    from remote_tasks_provider.bases.bell_reader import BellReader
    from remote_tasks_provider.core.push.bell import ANY_BELL, bell_key, new_note
    from remote_tasks_provider.manus.triggers import ManusTaskTrigger

    notes: dict[str, Any] = {}
    reads: list[float] = []

    async def read(key: str) -> Any:
        reads.append(time.monotonic())
        return notes.get(key)

    reader = BellReader(read, poll_interval=INTERVAL)
    triggers.bells = lambda: reader
    # The same bells are lost in every run.
    chance = random.Random(1)
    with SandboxServer() as server:
        fields = connection_fields(server)["manus_default"]
        os.environ["AIRFLOW_CONN_BENCH_PUSH"] = json.dumps(
            {**fields, "extra": {"push": True, "api_version": "v1"}}
        )
        manus = server.sandbox.manus
        ids = [f"task-{number}" for number in range(waits)]
        for task_id in ids:
            manus.add_task(task_id, [("running", None)])
        ended: dict[str, float] = {}
        detected: dict[str, float] = {}

        async def wait(task_id: str) -> None:
            trigger = ManusTaskTrigger("bench_push", [task_id], INTERVAL)
            async for _ in trigger.run():
                detected[task_id] = time.monotonic()

        tasks = [asyncio.create_task(wait(task_id)) for task_id in ids]
        await asyncio.sleep(10)
        calls, began, before = len(server.sandbox.requests), time.monotonic(), len(reads)
        for number, task_id in enumerate(ids):
            # By the clock: pauses alone would prolong the burst on a busy machine.
            await asyncio.sleep(max(0.0, began + BURST * number / waits - time.monotonic()))
            manus.set_status(task_id, "completed")
            ended[task_id] = time.monotonic()
            if chance.random() >= lost:
                notes[bell_key("manus", "bench_push")] = notes[ANY_BELL] = new_note()
        await asyncio.wait(tasks, timeout=4 * INTERVAL)
        seconds = time.monotonic() - began
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return {
            "delays": [detected[task_id] - ended[task_id] for task_id in detected],
            "calls": len(server.sandbox.requests) - calls,
            "seconds": seconds,
            "reads": (len(reads) - before) / seconds,
        }
