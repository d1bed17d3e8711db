"""`make newcomer`: live a newcomer's first hour in a fresh clone, and print its timeline.

The commands and the DAG are those of the README and of *Get started*, read from the pages. The browser does
what the pages say: log in, look at the list, test the connections, trigger every example, answer the agent,
add a DAG. It fails when a page promises what does not happen. Not in CI: it takes half an hour.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import Error as BrowserError

from dev.airflow.client import FINISHED, AirflowClient, eventually
from dev.browser.airflow_ui import AirflowUi, chromium
from dev.browser.pages import FIRST_DAG, INSTALL, README, BrokenPromiseError, block, commands
from dev.environments import ROOT
from dev.terminal import leave_through_cleanup, say

if TYPE_CHECKING:
    from collections.abc import Iterator

#: An example shows its point within so many seconds of *Trigger*.
MOST_SECONDS = 120.0
#: Seconds for a command of the pages, the first of which builds the environment.
MOST_COMMAND_SECONDS = 1800.0


class Timeline:
    """Prints what happened, with the minutes and seconds since the beginning."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.broken: list[str] = []

    def note(self, what: str) -> None:
        """Print a line."""
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        say(f"{minutes:3d}:{seconds:02d}  {what}")

    def expect(self, holds: object, what: str) -> None:
        """Print a line; remember a promise that was broken, so that all of them come to light."""
        self.note(what if holds else f"BROKEN  {what}")
        if not holds:
            self.broken.append(what)


def run(command: str, clone: Path) -> str:
    """Run a command of a page; return what it printed.

    :raises BrokenPromiseError: when it fails.
    """
    answer = subprocess.run(
        command,
        shell=True,
        cwd=clone,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=MOST_COMMAND_SECONDS,
        check=False,
    )
    if answer.returncode:
        raise BrokenPromiseError(f"{command} failed:\n{answer.stdout[-3000:]}")
    return answer.stdout


@contextlib.contextmanager
def serving(command: str, clone: Path) -> Iterator[dict[str, str]]:
    """Run the command that starts the playground, and stop it as Ctrl-C does; yield what it printed.

    :raises BrokenPromiseError: when it ends or does not stop cleanly.
    """
    output = clone.parent / "playground.out"
    with output.open("wb") as stream:
        process = subprocess.Popen(
            command, shell=True, cwd=clone, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:

        def printed() -> dict[str, str] | None:
            found = re.search(r"Airflow +(\S+) +user (\S+), password (\S+)", output.read_text())
            return dict(zip(("url", "username", "password"), found.groups(), strict=True)) if found else None

        def ended() -> None:
            if process.poll() is not None:
                raise BrokenPromiseError(f"{command} ended:\n{output.read_text()[-3000:]}")

        yield eventually(printed, within=MOST_COMMAND_SECONDS, what=f"{command} is up", give_up=ended)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        process.wait(60)
    if "Everything is stopped." not in output.read_text():
        raise BrokenPromiseError(f"{command} did not stop cleanly:\n{output.read_text()[-3000:]}")


class Newcomer:
    """Uses the playground in a browser."""

    def __init__(self, ui: AirflowUi, client: AirflowClient, clone: Path, timeline: Timeline) -> None:
        self._ui = ui
        self._client = client
        self._clone = clone
        self._timeline = timeline

    def look_around(self) -> list[str]:
        """Look at the DAGs and the connections; return the ids of the DAGs."""
        listed = self._ui.listed_dags()
        examples = sorted(path.stem for path in (self._clone / "example_dags").glob("*.py"))
        self._timeline.expect(
            listed == examples, f"{len(listed)} DAGs are listed: the examples and nothing else"
        )
        connections = self._ui.connections()
        self._timeline.expect(connections, f"the list of connections has {', '.join(connections)}")
        for place, conn_id in enumerate(connections):
            message = self._ui.test_connection(place)
            self._timeline.expect("accepted the key" in message, f"Test of {conn_id}: {message}")
        return listed

    def try_example(self, dag_id: str) -> None:
        """Press *Trigger* and wait until the DAG has shown its point; answer what it asks."""
        began = time.monotonic()
        run_id = self._ui.trigger(dag_id)
        if dag_id == "example_a_person_answers":
            self._ui.open_question(dag_id, run_id, "plan", within=MOST_SECONDS)
            self._timeline.note(f"{dag_id}: the question is there after {time.monotonic() - began:.0f} s")
            self._ui.answer("To a lake")
        state = self._wait(dag_id, run_id)
        took = time.monotonic() - began
        ran = sorted(
            {one.task_id for one in self._client.task_instances(dag_id, run_id) if one.state == "success"}
        )
        good = state == "success" and took <= MOST_SECONDS
        self._timeline.expect(good, f"{dag_id}: {state} after {took:.0f} s; {', '.join(ran)} ran")

    def add_first_dag(self) -> None:
        """Save the DAG of the page among one's own DAGs, and run it."""
        source = block(self._clone / FIRST_DAG, "Your first DAG", "python")
        (self._clone / "dags" / "first_dag.py").write_text(source, encoding="utf-8")
        began = time.monotonic()
        self._client.wait_for_dag("first_dag", within=MOST_SECONDS)
        self._timeline.expect(
            "first_dag" in self._ui.listed_dags(),
            f"first_dag is listed after {time.monotonic() - began:.0f} s",
        )
        self.try_example("first_dag")

    def _wait(self, dag_id: str, run_id: str) -> str:
        def finished() -> str | None:
            state = self._client.run_state(dag_id, run_id)
            return state if state in FINISHED else None

        with contextlib.suppress(TimeoutError):
            return eventually(finished, within=3 * MOST_SECONDS, every=1, what="it has finished")
        return "still running"


def first_hour(clone: Path, timeline: Timeline, *, installs: bool) -> None:
    """Follow the pages from the clone to one's own DAG."""
    run(f"git clone --quiet '{ROOT}' '{clone}'", ROOT)
    timeline.note("cloned")
    demo, playground = commands(clone / README, "Try it")
    said = run(demo, clone)
    took = re.search(r"everything is stopped \((\d+ s)\)", said)
    timeline.expect(
        took, f"{demo}: both branches were right; the demo itself took {took[1] if took else '?'}"
    )
    with serving(playground, clone) as printed, chromium() as page:
        timeline.note(f"{playground}: up at {printed['url']}")
        ui = AirflowUi(page, printed["url"])
        ui.log_in(printed["username"], printed["password"])
        timeline.note("logged in")
        newcomer = Newcomer(ui, AirflowClient(**printed), clone, timeline)
        dag_ids = newcomer.look_around()
        newcomer.add_first_dag()
        for dag_id in dag_ids:
            newcomer.try_example(dag_id)
    timeline.note("Ctrl-C: everything is stopped")
    if installs:
        install(clone, timeline)


def install(clone: Path, timeline: Timeline) -> None:
    """Follow *Install* in an environment of its own."""
    run(f"'{sys.executable}' -m venv '{clone.parent}/environment'", clone)
    active = f". '{clone.parent}/environment/bin/activate'; export AIRFLOW_HOME='{clone.parent}/airflow'; "
    for command in commands(clone / INSTALL, "Install"):
        run(active + command, clone)
        timeline.note(command)
    listed = run(active + "airflow providers list", clone)
    timeline.expect(
        "airflow-provider-remote-tasks" in listed,
        "airflow providers list shows airflow-provider-remote-tasks",
    )


def main() -> int:
    """Live the hour; return 1 if a page promised what did not happen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-install", action="store_true", help="leave out Install, which takes a while")
    arguments = parser.parse_args()
    leave_through_cleanup()
    timeline = Timeline()
    try:
        with tempfile.TemporaryDirectory(prefix="newcomer-") as folder:
            first_hour(Path(folder) / "clone", timeline, installs=not arguments.no_install)
    except KeyboardInterrupt:
        say("\nInterrupted; everything is stopped.")
        return 130
    except (BrokenPromiseError, TimeoutError, BrowserError) as error:
        timeline.expect(False, str(error))
    say("The pages keep their promises." if not timeline.broken else f"{len(timeline.broken)} broken.")
    return 1 if timeline.broken else 0


if __name__ == "__main__":
    sys.exit(main())
