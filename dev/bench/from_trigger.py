"""Waits that start and end in the triggerer of a real Airflow: what many sensors in one DAG cost it.

Airflow hands the whole DAG to the triggerer for each wait that starts there. So the same remote tasks are
awaited by one sensor each, and by a single sensor with a list. All finish at the same moment.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

from dev.airflow.client import TaskInstance
from dev.airflow.standalone import StandaloneAirflow
from dev.bench.figures import Section, megabytes, percentiles, seconds
from remote_tasks_sandbox import SandboxServer

DAGS = Path(__file__).parent / "many_dags"
INTERVAL = 5.0
_BLOCKED = re.compile(r"blocked for ([\d.]+) seconds")


@dataclass(frozen=True)
class Outcome:
    """What one DAG cost.

    :param started: seconds until all waits had started.
    :param memory: growth of the triggerer's memory meanwhile and until the end, in bytes.
    :param block: the longest time in seconds for which its event loop stood still, as Airflow reports it.
    :param median_end: seconds from the end of the remote tasks to that of the middle sensor.
    :param last_end: likewise, of the last sensor.
    """

    started: float
    memory: int
    block: float
    median_end: float
    last_end: float


def _memory(session: int) -> int:
    total = 0
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == session:
                total += process.memory_info().rss
    return total


def _blocks(home: Path) -> list[float]:
    outputs = [path.read_text(errors="replace") for path in home.glob("triggerer.*.out")]
    return [float(found) for output in outputs for found in _BLOCKED.findall(output)]


def measure(airflow: StandaloneAirflow, server: SandboxServer, dag_id: str, waits: int) -> Outcome:
    """Run one DAG.

    :raises RuntimeError: when the run did not succeed.
    """
    client, manus = airflow.client, server.sandbox.manus
    names = [f"{dag_id}-{number}" for number in range(waits)]
    for name in names:
        manus.add_task(name, [("running", None)])
    client.wait_for_dag(dag_id)
    session, blocks = airflow.pid("triggerer"), len(_blocks(airflow.home))
    before = most = _memory(session)
    began, started, finished = time.monotonic(), 0.0, 0.0

    def on_poll(instances: list[TaskInstance]) -> None:
        nonlocal most, started, finished
        most = max(most, _memory(session))
        are_deferred = all(one.state == "deferred" and one.triggerer for one in instances)
        if not finished and instances and are_deferred:
            started = started or time.monotonic()
            # A moment for the triggers to begin: Airflow says only that the triggerer has taken them.
            if time.monotonic() > started + 3 * INTERVAL:
                finished = time.time()
                for name in names:
                    manus.set_script(name, [("completed", None)])

    run_id = client.trigger(dag_id)
    state = client.wait_for_run(dag_id, run_id, within=600, on_poll=on_poll)
    instances = client.task_instances(dag_id, run_id)
    if state != "success":
        raise RuntimeError(f"{dag_id}: {state}\n{airflow.last_output()}")
    ends = sorted(
        datetime.fromisoformat(one.end_date).timestamp() - finished for one in instances if one.end_date
    )
    return Outcome(
        started=started - began,
        memory=most - before,
        block=max(_blocks(airflow.home)[blocks:], default=0.0),
        median_end=percentiles(ends)[0],
        last_end=ends[-1],
    )


def section(say: Callable[[str], None], *, quick: bool = False) -> Section:
    """Measure both."""
    waits = 5 if quick else 200
    outcomes = {}
    with SandboxServer() as server:
        key = server.sandbox.settings.manus_key
        connection = json.dumps({"conn_type": "manus", "host": server.manus_url, "password": key})
        variables = {"BENCH_WAITS": str(waits), "BENCH_INTERVAL": str(INTERVAL)}
        with StandaloneAirflow(
            DAGS,
            connections={"bench_manus": connection},
            config={"AIRFLOW__API__MAXIMUM_PAGE_LIMIT": "1000"},
            environment=variables,
        ) as airflow:
            # What Airflow loads once must not count for the first one.
            measure(airflow, server, "warm_up", 1)
            for dag_id in ("one_sensor", "many_sensors"):
                say(f"  {dag_id}, in a real Airflow ...")
                outcomes[dag_id] = found = measure(airflow, server, dag_id, waits)
                say(f"  {dag_id}: {found}")
    many, one = outcomes["many_sensors"], outcomes["one_sensor"]
    table = Section(
        f"{waits} remote tasks awaited without a worker, in one DAG", other="one sensor with a list"
    )
    table.compare("until all waits have started", many.started, one.started, seconds)
    table.compare("growth of the triggerer's memory", many.memory, one.memory, megabytes)
    table.compare("longest block of its event loop", many.block, one.block, seconds)
    table.compare("remote end to Airflow's end, median", many.median_end, one.median_end, seconds)
    table.compare("remote end to Airflow's end, last", many.last_end, one.last_end, seconds)
    table.notes.append(
        "*ours* is one sensor for each remote task. Airflow 3.3.2 hands the whole DAG to the triggerer for "
        f"each of them; see `docs/how-to/waiting-without-a-worker.md`. The sensors poll every {INTERVAL:g} s."
    )
    return table
