"""`make airflow`: serve Airflow's UI, the sandbox, an A2A agent, the example DAGs and your own until Ctrl-C.

The database, the connections and the remote tasks are new at each start, and removed at the end. The agent
needs packages of its own. They are installed at the first start that has a network; one without it leaves out
the agent and its example.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dev.a2a.peers import Agent
from dev.airflow.client import AirflowApiError
from dev.airflow.connections import agent_connection, connection_fields
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

AGENT_PORT = 8098
AGENT_EXAMPLE = "example_ask_an_a2a_agent"
#: What the agent does, whatever it is asked.
AGENT_SCRIPT = (
    "work 15; ask Who is the guide for?; work 15;"
    "file guide.txt A guide to Bern for {answer}: look at the bears.; say The guide for {answer} is written."
)


class Playground(NamedTuple):
    """A running Airflow, and the sandbox and the agent that its connections lead to."""

    airflow: StandaloneAirflow
    server: SandboxServer
    agent: Agent | None


@contextlib.contextmanager
def a2a_agent() -> Iterator[Agent | None]:
    """Serve the A2A agent for the length of the block; ``None`` where it cannot be installed or started."""
    say("  Starting an A2A agent; the first time, its packages are installed ...")
    with contextlib.ExitStack() as stack:
        agent = None
        try:
            served = Agent("1.x", free_port(AGENT_PORT), own_group=True, otherwise=AGENT_SCRIPT)
            agent = stack.enter_context(served)
        except subprocess.CalledProcessError:
            say(f"  Its packages cannot be installed, so {AGENT_EXAMPLE} is left out.")
        except (OSError, RuntimeError) as error:
            say(f"  {error}\n  So {AGENT_EXAMPLE} is left out.")
        yield agent


def link_dags(folder: Path, own_dags: Path, *, left_out: str | None = None) -> None:
    """Fill the folder that Airflow reads; links, so that a change to a DAG file shows up in the UI."""
    (folder / "examples").symlink_to(EXAMPLES)
    (folder / "own").symlink_to(own_dags.resolve())
    if left_out:
        (folder / ".airflowignore").write_text(f"{left_out}.py\n", encoding="utf-8")


@contextlib.contextmanager
def playground(own_dags: Path) -> Iterator[Playground]:
    """Serve for the length of the block.

    :param own_dags: a folder whose DAGs are served next to the examples; it is made if it is not there.
    """
    own_dags.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="dags-") as folder,
        SandboxServer(free_port(SANDBOX_PORT)) as server,
        a2a_agent() as agent,
    ):
        left_out = None if agent else AGENT_EXAMPLE
        link_dags(Path(folder), own_dags, left_out=left_out)
        connections = connection_fields(server)
        if agent:
            connections["a2a_default"] = agent_connection(agent.url)
        # Not paused: a user who presses Trigger, and continues at once, would leave the DAG paused.
        config = {"AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False"}
        with StandaloneAirflow(folder, config=config, port=UI_PORT, say=say) as airflow:
            say("  Adding connections, and waiting until the example DAGs are listed ...")
            for conn_id, fields in connections.items():
                airflow.client.add_connection(conn_id, fields)
            for dag_id in sorted({path.stem for path in EXAMPLES.glob("*.py")} - {left_out}):
                airflow.client.wait_for_dag(dag_id, within=120, others_may_break=True)
            # Only now: the demo tasks run from here on.
            seed_demo(server.sandbox, SEED_SECONDS)
            yield Playground(airflow, server, agent)


def serve(own_dags: Path) -> int:
    """Serve until interrupted; return the exit status."""
    say("Starting Airflow and the sandbox; this takes half a minute to two minutes ...")
    with playground(own_dags) as (airflow, server, agent):
        say(f"\nAirflow   {airflow.url}   user {airflow.username}, password {airflow.password}")
        say(f"Sandbox   {server.url}   (its tasks and every API call)")
        if agent:
            say(f"A2A agent {agent.url}   (the server of the official SDK)")
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
