"""`make airflow`: Airflow with its UI, the sandbox and the example DAGs, until Ctrl-C.

Everything is made for the occasion (database, connections, remote tasks) and gone afterwards.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from dev import demo
from dev.environments import ROOT
from dev.standalone import AirflowStartError, StandaloneAirflow, free_port
from remote_tasks_sandbox import SandboxServer

UI_PORT = 8080
SANDBOX_PORT = 8099
#: Long enough to find a demo task in the UI while it still runs.
SEED_SECONDS = 120.0


def dag_files() -> list[Path]:
    """Return the example DAGs, and the demo's."""
    return [path for folder in (ROOT / "example_dags", demo.DAGS) for path in sorted(folder.glob("*.py"))]


def playground() -> int:
    """Serve until interrupted; return the exit status."""
    demo.say("Starting Airflow and the sandbox ...")
    with tempfile.TemporaryDirectory(prefix="dags-") as folder:
        # Links, so that a change to a DAG file shows up in the UI.
        for path in dag_files():
            (Path(folder) / path.name).symlink_to(path)
        with (
            SandboxServer(free_port(SANDBOX_PORT), seed_demo=True, seed_seconds=SEED_SECONDS) as server,
            StandaloneAirflow(folder, connections=demo.connections(server), port=UI_PORT) as airflow,
        ):
            demo.say(f"\nAirflow   {airflow.url}   user {airflow.username}, password {airflow.password}")
            demo.say(f"Sandbox   {server.url}   (its tasks and every API call)")
            demo.say("\nCtrl-C stops both.")
            while not (ended := airflow.ended_components()):
                time.sleep(1)
            demo.say(f"{', '.join(ended)} ended by itself.\n{airflow.last_output()}")
            return 1


def main() -> int:
    """Run the playground; Ctrl-C is its normal end."""
    demo.leave_through_cleanup()
    try:
        return playground()
    except KeyboardInterrupt:
        demo.say("\nEverything is stopped.")
        return 0
    except AirflowStartError as error:
        demo.say(f"\nAirflow did not start: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
