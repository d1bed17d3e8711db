"""`make airflow`: serve Airflow's UI, the sandbox and the example DAGs until Ctrl-C.

The database, the connections and the remote tasks are new at each start, and removed at the end.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from dev import demo
from dev.airflow.connections import sandbox_connections
from dev.airflow.standalone import AirflowStartError, StandaloneAirflow, free_port
from dev.environments import ROOT
from dev.terminal import leave_through_cleanup, say
from remote_tasks_sandbox import SandboxServer

UI_PORT = 8080
SANDBOX_PORT = 8099
#: Long enough to find a demo task in the UI while it still runs.
SEED_SECONDS = 120.0


def dag_files() -> list[Path]:
    """Return the example DAGs and the demo's DAG."""
    return [path for folder in (ROOT / "example_dags", demo.DAGS) for path in sorted(folder.glob("*.py"))]


def playground() -> int:
    """Serve until interrupted; return the exit status."""
    say("Starting Airflow and the sandbox ...")
    with tempfile.TemporaryDirectory(prefix="dags-") as folder:
        # Links, so that a change to a DAG file shows up in the UI.
        for path in dag_files():
            (Path(folder) / path.name).symlink_to(path)
        with (
            SandboxServer(free_port(SANDBOX_PORT), seed_demo=True, seed_seconds=SEED_SECONDS) as server,
            StandaloneAirflow(folder, connections=sandbox_connections(server), port=UI_PORT) as airflow,
        ):
            say(f"\nAirflow   {airflow.url}   user {airflow.username}, password {airflow.password}")
            say(f"Sandbox   {server.url}   (its tasks and every API call)")
            say("\nCtrl-C stops both.")
            while not (exited := airflow.exited_components()):
                time.sleep(1)
            say(f"{', '.join(exited)} exited unexpectedly.\n{airflow.last_output()}")
            return 1


def main() -> int:
    """Run the playground; Ctrl-C is its normal end."""
    leave_through_cleanup()
    try:
        return playground()
    except KeyboardInterrupt:
        say("\nEverything is stopped.")
        return 0
    except AirflowStartError as error:
        say(f"\nAirflow did not start: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
