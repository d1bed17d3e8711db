"""The kill matrix: for each way to end an Airflow task, what happens to its remote task.

`make kills` runs every row on every version and compares; ``docs/concepts/killing-and-clearing.md`` shows
the table, and a test holds the two together. This module imports nothing of Airflow, so that the test of the
docs needs none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """What happens to the remote task; the wording of the docs."""

    STOPPED = "stopped"
    NEXT = "keeps running; the next attempt re-attaches"
    AGAIN = "keeps running; an attempt re-attaches once you clear the task again"
    SAME = "keeps running; the same attempt keeps waiting"
    LEFT = "keeps running; no attempt waits for it"
    TAKEN = "finished; the next attempt takes its result"
    OWN = "is stopped; the task and the message of the first Airflow are left alone"
    TWICE = "paid twice"
    """Always a fault: a second remote task was submitted."""


@dataclass(frozen=True)
class Row:
    """One way to end the Airflow task.

    :param event: what happens, in the wording of the docs.
    :param outcome: what happens to the remote task.
    :param other: versions with another outcome; a string is the reason why the row can't be run there.
    :param needs: the first version on which it can happen.
    """

    event: str
    outcome: Outcome
    other: dict[str, Outcome | str] = field(default_factory=dict)
    needs: str | None = None

    def cell(self, version: str) -> Outcome | str:
        """Return what is expected on one version, or why the row can't be run there."""
        if self.needs is not None and _number(version) < _number(self.needs):
            return "cannot happen"
        return self.other.get(version, self.outcome)

    @property
    def exceptions(self) -> str:
        """What differs on some versions, in the wording of the docs."""
        older = [] if self.needs is None else [f"below {self.needs}: cannot happen"]
        return "; ".join([*older, *(f"{version}: {result}" for version, result in self.other.items())])


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


#: By the id of the Airflow task in ``dags/kills_dag.py`` that the row acts on.
ON_A_WORKER = {
    "killed": Row("the worker is killed (`SIGKILL`, out of memory, a lost machine)", Outcome.NEXT),
    "killed_submitting": Row("the worker is killed between the request and its response", Outcome.NEXT),
    "shut_down": Row("the worker is shut down (`SIGTERM`, then `SIGKILL`)", Outcome.NEXT),
    "failed": Row("a user marks the task failed", Outcome.STOPPED),
    # Airflow 2.11 ends the process at once. Airflow 3 gives it 5 s, in which the response arrives.
    "failed_submitting": Row(
        "a user marks the task failed between the request and its response",
        Outcome.STOPPED,
        {"2.11.2": "not certain: Airflow ends the process at once, before or after the response"},
    ),
    "succeeded": Row("a user marks the task successful", Outcome.STOPPED),
    "mapped": Row("a user marks one of several mapped tasks failed", Outcome.STOPPED),
    "run_failed": Row("a user marks the DAG run failed", Outcome.STOPPED),
    "run_succeeded": Row("a user marks the DAG run successful", Outcome.STOPPED),
    "kept": Row("a user marks the task failed, and `cancel_on_kill=False`", Outcome.LEFT),
    # Airflow 3.0 leaves a task that was cleared while it ran in the state "restarting".
    "cleared": Row("a user clears the task", Outcome.NEXT, {"3.0.6": Outcome.AGAIN}),
    "timeout": Row("`timeout` passes", Outcome.STOPPED),
    "timeout_kept": Row("`timeout` passes, and `cancel_on_timeout=False`", Outcome.LEFT),
    "attempt_timeout": Row("`execution_timeout` passes, and retries are left", Outcome.NEXT),
    "last_attempt_timeout": Row("`execution_timeout` passes in the last attempt", Outcome.STOPPED),
}
DEFERRED = {
    "deferred_failed": Row("a user marks the task failed", Outcome.STOPPED),
    "deferred_succeeded": Row("a user marks the task successful", Outcome.STOPPED),
    "deferred_mapped": Row("a user marks one of several mapped tasks failed", Outcome.STOPPED),
    "deferred_run_failed": Row("a user marks the DAG run failed", Outcome.STOPPED),
    "deferred_run_succeeded": Row("a user marks the DAG run successful", Outcome.STOPPED),
    "deferred_kept": Row("a user marks the task failed, and `cancel_on_kill=False`", Outcome.LEFT),
    "deferred_refused": Row(
        "a user marks the task failed, and Manus answers 503 to the stop requests for 25 s", Outcome.STOPPED
    ),
    "deferred_refused_cleared": Row(
        "a user marks the task failed, and clears it before Manus accepts the stop request", Outcome.NEXT
    ),
    "deferred_cleared": Row("a user clears the task", Outcome.NEXT),
    "deferred_timeout": Row("`timeout` passes", Outcome.STOPPED),
    "deferred_attempt_timeout": Row("`execution_timeout` passes, and retries are left", Outcome.NEXT),
    # Airflow 2.11 fails a task that resumes too late before the operator can act.
    "deferred_last_attempt_timeout": Row(
        "`execution_timeout` passes in the last attempt", Outcome.STOPPED, {"2.11.2": Outcome.LEFT}
    ),
    "no_triggerer": Row("`timeout` passes, and no triggerer ends the wait", Outcome.STOPPED),
    "crashed": Row("the trigger crashes, and retries are left", Outcome.NEXT),
    "crashed_for_good": Row("the trigger crashes in the last attempt", Outcome.LEFT),
    "triggerer_shut_down": Row("the triggerer is shut down (`SIGTERM`) and another one starts", Outcome.SAME),
    "triggerer_killed": Row("the triggerer is killed (`SIGKILL`) and another one starts", Outcome.SAME),
}
#: One submission, however many attempts; also on a worker.
PAID_ONCE = {
    "lost_cleared": Row(
        "the worker is killed between the request and its response, and a user clears the failed task",
        Outcome.NEXT,
    ),
    "lost_kept": Row(
        "the same, and the user chooses *Keep task state and resume*", Outcome.NEXT, needs="3.4"
    ),
    "edited": Row(
        "`retries` is lowered in the DAG file, and then the worker is killed",
        Outcome.NEXT,
    ),
    "undelivered": Row(
        "the result cannot be written to `result_path`; the path is repaired, and a user clears the task",
        Outcome.TAKEN,
    ),
    "looped": Row(
        "the iterations of a loop each publish a message and submit a task; in the second one, the worker is "
        "killed",
        Outcome.NEXT,
        needs="3.4",
    ),
    "shared": Row(
        "a second Airflow with the same DAG and run id publishes to another URL, loses the response to its "
        "submission, and a user marks its task failed",
        Outcome.OWN,
    ),
}
ROWS = {**ON_A_WORKER, **DEFERRED, **PAID_ONCE}
