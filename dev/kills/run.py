"""Run the rows of the kill matrix in one real Airflow, side by side, against the sandbox; the last in two.

What is compared is the remote side: how many tasks were submitted, which of them were stopped, and whether a
later attempt re-attached.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from dev.airflow.connections import sandbox_connections
from dev.airflow.standalone import StandaloneAirflow
from dev.environments import ROOT
from dev.kills.matrix import DEFERRED, ON_A_WORKER, PAID_ONCE, ROWS, Outcome
from dev.kills.scenarios import ACTIONS, LOSSY, Deployment, Scenario, dag_of, do_nothing
from dev.kills.second import run_second
from dev.terminal import say
from remote_tasks_sandbox import Sandbox, SandboxServer

if TYPE_CHECKING:
    from collections.abc import Callable

DAGS = Path(__file__).parent / "dags"
CONFIG = {
    "AIRFLOW__CORE__PARALLELISM": "14",
    "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "40",
    # With a smaller pool Airflow's API server deadlocks: it waits for a connection while it holds others.
    "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE": "60",
    # A lost worker is noticed after this many seconds, not minutes; the first line of each pair is for 3.x.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "AIRFLOW__SCHEDULER__ZOMBIE_DETECTION_INTERVAL": "3",
    # How soon a worker learns that its task was marked or cleared.
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "2",
    # How soon a lost triggerer is noticed.
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
}
#: More settings for one version.
CONFIG_OF = {
    # A worker that has to exit gets 60 s there; Airflow 3.0 to 3.3 give it 5 s. If a heartbeat is missing for
    # longer than the limit above in the meantime, the scheduler of 3.4.0b2 exits with an IntegrityError.
    "3.4.0b2": {"AIRFLOW__CORE__KILLED_TASK_CLEANUP_TIME": "5"},
}
#: Each has a sandbox of its own.
CONNECTIONS = ("manus_default", "manus_slow", "manus_shared", *LOSSY.values())
#: Seconds the slow sandbox takes to respond: fewer than a worker gets to exit.
SLOW_RESPONSE = 4.0
#: Seconds for each stage of the run, also on a busy machine.
STAGE_TIMEOUT = 600.0


@dataclass
class VersionResult:
    """The outcomes on one version."""

    version: str
    outcomes: dict[str, Outcome | str] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    handover: float = 0.0
    """Seconds the triggerer took to exit on SIGTERM; Airflow itself may take 10 s."""
    seconds: float = 0.0

    @property
    def wrong(self) -> list[str]:
        """The rows whose outcome differs from the table."""
        return [name for name, row in ROWS.items() if self.outcomes.get(name) != row.cell(self.version)]


class MatrixRun:
    """Runs all rows in one Airflow."""

    def __init__(self, deployment: Deployment, result: VersionResult) -> None:
        self.deployment = deployment
        self.result = result
        possible = [name for name, row in ROWS.items() if isinstance(row.cell(result.version), Outcome)]
        self.scenarios = {
            name: Scenario(name, ACTIONS.get(name, do_nothing), deployment) for name in possible
        }
        result.outcomes = {name: row.cell(result.version) for name, row in ROWS.items()}

    def run(self) -> None:
        """Run every scenario and record its outcome."""
        restarts = {"triggerer_shut_down", "triggerer_killed"}
        deferred = [one for name, one in self.scenarios.items() if name in DEFERRED]
        self.deployment.start_runs(DEFERRED)
        # The workers' tasks start later: two cores can't start all of them in time.
        self._until(lambda: all(one.submitted for one in deferred), "all deferred tasks are submitted")
        self.deployment.start_runs(ON_A_WORKER)
        self._until(
            lambda: all(one.is_settled for one in deferred if one.name not in restarts),
            "all deferred tasks are settled",
        )
        # These use the workers while the triggerer is away.
        self.deployment.start_runs(name for name in PAID_ONCE if name in self.scenarios)
        began = time.monotonic()
        self.deployment.airflow.stop_triggerer(kill=False)
        self.result.handover = time.monotonic() - began
        self._new_triggerer("triggerer_shut_down")
        self.deployment.airflow.stop_triggerer(kill=True)
        self._new_triggerer("triggerer_killed")
        others = [one for one in self.scenarios.values() if one.name not in restarts]
        self._until(lambda: all(one.is_settled for one in others), "all tasks are settled")
        self._finish()

    def _new_triggerer(self, name: str) -> None:
        self.deployment.airflow.start_triggerer()
        self.scenarios[name].complete()
        self._until(lambda: self.scenarios[name].is_finished, f"{name} is finished")

    def _finish(self) -> None:
        for one in self.scenarios.values():
            one.left_running = one.is_finished and "running" in one.remote_statuses
        for name, one in self.scenarios.items():
            if name != "shared":
                one.complete()
        with suppress(TimeoutError):
            self._until(
                lambda: all(one.is_finished for one in self.scenarios.values()), "all tasks are finished"
            )
        for name, one in self.scenarios.items():
            self.result.outcomes[name] = one.outcome()
        # What becomes of the shared one, the second Airflow shows.
        for name in (set(self.result.wrong) & self.scenarios.keys()) - {"shared"}:
            self.result.logs[name] = self.scenarios[name].logs()

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + STAGE_TIMEOUT
        say(f"  waiting until {what} ...")
        while True:
            self.deployment.refresh()
            for one in self.scenarios.values():
                one.advance()
            if condition():
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {STAGE_TIMEOUT:g} s: {what}\n{self._unsettled()}")
            time.sleep(1)

    def _unsettled(self) -> str:
        lines = []
        for name, one in self.scenarios.items():
            if not one.is_settled:
                state = one.instance and f"{one.instance.state}, attempt {one.instance.try_number}"
                done = "done" if one.acted_at else "not done"
                lines.append(
                    f"  {name}: action {done}; Airflow task {state}; remote tasks {one.remote_statuses}\n"
                    f"{one.logs()}"
                )
        return "\n".join(lines)


def _make_trouble(sandboxes: dict[str, Sandbox]) -> None:
    for sandbox in sandboxes.values():
        sandbox.manus.plan(default=True, script=[("running", None)])
    for name in LOSSY.values():
        sandboxes[name].faults.add("drop_after", "*/task.create", times=1)
        sandboxes[name].faults.add("omit", "*/task.list")
    # The second Airflow's submission; the first one's comes before.
    sandboxes["manus_shared"].faults.add("drop_after", "*/task.create", times=1, after=1)
    sandboxes["manus_slow"].faults.add("hang", "*/task.create", times=1, seconds=SLOW_RESPONSE)


def run_version(version: str, python: Path | str) -> VersionResult:
    """Run every row on one version.

    :raises AirflowStartError: when Airflow does not start.
    :raises TimeoutError: naming the rows that are not settled.
    """
    began = time.monotonic()
    result = VersionResult(version)
    with ExitStack() as stack:
        files = Path(stack.enter_context(TemporaryDirectory(prefix="kills-")))
        (files / "retries").write_text("3")
        (files / "undelivered").mkdir()
        servers = {name: stack.enter_context(SandboxServer()) for name in CONNECTIONS}
        sandboxes = {name: server.sandbox for name, server in servers.items()}
        _make_trouble(sandboxes)
        connections = {name: sandbox_connections(server)["manus_v2"] for name, server in servers.items()}
        connections["qstash_default"] = sandbox_connections(servers["manus_default"])["qstash_default"]
        airflow = partial(
            StandaloneAirflow,
            DAGS,
            connections=connections,
            config=CONFIG | CONFIG_OF.get(version, {}),
            python=python,
            start_timeout=240,
        )
        # The path is for the trigger in dev.kills.triggers.
        environment = {"PYTHONPATH": str(ROOT), "KILLS_FILES": str(files)}
        say("  starting Airflow ...")
        with airflow(environment=environment) as first:
            run = MatrixRun(Deployment(first, sandboxes, files), result)
            for dag_id in dict.fromkeys(map(dag_of, run.scenarios)):
                first.client.wait_for_dag(dag_id)
            run.run()
        say("  starting a second Airflow, on the same account ...")
        with airflow(environment={**environment, "KILLS_DEPLOYMENT": "second"}) as second:
            result.outcomes["shared"] = run_second(second, sandboxes["manus_shared"], run.scenarios["shared"])
    result.seconds = time.monotonic() - began
    return result
