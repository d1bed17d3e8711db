"""`make demo`: a DAG in a real Airflow waits for two remote tasks, one of which fails, and branches on each.

The remote side is the sandbox, so it needs no key and costs nothing. Ends with 0 only if every branch was the
right one and both waits were deferred; otherwise it prints the log of the task that went wrong.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from dev.airflow_client import AirflowApiError
from dev.standalone import AirflowStartError, StandaloneAirflow
from remote_tasks_sandbox import SandboxServer

if TYPE_CHECKING:
    from dev.airflow_client import TaskInstance

DAGS = Path(__file__).parent / "dags"
DAG_ID = "remote_tasks_demo"
#: How long the remote tasks go on once both waits are deferred: longer than one poll interval of the DAG.
REMOTE_SECONDS = 7.0
#: The branch task of each remote task, and what must run after it.
EXPECTED = {"report": ("completed", "celebrate_report"), "prices": ("failed", "apologise_prices")}


def connections(server: SandboxServer) -> dict[str, str]:
    """Return Airflow connections, by id, to the two services that a sandbox emulates."""
    settings = server.sandbox.settings
    manus = {"conn_type": "manus", "host": server.manus_url, "password": settings.manus_key}
    return {
        "manus_default": json.dumps(manus),
        "manus_v2": json.dumps({**manus, "extra": {"api_version": "v2"}}),
        "qstash_default": json.dumps(
            {"conn_type": "qstash", "host": server.qstash_url, "password": settings.qstash_token}
        ),
    }


def add_remote_tasks(server: SandboxServer) -> dict[str, str]:
    """Add the tasks the DAG waits for, running until :func:`end_remote_tasks`; return their ids by name."""
    manus = server.sandbox.manus
    return {
        "report": manus.add_task("demo-report", [("running", None)], "Summarise the quarter"),
        "prices": manus.add_task("demo-prices", [("running", None)], "Read the price list"),
    }


def end_remote_tasks(server: SandboxServer) -> None:
    """Let the tasks end a little later, each in its own way."""
    manus = server.sandbox.manus
    manus.set_script("demo-report", [("running", REMOTE_SECONDS), ("completed", None)])
    manus.set_script(
        "demo-prices",
        [("running", REMOTE_SECONDS), ("failed", None)],
        error="The page asked for a login and the agent had none.",
    )


class Run:
    """One run of the demo DAG and what was seen of it."""

    def __init__(self, airflow: StandaloneAirflow, server: SandboxServer) -> None:
        self.client = airflow.client
        self.server = server
        self.remote_ids = remote_ids = add_remote_tasks(server)
        self.run_id = self.client.trigger(DAG_ID, conf=remote_ids)
        self._deferred: set[str] = set()

    def watch(self, instances: list[TaskInstance]) -> None:
        """Note which waits are deferred at this moment."""
        for instance in instances:
            if instance.state == "deferred" and instance.task_id not in self._deferred:
                say(f"  {instance.task_id}: deferred; no worker is occupied while it waits")
                self._deferred.add(instance.task_id)
                if len(self._deferred) == len(EXPECTED):
                    end_remote_tasks(self.server)

    def wait(self) -> str:
        """Wait until the run has ended; return its state."""
        return self.client.wait_for_run(DAG_ID, self.run_id, within=120, watch=self.watch)

    def report(self) -> list[str]:
        """Print how each wait ended; return what is wrong, empty when all is right."""
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


def say(text: str) -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)


def demo() -> int:
    """Run the demo; return the exit status."""
    started = time.monotonic()
    say("Starting the sandbox and a real Airflow (API server, scheduler, DAG processor, triggerer) ...")
    with SandboxServer() as server, StandaloneAirflow(DAGS, connections=connections(server)) as airflow:
        airflow.client.wait_for_dag(DAG_ID)
        say(f"  up after {time.monotonic() - started:.0f} s: Airflow {airflow.url}, sandbox {server.url}")
        say("Two agent tasks run remotely; one will complete, one will fail.")
        run = Run(airflow, server)
        state = run.wait()
        say(f"The run ended ({state}); what each remote task led to:")
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


def leave_through_cleanup() -> None:
    """Let every usual way to end a command (Ctrl-C, termination, a closed terminal) raise KeyboardInterrupt.

    SIGINT too, because a shell that starts a command in the background has it ignored.
    """

    def interrupt(number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


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
