"""Webhooks are claimed, and the bell rung, in a database of Airflow, also by two processes at once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dev.airflow.standalone import clean_environment, migrated_database
from remote_tasks_provider.bases.claims import claim, release
from remote_tasks_provider.bases.compat import KEEPS_ASSET_STATE

#: What each process runs: it prints what it found as JSON.
PRELUDE = """
import json, sys
from airflow.models.asset import AssetActive, AssetModel
from airflow.models.asset_state_store import AssetStateStoreModel as Notes
from airflow.utils.session import create_session
from remote_tasks_provider.bases import bell, claims
from remote_tasks_provider.core.push.bell import WEBHOOK_ASSET, BellNotStored

def add_asset():
    with create_session() as session:
        asset = AssetModel(name=WEBHOOK_ASSET[0], uri=WEBHOOK_ASSET[1])
        session.add(asset)
        session.flush()
        session.add(AssetActive.for_asset(asset))

def keys():
    with create_session() as session:
        return sorted(key for (key,) in session.query(Notes.key))
"""


class Database:
    """A migrated database of its own."""

    def __init__(self, folder: Path) -> None:
        self._home = folder
        shutil.copy(migrated_database(), folder / "airflow.db")

    def start(self, program: str) -> subprocess.Popen[str]:
        address = f"sqlite:///{self._home}/airflow.db?timeout=60"
        env = {
            **clean_environment(),
            "AIRFLOW_HOME": str(self._home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": address,
        }
        command = [sys.executable, "-c", PRELUDE + program]
        return subprocess.Popen(command, env=env, cwd=os.getcwd(), stdout=subprocess.PIPE, text=True)

    def run(self, program: str) -> Any:
        return self.result(self.start(program))

    @staticmethod
    def result(process: subprocess.Popen[str]) -> Any:
        output, _ = process.communicate(timeout=300)
        return json.loads(output.splitlines()[-1])


@pytest.mark.skipif(not KEEPS_ASSET_STATE, reason="below Airflow 3.3 there are no notes")
class TestDatabase:
    def test_webhook_is_claimed_once_and_rings(self, tmp_path: Path) -> None:
        found = Database(tmp_path).run(
            """
def attempt(work):
    try:
        return work()
    except BellNotStored as error:
        return error.reason

found = [attempt(lambda: claims.claim("manus", "m", "e0")), attempt(lambda: bell.ring("manus", "m"))]
add_asset()
found += [claims.claim("manus", "m", event) for event in ("e1", "e1", "e2")]
bell.ring("manus", "m")
claims.release("manus", "m", "e1")
found += [claims.claim("manus", "m", "e1"), keys()]
print(json.dumps(found))
"""
        )

        assert all("no DAG names the asset" in one for one in found[:2])
        assert found[2:] == [
            *[True, False, True],
            True,
            ["bell", "bell:manus:m", "seen:manus:m:e1", "seen:manus:m:e2"],
        ]

    def test_webhook_is_claimed_by_one_of_two_processes(self, tmp_path: Path) -> None:
        database = Database(tmp_path)
        database.run("add_asset()\nprint(json.dumps(keys()))")
        race = 'print(json.dumps([claims.claim("manus", "m", f"e{number}") for number in range(40)]))'
        one, two = (Database.result(process) for process in [database.start(race), database.start(race)])

        assert [first + second for first, second in zip(one, two, strict=True)] == [1] * 40

    def test_old_claims_are_pruned_and_bells_are_not(self, tmp_path: Path) -> None:
        found = Database(tmp_path).run(
            """
from datetime import UTC, datetime, timedelta
add_asset()
claims.claim("manus", "m", "old"), claims.claim("manus", "m", "young")
bell.ring("manus", "m")
with create_session() as session:
    for key, hours in (("seen:manus:m:old", 3), ("seen:manus:m:young", 1), ("bell", 9)):
        at = datetime.now(UTC) - timedelta(hours=hours)
        session.query(Notes).filter(Notes.key == key).update({"updated_at": at})
claims._pruned.clear()
claims.claim("manus", "m", "new")
print(json.dumps(keys()))
"""
        )

        assert found == ["bell", "bell:manus:m", "seen:manus:m:new", "seen:manus:m:young"]


@pytest.mark.skipif(KEEPS_ASSET_STATE, reason="from Airflow 3.3 on there are notes")
def test_webhook_is_always_new_below_airflow_3_3() -> None:
    assert claim("manus", "m", "e")
    assert claim("manus", "m", "e")
    release("manus", "m", "e")
