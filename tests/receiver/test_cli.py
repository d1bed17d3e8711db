"""The command that runs a receiver by itself."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata

import pytest

pytest.importorskip("uvicorn")

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from remote_tasks_provider.receiver.cli import main
from tests.bases.test_webhooks import configure
from tests.receiver.bells import CONNECTIONS, PUBLIC, define_connections, served


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch, set_connection: Callable[..., str]) -> None:
    define_connections(set_connection)
    configure(monkeypatch, PUBLIC, ",".join("/".join(one) for one in CONNECTIONS))
    for name, value in {"URL": "http://127.0.0.1:9", "USERNAME": "op", "PASSWORD": "sesame"}.items():
        monkeypatch.setenv(f"AIRFLOW__REMOTE_TASKS__WEBHOOK_API_{name}", value)


def test_command_is_installed() -> None:
    points = metadata.distribution("airflow-provider-remote-tasks").entry_points

    (command,) = points.select(group="console_scripts", name="remote-tasks")
    assert command.load() is main


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The addresses at which the receiver was served."""
    found: list[tuple[str, int]] = []
    monkeypatch.setattr(uvicorn, "run", lambda _app, host, port, **_: found.append((host, port)))
    return found


@pytest.mark.usefixtures("configured")
def test_command_serves_the_receiver(serving: list[tuple[str, int]]) -> None:
    assert main(["receiver", "--port", "8123"]) == 0
    assert serving == [("127.0.0.1", 8123)]


@pytest.mark.usefixtures("configured")
def test_command_serves_the_receiver_before_airflow_is_there(
    serving: list[tuple[str, int]], caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["receiver"]) == 0
    assert "Webhooks are answered with 503 until this is fixed" in caplog.text
    assert serving


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize("status", [401, 403])
def test_command_with_a_refused_user_fails(
    status: int,
    serving: list[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    refusing = Route("/auth/token", lambda _: JSONResponse({"detail": "no"}, status), methods=["POST"])
    with served(Starlette(routes=[refusing])) as address:
        monkeypatch.setenv("AIRFLOW__REMOTE_TASKS__WEBHOOK_API_URL", address)

        assert main(["receiver"]) == 1
    told = capsys.readouterr().err
    assert "Airflow refuses the user of [remote_tasks] webhook_api_username" in told
    assert "sesame" not in told
    assert serving == []


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize("missing", ["URL", "USERNAME", "PASSWORD"])
def test_command_without_a_way_to_airflow_fails(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"AIRFLOW__REMOTE_TASKS__WEBHOOK_API_{missing}", "")

    assert main(["receiver"]) == 1
    assert f"webhook_api_{missing.lower()} is empty" in capsys.readouterr().err


@pytest.mark.usefixtures("configured")
def test_command_without_keys_fails(
    set_connection: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    set_connection("a2a_default", conn_type="a2a", host="http://127.0.0.1:9")

    assert main(["receiver"]) == 1
    assert "a2a/a2a_default: connection 'a2a_default' has no webhook_secret" in capsys.readouterr().err
