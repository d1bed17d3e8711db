"""Many waits in one event loop: calls, CPU, memory, delay, and the longest block of the loop.

The comparison uses `HttpEventTrigger`, the only trigger of the http provider that can read a response.
`HttpSensorTrigger`, which a deferrable `HttpSensor` uses, checks the status code only, and a running task
answers 200.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dev.bench.figures import (
    Row,
    Section,
    count,
    kilobytes,
    megabytes,
    milliseconds,
    percentiles,
    seconds,
)
from dev.bench.processes import Child
from dev.bench.waits_client import WARM_UP
from remote_tasks_sandbox import SandboxServer

MODULE = "dev.bench.waits_client"
VENDOR_LIMIT = 100
#: 10,000 waits that poll separately would make some 40,000 calls; left out to keep the run short.
MOST_FOR_HTTP = 1000
#: Bytes of a long conversation; a page with a thousand of them has 117 MB.
HEAVY_CONVERSATION = 117_000
#: Seconds for which the event loop may be held.
LONGEST_BLOCK = 0.1


@dataclass(frozen=True)
class Load:
    """What is waited for.

    :param longest: the longest time that a task runs; seconds.
    :param interval: the poll interval; seconds.
    :param conversation: bytes of text that each task's conversation holds beside its answer, from the start.
    """

    waits: int
    longest: float = 30.0
    interval: float = 5.0
    conversation: int = 0


@dataclass(frozen=True)
class Outcome:
    """The cost of one variant's waits."""

    load: Load
    calls: int
    refused: int
    cpu: float
    memory: int
    block: float
    computing: float
    collecting: float
    delays: list[float] = field(repr=False)

    @property
    def cpu_each(self) -> float:
        return self.cpu / self.load.waits

    @property
    def memory_each(self) -> float:
        return self.memory / self.load.waits


def connections(server: SandboxServer) -> dict[str, str]:
    """Return the variables with which a measured process reaches the server."""
    key = server.sandbox.settings.manus_key
    manus = {"conn_type": "manus", "host": server.manus_url, "password": key, "extra": {"api_version": "v1"}}
    http = {"conn_type": "http", "host": server.url, "extra": {"API_KEY": key}}
    return {
        "AIRFLOW_CONN_BENCH_MANUS": json.dumps(manus),
        "AIRFLOW_CONN_BENCH_HTTP": json.dumps(http),
    }


def add_tasks(server: SandboxServer, load: Load) -> dict[str, float]:
    """Add the tasks that are waited for; return when each ends. The same durations each time."""
    chance, manus = random.Random(load.waits), server.sandbox.manus
    ends = {}
    for number in range(load.waits):
        runs_for = chance.uniform(0, load.longest)
        task_id = manus.add_task(
            script=[("running", runs_for), ("completed", None)],
            title=f"Summarise the weekly report of branch {number}",
            prompt=_text(load.conversation),
            answer="The branch did well this week. " * 8,
            credit_usage=100 + number % 50,
        )
        task = manus.get(task_id)
        assert task is not None
        ends[task_id] = task.timeline.visited(1)[1][0]
    return ends


def _text(size: int) -> str:
    sentence = "The branch sold more than a week ago, and the costs of transport rose by 3 %. "
    return (sentence * (size // len(sentence) + 1))[:size]


def run(variant: str, load: Load, *, limit: int | None = None, idle: float = 3.0) -> Outcome:
    """Let a fresh process wait for fresh tasks of a fresh server.

    :param limit: calls a minute and endpoint that the server allows.
    """
    with SandboxServer() as server:
        server.sandbox.manus.add_task(WARM_UP, ["completed"])
        if limit is not None:
            server.sandbox.settings.update({"rate_limits": {"manus.list": limit, "manus.get": limit}})
        argument = {"variant": variant, "interval": load.interval, "idle": idle}
        within = 60 + 4 * load.longest + load.waits / 50
        with Child(MODULE, argument, connections(server), within) as child:
            child.receive()
            ends = add_tasks(server, load)
            server.sandbox.journal.clear()
            child.send(list(ends))
            result = child.receive()
        refused = sum(record.status == 429 for record in server.sandbox.requests)
        return outcome(load, ends, result, server.sandbox.journal.total, refused)


def outcome(load: Load, ends: dict[str, float], result: Any, calls: int, refused: int) -> Outcome:
    """Return the result of a measured process.

    :raises RuntimeError: when a wait gave a wrong result or none.
    """
    if result["bad"] or set(result["found"]) != set(ends):
        raise RuntimeError(f"{len(result['found'])} of {len(ends)} were found; wrong were {result['bad']}")
    return Outcome(
        load=load,
        calls=calls,
        refused=refused,
        cpu=max(0.0, result["cpu"] - result["idle"] * result["wall"]),
        memory=result["memory"],
        block=result["block"],
        computing=result["computing"],
        collecting=result["collecting"],
        delays=[result["found"][task_id] - end for task_id, end in ends.items()],
    )


def section(say: Callable[[str], None], *, quick: bool = False) -> Section:
    """Measure all."""
    longest, interval = (3.0, 1.0) if quick else (30.0, 5.0)
    table = Section(
        f"Waits of 0 to {longest:g} s on Manus v1, polled every {interval:g} s, in one event loop"
    )
    largest = 0
    for waits in (20, 200) if quick else (100, 1_000, 10_000):
        load = Load(waits, longest, interval)
        mine = _run_and_say(say, "ours", load)
        theirs = _run_and_say(say, "http", load) if waits <= MOST_FOR_HTTP else None
        _add(table, mine, theirs, headline=waits == MOST_FOR_HTTP, biggest=waits == 10_000)
        largest = waits
    floor = _run_and_say(say, "asleep", Load(largest, longest, interval))
    limited = _run_and_say(say, "ours", Load(min(1_000, largest), longest, interval), limit=VENDOR_LIMIT)
    _add_limited(table, limited)
    table.notes += [
        *NOTES,
        f"{floor.load.waits:,} triggers that only sleep, in the same harness: longest block "
        f"{milliseconds(floor.block)}, longest garbage collection {milliseconds(floor.collecting)}, "
        f"{milliseconds(floor.cpu_each)} of CPU and {kilobytes(floor.memory_each)} each. This is the cost "
        "of Python and Airflow alone.",
    ]
    return table


def heavy_section(say: Callable[[str], None], *, quick: bool = False) -> Section:
    """Measure waits whose tasks have long conversations, which API v1 sends with every list."""
    load = Load(20, 3.0, 1.0, 10_000) if quick else Load(1_000, 30.0, 5.0, HEAVY_CONVERSATION)
    heavy = _run_and_say(say, "ours", load)
    table = Section(f"{load.waits:,} waits for tasks with conversations of {load.conversation:,} bytes")
    table.rows.append(Row("calls", count(heavy.calls)))
    table.compare("CPU per wait", heavy.cpu_each, None, milliseconds)
    table.compare("peak memory", float(heavy.memory), None, megabytes)
    table.compare("delay p95", percentiles(heavy.delays)[1], None, seconds)
    table.limit("longest block", heavy.block, None, milliseconds, at_most=LONGEST_BLOCK)
    table.compare("longest block, computing", heavy.computing, None, milliseconds)
    table.compare("longest garbage collection", heavy.collecting, None, milliseconds)
    size = load.waits * load.conversation / 1e6
    table.notes.append(
        f"On Manus v1, polled every {load.interval:g} s, in one event loop. A page with all of the tasks "
        f"would have {size:,.0f} MB. The server that makes it runs on the same machine."
    )
    return table


NOTES = [
    "The http provider's wait is an `HttpEventTrigger`, which checks the response by a function of the user. "
    "`HttpSensorTrigger` checks the status code only, and a running task answers 200.",
    "CPU is that of the waiting process, less what it uses when nothing waits. Memory is the growth of its "
    "peak after one finished wait. Block is the longest delay of a 10 ms tick; the part that was not "
    "computing went to other processes. Python's garbage collector scans everything that a process holds, "
    "Airflow's modules included. Delay is the time from the end of a task to the trigger's event.",
    "10,000 waits are not run with the http provider, to keep the run short: by its figure for 1,000, it "
    "would make some 40,000 calls to a server on the same machine.",
]


def _run_and_say(say: Callable[[str], None], variant: str, load: Load, limit: int | None = None) -> Outcome:
    what = f"{load.waits:,} waits, {variant}{'' if limit is None else ', limited'}"
    say(f"  {what} ...")
    result = run(variant, load, limit=limit)
    delays = percentiles(result.delays)
    say(
        f"  {what}: {result.calls:,} calls, "
        f"{milliseconds(result.cpu_each)} CPU and {kilobytes(result.memory_each)} each, "
        f"delay {seconds(delays[0])} / {seconds(delays[1])}, block {milliseconds(result.block)} "
        f"(computing {milliseconds(result.computing)}, "
        f"garbage collector {milliseconds(result.collecting)})"
    )
    return result


def _add(table: Section, mine: Outcome, theirs: Outcome | None, *, headline: bool, biggest: bool) -> None:
    name, interval = f"{mine.load.waits:,} waits", mine.load.interval
    table.compare(
        f"{name}: calls", mine.calls, theirs and theirs.calls, count, at_most=0.01 if headline else None
    )
    table.compare(
        f"{name}: CPU per wait",
        mine.cpu_each,
        theirs and theirs.cpu_each,
        milliseconds,
        at_most=0.1 if headline else None,
    )
    table.limit(
        f"{name}: peak memory per wait",
        mine.memory_each,
        theirs and theirs.memory_each,
        kilobytes,
        at_most=10_000 if biggest else None,
    )
    for index, label in enumerate(("p50", "p95")):
        table.limit(
            f"{name}: delay {label}",
            percentiles(mine.delays)[index],
            theirs and percentiles(theirs.delays)[index],
            seconds,
            at_most=interval + 1 if label == "p95" else None,
        )
    table.limit(
        f"{name}: longest block",
        mine.block,
        theirs and theirs.block,
        milliseconds,
        at_most=LONGEST_BLOCK if biggest else None,
    )
    table.compare(
        f"{name}: longest block, computing", mine.computing, theirs and theirs.computing, milliseconds
    )
    table.compare(
        f"{name}: longest garbage collection", mine.collecting, theirs and theirs.collecting, milliseconds
    )


def _add_limited(table: Section, limited: Outcome) -> None:
    name = f"{limited.load.waits:,} waits, server allows {VENDOR_LIMIT} calls a minute"
    table.rows.append(
        Row(f"{name}: answers 429", count(limited.refused), target="none", met=limited.refused == 0)
    )
    table.rows.append(Row(f"{name}: calls", count(limited.calls)))
    # outcome() has checked that all were detected.
    table.limit(
        f"{name}: delay p95",
        percentiles(limited.delays)[1],
        None,
        seconds,
        at_most=limited.load.interval + 1,
    )
