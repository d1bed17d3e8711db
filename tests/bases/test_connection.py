"""What Airflow makes of a connection is read alike on a worker and on an event loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from remote_tasks_provider.bases import connection
from remote_tasks_provider.bases.compat import airflow_is_at_least
from remote_tasks_provider.core.errors import ConnectionConfigError
from remote_tasks_provider.core.http.connection import ConnectionConfig
from remote_tasks_provider.manus.service import MANUS

# Airflow 3.0 and 3.1 read no connection whose extra is no object, and say that it is not defined.
PASSES_OVER = airflow_is_at_least("3") and not airflow_is_at_least("3.2")
REFUSED = (
    r"^Connection 'odd', environment variable AIRFLOW_CONN_ODD: Airflow cannot read it\."
    if PASSES_OVER
    else r"^Connection 'odd', field extra: is no JSON object"
)


@pytest.fixture(params=["worker", "loop"])
def read(request: pytest.FixtureRequest) -> Any:
    def sync(conn_id: str) -> ConnectionConfig:
        return connection.connection_config(MANUS, conn_id)

    def on_loop(conn_id: str) -> ConnectionConfig:
        return asyncio.run(connection.async_connection_config(MANUS, conn_id))

    return sync if request.param == "worker" else on_loop


@pytest.mark.parametrize("extra", ["%5B1%5D", "no-json", "%22a%22", "5", "0", "%7B"])
def test_extra_that_is_no_object_is_named(read: Any, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ODD", f"manus://:sk-1@h.example.com/?__extra__={extra}")
    with pytest.raises(ConnectionConfigError, match=REFUSED):
        read("odd")


def test_extra_of_null_is_none(read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ODD", "manus://:sk-1@h.example.com/?__extra__=null")

    if PASSES_OVER:
        with pytest.raises(ConnectionConfigError, match=REFUSED):
            read("odd")
    else:
        assert read("odd").base_url == "https://h.example.com"


def test_connection_that_is_nowhere_is_not_found(read: Any) -> None:
    with pytest.raises(AirflowNotFoundException):
        read("nowhere")


@pytest.mark.parametrize("conn_type", ["http", "qstash"])
def test_connection_of_another_type_is_refused_by_name(
    read: Any, conn_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ODD", f"{conn_type}://:sk-1@h.example.com")

    with pytest.raises(
        ConnectionConfigError, match=f"'odd', field conn_type: is '{conn_type}', but Manus needs"
    ):
        read("odd")


def test_path_of_a_uri_is_the_prefix(read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ODD", "manus://:sk-1@h.example.com:8443/a/b?read_timeout=5")

    assert BaseHook.get_connection("odd").schema == "a/b"
    assert read("odd").base_url == "https://h.example.com:8443/a/b"
