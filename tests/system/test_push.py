"""A bell in a real Airflow: it wakes deferred waits within seconds, and starts a DAG once.

The waits poll once an hour. The bell is rung over Airflow's REST API, and as in its API server; in between
the triggerer is killed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.airflow.client import WITHIN, eventually
from dev.airflow.connections import connection_fields
from dev.airflow.standalone import StandaloneAirflow
from remote_tasks_provider.bases.compat import KEEPS_ASSET_STATE
from remote_tasks_provider.core.push.rest_bell import RestBell
from remote_tasks_sandbox import SandboxServer

DAGS = Path(__file__).parent / "dags"
#: Seconds from the bell to the poll: two at most until the read, and two between polls, on an idle machine.
SOON = 30.0
RING = "from remote_tasks_provider.bases.bell import ring; ring('manus', 'manus_push')"
PUBLISH = (
    "from remote_tasks_provider.bases.bell import publish\n"
    "for _ in range(2):\n"
    "    print(publish('manus', 'manus_push', event_id='e1', remote_ids=['first'], state='completed'))\n"
)

pytestmark = pytest.mark.skipif(not KEEPS_ASSET_STATE, reason="it needs Airflow 3.3 or newer")


class Story:
    """What was seen, with the seconds from each bell to the poll that it asks for."""

    def __init__(self, airflow: StandaloneAirflow, server: SandboxServer) -> None:
        self.airflow, self.server = airflow, server
        self.client = airflow.client
        self.seconds: dict[str, float] = {}
        self.published = ""
        self.events: Any = None
        self.runs: list[str] = []

    def tell(self) -> None:
        """Let the tasks wait, and ring for one after the other."""
        for dag_id in ("push", "push_events"):
            self.client.wait_for_dag(dag_id, others_may_break=True)
        self.client._request("PATCH", "dags/push_events", json={"is_paused": False})
        for name in ("first", "second", "third"):
            self.server.sandbox.manus.add_task(name, [("running", None)], name)
        run_id = self.client.trigger("push")
        for index in range(3):
            self.client.wait_for_task("push", run_id, "wait", ["deferred"], within=300, map_index=index)
        # The triggerer has to have found the waits, and read for the first time that there is no note.
        time.sleep(20)
        bell = RestBell(self.airflow.url, self.airflow.username, self.airflow.password)
        self._end(run_id, 0, "first", lambda: bell.ring("manus", "manus_push"))
        bell.close()
        polls = len(self._polls())
        self.airflow.restart_triggerer(kill=True)
        # A bell may have rung while no triggerer was there, so the new one polls once.
        eventually(lambda: True if len(self._polls()) > polls else None, within=120, what="the first poll")
        time.sleep(25)
        self._end(run_id, 1, "second", lambda: self.airflow.python_program(RING))
        self._end(run_id, 2, "third", lambda: self.airflow.python_program(RING))
        self.client.wait_for_run("push", run_id)
        self.published = self.airflow.python_program(PUBLISH)
        (run,) = self._event_runs()
        self.client.wait_for_run("push_events", run)
        self.events = self.client.xcom("push_events", run, "tell")
        # A second run would have come by now, as the first one did.
        self.runs = self._event_runs()

    def _polls(self) -> list[Any]:
        return [one for one in self.server.sandbox.requests if "httpx" in one.headers.get("user-agent", "")]

    def _end(self, run_id: str, index: int, name: str, ring: Any) -> None:
        self.server.sandbox.manus.set_status(name, "completed")
        time.sleep(3)
        assert self.client.task_instance("push", run_id, "wait", index).state == "deferred"
        polls = len(self._polls())
        ring()
        began = time.monotonic()
        eventually(lambda: True if len(self._polls()) > polls else None, within=120, what=f"{name} is polled")
        self.seconds[name] = time.monotonic() - began
        # Without a bell it would take an hour.
        self.client.wait_for_task("push", run_id, "wait", ["success"], within=300, map_index=index)

    def _event_runs(self) -> list[str]:
        def found() -> list[str] | None:
            runs = self.client._get("dags/push_events/dagRuns")["dag_runs"]
            return [run["dag_run_id"] for run in runs] or None

        return eventually(found, within=WITHIN, what="a run that the event has started")


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    with SandboxServer() as server:
        manus = {**connection_fields(server)["manus_default"], "extra": {"push": True}}
        connections = {"manus_push": json.dumps(manus)}
        with StandaloneAirflow(DAGS, connections=connections) as airflow:
            made = Story(airflow, server)
            made.tell()
            yield made


def test_bell_over_the_rest_api_makes_a_wait_poll_within_seconds(story: Story) -> None:
    assert story.seconds["first"] < SOON


def test_bell_is_heard_by_the_triggerer_that_takes_over(story: Story) -> None:
    assert story.seconds["second"] < SOON
    assert story.seconds["third"] < SOON


def test_repeated_event_starts_one_run(story: Story) -> None:
    assert story.published.split()[-2:] == ["True", "False"]
    assert len(story.runs) == 1
    assert [event["remote_ids"] for event in story.events] == [["first"]]
