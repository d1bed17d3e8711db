"""The pages *Install*, *Connect* and *Your first DAG*, followed in an Airflow of one's own."""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from dev.airflow.client import FINISHED, eventually
from dev.airflow.standalone import free_port
from dev.browser.pages import CONNECT, FIRST_DAG, INSTALL, BrokenPromiseError, block, commands, inline
from dev.browser.timeline import run, serving

if TYPE_CHECKING:
    from pathlib import Path

    from dev.browser.timeline import Served, Timeline

#: Seconds until Airflow lists a new DAG ("within a few minutes"), and for a run of it. On a busy machine each
#: command that asks for them takes half a minute.
MOST_LISTING_SECONDS = 600.0
MOST_RUN_SECONDS = 900.0
#: What a run of the first DAG looks like when it has finished.
FIRST_DAG_STATES = {"ask": "success", "decide": "success", "publish": "success", "explain": "skipped"}


class OwnAirflow:
    """A bare environment with Airflow in it, and what the pages say to do there.

    :param clone: the checkout; the environment is made beside it.
    """

    def __init__(self, clone: Path, timeline: Timeline) -> None:
        self._clone = clone
        self._timeline = timeline
        self._python = clone.parent / "environment"
        self._home = clone.parent / "airflow"
        self._variables = {"AIRFLOW_HOME": str(self._home)}
        self._sandbox_port = "8099"

    def install(self) -> None:
        """Follow *Install*."""
        run(f"'{sys.executable}' -m venv '{self._python}'", self._clone)
        for command in commands(self._clone / INSTALL, "Install"):
            self._run(command)
            self._timeline.note(command)
        name = "airflow-provider-remote-tasks"
        self._timeline.expect(
            name in self._run("airflow providers list"), f"airflow providers list shows {name}"
        )

    def connect_and_run(self) -> None:
        """Follow *Connect* without an account, and *Your first DAG*."""
        # Another Airflow may have the usual ports of the machine that this is tried on.
        self._sandbox_port, ui = str(free_port(8099)), free_port(8080)
        self._variables |= {
            "AIRFLOW__API__PORT": str(ui),
            "AIRFLOW__API__BASE_URL": f"http://localhost:{ui}",
        }
        sandbox = inline(self._clone / CONNECT, "remote-tasks-sandbox")
        output = self._clone.parent / "sandbox.out"
        with serving(self._active(sandbox), self._clone, output, **self._variables) as served:
            eventually(
                lambda: "http" in served.printed() or None,
                within=60,
                what=f"{sandbox} is up",
                give_up=served.check_alive,
            )
            exports = block(self._clone / CONNECT, "Without an account", "shell")
            check = block(self._clone / CONNECT, "Does it work?", "python")
            said = self._run(f"{exports}\npython - <<'SCRIPT'\n{check}\nSCRIPT")
            self._timeline.expect(
                "accepted the key" in said, f"Does it work? {said.strip().splitlines()[-1]}"
            )
            self._first_dag(exports)

    def _first_dag(self, exports: str) -> None:
        dags = self._home / "dags"
        dags.mkdir(parents=True, exist_ok=True)
        source = block(self._clone / FIRST_DAG, "Your first DAG", "python")
        (dags / "first_dag.py").write_text(source, encoding="utf-8")
        output = self._clone.parent / "standalone.out"
        command = self._active(f"{exports}\nexec airflow standalone")
        # The page says why it is not stopped by Ctrl-C.
        with serving(command, self._clone, output, ctrl_c=False, **self._variables) as served:
            began = time.monotonic()
            eventually(
                lambda: self._lists_first_dag() or None,
                within=MOST_LISTING_SECONDS,
                every=5,
                what="airflow dags list shows first_dag",
                give_up=served.check_alive,
            )
            self._timeline.note(
                f"airflow standalone: first_dag is listed after {time.monotonic() - began:.0f} s"
            )
            for command in commands(self._clone / FIRST_DAG, "Run it"):
                self._run(command)
                self._timeline.note(command)
            self._expect_run(served)

    def _lists_first_dag(self) -> bool:
        with suppress(BrokenPromiseError):  # Airflow's database is not there yet
            return "first_dag" in self._run("airflow dags list --output plain")
        return False

    def _expect_run(self, served: Served) -> None:
        began = time.monotonic()

        def finished() -> tuple[str, str] | None:
            (found,) = self._json("airflow dags list-runs first_dag --output json")
            return (found["run_id"], found["state"]) if found["state"] in FINISHED else None

        try:
            run_id, state = eventually(
                finished,
                within=MOST_RUN_SECONDS,
                every=10,
                what="the run has finished",
                give_up=served.check_alive,
            )
        except TimeoutError as late:
            raise BrokenPromiseError(f"{late}:\n{served.printed()[-6000:]}") from late
        took = time.monotonic() - began
        listed = self._json(f"airflow tasks states-for-dag-run first_dag '{run_id}' --output json")
        states = {one["task_id"]: one["state"] for one in listed}
        self._timeline.expect(
            state == "success" and states == FIRST_DAG_STATES,
            f"first_dag: {state} after {took:.0f} s; {states}",
        )

    def _json(self, command: str) -> list[dict[str, str]]:
        """Run a command that prints a list as JSON, below whatever Airflow logs."""
        printed = self._run(command)
        found: list[dict[str, str]] = json.loads(printed[printed.index("\n[{") if "\n[{" in printed else 0 :])
        return found

    def _run(self, command: str) -> str:
        return run(self._active(command), self._clone, **self._variables)

    def _active(self, command: str) -> str:
        """Return a command in the environment, on the port of this sandbox."""
        return f". '{self._python}/bin/activate'\n{command}".replace("8099", self._sandbox_port)
