"""What the *Test* button says: Airflow gives the connection a random id, which a person has never seen."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from remote_tasks_provider.a2a.hooks import A2AHook
from remote_tasks_provider.manus.hooks import ManusHook
from remote_tasks_provider.qstash.hooks import QStashHook

RANDOM = "qX7vNdLw2k"
VARIABLE = f"AIRFLOW_CONN_{RANDOM.upper()}"
HOOKS = pytest.mark.parametrize("hook", [ManusHook, QStashHook, A2AHook])


def message_of(hook: Any) -> str:
    worked, message = hook(RANDOM).test_connection()
    assert not worked
    assert RANDOM.upper() not in message.upper()
    return str(message)


@HOOKS
def test_test_connection_calls_a_connection_that_is_nowhere_this_connection(hook: Any) -> None:
    assert message_of(hook) == "This connection isn't defined"


@HOOKS
def test_test_connection_calls_a_variable_that_airflow_passes_over_this_connection(
    hook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pass_over(conn_id: str) -> NoReturn:
        raise AirflowNotFoundException(f"The conn_id `{conn_id}` isn't defined")

    monkeypatch.setenv(VARIABLE, "{")
    monkeypatch.setattr(BaseHook, "get_connection", pass_over)

    assert message_of(hook).startswith("This connection: Airflow cannot read it. Check its JSON or URI")


@HOOKS
def test_test_connection_calls_one_of_another_type_this_connection(
    hook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "http://h.example.com")

    assert message_of(hook).startswith("This connection, field conn_type: is 'http'")
