"""Deferred sensors in a real Airflow: worker processes, time, CPU of the triggerer and of all of Airflow.

Worker processes are counted by Airflow's event log, which notes each task instance that runs; the scheduler
starts one process for each. The remote tasks run until all waits are deferred, then finish one after the
other.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil

from dev.airflow.client import TaskInstance
from dev.airflow.standalone import StandaloneAirflow
from dev.bench.figures import Row, Section, count, seconds, show_ratio
from dev.bench.processes import ROOT
from dev.compat import NEWEST, environment
from remote_tasks_sandbox import SandboxServer

DAGS = Path(__file__).parent / "dags"
VARIANTS = ("http", "ours", "ours_without_worker")
INTERVAL = 5.0
#: Seconds over which the remote tasks finish, once all waits are deferred.
FINISHING_SECONDS = 10.0
#: Waits that workers defer may take this many times the time and the CPU of the http provider's.
MOST_WITH_WORKERS = 1.0
UNWANTED = ("failed", "up_for_retry", "upstream_failed")


@dataclass(frozen=True)
class Outcome:
    """The cost of one run of a DAG; times in seconds."""

    workers: int
    calls: int
    wall: float
    triggerer_cpu: float
    airflow_cpu: float


class Bench:
    """Runs the DAGs in one Airflow, one after the other."""

    def __init__(self, airflow: StandaloneAirflow, server: SandboxServer, waits: int) -> None:
        self._airflow = airflow
        self._server = server
        self._waits = waits

    def warm_up(self) -> None:
        """Run a wait of each variant first: what Airflow loads once must not count for the first one."""
        client = self._airflow.client
        for variant in VARIANTS:
            self._server.sandbox.manus.add_task(f"{variant}-0", [("running", 1), ("completed", None)])
            dag_id = f"bench_{variant}_warm_up"
            client.wait_for_dag(dag_id)
            client.wait_for_run(dag_id, client.trigger(dag_id), within=90)

    def run(self, variant: str) -> Outcome:
        """Run one variant's DAG.

        :raises RuntimeError: when a task did not succeed.
        """
        client, manus = self._airflow.client, self._server.sandbox.manus
        names = [f"{variant}-{number + 1}" for number in range(self._waits)]
        for name in names:
            manus.add_task(name, [("running", None)])
        dag_id = f"bench_{variant}"
        client.wait_for_dag(dag_id)
        self._server.sandbox.journal.clear()
        triggerer, all_of_it, started = self._cpu("triggerer"), self._cpu(), time.monotonic()
        run_id = client.trigger(dag_id)
        finishing = False

        def on_poll(instances: list[TaskInstance]) -> None:
            nonlocal finishing
            failed = next((one.task_id for one in instances if one.state in UNWANTED), None)
            if failed:
                raise RuntimeError(f"{failed} failed\n{client.log(dag_id, run_id, failed)}")
            if not finishing and sum(instance.state == "deferred" for instance in instances) == self._waits:
                finishing = True
                for place, name in enumerate(names):
                    after = 1 + FINISHING_SECONDS * place / self._waits
                    manus.set_script(name, [("running", after), ("completed", None)])

        state = client.wait_for_run(dag_id, run_id, within=240, on_poll=on_poll)
        wall = time.monotonic() - started
        if state != "success":
            raise RuntimeError(f"{dag_id}: {state}\n{self._airflow.last_output()}")
        return Outcome(
            workers=self._workers(dag_id),
            calls=self._server.sandbox.journal.total,
            wall=wall,
            triggerer_cpu=self._cpu("triggerer") - triggerer,
            airflow_cpu=self._cpu() - all_of_it,
        )

    def _workers(self, dag_id: str) -> int:
        """Return the number of processes started for the tasks of a DAG."""
        address = f"file:{self._airflow.home / 'airflow.db'}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as database:
            rows = database.execute(
                "SELECT count(*) FROM log WHERE event = 'running' AND dag_id = ?", [dag_id]
            )
            return int(rows.fetchone()[0])

    def _cpu(self, component: str | None = None) -> float:
        """Return the CPU seconds used so far by a component, or by all of Airflow."""
        total = 0.0
        for process in self._airflow.processes():
            try:
                command = psutil.Process(os.getsid(process.pid)).cmdline()
                if component is None or component in command:
                    total += sum(process.cpu_times()[:4])  # children that have exited included
            except (psutil.Error, OSError):
                continue
        return total


def run(say: Callable[[str], None], waits: int, variants: tuple[str, ...] = VARIANTS) -> dict[str, Outcome]:
    """Start an Airflow and run the variants."""
    with SandboxServer() as server:
        key = server.sandbox.settings.manus_key
        connections = {
            "bench_manus": json.dumps({"conn_type": "manus", "host": server.manus_url, "password": key}),
            "bench_http": json.dumps({"conn_type": "http", "host": server.url, "extra": {"API_KEY": key}}),
        }
        # PYTHONPATH: HttpEventTrigger imports its response check in the triggerer.
        variables = {
            "BENCH_WAITS": str(waits),
            "BENCH_INTERVAL": str(INTERVAL),
            "PYTHONPATH": str(ROOT),
        }
        outcomes = {}
        # With no providers but these two: a plugin of another one, such as common.ai's, imports packages
        # into every worker that one of them would have to import itself.
        python = environment(NEWEST, "bench")
        with StandaloneAirflow(
            DAGS, connections=connections, environment=variables, python=python
        ) as airflow:
            bench = Bench(airflow, server, waits)
            bench.warm_up()
            for variant in variants:
                say(f"  {variant}, in a real Airflow ...")
                outcomes[variant] = result = bench.run(variant)
                say(
                    f"  {variant}: {result.workers} worker processes, {seconds(result.wall)}, triggerer "
                    f"{seconds(result.triggerer_cpu)} CPU, Airflow {seconds(result.airflow_cpu)} CPU, "
                    f"{result.calls} calls"
                )
        return outcomes


def section(say: Callable[[str], None], *, quick: bool = False) -> Section:
    """Measure all."""
    waits = 5 if quick else 50
    outcomes = run(say, waits)
    table = Section(f"{waits} deferred waits in a real Airflow")
    names = {"ours": "deferred by workers", "ours_without_worker": "started in the triggerer"}
    for variant, name in names.items():
        mine, http, none = outcomes[variant], outcomes["http"], variant == "ours_without_worker"
        table.rows.append(
            Row(
                f"{name}: worker processes",
                count(mine.workers),
                count(http.workers),
                show_ratio(mine.workers / http.workers),
                "none" if none else "",
                mine.workers == 0 if none else None,
            )
        )
        at_most = MOST_WITH_WORKERS if variant == "ours" else None
        table.compare(f"{name}: wall time", mine.wall, http.wall, seconds, at_most=at_most)
        table.compare(f"{name}: CPU of the triggerer", mine.triggerer_cpu, http.triggerer_cpu, seconds)
        table.compare(
            f"{name}: CPU of all of Airflow", mine.airflow_cpu, http.airflow_cpu, seconds, at_most=at_most
        )
        table.compare(f"{name}: calls", mine.calls, http.calls, count)
    table.notes += [
        "The http provider's `HttpSensor(deferrable=True)` checks the status code only, and with a "
        "`response_check` it does not defer. The comparison uses the shortest operator that defers to "
        "`HttpEventTrigger` (`dev/bench/dags/bench_http.py`). Each variant has a DAG file of its own, "
        "since a worker imports all that the file imports.",
        f"The remote tasks finish over {FINISHING_SECONDS:g} s, once all waits are deferred. A worker "
        "process is one start of a task instance in Airflow's event log. CPU includes what Airflow uses when "
        "idle.",
    ]
    return table
