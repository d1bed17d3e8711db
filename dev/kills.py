"""`make kills`: what becomes of a remote task when something ends the Airflow task that waits for it.

Every row of ``kill_matrix.py`` is brought about in a real Airflow of each supported version, all of them at
the same time, against the sandbox. What is compared is the remote side: how many tasks were started, which of
them were stopped, and whether another attempt went on with the first one's.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dev import demo
from dev.airflow_client import AirflowApiError
from dev.compat import NEWEST, VERSIONS, environment
from dev.environments import ROOT
from dev.kill_matrix import DEFERRED, ON_A_WORKER, ROWS, Fate
from dev.kill_scenarios import DAG_IDS, PLAYS, Scenario, Stage, nothing
from dev.standalone import AirflowStartError, StandaloneAirflow
from remote_tasks_sandbox import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Callable

DAGS = Path(__file__).parent / "kills_dags"
CONFIG = {
    "AIRFLOW__CORE__PARALLELISM": "14",
    "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "40",
    # With fewer, Airflow's API server locks itself up: it waits for one where it would give others back.
    "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE": "60",
    # A worker that is gone is missed after this many seconds, not minutes; the first line of each is for 3.x.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "AIRFLOW__SCHEDULER__ZOMBIE_DETECTION_INTERVAL": "3",
    # How soon a worker learns that its task was ended.
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "2",
    # How soon a triggerer is missed.
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
}
#: Seconds an answer takes: less than those that a worker lives on after it was told to end.
SLOW = 4.0
#: Seconds for all of it to happen, also on a machine that does other things.
LONGEST = 240.0


@dataclass
class Column:
    """What was seen on one version."""

    version: str
    fates: dict[str, Fate | str] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    hand_over: float = 0.0
    """Seconds the triggerer took to end when it was asked to; Airflow itself may take 10 s to notice it."""
    seconds: float = 0.0

    @property
    def wrong(self) -> list[str]:
        """The rows where it was not as the table says."""
        return [name for name, row in ROWS.items() if self.fates.get(name) != row.cell(self.version)]


class Matrix:
    """Brings all rows about in one Airflow."""

    def __init__(self, stage: Stage, column: Column) -> None:
        self.stage = stage
        self.column = column
        possible = [name for name, row in ROWS.items() if isinstance(row.cell(column.version), Fate)]
        self.scenarios = {name: Scenario(name, PLAYS.get(name, nothing), stage) for name in possible}
        column.fates = {name: row.cell(column.version) for name, row in ROWS.items()}

    def run(self) -> None:
        """Do everything, and note what came of it."""
        restarts = {"triggerer_shut_down", "triggerer_killed"}
        deferred = [one for name, one in self.scenarios.items() if name in DEFERRED]
        self.stage.begin(DEFERRED)
        # One after the other, as starting them all is more than two cores can do in time.
        self._until(lambda: all(one.started for one in deferred), "deferred tasks began")
        self.stage.begin(ON_A_WORKER)
        self._until(
            lambda: all(one.is_settled for one in deferred if one.name not in restarts),
            "deferred tasks ended",
        )
        began = time.monotonic()
        self.stage.airflow.stop_triggerer(kill=False)
        self.column.hand_over = time.monotonic() - began
        self._new_triggerer("triggerer_shut_down")
        self.stage.airflow.stop_triggerer(kill=True)
        self._new_triggerer("triggerer_killed")
        others = [one for one in self.scenarios.values() if one.name not in restarts]
        self._until(lambda: all(one.is_settled for one in others), "all tasks ended or were tried again")
        self._finish()

    def _new_triggerer(self, name: str) -> None:
        self.stage.airflow.start_triggerer()
        self.scenarios[name].complete()
        self._until(lambda: self.scenarios[name].is_over, f"{name} ended")

    def _finish(self) -> None:
        for one in self.scenarios.values():
            one.was_left = one.is_over and "running" in one.words
        for one in self.scenarios.values():
            one.complete()
        with suppress(TimeoutError):
            self._until(lambda: all(one.is_over for one in self.scenarios.values()), "all tasks ended")
        for name, one in self.scenarios.items():
            self.column.fates[name] = one.fate()
        for name in set(self.column.wrong) & self.scenarios.keys():
            self.column.logs[name] = self.scenarios[name].logs()

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + LONGEST
        while True:
            self.stage.look()
            for one in self.scenarios.values():
                one.go_on()
            if condition():
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {LONGEST:g} s: {what}\n{self._where_all_stand()}")
            time.sleep(1)

    def _where_all_stand(self) -> str:
        lines = []
        for name, one in self.scenarios.items():
            if not one.is_settled:
                state = one.instance and f"{one.instance.state}, attempt {one.instance.try_number}"
                done = "done" if one.done_at else "not done"
                lines.append(
                    f"  {name}: {done}; Airflow says {state}; remote tasks {one.words}\n{one.logs()}"
                )
        return "\n".join(lines)


def run_column(version: str, python: Path | str) -> Column:
    """Run every row on one version.

    :raises AirflowStartError: when it does not come up.
    :raises TimeoutError: naming the rows nothing came of.
    """
    began = time.monotonic()
    column = Column(version)
    with SandboxServer() as server, SandboxServer() as lossy, SandboxServer() as slow:
        for one in (server, lossy, slow):
            one.sandbox.manus.plan(default=True, script=[("running", None)])
        lossy.sandbox.faults.add("drop_after", "*/task.create", times=1)
        lossy.sandbox.faults.add("omit", "*/task.list")
        slow.sandbox.faults.add("hang", "*/task.create", times=1, seconds=SLOW)
        connections = {
            "manus_default": demo.connections(server)["manus_v2"],
            "manus_lossy": demo.connections(lossy)["manus_v2"],
            "manus_slow": demo.connections(slow)["manus_v2"],
        }
        with StandaloneAirflow(
            DAGS, connections=connections, config=CONFIG, python=python, start_timeout=240
        ) as airflow:
            for dag_id in DAG_IDS:
                airflow.client.wait_for_dag(dag_id)
            Matrix(Stage(airflow, server.sandbox, lossy.sandbox, slow.sandbox), column).run()
    column.seconds = time.monotonic() - began
    return column


def report(columns: list[Column]) -> str:
    """Return the table of what was seen, in Markdown."""
    lines = [
        "| | " + " | ".join(column.version for column in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for name in ROWS:
        cells = [
            f"{column.fates.get(name)}" + (" (WRONG)" if name in column.wrong else "") for column in columns
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Run the matrix; return 1 if a cell differs from the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", choices=list(VERSIONS), action="append", help="this version; may be repeated"
    )
    arguments = parser.parse_args()
    demo.leave_through_cleanup()
    columns, failed = [], []
    for version in arguments.only or VERSIONS:
        try:
            python = Path(sys.executable) if version == NEWEST else environment(version)
            column = run_column(version, python)
        except (AirflowStartError, AirflowApiError, TimeoutError, subprocess.CalledProcessError) as error:
            demo.say(f"Airflow {version}: {error}")
            failed.append(version)
            continue
        columns.append(column)
        for text in column.logs.values():
            demo.say(text)
        demo.say(
            f"Airflow {version}: {len(ROWS) - len(column.wrong)} of {len(ROWS)} rows as expected "
            f"({column.seconds:.0f} s; the triggerer handed over in {column.hand_over:.1f} s)"
        )
        if column.wrong:
            failed.append(version)
    demo.say(report(columns))
    if failed:
        demo.say(f"The kill matrix failed on Airflow {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
