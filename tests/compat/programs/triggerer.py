"""A real triggerer, with its supervisor and its pipe, that runs :mod:`impatient` and nothing else.

Its supervisor answers late, as one does whose database or secrets backend is slow. Run as a program it
prints, last and as JSON, the event that the trigger fired, if the triggerer's process lived to send it.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

# As `airflow triggerer` sets it: the supervisor may read the database.
os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"

from airflow.executors.workloads import RunTrigger
from airflow.jobs.job import Job
from airflow.jobs.triggerer_job_runner import TriggererJobRunner, TriggerRunnerSupervisor
from airflow.models.connection import Connection
from airflow.models.trigger import Trigger
from airflow.utils.session import create_session

SECONDS = 60.0
LATE = 0.3
QUESTIONS = ("GetConnection", "MaskSecret", "GetTaskStates")

asked: set[str] = set()
fired: list[Any] = []


class SlowSupervisor(TriggerRunnerSupervisor):
    """Answers late, and stops when the trigger has fired or failed, or the time is up."""

    def load_triggers(self) -> None:
        """Load none: the one trigger is handed over by :func:`main`."""

    def _handle_request(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        if (name := type(msg).__name__) in QUESTIONS:
            asked.add(name)
            time.sleep(LATE)
        super()._handle_request(msg, *args, **kwargs)

    def handle_events(self) -> None:
        fired.extend(event.payload for _, event, *_ in self.events)
        self.events.clear()

    def handle_failed_triggers(self) -> None:
        fired.extend(self.failed_triggers)
        self.failed_triggers.clear()
        self.stop = bool(fired) or time.monotonic() > deadline


deadline = time.monotonic() + SECONDS


def main() -> None:
    """Run the trigger."""
    job = Job()
    TriggererJobRunner(job=job, capacity=10)
    with create_session() as session:
        session.add(Connection.from_json(os.environ["CONNECTION"], conn_id="in_the_database"))
        job.prepare_for_execution(session=session)
    supervisor = SlowSupervisor.start(job=job, capacity=10)
    trigger = Trigger(classpath="impatient.Impatient", kwargs={})
    workload = RunTrigger(
        id=1, ti=None, classpath=trigger.classpath, encrypted_kwargs=trigger.encrypted_kwargs
    )
    supervisor.creating_triggers.append(workload)
    try:
        supervisor.run()
    finally:
        supervisor.kill(force=True, escalation_delay=1)
    print(json.dumps({"event": fired[0] if fired else None, "asked": sorted(asked)}))


if __name__ == "__main__":
    main()
