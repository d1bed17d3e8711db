"""What happens to the remote task in each way an Airflow task can end: one table to run, document and test.

``kills.py`` runs every row on every version and compares the results.
``docs/killing-and-clearing.md`` shows the table, and a test compares the page with it.
This module imports nothing, so that the test needs no Airflow.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Fate(StrEnum):
    """What happens to the remote task, in the words of the docs."""

    STOPPED = "stopped"
    NEXT = "keeps running; the next attempt re-attaches"
    AGAIN = "keeps running; an attempt re-attaches once you clear the task again"
    SAME = "keeps running; the same attempt keeps waiting"
    LEFT = "keeps running; no attempt waits for it"
    TWICE = "paid twice"
    """Never right: a second remote task was started."""


@dataclass(frozen=True)
class Row:
    """One way an Airflow task can end.

    :param event: what happens, in the words of the docs.
    :param fate: what happens to the remote task.
    :param unlike: versions that differ; a string says why the result is not certain there.
    """

    event: str
    fate: Fate
    unlike: dict[str, Fate | str] = field(default_factory=dict)

    def cell(self, version: str) -> Fate | str:
        """Return what is expected on one version, or why it cannot be."""
        return self.unlike.get(version, self.fate)


#: By the name of the scenario in ``kills.py``, which is that of the Airflow task it acts on.
ON_A_WORKER = {
    "killed": Row("the worker is killed (`SIGKILL`, out of memory, a lost machine)", Fate.NEXT),
    "killed_starting": Row("the worker is killed between the request and its response", Fate.NEXT),
    "shut_down": Row("the worker is shut down (`SIGTERM`, then `SIGKILL`)", Fate.NEXT),
    "failed": Row("a user marks the task failed", Fate.STOPPED),
    # Airflow 2.11 ends the process at once; Airflow 3 gives it 5 s, in which the response arrives.
    "failed_starting": Row(
        "a user marks the task failed between the request and its response",
        Fate.STOPPED,
        {"2.11.2": "not certain: Airflow ends the process at once, before or after the response"},
    ),
    "succeeded": Row("a user marks the task successful", Fate.STOPPED),
    "mapped": Row("a user marks one of several mapped tasks failed", Fate.STOPPED),
    "run_failed": Row("a user marks the DAG run failed", Fate.STOPPED),
    "run_succeeded": Row("a user marks the DAG run successful", Fate.STOPPED),
    "kept": Row("a user marks the task failed, and `cancel_on_kill=False`", Fate.LEFT),
    # Airflow 3.0 leaves a task that was cleared while it ran in the state "restarting".
    "cleared": Row("a user clears the task", Fate.NEXT, {"3.0.6": Fate.AGAIN}),
    "timeout": Row("`timeout` passes", Fate.STOPPED),
    "timeout_kept": Row("`timeout` passes, and `cancel_on_timeout=False`", Fate.LEFT),
    "attempt_timeout": Row("`execution_timeout` passes, and retries are left", Fate.NEXT),
    "last_attempt_timeout": Row("`execution_timeout` passes in the last attempt", Fate.STOPPED),
}
DEFERRED = {
    "deferred_failed": Row("a user marks the task failed", Fate.STOPPED),
    "deferred_succeeded": Row("a user marks the task successful", Fate.STOPPED),
    "deferred_mapped": Row("a user marks one of several mapped tasks failed", Fate.STOPPED),
    "deferred_run_failed": Row("a user marks the DAG run failed", Fate.STOPPED),
    "deferred_run_succeeded": Row("a user marks the DAG run successful", Fate.STOPPED),
    "deferred_kept": Row("a user marks the task failed, and `cancel_on_kill=False`", Fate.LEFT),
    "deferred_cleared": Row("a user clears the task", Fate.NEXT),
    "deferred_timeout": Row("`timeout` passes", Fate.STOPPED),
    "deferred_attempt_timeout": Row("`execution_timeout` passes, and retries are left", Fate.NEXT),
    # Airflow 2.11 fails a task that resumes too late before the operator runs.
    "deferred_last_attempt_timeout": Row(
        "`execution_timeout` passes in the last attempt", Fate.STOPPED, {"2.11.2": Fate.LEFT}
    ),
    "no_triggerer": Row("`timeout` passes, and no triggerer ends the wait", Fate.STOPPED),
    "crashed": Row("the trigger crashes, and retries are left", Fate.NEXT),
    "crashed_for_good": Row("the trigger crashes in the last attempt", Fate.LEFT),
    "triggerer_shut_down": Row("the triggerer is shut down (`SIGTERM`) and another one starts", Fate.SAME),
    "triggerer_killed": Row("the triggerer is killed (`SIGKILL`) and another one starts", Fate.SAME),
}
ROWS = {**ON_A_WORKER, **DEFERRED}
