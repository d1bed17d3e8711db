"""`make newcomer`: live a newcomer's first hour in a fresh clone, and print its timeline.

The commands and the DAG are those of the README and of *Get started*, read from the pages. The browser does
what the pages say: log in, look at the list, add and test connections, trigger every example, answer the
agent, add a DAG. Then the provider is installed into an Airflow of its own, and the first DAG runs there. It
fails when a page promises what does not happen; a promise about seconds counts only while the machine has
nothing else to do. Not in CI: it takes half an hour.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import Error as BrowserError

from dev.airflow.client import FINISHED, AirflowClient, eventually
from dev.browser.airflow_ui import AirflowUi, chromium
from dev.browser.own_airflow import OwnAirflow
from dev.browser.pages import FIRST_DAG, README, BrokenPromiseError, block, commands
from dev.browser.timeline import MOST_COMMAND_SECONDS, Timeline, run, serving
from dev.environments import ROOT
from dev.terminal import leave_through_cleanup, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.airflow.client import TaskInstance

#: An example shows its point within so many seconds of *Trigger*, on a machine with nothing else to do.
MOST_SECONDS = 120.0
#: Seconds after which a run is given up, on any machine.
PATIENCE = 4 * MOST_SECONDS
#: The tasks that have succeeded when an example has shown its point, as its documentation tells; the others
#: are skipped. An example that is not here has to succeed.
SHOWS = {
    "example_a_person_answers": "plan show",
    "example_ask_an_a2a_agent": "ask collect decide publish",
    "example_ask_and_branch": "ask decide publish",
    "example_branch_operator": "decide explain",
    "example_fan_out_and_collect": "cities files[6] ids report research[6]",
    "example_fetch_and_list": "everything fetch newest_failures",
    "example_mapped_deliveries": "deliveries ids report wait[3]",
    "example_publish_and_wait": "publish report",
    "example_publish_fan_out_and_branch": "decide done ids messages publish wait",
    "example_replay_dead_letters": "replay report",
    "example_structured_output": "capital use",
    "example_wait_and_branch": "decide publish wait",
    # A watcher's events start these; a run of one's own shows only that it does no harm.
    "example_watch_dead_letters": "new",
    "example_watch_finished_tasks": "completed",
    "example_workflow_run": "decide publish report",
    "first_dag": "ask decide publish",
}
#: The task that asks a person, and the option and the text of the answer.
ASKS = {
    "example_a_person_answers": ("plan", "To a lake", None),
    "example_ask_an_a2a_agent": ("ask", "Send", "children"),
}


@contextlib.contextmanager
def playing(command: str, clone: Path) -> Iterator[dict[str, str]]:
    """Run the command that starts the playground; yield the address, the user and the password it printed.

    :raises BrokenPromiseError: when it exits or does not stop cleanly.
    """
    with serving(command, clone, clone.parent / "playground.out") as served:

        def printed() -> dict[str, str] | None:
            found = re.search(r"Airflow +(\S+) +user (\S+), password (\S+)", served.printed())
            return dict(zip(("url", "username", "password"), found.groups(), strict=True)) if found else None

        yield eventually(
            printed, within=MOST_COMMAND_SECONDS, what=f"{command} is up", give_up=served.check_alive
        )
    if "Everything is stopped." not in served.printed():
        raise BrokenPromiseError(f"{command} did not stop cleanly:\n{served.printed()[-3000:]}")


def succeeded(instances: list[TaskInstance]) -> str:
    """Return the tasks that have succeeded, mapped ones with their number: ``decide wait[3]``."""
    names = [one.task_id for one in instances if one.state == "success"]
    mapped = {one.task_id for one in instances if one.map_index >= 0}
    return " ".join(f"{name}[{names.count(name)}]" if name in mapped else name for name in sorted(set(names)))


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
            self._test(place, conn_id)
        return listed

    def connect(self) -> None:
        """Add a connection in the UI, as *Connect* says; to the sandbox, whose address and key are known."""
        known = self._client.connection("manus_default")
        self._ui.add_connection("manus_newcomer", "Manus", known["host"], "sk-sandbox", str(known["port"]))
        connections = self._ui.connections()
        self._timeline.expect("manus_newcomer" in connections, "manus_newcomer is added in the UI")
        self._test(connections.index("manus_newcomer"), "manus_newcomer")

    def try_example(self, dag_id: str) -> None:
        """Press *Trigger* and wait until the DAG has shown its point; answer what it asks."""
        began = time.monotonic()
        run_id = self._ui.trigger(dag_id)
        if asks := ASKS.get(dag_id):
            task_id, option, text = asks
            self._ui.open_question(dag_id, run_id, task_id, option, within=PATIENCE)
            self._timeline.note(f"{dag_id}: the question is there after {time.monotonic() - began:.0f} s")
            self._ui.answer(option, text)
        state = self._wait(dag_id, run_id)
        took = time.monotonic() - began
        ran = succeeded(self._client.task_instances(dag_id, run_id))
        what = f"{dag_id}: {state} after {took:.0f} s; {ran}"
        if state == "success" and ran == SHOWS.get(dag_id, ran):
            self._timeline.expect_within(MOST_SECONDS, took, what)
        else:
            self._timeline.expect(False, f"{what}; expected: {SHOWS.get(dag_id)}")

    def add_first_dag(self) -> None:
        """Save the DAG of the page among one's own DAGs, and run it."""
        source = block(self._clone / FIRST_DAG, "Your first DAG", "python")
        (self._clone / "dags" / "first_dag.py").write_text(source, encoding="utf-8")
        began = time.monotonic()
        self._client.wait_for_dag("first_dag", within=PATIENCE)
        self._timeline.expect(
            "first_dag" in self._ui.listed_dags(),
            f"first_dag is listed after {time.monotonic() - began:.0f} s",
        )
        self.try_example("first_dag")

    def _test(self, place: int, conn_id: str) -> None:
        worked, message = self._ui.test_connection(place)
        self._timeline.expect(worked, f"Test of {conn_id}: {message}")

    def _wait(self, dag_id: str, run_id: str) -> str:
        def finished() -> str | None:
            state = self._client.run_state(dag_id, run_id)
            return state if state in FINISHED else None

        with contextlib.suppress(TimeoutError):
            return eventually(finished, within=PATIENCE, every=1, what="it has finished")
        return "still running"


def try_it(clone: Path, timeline: Timeline) -> None:
    """Follow *Try it* of the README, and *Examples*."""
    demo, playground = commands(clone / README, "Try it")
    with timeline.step(demo):
        said = run(demo, clone)
        took = re.search(r"everything is stopped \((\d+ s)\)", said)
        timeline.expect(
            took, f"{demo}: both branches were right; the demo itself took {took[1] if took else '?'}"
        )
    with timeline.step(playground), playing(playground, clone) as printed, chromium() as page:
        timeline.note(f"{playground}: up at {printed['url']}")
        ui = AirflowUi(page, printed["url"])
        ui.log_in(printed["username"], printed["password"])
        timeline.note("logged in")
        newcomer = Newcomer(ui, AirflowClient(**printed), clone, timeline)
        dag_ids = sorted(path.stem for path in (clone / "example_dags").glob("*.py"))
        with timeline.step("DAGs and connections"):
            dag_ids = newcomer.look_around()
        with timeline.step("a connection of one's own"):
            newcomer.connect()
        with timeline.step("first_dag"):
            newcomer.add_first_dag()
        for dag_id in dag_ids:
            with timeline.step(dag_id):
                newcomer.try_example(dag_id)
    timeline.note("Ctrl-C: everything is stopped")


def first_hour(clone: Path, timeline: Timeline, only: str | None) -> None:
    """Follow the pages from the clone to one's own Airflow.

    :param only: ``playground`` or ``own``, for one half of them.
    """
    run(f"git clone --quiet '{ROOT}' '{clone}'", ROOT)
    timeline.note("cloned")
    if only != "own":
        try_it(clone, timeline)
    if only != "playground":
        own = OwnAirflow(clone, timeline)
        with timeline.step("Install"):
            own.install()
            own.connect_and_run()


def main() -> int:
    """Live the hour; return 1 if a page promised what did not happen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only",
        choices=["playground", "own"],
        help="only README and Examples in the playground, or only the pages about an Airflow of one's own",
    )
    arguments = parser.parse_args()
    leave_through_cleanup()
    timeline = Timeline()
    try:
        with tempfile.TemporaryDirectory(prefix="newcomer-", ignore_cleanup_errors=True) as folder:
            first_hour(Path(folder) / "clone", timeline, arguments.only)
    except KeyboardInterrupt:
        say("\nInterrupted; everything is stopped.")
        return 130
    except (BrokenPromiseError, TimeoutError, BrowserError) as error:
        timeline.expect(False, str(error))
    say("The pages keep their promises." if not timeline.broken else f"{len(timeline.broken)} broken.")
    return 1 if timeline.broken else 0


if __name__ == "__main__":
    sys.exit(main())
