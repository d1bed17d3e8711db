"""The Remote Tasks page over 1,000 waits, next to Airflow's own list of deferred task instances.

Both are asked over HTTP in one API server, by turns, on SQLite and, where it is installed, on PostgreSQL.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from dev.bench.figures import Section, milliseconds, percentiles
from dev.page.rows import NOW, Row, deferred
from dev.page.server import PAGE, ApiServer

WAITS = 1000
REQUESTS = 20
#: Seconds that the page's list may take.
MOST = 0.3
OURS = f"{PAGE}waits"
THEIRS = "/api/v2/dags/~/dagRuns/~/taskInstances"
CONFIG = {"AIRFLOW__API__MAXIMUM_PAGE_LIMIT": str(WAITS)}


def rows(waits: int) -> Iterator[Row]:
    """Yield waits of ten DAGs, each with a link and with what the worker saw."""
    began = NOW.timestamp()
    for number in range(waits):
        remote_id = f"Zk3VbQ{number:08d}tLw9"
        yield deferred(
            remote_id,
            dag_id=f"dag_{number % 10}",
            map_index=number,
            started_at=began - number,
            seen={"state": "running", "credits": number % 50, "at": began - 30},
            xcoms={"remote_task_url": f"https://manus.im/app/{remote_id}", "remote_task_id": remote_id},
        )


@contextmanager
def databases() -> Iterator[list[tuple[str, str | None]]]:
    """Yield the name and the address of each database to measure on; SQLite needs none."""
    postgresql: Any = import_module("tests.system.postgresql")
    if (folder := postgresql.server_folder()) is None:
        yield [("SQLite", None)]
        return
    with postgresql.PostgreSQL(folder) as server:
        yield [("SQLite", None), ("PostgreSQL", server.url)]


@dataclass
class Cost:
    """What the requests of one kind have cost: the seconds of each, and the server's CPU seconds in all."""

    seconds: list[float] = field(default_factory=list)
    cpu: float = 0.0


def cpu_seconds(server: ApiServer) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in server.processes())


def costs(server: ApiServer, waits: int, requests: int) -> dict[str, Cost]:
    """Return what each kind of request has cost; the first of each warms up and is not counted."""
    token = server.token("admin")
    calls = {OURS: {"limit": waits}, THEIRS: {"limit": waits, "state": "deferred"}}
    found = {path: Cost() for path in calls}
    for number in range(requests + 1):
        for path, query in calls.items():
            cpu, began = cpu_seconds(server), time.perf_counter()
            answer = server.get(path, token=token, **query)
            took = time.perf_counter() - began
            listed = answer.raise_for_status().json()
            if len(listed.get("waits") or listed["task_instances"]) != waits:
                raise RuntimeError(f"{path} lists something else than {waits} waits")
            if number:
                found[path].seconds.append(took)
                found[path].cpu += cpu_seconds(server) - cpu
    return found


def section(say: Callable[[str], None], *, quick: bool) -> Section:
    """Measure the page."""
    waits, requests = (50, 3) if quick else (WAITS, REQUESTS)
    table = Section(f"The Remote Tasks page, {waits:,} waits", other="Airflow's list")
    with databases() as found, tempfile.TemporaryDirectory(prefix="bench-page-") as folder:
        for name, url in found:
            with ApiServer(list(rows(waits)), Path(folder), config=CONFIG, database_url=url) as server:
                measured = costs(server, waits, requests)
            ours, theirs = (percentiles(measured[path].seconds) for path in (OURS, THEIRS))
            cpu = [measured[path].cpu / requests for path in (OURS, THEIRS)]
            say(f"  {name}: p95 {milliseconds(ours[1])}, Airflow's own list {milliseconds(theirs[1])}")
            table.compare(f"one request on {name}, CPU of the server", *cpu, milliseconds)
            table.compare(f"one request on {name}, p50", ours[0], theirs[0], milliseconds)
            table.limit(f"one request on {name}, p95", ours[1], theirs[1], milliseconds, at_most=MOST)
    table.notes.append(
        f"`GET {OURS}?limit={waits}` against `GET {THEIRS}?state=deferred&limit={waits}`, by turns, in one "
        f"API server with one worker; {requests} requests each, over HTTP, JSON included. Each wait has an "
        "encrypted trigger, a link and an id in XCom."
    )
    return table
