"""A small Airflow: task instances with their attempts, and the places in which an attempt leaves something.

Its rules are those of Airflow's scheduler and API server, as far as they decide which attempt comes next and
what it finds:

* ``max_tries`` is the DAG's ``retries`` when the task instance is made. A retry keeps it. A clear sets it to
  ``try_number`` plus the ``retries`` that the DAG has then. A clear of a running task only restarts it: its
  next attempt is a retry, and comes even if no ``retries`` are left.
* XComs are gone at each new attempt.
* There is no task state store below 3.3. In 3.3 it outlives everything, in 3.4 a clear discards it unless the
  user keeps it.
* In a loop of 3.4 all iterations have the map index -1; ``region_id``, ``region_index`` and ``loop`` in the
  context tell them apart.
* Each clear of a task is counted in its DAG run, and moves the run's start.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Literal
from uuid import UUID

__all__ = ["Crash", "Dag", "DagRun", "Store", "TaskInstance", "Version"]

Version = Literal["3.2", "3.3", "3.4"]
_NO_REGION = UUID(int=0)
# What Airflow calls a state in which nothing runs unless a user clears it.
FINISHED = ("success", "failed")


class Crash(BaseException):
    """The worker's process is dead: nothing that it would have done next has happened."""


@dataclass
class Dag:
    """What the DAG file says of a task now; a person edits it between attempts.

    :param attachment: a link that the task is given with its prompt.
    """

    prompt: str
    attachment: str
    retries: int

    @property
    def inputs(self) -> tuple[str, str]:
        return self.prompt, self.attachment


class Store:
    """A task state store: JSON values, whose keys come back in another order.

    :param boundary: called before and after each write, as a process may die there.
    """

    def __init__(self, boundary: Callable[[str], None]) -> None:
        self._boundary = boundary
        self.values: dict[str, str] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self.values[key]) if key in self.values else default

    def set(self, key: str, value: Any, **_: Any) -> None:
        assert value is not None
        self._boundary("before a record is written")
        self.values[key] = json.dumps(value, sort_keys=True)
        self._boundary("after a record was written")

    def delete(self, key: str) -> None:
        self._boundary("before a record is deleted")
        self.values.pop(key, None)
        self._boundary("after a record was deleted")

    def names(self, task_id: str) -> bool:
        """Whether a record holds the id of a remote task."""
        return any(task_id in value for value in self.values.values())

    def says(self, what: str, task_id: str) -> bool:
        """Whether a record says so of a remote task."""
        return any(f'"{what}": true' in value and task_id in value for value in self.values.values())

    @property
    def tells(self) -> bool:
        """Whether a record says that a person was told to decide."""
        return any(
            '"told_at": ' in value and '"told_at": null' not in value for value in self.values.values()
        )


class DagRun:
    """A run of the DAG; a clear moves its start, and is counted.

    :param now: seconds of the wall clock.
    """

    def __init__(self, now: float) -> None:
        self.start_date = self.queued_at = self.run_after = datetime.fromtimestamp(now, UTC)
        self.clear_number = 0


@dataclass(eq=False)
class TaskInstance:
    """One task instance, and what Airflow knows of it.

    :param deployment: which Airflow it belongs to.
    :param now: seconds of the wall clock.
    """

    name: str
    dag: Dag
    version: Version
    boundary: Callable[[str], None]
    now: Callable[[], float]
    run: DagRun
    deployment: str = "production"
    dag_id: str = "reports"
    task_id: str = "ask"
    map_index: int = -1
    loop: int | None = None
    run_id: str = "scheduled__2026-01-01T00:00:00+00:00"
    state: str = "none"
    try_number: int = 0
    log_url: None = None
    xcoms: dict[str, Any] = field(default_factory=dict)
    asked_to_judge: bool = False
    has_lost_records: bool = False

    def __post_init__(self) -> None:
        self.max_tries = self.dag.retries
        self.store = Store(self.boundary) if self.version != "3.2" else None
        self.id = UUID(int=1)
        self.start_date = self._moment()
        if self.version == "3.4":
            self.region_id = _NO_REGION if self.loop is None else UUID(int=7)
            self.region_index = self.loop or 0

    def _moment(self) -> datetime:
        return datetime.fromtimestamp(self.now(), UTC)

    # ------------------------------------------------------------------------------ what the provider calls

    def xcom_push(self, key: str, value: Any, **_: Any) -> None:
        self.boundary(f"before the XCom {key} is written")
        self.xcoms[key] = json.loads(json.dumps(value))

    def xcom_pull(self, task_ids: Any = None, key: str = "return_value", **_: Any) -> Any:
        return self.xcoms.get(key)

    def get_first_reschedule_date(self, context: Any) -> None:
        return None

    @property
    def context(self) -> Any:
        found: dict[str, Any] = {"ti": self, "dag_run": self.run, "run_id": self.run_id}
        if self.loop is not None:
            found["loop"] = SimpleNamespace(index=self.loop)
        return found if self.store is None else {**found, "task_state_store": self.store}

    # ------------------------------------------------------------------------------------ what Airflow does

    @property
    def may_run(self) -> bool:
        """Whether the scheduler starts an attempt."""
        return self.state in ("none", "up_for_retry")

    def begin(self) -> None:
        """Start the next attempt."""
        self.try_number += 1
        self.xcoms.clear()
        self.state = "running"
        self.start_date = self._moment()
        self.id = UUID(int=self.try_number)

    def end(self, *, success: bool, is_final: bool = False) -> None:
        """Take the end of an attempt; what a user has made of the task meanwhile counts more."""
        if self.state == "restarting":
            self.state = "up_for_retry"
        elif self.state == "running":
            has_retries = self.dag.retries > 0 and self.try_number <= self.max_tries
            self.state = (
                "success" if success else "up_for_retry" if has_retries and not is_final else "failed"
            )

    def clear(self, *, keep_store: bool) -> None:
        """Let a user clear the task."""
        self.run.clear_number += 1
        self.run.start_date = self._moment()
        if self.state == "running":
            self.state = "restarting"
        else:
            self.max_tries = self.try_number + self.dag.retries
            self.state = "none"
        if self.store is not None and self.version == "3.4" and not keep_store:
            self.store.values.clear()
            self.has_lost_records = True
