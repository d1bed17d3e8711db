"""How each row of the kill matrix is brought about, and how what became of the remote task is seen.

A scenario acts a step at a time, whenever ``kills.py`` has looked where all of them stand, so that they can
go on side by side.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import psutil

from dev.airflow_client import FINISHED, AirflowApiError, TaskInstance
from dev.kill_matrix import DEFERRED, ROWS, Fate
from remote_tasks_sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dev.standalone import StandaloneAirflow

#: Seconds a wait has lasted when something happens to it: the trigger of a deferred one has been started.
INTO_THE_WAIT = 3.0
#: Seconds in which whatever stops a remote task has done so. Airflow 3.3 tells the trigger of a task that was
#: cleared up to 9 s after the next attempt has begun.
AFTERMATH = 12.0


def dag_of(name: str) -> str:
    """Return the DAG that a row's task is in; what ends with its run has one of its own."""
    if "run_" in name:
        return f"kills_{name}"
    return "kills_deferred" if name in DEFERRED else "kills"


class Stage:
    """One run of every DAG in one Airflow, and all that is known of it at the last look.

    :param sandbox: the remote side.
    :param lossy: another one, which loses the answer to the first start and lists no tasks.
    :param slow: a third one, which takes its time with the first start.
    """

    def __init__(self, airflow: StandaloneAirflow, sandbox: Sandbox, lossy: Sandbox, slow: Sandbox) -> None:
        self.airflow = airflow
        self.client = airflow.client
        self.sandboxes = [sandbox, lossy, slow]
        self.lossy, self.slow = lossy, slow
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
    def words(self) -> list[str]:
        """What the sandbox calls the states of those."""
        return [_word(*one) for one in self.started]

    @property
    def is_stopped(self) -> bool:
        return "stopped" in self.words

    @property
    def is_over(self) -> bool:
        """Whether Airflow has ended its task."""
        return self.instance is not None and self.instance.state in FINISHED

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
        now = time.monotonic()
        if self.done_at is None:
            return self.is_over and now > self.waits_since[1] + AFTERMATH
        if self.is_stopped:
            return self.is_over
        ended = self.is_over or self.waits_since[0] > 1
        return ended and now > max(self.done_at, self.waits_since[1]) + AFTERMATH

    def fate(self) -> Fate | str:
        """Return what became of the remote task."""
        one, started = self.instance, self.started
        if one is None or not started:
            return f"no remote task; Airflow says {one.state if one else 'nothing'}"
        if len(started) > 1:
            return Fate.TWICE
        if self.map_index >= 0 and self._sibling_is_stopped():
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

    def _sibling_is_stopped(self) -> bool:
        siblings = self.stage.created(f"{self.dag_id}.{self.name}[0]")
        return any(_word(*one) == "stopped" for one in siblings)

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


def mark_starting(scenario: Scenario) -> Iterator[None]:
    """Mark the task while the request to start one is under way."""
    stage = scenario.stage
    while not stage.slow.requests:
        yield
    stage.client.mark(scenario.dag_id, stage.runs[scenario.dag_id], scenario.name, "failed")


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
    "failed_starting": mark_starting,
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
