"""Run the demo: exit with 0 only if both waits were deferred and both branches were right.

Otherwise it prints the log of the task that went wrong.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

from dev.airflow.client import AirflowApiError
from dev.airflow.connections import sandbox_connections
from dev.airflow.standalone import AirflowStartError, StandaloneAirflow
from dev.demo import DAGS
from dev.terminal import leave_through_cleanup, say
from remote_tasks_sandbox import SandboxServer

if TYPE_CHECKING:
    from dev.airflow.client import TaskInstance

DAG_ID = "remote_tasks_demo"
#: How long the remote tasks keep running once both waits are deferred: longer than one poll interval.
REMOTE_SECONDS = 7.0
#: The state each remote task finishes in, and the Airflow task that must run after it.
EXPECTED = {"report": ("completed", "celebrate_report"), "prices": ("failed", "apologise_prices")}


def add_remote_tasks(server: SandboxServer) -> dict[str, str]:
    """Add the tasks that the DAG waits for, which run until :func:`finish_remote_tasks`; return their ids."""
    manus = server.sandbox.manus
    return {
        "report": manus.add_task("demo-report", [("running", None)], "Summarise the quarter"),
        "prices": manus.add_task("demo-prices", [("running", None)], "Read the price list"),
    }


def finish_remote_tasks(server: SandboxServer) -> None:
    """Let one task complete and the other one fail, a little later."""
    manus = server.sandbox.manus
    manus.set_script("demo-report", [("running", REMOTE_SECONDS), ("completed", None)])
    manus.set_script(
        "demo-prices",
        [("running", REMOTE_SECONDS), ("failed", None)],
        error="The page asked for a login and the agent had none.",
    )


class Run:
    """One run of the demo DAG, and which of its waits were deferred."""

    def __init__(self, airflow: StandaloneAirflow, server: SandboxServer) -> None:
        self.client = airflow.client
        self.server = server
        self.remote_ids = remote_ids = add_remote_tasks(server)
        self.run_id = self.client.trigger(DAG_ID, conf=remote_ids)
        self._deferred: set[str] = set()
        self._states: dict[str, str] = {}

    def wait(self) -> str:
        """Wait until the run has finished; return its state."""
        return self.client.wait_for_run(DAG_ID, self.run_id, within=120, on_poll=self._note_deferred)

    def report(self) -> list[str]:
        """Print the result of each wait; return the ids of those that are wrong."""
        states = {instance.task_id: instance for instance in self.client.task_instances(DAG_ID, self.run_id)}
        wrong = []
        for name, (remote_state, follower) in EXPECTED.items():
            wait = states[f"wait_for_{name}"]
            ran = [
                task for task in (f"celebrate_{name}", f"apologise_{name}") if states[task].state == "success"
            ]
            deferred = wait.task_id in self._deferred
            say(
                f"  {self.remote_ids[name]}: {remote_state} -> {', '.join(ran) or 'no branch'}"
                f"  (waited {wait.duration or 0:.0f} s, {'deferred' if deferred else 'NOT deferred'})"
            )
            if ran != [follower] or wait.state != "success" or not deferred:
                wrong.append(wait.task_id)
        return wrong

    def _note_deferred(self, instances: list[TaskInstance]) -> None:
        for instance in instances:
            known = self._states.setdefault(instance.task_id, "none")
            if instance.state not in (known, "scheduled", "queued"):
                self._states[instance.task_id] = instance.state
                busy = "; no worker is occupied while it waits" if instance.state == "deferred" else ""
                say(f"  {instance.task_id}: {instance.state}{busy}")
            if instance.state == "deferred" and instance.task_id not in self._deferred:
                self._deferred.add(instance.task_id)
                if len(self._deferred) == len(EXPECTED):
                    finish_remote_tasks(self.server)


def demo() -> int:
    """Run the demo; return the exit status."""
    started = time.monotonic()
    say("Starting the sandbox and a real Airflow: API server, scheduler, DAG processor, triggerer.")
    with (
        SandboxServer() as server,
        StandaloneAirflow(DAGS, connections=sandbox_connections(server), say=say) as airflow,
    ):
        airflow.client.wait_for_dag(DAG_ID)
        say(f"  up after {time.monotonic() - started:.0f} s: Airflow {airflow.url}, sandbox {server.url}")
        say("Two agent tasks run remotely; one will complete, one will fail.")
        run = Run(airflow, server)
        state = run.wait()
        say(f"The run finished ({state}). The branch that each remote task led to:")
        wrong = run.report()
        calls = Counter(
            "list" if call.path.endswith("/tasks") else "detail" for call in server.sandbox.requests
        )
        say(f"  API calls: {calls['list']} list, {calls['detail']} detail")
        if wrong or state != "success":
            for task_id in wrong:
                say(f"\n--- log of {task_id}\n{airflow.client.log(DAG_ID, run.run_id, task_id)}")
            say("\nThe demo failed.")
            return 1
    say(f"Both branches were right; everything is stopped ({time.monotonic() - started:.0f} s).")
    return 0


def main() -> int:
    """Run the demo and turn what can go wrong into an exit status."""
    leave_through_cleanup()
    try:
        return demo()
    except KeyboardInterrupt:
        say("\nInterrupted; everything is stopped.")
        return 130
    except (AirflowStartError, AirflowApiError, TimeoutError) as error:
        say(f"\nThe demo failed: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
