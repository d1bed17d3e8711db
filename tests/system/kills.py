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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from remote_tasks_provider.sandbox import Sandbox, SandboxServer
from tests.system import demo
from tests.system.client import FINISHED, AirflowApiError, TaskInstance
from tests.system.compat import NEWEST, VERSIONS, environment
from tests.system.environments import ROOT
from tests.system.kill_matrix import DEFERRED, ON_A_WORKER, ROWS, Fate
from tests.system.standalone import AirflowStartError, StandaloneAirflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

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
#: Seconds a wait has lasted when something happens to it: the trigger of a deferred one has been started.
INTO_THE_WAIT = 3.0
#: Seconds in which whatever stops a remote task has done so. Airflow 3.3 tells the trigger of a task that was
#: cleared up to 9 s after the next attempt has begun.
AFTERMATH = 12.0
#: Seconds for all of it to happen, also on a machine that does other things.
LONGEST = 240.0


def dag_of(name: str) -> str:
    """Return the DAG that a row's task is in; what ends with its run has one of its own."""
    if "run_" in name:
        return f"kills_{name}"
    return "kills_deferred" if name in DEFERRED else "kills"


class Stage:
    """One run of every DAG in one Airflow, and all that is known of it at the last look."""

    def __init__(self, airflow: StandaloneAirflow, servers: list[SandboxServer]) -> None:
        self.airflow = airflow
        self.client = airflow.client
        self.sandboxes = [server.sandbox for server in servers]
        self.lossy = servers[1].sandbox
        self.runs: dict[str, str] = {}
        self.instances: dict[tuple[str, int], TaskInstance] = {}

    def begin(self, names: Iterable[str]) -> None:
        """Start a run of each DAG in which the tasks of these names are."""
        for dag_id in dict.fromkeys(dag_of(name) for name in names):
            self.runs[dag_id] = self.client.trigger(dag_id)

    def look(self) -> None:
        """Ask Airflow where every task stands."""
        for dag_id, run_id in self.runs.items():
            for one in self.client.task_instances(dag_id, run_id):
                self.instances[one.task_id, one.map_index] = one

    def created(self, title: str) -> list[tuple[Sandbox, str]]:
        """Return the remote tasks that were started under a title, and where."""
        return [
            (sandbox, one.id)
            for sandbox in self.sandboxes
            for one in sandbox.manus.created
            if str(one.body.get("title")).split(" ")[0] == title
        ]


@dataclass
class Scenario:
    """One row in one Airflow: what is done, and what is seen of it."""

    name: str
    play: Callable[[Scenario], Iterator[None]]
    stage: Stage
    steps: Iterator[None] = field(init=False)
    done_at: float | None = None
    waits_since: tuple[int, float] = (0, 0.0)
    was_left: bool = False
    was_cleared_again: bool = False

    def __post_init__(self) -> None:
        self.steps = self.play(self)

    @property
    def map_index(self) -> int:
        return 1 if self.name.endswith("mapped") else -1

    @property
    def dag_id(self) -> str:
        return dag_of(self.name)

    @property
    def instance(self) -> TaskInstance | None:
        return self.stage.instances.get((self.name, self.map_index))

    @property
    def started(self) -> list[tuple[Sandbox, str]]:
        """The remote tasks that came of it."""
        index = f"[{self.map_index}]" if self.map_index >= 0 else ""
        return self.stage.created(f"{self.dag_id}.{self.name}{index}")

    @property
    def is_stopped(self) -> bool:
        return any(_word(*one) == "stopped" for one in self.started)

    def go_on(self) -> None:
        """Do what is to be done by now."""
        attempt = self.waits_in_attempt()
        if attempt != self.waits_since[0]:
            self.waits_since = (attempt, time.monotonic())
        if self.done_at is None:
            try:
                next(self.steps)
            except StopIteration:
                self.done_at = time.monotonic()

    def waits_in_attempt(self) -> int:
        """Return the number of the attempt that waits for a remote task now; 0 if none does."""
        one = self.instance
        if one is None:
            return 0
        if self.name in DEFERRED:
            waits = one.state == "deferred" and one.triggerer is not None
        else:
            waits = one.state == "running" and self._has_looked()
        return one.try_number if waits else 0

    def _has_looked(self) -> bool:
        """Whether a worker has looked at the remote task, which it does from when it knows its id."""
        return any(
            ("task_id", task_id) in record.query
            for sandbox, task_id in self.started
            for record in sandbox.requests
            if record.path.endswith("task.detail")
        )

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is to come of what was done."""
        if self.instance is None:
            return False
        if self.done_at is None:
            return self.instance.state in FINISHED and time.monotonic() > self.waits_since[1] + AFTERMATH
        if self.is_stopped:
            return self.instance.state in FINISHED
        ended = self.instance.state in FINISHED or self.waits_since[0] > 1
        return ended and time.monotonic() > max(self.done_at, self.waits_since[1]) + AFTERMATH

    def fate(self) -> Fate | str:
        """Return what became of the remote task."""
        one, started = self.instance, self.started
        if one is None or not started:
            return f"no remote task; Airflow says {one.state if one else 'nothing'}"
        if len(started) > 1:
            return Fate.TWICE
        if self.map_index >= 0 and self._brother_is_stopped():
            return "stopped, and with it one that nobody ended"
        if self.is_stopped:
            return Fate.STOPPED
        if self.was_left:
            return Fate.LEFT
        if one.state != "success":
            return f"goes on; Airflow says {one.state} in attempt {one.try_number}"
        if self.was_cleared_again:
            return Fate.AGAIN
        return Fate.NEXT if one.try_number > 1 else Fate.SAME

    def _brother_is_stopped(self) -> bool:
        brothers = self.stage.created(f"{self.dag_id}.{self.name}[0]")
        return any(_word(*one) == "stopped" for one in brothers)

    def complete(self) -> None:
        """Let the agent finish, unless it was stopped."""
        for sandbox, task_id in self.started:
            if _word(sandbox, task_id) == "running":
                sandbox.manus.set_status(task_id, "completed")

    def logs(self) -> str:
        """Return the log of every attempt."""
        texts = []
        for attempt in range(1, (self.instance.try_number if self.instance else 0) + 1):
            with suppress(AirflowApiError):
                text = self.stage.client.log(
                    self.dag_id,
                    self.stage.runs[self.dag_id],
                    self.name,
                    try_number=attempt,
                    map_index=self.map_index,
                )
                texts.append(f"--- {self.name}, attempt {attempt}\n{text}")
        return "\n".join(texts)


def _word(sandbox: Sandbox, task_id: str) -> str:
    task = sandbox.manus.get(task_id)
    assert task is not None
    return task.timeline.word(sandbox.clock.now())


# -------------------------------------------------------------------------------------------- what happens


def once_waiting(scenario: Scenario) -> Iterator[None]:
    while scenario.waits_since[0] != 1 or time.monotonic() < scenario.waits_since[1] + INTO_THE_WAIT:
        yield


def nothing(scenario: Scenario) -> Iterator[None]:
    """Airflow, or the operator itself, does it when its time has come."""
    yield from once_waiting_at_all(scenario)


def once_waiting_at_all(scenario: Scenario) -> Iterator[None]:
    while not scenario.started:
        yield


def next_attempt_completes(scenario: Scenario) -> Iterator[None]:
    """Let the remote task end in the next attempt, before that one's time is over, too.

    Not at once: when a deferral is over before the scheduler has seen that its worker has ended, it may take
    that end for the end of the worker that goes on, and fail the task (Airflow #71580).
    """
    while scenario.waits_since[0] < 2 or time.monotonic() < scenario.waits_since[1] + INTO_THE_WAIT + 2:
        yield
    scenario.complete()


def kill(
    scenario: Scenario, *, after: Callable[[Scenario], Iterator[None]], politely: bool = False
) -> Iterator[None]:
    yield from after(scenario)
    assert scenario.instance is not None
    worker = worker_processes(scenario)
    if politely:
        for process in worker:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        until = time.monotonic() + 2
        while time.monotonic() < until:
            yield
    for process in worker:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def worker_processes(scenario: Scenario) -> list[psutil.Process]:
    """Return what a lost machine would take with it: the executor's worker and its children."""
    assert scenario.instance is not None
    scheduler = scenario.stage.airflow.pid("scheduler")
    process = psutil.Process(scenario.instance.pid)
    while (parent := process.parent()) is not None and parent.pid != scheduler:
        process = parent
    if parent is None:
        raise RuntimeError(f"the worker of {scenario.name} is none of the scheduler's children")
    return [process, *process.children(recursive=True)]


def once_its_answer_is_lost(scenario: Scenario) -> Iterator[None]:
    """Wait until the task exists, and its worker looks for it in a list that lacks it."""
    lossy = scenario.stage.lossy
    while not any(record.path.endswith("task.list") for record in lossy.requests):
        yield


def kill_starting(scenario: Scenario) -> Iterator[None]:
    yield from kill(scenario, after=once_its_answer_is_lost)
    scenario.stage.lossy.faults.clear()


def mark(state: str, scenario: Scenario) -> Iterator[None]:
    yield from once_waiting(scenario)
    stage = scenario.stage
    stage.client.mark(
        scenario.dag_id, stage.runs[scenario.dag_id], scenario.name, state, map_index=scenario.map_index
    )


def mark_run(state: str, scenario: Scenario) -> Iterator[None]:
    yield from once_waiting(scenario)
    scenario.stage.client.mark_run(scenario.dag_id, scenario.stage.runs[scenario.dag_id], state)


def clear(scenario: Scenario) -> Iterator[None]:
    yield from once_waiting(scenario)
    for again in (False, True):
        yield from clear_once(scenario)
        scenario.was_cleared_again = again
        until = time.monotonic() + 2 * AFTERMATH
        while time.monotonic() < until:
            if scenario.waits_since[0] > 1:
                return
            yield


def clear_once(scenario: Scenario) -> Iterator[None]:
    stage = scenario.stage
    if not stage.airflow.is_airflow_2:
        stage.client.clear(scenario.dag_id, stage.runs[scenario.dag_id], [scenario.name])
        return
    # The API of Airflow 2.11 answers that it did, and leaves a running task alone; the UI and the CLI do it.
    clears = ("tasks", "clear", "--yes", "--task-regex", f"^{scenario.name}$", scenario.dag_id)
    command = stage.airflow.command(*clears)
    while command.poll() is None:
        yield


PLAYS: dict[str, Callable[[Scenario], Iterator[None]]] = {
    "killed": partial(kill, after=once_waiting),
    "killed_starting": kill_starting,
    "shut_down": partial(kill, after=once_waiting, politely=True),
    "attempt_timeout": next_attempt_completes,
    "deferred_attempt_timeout": next_attempt_completes,
    "triggerer_shut_down": once_waiting,
    "triggerer_killed": once_waiting,
}
for _prefix in ("", "deferred_"):
    PLAYS |= {
        f"{_prefix}failed": partial(mark, "failed"),
        f"{_prefix}succeeded": partial(mark, "success"),
        f"{_prefix}mapped": partial(mark, "failed"),
        f"{_prefix}kept": partial(mark, "failed"),
        f"{_prefix}run_failed": partial(mark_run, "failed"),
        f"{_prefix}run_succeeded": partial(mark_run, "success"),
        f"{_prefix}cleared": clear,
    }
DAG_IDS = tuple(dict.fromkeys(dag_of(name) for name in ROWS))


# ---------------------------------------------------------------------------------------------- the matrix


@dataclass
class Column:
    """What was seen on one version."""

    version: str
    fates: dict[str, Fate | str] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    hand_over: float = 0.0
    """Seconds the triggerer took to end when it was asked to."""
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
        self._until(lambda: self._state(name) in FINISHED, f"{name} ended")

    def _state(self, name: str) -> str:
        one = self.scenarios[name].instance
        return one.state if one else "none"

    def _finish(self) -> None:
        for one in self.scenarios.values():
            one.was_left = self._state(one.name) in FINISHED and any(
                _word(*task) == "running" for task in one.started
            )
        for one in self.scenarios.values():
            one.complete()
        with suppress(TimeoutError):
            self._until(lambda: all(self._state(name) in FINISHED for name in self.scenarios), "")
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
                words = [_word(*task) for task in one.started]
                lines.append(f"  {name}: {done}; Airflow says {state}; remote tasks {words}\n{one.logs()}")
        return "\n".join(lines)


def run_column(version: str, python: Path | str) -> Column:
    """Run every row on one version.

    :raises AirflowStartError: when it does not come up.
    :raises TimeoutError: naming the rows nothing came of.
    """
    began = time.monotonic()
    column = Column(version)
    with SandboxServer() as server, SandboxServer() as lossy:
        for one in (server, lossy):
            one.sandbox.manus.plan(default=True, script=[("running", None)])
        lossy.sandbox.faults.add("drop_after", "*/task.create", times=1)
        lossy.sandbox.faults.add("omit", "*/task.list")
        connections = {
            "manus_default": demo.connections(server)["manus_v2"],
            "manus_lossy": demo.connections(lossy)["manus_v2"],
        }
        with StandaloneAirflow(
            DAGS, connections=connections, config=CONFIG, python=python, start_timeout=240
        ) as airflow:
            for dag_id in DAG_IDS:
                airflow.client.wait_for_dag(dag_id)
            Matrix(Stage(airflow, [server, lossy]), column).run()
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
