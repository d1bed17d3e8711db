"""`make airflow`: serve Airflow's UI, the sandbox, the example DAGs and your own until Ctrl-C.

The database, the connections and the remote tasks are new at each start, and removed at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dev.airflow.client import AirflowApiError
from dev.airflow.connections import connection_fields
from dev.airflow.standalone import AirflowStartError, StandaloneAirflow, free_port
from dev.environments import ROOT
from dev.terminal import leave_through_cleanup, say
from remote_tasks_sandbox import SandboxServer
from remote_tasks_sandbox.demo import seed_demo

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = ROOT / "example_dags"
UI_PORT = 8080
SANDBOX_PORT = 8099
#: How long the demo tasks take: long enough to find one in the UI while it still runs. What an example
#: submits takes less than half of it, so that an example which waits twice is over within two minutes.
SEED_SECONDS = 60.0


class Playground(NamedTuple):
    """A running Airflow and the sandbox that its connections lead to."""

    airflow: StandaloneAirflow
    server: SandboxServer


@contextlib.contextmanager
def playground(own_dags: Path) -> Iterator[Playground]:
    """Serve for the length of the block.

    :param own_dags: a folder whose DAGs are served next to the examples; it is made if it is not there.
    """
    own_dags.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="dags-") as folder,
        SandboxServer(free_port(SANDBOX_PORT)) as server,
    ):
        # Links, so that a change to a DAG file shows up in the UI.
        (Path(folder) / "examples").symlink_to(EXAMPLES)
        (Path(folder) / "own").symlink_to(own_dags.resolve())
        # Not paused: whoever presses Trigger, and continues at once, would leave the DAG paused.
        config = {"AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False"}
        with StandaloneAirflow(folder, config=config, port=UI_PORT, say=say) as airflow:
            say("  Adding connections, and waiting until the example DAGs are listed ...")
            for conn_id, fields in connection_fields(server).items():
                airflow.client.add_connection(conn_id, fields)
            for path in sorted(EXAMPLES.glob("*.py")):
                airflow.client.wait_for_dag(path.stem, within=120, others_may_break=True)
            # Only now: the demo tasks run from here on.
            seed_demo(server.sandbox, SEED_SECONDS)
            yield Playground(airflow, server)


def serve(own_dags: Path) -> int:
    """Serve until interrupted; return the exit status."""
    say("Starting Airflow and the sandbox; this takes half a minute to two minutes ...")
    with playground(own_dags) as (airflow, server):
        say(f"\nAirflow   {airflow.url}   user {airflow.username}, password {airflow.password}")
        say(f"Sandbox   {server.url}   (its tasks and every API call)")
        say(f"Your DAGs {own_dags}   (a DAG file that you put there is listed within seconds)")
        say("\nTrigger an example DAG; its documentation says what to look at. Ctrl-C stops everything.")
        while not (exited := airflow.exited_components()):
            time.sleep(1)
        say(f"{', '.join(exited)} exited unexpectedly.\n{airflow.last_output()}")
        return 1


def main() -> int:
    """Run the playground; Ctrl-C is its normal end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dags", type=Path, default=ROOT / "dags", metavar="FOLDER", help="your own DAGs")
    arguments = parser.parse_args()
    leave_through_cleanup()
    try:
        return serve(arguments.dags)
    except KeyboardInterrupt:
        say("\nEverything is stopped.")
        return 0
    except (AirflowStartError, AirflowApiError, TimeoutError) as error:
        say(f"\nAirflow did not start: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
