from __future__ import annotations

import json

import pytest

from tests.bases.history import Clock

# The histories of these tests are played by one version of Manus's API.
EXTRAS = {"manus": {"api_version": "v1"}, "qstash": {}}


@pytest.fixture(autouse=True)
def _connections(monkeypatch: pytest.MonkeyPatch) -> None:
    for vendor in ("manus", "qstash"):
        extra = {"max_attempts": 1, **EXTRAS[vendor]}
        connection = {"conn_type": vendor, "host": "http://127.0.0.1:9", "password": "sk-t", "extra": extra}
        monkeypatch.setenv(f"AIRFLOW_CONN_{vendor.upper()}_DEFAULT", json.dumps(connection))


@pytest.fixture
def clock() -> Clock:
    return Clock()
