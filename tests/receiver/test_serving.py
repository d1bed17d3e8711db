"""The receiver is off unless it is configured, and without keys it does not start."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("starlette")

from remote_tasks_provider.bases.compat import airflow_is_at_least
from remote_tasks_provider.bases.webhooks import WebhookSettings
from remote_tasks_provider.core.errors import InvalidArgumentError
from remote_tasks_provider.receiver import plugin
from remote_tasks_provider.receiver.serving import receiver_alone, receiver_in_airflow
from tests.bases.test_webhooks import URL, configure
from tests.receiver.bells import (
    CONNECTIONS,
    PUBLIC,
    SETTINGS,
    TYPES,
    Notes,
    define_connections,
    post,
    served,
    webhook,
)


class TestAlone:
    @pytest.mark.parametrize("service", TYPES)
    def test_receiver_is_served_at_the_path_of_its_address(
        self, set_connection: Callable[..., str], service: str
    ) -> None:
        define_connections(set_connection)
        notes = Notes()
        with served(receiver_alone(SETTINGS, notes)) as address:
            url = f"{address}/remote-tasks/webhooks/{service}/{service}_default"

            assert post(url, *webhook(service)) == 200
        assert len(notes.rings) == 1

    def test_receiver_without_keys_does_not_start(self, set_connection: Callable[..., str]) -> None:
        define_connections(set_connection)
        set_connection("a2a_default", conn_type="a2a", host="http://127.0.0.1:9")
        set_connection("qstash_default", conn_type="qstash", host="http://127.0.0.1:9", password="x")

        with pytest.raises(
            InvalidArgumentError, match=r"qstash/qstash_default.*a2a/a2a_default.*webhook_secret"
        ):
            receiver_alone(SETTINGS, Notes())

    @pytest.mark.parametrize(
        "settings", [WebhookSettings(), WebhookSettings(PUBLIC), WebhookSettings("", CONNECTIONS)]
    )
    def test_receiver_that_is_not_configured_does_not_start(self, settings: WebhookSettings) -> None:
        with pytest.raises(InvalidArgumentError, match="the receiver is off"):
            receiver_alone(settings, Notes())


class TestInAirflow:
    def test_connection_of_an_unknown_type_hinders_no_other(
        self, set_connection: Callable[..., str], log_lines: list[str]
    ) -> None:
        define_connections(set_connection)
        settings = WebhookSettings(PUBLIC, (("nothing", "x"), *CONNECTIONS))
        with served(receiver_in_airflow(settings)) as address:
            assert post(f"{address}/webhooks/nothing/x", {}, b"") == 404
            assert post(f"{address}/webhooks/manus/manus_default", {}, b"") == 401

        assert "There is no receiver for nothing/x" in "\n".join(log_lines)


class TestPlugin:
    def test_plugin_serves_nothing_unless_it_is_configured(self, monkeypatch: pytest.MonkeyPatch) -> None:
        configure(monkeypatch)
        assert plugin._apps() == []
        configure(monkeypatch, "http://hooks.example.com", "manus/a")
        assert plugin._apps() == []

    @pytest.mark.skipif(not airflow_is_at_least("3"), reason="Airflow 2 serves no apps of plugins")
    def test_plugin_serves_the_receiver_if_it_is_configured(self, monkeypatch: pytest.MonkeyPatch) -> None:
        configure(monkeypatch, URL, "manus/a")
        (served_app,) = plugin._apps()

        assert served_app["url_prefix"] == "/remote-tasks"
        assert served_app["app"] is plugin.app

    def test_plugin_loads_no_server(self) -> None:
        code = (
            "import sys; before = set(sys.modules); import remote_tasks_provider.receiver.plugin;"
            "print(*set(sys.modules) - before)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        loaded = set(done.stdout.split())

        assert "remote_tasks_provider.receiver.plugin" in loaded
        assert not {name for name in loaded if name.startswith("remote_tasks_provider.receiver.")} - {
            "remote_tasks_provider.receiver.plugin"
        }

    def test_app_is_made_once_with_the_first_requests(self) -> None:
        made: list[str] = []
        asked: list[Any] = []

        async def real(scope: Any, _receive: Any, _send: Any) -> None:
            asked.append(scope)

        def make() -> Any:
            made.append("made")
            return real

        async def run() -> None:
            app = plugin._LazyApp(make)
            await asyncio.gather(*[app({"number": number}, None, None) for number in range(5)])

        asyncio.run(run())
        assert made == ["made"]
        assert len(asked) == 5

    def test_app_that_cannot_be_made_answers_503_and_is_tried_again(
        self,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        set_connection: Callable[..., str],
    ) -> None:
        define_connections(set_connection)
        tries: list[str] = []

        def make() -> Any:
            tries.append("tried")
            if len(tries) == 1:
                raise ImportError("half an upgrade")
            return receiver_alone(SETTINGS, Notes())

        app = plugin._LazyApp(make)
        with served(app) as address:
            url = f"{address}/remote-tasks/webhooks/manus/manus_default"
            assert [post(url, {}, b"{}") for _ in range(3)] == [503, 503, 503]
            monkeypatch.setattr(plugin, "_TRY_AGAIN_AFTER", 0.0)
            assert post(url, {}, b"{}") == 401
            assert post(url, {}, b"{}") == 401
        assert len(tries) == 2
        assert caplog.text.count("cannot be served") == 1
