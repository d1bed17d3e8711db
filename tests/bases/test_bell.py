"""Events of webhooks in a database of Airflow: one for each, also from two processes at once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from remote_tasks_provider.bases import bell
from remote_tasks_provider.bases.compat import airflow_is_at_least
from remote_tasks_provider.core.push.bell import BellNotStored
from tests.bases.test_claims import Database

EVENTS = """
from airflow.models.asset import AssetEvent
from remote_tasks_provider.core.push.bell import events_asset_name

def add_events_asset():
    with create_session() as session:
        name, uri = events_asset_name("manus", "m")
        asset = AssetModel(name=name, uri=uri)
        session.add(asset)
        session.flush()
        session.add(AssetActive.for_asset(asset))

def publish(event):
    return bell.publish("manus", "m", event_id=event, remote_ids=["t1"], state="completed")

def events():
    with create_session() as session:
        return [extra for (extra,) in session.query(AssetEvent.extra).order_by(AssetEvent.id)]
"""


@pytest.mark.skipif(not airflow_is_at_least("3.3"), reason="the programs use the names of 3.3")
class TestDatabase:
    def test_event_is_published_once_where_a_dag_names_the_asset(self, tmp_path: Path) -> None:
        found = Database(tmp_path).run(
            EVENTS
            + """
found = [publish("e0")]
add_events_asset()
found += [publish(event) for event in ("e1", "e1", "e2", "e1")]
print(json.dumps([found, events()]))
"""
        )

        assert found[0] == [False, True, False, True, False]
        assert [extra["event_id"] for extra in found[1]] == ["e1", "e2"]
        assert found[1][0] == {
            "service": "manus",
            "conn_id": "m",
            "event_id": "e1",
            "remote_ids": ["t1"],
            "state": "completed",
        }

    @pytest.mark.skipif(airflow_is_at_least("3.4"), reason="each event queues a run of its own")
    def test_run_that_is_queued_gets_each_event_that_comes_before_a_scheduler_looks(
        self, tmp_path: Path
    ) -> None:
        queued, newest = Database(tmp_path).run(
            EVENTS
            + """
from datetime import UTC, datetime
from airflow.models.asset import AssetDagRunQueue
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
add_events_asset()
with create_session() as session:
    session.add(DagBundleModel(name="b"))
    session.flush()
    session.add(DagModel(dag_id="d", bundle_name="b"))
with create_session() as session:
    (asset,) = session.query(AssetModel)
    before = datetime(2026, 1, 1, tzinfo=UTC)
    session.add(AssetDagRunQueue(asset_id=asset.id, target_dag_id="d", created_at=before))
publish("e1")
publish("e2")
with create_session() as session:
    ((queued,),) = session.query(AssetDagRunQueue.created_at)
    newest = max(at for (at,) in session.query(AssetEvent.timestamp))
print(json.dumps([queued.timestamp(), newest.timestamp()]))
"""
        )

        # A run takes the events up to this moment.
        assert queued >= newest

    def test_event_is_published_by_one_of_two_processes(self, tmp_path: Path) -> None:
        database = Database(tmp_path)
        database.run(EVENTS + "add_events_asset()\nprint(json.dumps(events()))")
        race = EVENTS + 'print(json.dumps([publish(f"e{number}") for number in range(20)]))'
        one, two = (Database.result(process) for process in [database.start(race), database.start(race)])

        assert [first + second for first, second in zip(one, two, strict=True)] == [1] * 20


def test_database_that_fails_is_no_bell(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_name: str) -> None:
        raise OSError("the database is gone")

    monkeypatch.setattr(bell, "KEEPS_ASSET_STATE", True)
    monkeypatch.setattr(bell, "import_module", gone)

    with pytest.raises(BellNotStored, match="the database is gone"):
        bell.ring("manus", "m")
    with pytest.raises(BellNotStored, match="OSError"):
        bell.publish("manus", "m", event_id="e", remote_ids=[], state=None)


def test_bell_below_3_3_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bell, "KEEPS_ASSET_STATE", False)
    monkeypatch.setattr(bell, "import_module", lambda name: SimpleNamespace())

    bell.ring("manus", "m")
