"""How each row of the kill matrix is brought about, and how its outcome is read.

A scenario is a generator that advances one step after each poll of Airflow, so that all of them run side by
side.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import psutil

from dev.airflow.client import FINISHED, AirflowApiError, TaskInstance
from dev.kills.matrix import DEFERRED, PAID_ONCE, Outcome
from remote_tasks_sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from dev.airflow.standalone import StandaloneAirflow

#: Seconds between the start of a wait and the action: the trigger of a deferred one runs by then.
INTO_THE_WAIT = 3.0
#: Seconds after which a remote task is stopped if anything stops it. Airflow 3.3 cancels the trigger of a
#: cleared task up to 9 s after the next attempt has begun.
AFTERMATH = 12.0
#: Seconds within which an attempt that Airflow begins waits, also on a busy machine.
NEXT_ATTEMPT = 180.0
#: Seconds for which the remote side refuses to stop a task: more than a trigger waits for its cancellation.
REFUSAL = 25.0
#: Seconds between two stop requests at most, so soon after the first.
LONGEST_PAUSE = 40.0
#: By row, the connection to a service that drops the first response to a submission and lists no tasks.
LOSSY = {"killed_submitting": "manus_lossy", "lost_cleared": "manus_lost", "lost_kept": "manus_lost_too"}


def dag_of(name: str) -> str:
    """Return the DAG of a row's task; some rows need one for themselves."""
    if name in PAID_ONCE:
        return f"kills_{name}" if name in ("edited", "looped", "shared") else "kills_paid"
    if "run_" in name:
        return f"kills_{name}"
    return "kills_deferred" if name in DEFERRED else "kills"


class Deployment:
    """One Airflow with a run of every DAG, and the task instances as of the last poll.

    :param sandboxes: the remote sides, by the id of the Airflow connection to each.
    :param files: a folder that the DAG files know.
    """

    def __init__(self, airflow: StandaloneAirflow, sandboxes: dict[str, Sandbox], files: Path) -> None:
        self.airflow = airflow
        self.client = airflow.client
        self.sandboxes = sandboxes
        self.files = files
        self.runs: dict[str, str] = {}
        self.instances: dict[tuple[str, int], TaskInstance] = {}

    def start_runs(self, names: Iterable[str]) -> None:
        """Start a run of each DAG that has one of these tasks."""
        for dag_id in dict.fromkeys(dag_of(name) for name in names):
            self.runs[dag_id] = self.client.trigger(dag_id, run_id=f"{dag_id}_run")

    def refresh(self) -> None:
        """Read the state of every task instance from Airflow."""
        for dag_id, run_id in self.runs.items():
            # Of the iterations of a loop, which share a name, the last to start counts.
            found = self.client.task_instances(dag_id, run_id)
            for one in sorted(found, key=lambda one: one.start_date or ""):
                self.instances[one.task_id, one.map_index] = one

    def submitted(self, title: str) -> list[tuple[Sandbox, str]]:
        """Return the remote tasks that were submitted under a title, each with its sandbox."""
        return [
            (sandbox, one.id)
            for sandbox in self.sandboxes.values()
            for one in sandbox.manus.created
            if str(one.body.get("title")).split(" ")[0] == title
        ]


@dataclass
class Scenario:
    """One row in one Airflow: its action, and what was seen since."""

    name: str
    action: Callable[[Scenario], Iterator[None]]
    deployment: Deployment
    steps: Iterator[None] = field(init=False)
    acted_at: float | None = None
    waiting_since: tuple[int, float] = (0, 0.0)
    left_running: bool = False
    cleared_again: bool = False
    result_taken: bool = False
    iterations: int = 1

    def __post_init__(self) -> None:
        self.steps = self.action(self)

    @property
    def map_index(self) -> int:
        return 1 if self.name.endswith("mapped") else -1

    @property
    def dag_id(self) -> str:
        return dag_of(self.name)

    @property
    def instance(self) -> TaskInstance | None:
        return self.deployment.instances.get((self.name, self.map_index))

    @property
    def submitted(self) -> list[tuple[Sandbox, str]]:
        """The remote tasks that this Airflow task submitted."""
        index = f"[{self.map_index}]" if self.map_index >= 0 else ""
        return self.deployment.submitted(f"{self.dag_id}.{self.name}{index}")

    @property
    def remote_statuses(self) -> list[str]:
        """The status of each of those, in the vendor's words."""
        return [_status(*one) for one in self.submitted]

    @property
    def is_stopped(self) -> bool:
        return "stopped" in self.remote_statuses

    @property
    def is_finished(self) -> bool:
        """Whether the Airflow task is in a terminal state."""
        return self.instance is not None and self.instance.state in FINISHED

    def advance(self) -> None:
        """Take the next step of the action."""
        attempt = self.waiting_attempt()
        if attempt != self.waiting_since[0]:
            self.waiting_since = (attempt, time.monotonic())
        if self.acted_at is None:
            try:
                next(self.steps)
            except StopIteration:
                self.acted_at = time.monotonic()

    def waiting_attempt(self) -> int:
        """Return the number of the attempt that waits for a remote task now; 0 if none does."""
        one = self.instance
        if one is None:
            return 0
        if self.name in DEFERRED:
            waits = one.state == "deferred" and one.triggerer is not None
        else:
            waits = one.state == "running" and self._has_polled()
        return one.try_number if waits else 0

    def _has_polled(self) -> bool:
        """Whether a worker has polled the remote task, which it does once it knows the id."""
        return any(
            ("task_id", task_id) in record.query
            for sandbox, task_id in self.submitted
            for record in sandbox.requests
            if record.path.endswith("task.detail")
        )

    @property
    def is_settled(self) -> bool:
        """Whether the action has had all its effects."""
        now = time.monotonic()
        if self.acted_at is None:
            return self.is_finished and now > self.waiting_since[1] + AFTERMATH
        if self.is_stopped:
            return self.is_finished
        finished = self.is_finished or self.waiting_since[0] > 1
        return finished and now > max(self.acted_at, self.waiting_since[1]) + AFTERMATH

    def outcome(self) -> Outcome | str:
        """Return what happened to the remote task."""
        one, submitted = self.instance, self.submitted
        if one is None or not submitted:
            return f"no remote task; Airflow task {one.state if one else 'unknown'}"
        if len(submitted) > self.iterations:
            return Outcome.TWICE
        if self.iterations > 1 and not len(submitted) == self.messages == self.iterations:
            return f"{len(submitted)} tasks and {self.messages} messages of {self.iterations} iterations"
        if self.map_index >= 0 and self._sibling_is_stopped():
            return "stopped, and with it the task of another map index"
        if self.is_stopped:
            return Outcome.STOPPED
        if self.left_running:
            return Outcome.LEFT
        if one.state != "success":
            return f"keeps running; Airflow task {one.state} in attempt {one.try_number}"
        if self.cleared_again:
            return Outcome.AGAIN
        if self.result_taken:
            return Outcome.TAKEN
        return Outcome.NEXT if one.try_number > 1 else Outcome.SAME

    def _sibling_is_stopped(self) -> bool:
        siblings = self.deployment.submitted(f"{self.dag_id}.{self.name}[0]")
        return any(_status(*one) == "stopped" for one in siblings)

    @property
    def messages(self) -> int:
        """How many messages the task before this one published."""
        published = self.deployment.sandboxes["manus_default"].qstash.messages
        return sum(one.options.body == self.name.encode() for one in published)

    def complete(self) -> None:
        """Let the remote task complete, unless it was stopped."""
        for sandbox, task_id in self.submitted:
            if _status(sandbox, task_id) == "running":
                sandbox.manus.set_status(task_id, "completed")

    def logs(self) -> str:
        """Return the log of every attempt."""
        texts = []
        for attempt in range(1, (self.instance.try_number if self.instance else 0) + 1):
            with suppress(AirflowApiError):
                text = self.deployment.client.log(
                    self.dag_id,
                    self.deployment.runs[self.dag_id],
                    self.name,
                    try_number=attempt,
                    map_index=self.map_index,
                )
                texts.append(f"--- {self.name}, attempt {attempt}\n{text}")
        return "\n".join(texts)


def _status(sandbox: Sandbox, task_id: str) -> str:
    task = sandbox.manus.get(task_id)
    assert task is not None
    return task.timeline.word(sandbox.clock.now())


# --------------------------------------------------------------------------------------------- the actions


def once_waiting(scenario: Scenario) -> Iterator[None]:
    while scenario.waiting_since[0] != 1 or time.monotonic() < scenario.waiting_since[1] + INTO_THE_WAIT:
        yield


def do_nothing(scenario: Scenario) -> Iterator[None]:
    """Wait for the submission only: Airflow or the operator ends the wait by itself."""
    while not scenario.submitted:
        yield


def next_attempt_completes(scenario: Scenario) -> Iterator[None]:
    """Complete the remote task in the next attempt, before that attempt times out too.

    Not at once: if the trigger fires before the scheduler has seen the first worker process exit, the
    scheduler may take that exit for the exit of the resumed one, and fail the task (Airflow #71580).
    """
    while scenario.waiting_since[0] < 2 or time.monotonic() < scenario.waiting_since[1] + INTO_THE_WAIT + 2:
        yield
    scenario.complete()


def kill(
    scenario: Scenario, *, after: Callable[[Scenario], Iterator[None]], graceful: bool = False
) -> Iterator[None]:
    yield from after(scenario)
    assert scenario.instance is not None
    worker = worker_processes(scenario)
    if graceful:
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
    """Return the processes that a lost machine would take with it: the executor's worker and its children."""
    assert scenario.instance is not None
    scheduler = scenario.deployment.airflow.pid("scheduler")
    process = psutil.Process(scenario.instance.pid)
    while (parent := process.parent()) is not None and parent.pid != scheduler:
        process = parent
    if parent is None:
        raise RuntimeError(f"the worker of {scenario.name} is not a child of the scheduler")
    return [process, *process.children(recursive=True)]


def once_response_is_lost(scenario: Scenario) -> Iterator[None]:
    """Wait until the remote task exists and its worker searches for it in a list that omits it."""
    lossy = scenario.deployment.sandboxes[LOSSY[scenario.name]]
    while not any(record.path.endswith("task.list") for record in lossy.requests):
        yield


def kill_submitting(scenario: Scenario) -> Iterator[None]:
    yield from kill(scenario, after=once_response_is_lost)
    scenario.deployment.sandboxes[LOSSY[scenario.name]].faults.clear()


def kill_submitting_and_clear(scenario: Scenario, *, keeps_state: bool = False) -> Iterator[None]:
    """Clear the task once Airflow has noticed that its worker is gone."""
    yield from kill_submitting(scenario)
    while not scenario.is_finished:
        yield
    yield from clear_once(scenario, keeps_state=keeps_state)
    while scenario.waiting_since[0] < 2:
        yield


def kill_edited(scenario: Scenario) -> Iterator[None]:
    """Lower ``retries`` in the DAG file, then kill the worker."""
    yield from once_waiting(scenario)
    (scenario.deployment.files / "retries").write_text("1")
    yield from kill(scenario, after=once_waiting)


def deliver_in_vain(scenario: Scenario) -> Iterator[None]:
    """Put a file where the result's folder was until the task has failed, then clear the task."""
    yield from once_waiting(scenario)
    folder = scenario.deployment.files / scenario.name
    folder.rmdir()
    folder.write_text("in the way")
    scenario.complete()
    while not scenario.is_finished:
        yield
    folder.unlink()
    folder.mkdir()
    yield from clear_once(scenario)
    while not (folder / "result.json").exists() and len(scenario.submitted) < 2:
        yield
    scenario.result_taken = len(scenario.submitted) == 1


def kill_in_second_iteration(scenario: Scenario) -> Iterator[None]:
    """Complete the task of the first iteration, and kill the worker of the second one."""
    scenario.iterations = 2
    yield from once_waiting(scenario)
    scenario.complete()
    while len(scenario.submitted) < 2:
        yield
    yield from pause(INTO_THE_WAIT)
    yield from kill(scenario, after=once_waiting)


def mark(state: str, scenario: Scenario) -> Iterator[None]:
    yield from once_waiting(scenario)
    deployment = scenario.deployment
    deployment.client.mark(
        scenario.dag_id, deployment.runs[scenario.dag_id], scenario.name, state, map_index=scenario.map_index
    )


def mark_refused(scenario: Scenario, *, clears: bool = False) -> Iterator[None]:
    """Mark the task failed while the remote side refuses to stop its remote task.

    :param clears: whether to clear it before the remote side gives in.
    """
    yield from once_waiting(scenario)
    ((sandbox, task_id),) = scenario.submitted
    fault = sandbox.faults.add("status", path="*/task.stop", task_id=task_id, status=503)
    deployment = scenario.deployment
    deployment.client.mark(scenario.dag_id, deployment.runs[scenario.dag_id], scenario.name, "failed")
    yield from pause(REFUSAL)
    if clears:
        yield from clear_once(scenario)
        while scenario.waiting_since[0] < 2:
            yield
    sandbox.faults.remove(fault)
    yield from pause(LONGEST_PAUSE, unless=lambda: scenario.is_stopped)


def pause(seconds: float, unless: Callable[[], bool] = lambda: False) -> Iterator[None]:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not unless():
        yield


def mark_submitting(scenario: Scenario) -> Iterator[None]:
    """Mark the task failed while its submission is under way."""
    deployment = scenario.deployment
    while not deployment.sandboxes["manus_slow"].requests:
        yield
    deployment.client.mark(scenario.dag_id, deployment.runs[scenario.dag_id], scenario.name, "failed")


def mark_run(state: str, scenario: Scenario) -> Iterator[None]:
    yield from once_waiting(scenario)
    scenario.deployment.client.mark_run(scenario.dag_id, scenario.deployment.runs[scenario.dag_id], state)


def clear(scenario: Scenario) -> Iterator[None]:
    """Clear the task, and once more where Airflow begins no attempt: 3.0 leaves it "restarting"."""
    yield from once_waiting(scenario)
    for again in (False, True):
        yield from clear_once(scenario)
        scenario.cleared_again = again
        cleared_at = time.monotonic()
        while scenario.waiting_since[0] < 2:
            is_left = scenario.instance is not None and scenario.instance.state == "restarting"
            if time.monotonic() > cleared_at + (2 * AFTERMATH if is_left else NEXT_ATTEMPT):
                break
            yield
        else:
            return


def clear_once(scenario: Scenario, *, keeps_state: bool = False) -> Iterator[None]:
    deployment = scenario.deployment
    if not deployment.airflow.is_airflow_2:
        run_id = deployment.runs[scenario.dag_id]
        deployment.client.clear(scenario.dag_id, run_id, [scenario.name], keeps_state=keeps_state)
        return
    # The API of Airflow 2.11 reports success but leaves a running task alone; the UI and the CLI clear it.
    clears = ("tasks", "clear", "--yes", "--task-regex", f"^{scenario.name}$", scenario.dag_id)
    command = deployment.airflow.command(*clears)
    while command.poll() is None:
        yield


ACTIONS: dict[str, Callable[[Scenario], Iterator[None]]] = {
    "killed": partial(kill, after=once_waiting),
    "killed_submitting": kill_submitting,
    "failed_submitting": mark_submitting,
    "shut_down": partial(kill, after=once_waiting, graceful=True),
    "attempt_timeout": next_attempt_completes,
    "deferred_attempt_timeout": next_attempt_completes,
    "deferred_refused": mark_refused,
    "deferred_refused_cleared": partial(mark_refused, clears=True),
    "triggerer_shut_down": once_waiting,
    "triggerer_killed": once_waiting,
    "lost_cleared": kill_submitting_and_clear,
    "lost_kept": partial(kill_submitting_and_clear, keeps_state=True),
    "edited": kill_edited,
    "undelivered": deliver_in_vain,
    "looped": kill_in_second_iteration,
}
for _prefix in ("", "deferred_"):
    ACTIONS |= {
        f"{_prefix}failed": partial(mark, "failed"),
        f"{_prefix}succeeded": partial(mark, "success"),
        f"{_prefix}mapped": partial(mark, "failed"),
        f"{_prefix}kept": partial(mark, "failed"),
        f"{_prefix}run_failed": partial(mark_run, "failed"),
        f"{_prefix}run_succeeded": partial(mark_run, "success"),
        f"{_prefix}cleared": clear,
    }
