"""A real triggerer, whose supervisor answers late, while waits leave in the middle of their questions."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import airflow
import pytest

from dev.airflow.standalone import clean_environment, migrated_database

PROGRAM = Path(__file__).parent / "programs" / "triggerer.py"


@pytest.mark.airflow_db
@pytest.mark.skipif(airflow.__version__.startswith("2."), reason="Airflow 2's triggers ask the database")
def test_triggerer_outlives_waits_that_leave_while_airflow_is_asked(
    airflow_connections: dict[str, str], tmp_path: Path
) -> None:
    shutil.copy(migrated_database(), tmp_path / "airflow.db")
    # The spaces make the provider mask the cleaned key itself.
    connection = {**json.loads(airflow_connections["manus_default"]), "password": " sk-sandbox "}
    answer = subprocess.run(
        [sys.executable, str(PROGRAM)],
        env={
            **clean_environment(),
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__API_AUTH__JWT_SECRET": "a secret of the length that the in-process API server asks for",
            "CONNECTION": json.dumps(connection),
            "PYTHONPATH": os.pathsep.join([str(PROGRAM.parent), os.environ.get("PYTHONPATH", "")]),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    last = json.loads(answer.stdout.strip().splitlines()[-1])
    assert last["event"] == "alive", answer.stderr
    assert set(last["asked"]) == {"GetConnection", "GetTaskStates", "MaskSecret"}
