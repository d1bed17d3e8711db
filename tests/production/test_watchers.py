"""Watchers start DAGs, and skip nothing, whatever triggerer is killed; see docs/how-to/watch.md."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dev.a2a.peers import Agent
from dev.airflow.connections import agent_connection
from remote_tasks_provider.a2a.hooks import A2AHook
from tests.production.deployment import Account, Deployment

Figure = Callable[..., None]
ASSETS = ("watched_manus", "watched_qstash", "watched_a2a")
ID = {"watched_manus": "id", "watched_qstash": "dlq_id", "watched_a2a": "id"}
DEAD = [("ACTIVE", 0), ("ERROR", 0), ("FAILED", None)]


class Watched:
    """What happens at three services, and what Airflow was told of it."""

    def __init__(self, deployment: Deployment, account: Account, hook: A2AHook) -> None:
        self.deployment, self.account, self._hook = deployment, account, hook
        self.happened: dict[str, list[str]] = {name: [] for name in ASSETS}

    def happen(self, count: int) -> None:
        """Let that many things happen at each service."""
        for _ in range(count):
            number = len(self.happened["watched_manus"])
            self.happened["watched_manus"].append(
                self.account.manus.add_task(f"watched-{number}", [("completed", None)])
            )
            self.account.qstash.add_message(f"msg_watched_{number}", DEAD)
            task: Any = self._hook.send_message(f"say {number}")
            self.happened["watched_a2a"].append(task.id)
        dead = self.account.qstash.dlq_messages
        self.happened["watched_qstash"] = [one.id for one in dead]

    def told(self) -> dict[str, Counter[str]]:
        """Return how often each thing was told."""
        rows = self.deployment.postgresql.query(
            "SELECT asset.name, asset_event.extra FROM asset_event JOIN asset ON asset.id = asset_id "
            "WHERE asset.name = ANY(%s)",
            list(ASSETS),
        )
        found: dict[str, Counter[str]] = {name: Counter() for name in ASSETS}
        for name, extra in rows:
            kept = extra if isinstance(extra, dict) else json.loads(extra)
            found[name][kept["payload"][ID[name]]] += 1
        return found

    def missing(self) -> int:
        told = self.told()
        return sum(one not in told[name] for name in ASSETS for one in self.happened[name])

    def until_told(self, most_missing: int = 0, every: float = 1.0) -> None:
        self.deployment.until(
            lambda: True if self.missing() <= most_missing else None, "all is told", every=every
        )

    def until_listed(self, asked: int) -> None:
        """Wait until a watcher lists, after so many requests."""
        sandbox = self.account.sandbox
        self.deployment.until(lambda: len(sandbox.requests) > asked or None, "a listing", every=0.02)

    def watching(self) -> set[str]:
        """Return the triggerers that have the watchers."""
        rows = self.deployment.postgresql.query(
            "SELECT hostname FROM trigger JOIN job ON job.id = triggerer_id "
            "WHERE classpath LIKE '%%EventTrigger'"
        )
        return {name for (name,) in rows}

    def runs(self) -> list[tuple[Any, ...]]:
        """Return how often each event has started a run, and the run's state."""
        return self.deployment.postgresql.query(
            "SELECT count(dag_run_id), min(state) FROM asset_event JOIN asset ON asset.id = asset_id "
            "LEFT JOIN dagrun_asset_event ON event_id = asset_event.id "
            "LEFT JOIN dag_run ON dag_run.id = dag_run_id WHERE asset.name = ANY(%s) GROUP BY asset_event.id",
            list(ASSETS),
        )


@pytest.fixture
def watched(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    account = deployment.account("watched")
    with Agent("1.x", own_group=True) as agent:
        connection = agent_connection(agent.url)
        deployment.aws.set_connection("watched_a2a", connection)
        monkeypatch.setenv("AIRFLOW_CONN_WATCHED_A2A", json.dumps(connection))
        pause(deployment, ASSETS, is_paused=False)
        until_begun(deployment, ASSETS)
        yield Watched(deployment, account, A2AHook("watched_a2a"))
        pause(deployment, ASSETS, is_paused=True)


def pause(deployment: Deployment, dag_ids: tuple[str, ...], *, is_paused: bool) -> None:
    """Pause or unpause DAGs, and have their files read again: then Airflow begins or ceases to watch."""
    client = deployment.client
    for dag_id in dag_ids:
        client.wait_for_dag(dag_id, within=300)
        client._request("PATCH", f"dags/{dag_id}", json={"is_paused": is_paused})
    for token in {client._get(f"dags/{dag_id}")["file_token"] for dag_id in dag_ids}:
        client._request("PUT", f"parseDagFile/{token}", accept=(409,))


def until_begun(deployment: Deployment, assets: tuple[str, ...]) -> None:
    """Wait until each watcher has a cursor: what happens from now on is told."""

    def begun() -> bool | None:
        ((count,),) = deployment.postgresql.query(
            "SELECT count(*) FROM asset_state_store JOIN asset ON asset.id = asset_id "
            "WHERE key LIKE 'cursor%%' AND name = ANY(%s)",
            list(assets),
        )
        return True if count == len(assets) else None

    deployment.until(begun, "the watchers have begun")


def test_watchers_skip_nothing_while_triggerers_and_everything_are_killed(
    deployment: Deployment, watched: Watched, figure: Figure
) -> None:
    watched.happen(5)
    watched.until_told()
    calm = watched.told()
    killed: list[str] = []
    # Before anything of it is listed, while it is listed, and when Airflow has stored a part of it.
    for moment in ("at once", "listed", "stored"):
        asked = len(watched.account.sandbox.requests)
        watched.happen(5)
        if moment == "listed":
            watched.until_listed(asked)
        elif moment == "stored":
            watched.until_told(most_missing=14, every=0.02)
        for name in sorted(watched.watching()):
            killed.append(name)
            deployment.kill(name)
        watched.until_told()
    deployment.kill_all()
    watched.happen(5)
    deployment.until(lambda: deployment.client.health() or None, "the API server is back")
    watched.until_told()
    told = watched.told()
    deployment.let_pass(30)
    started = deployment.until(
        lambda: rows if all_over(rows := watched.runs()) else None, "all runs are over"
    )
    times = Counter(count for counter in told.values() for count in counter.values())
    figure(things=sum(map(len, watched.happened.values())), told=dict(times), killed=killed)

    assert all(count == 1 for counter in calm.values() for count in counter.values())
    assert {name: set(counter) for name, counter in told.items()} == {
        name: set(happened) for name, happened in watched.happened.items()
    }
    # Nothing goes on being told, and only what was under way when a triggerer died was told again.
    assert watched.told() == told
    assert max(times) <= 2
    assert {count for count, _ in started} == {1}
    assert {state for _, state in started} == {"success"}


def all_over(rows: list[tuple[Any, ...]]) -> bool:
    return all(count and state in ("success", "failed") for count, state in rows)


def test_example_watchers_run_as_they_are(deployment: Deployment, figure: Figure) -> None:
    account = deployment.account("examples")
    settings = account.sandbox.settings
    server = account.server
    deployment.aws.set_connection(
        "manus_default", {"conn_type": "manus", "host": server.manus_url, "password": settings.manus_key}
    )
    deployment.aws.set_connection(
        "qstash_default",
        {"conn_type": "qstash", "host": server.qstash_url, "password": settings.qstash_token},
    )
    dags = ("example_watch_dead_letters", "example_watch_finished_tasks")
    began = time.monotonic()
    pause(deployment, dags, is_paused=False)
    until_begun(deployment, ("qstash-dead-letters", "manus-finished-tasks"))
    for number in range(3):
        account.manus.add_task(f"colleague-{number}", [("completed", None)], answer=f"answer {number}")
        account.qstash.add_message(f"msg_dead_{number}", DEAD)
    account.manus.add_task("colleague-failed", [("failed", None)])
    account.qstash.plan_delivery("*", [200])

    def collected() -> list[Any] | None:
        rows = deployment.postgresql.query(
            "SELECT run_id, map_index, state FROM task_instance "
            "WHERE dag_id = 'example_watch_finished_tasks' AND task_id = 'collect' AND map_index >= 0"
        )
        return rows if len(rows) == 3 and all(state == "success" for _, _, state in rows) else None

    deployment.until(collected, "the results are collected")
    deployment.until(lambda: account.qstash.dlq_messages == [] or None, "no dead letter is left")

    def over() -> list[Any] | None:
        rows = deployment.postgresql.query(
            "SELECT dag_id, state FROM dag_run WHERE dag_id = ANY(%s)", list(dags)
        )
        return rows if all(state in ("success", "failed") for _, state in rows) else None

    rows = deployment.until(over, "all runs are over")
    pause(deployment, dags, is_paused=True)
    figure(runs=dict(Counter(dag_id for dag_id, _ in rows)), seconds=round(time.monotonic() - began))
    assert {state for _, state in rows} == {"success"}
    delivered = [one for one in account.qstash.messages if one.state == "DELIVERED"]
    assert len(delivered) == 3
