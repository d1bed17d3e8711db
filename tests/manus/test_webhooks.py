"""Webhooks are registered at Manus once, and what is wrong is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import Mock

import pytest

pytest.importorskip("starlette")

from remote_tasks_provider.bases.webhooks import WebhookSettings
from remote_tasks_provider.core.errors import (
    ConnectionConfigError,
    InvalidArgumentError,
    InvalidRequestError,
    RemoteTaskError,
    TransportError,
)
from remote_tasks_provider.manus.hooks import ManusHook
from remote_tasks_provider.manus.operators import ManusWebhookOperator
from remote_tasks_provider.receiver.cli import main
from remote_tasks_provider.receiver.serving import receiver_alone
from remote_tasks_sandbox import Sandbox
from tests.bases.test_webhooks import configure
from tests.receiver.bells import Notes, served

ELSEWHERE = "https://hooks.example.com/remote-tasks/webhooks/manus/manus_default"
PAIR = ("manus", "manus_default")


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, "https://hooks.example.com/remote-tasks", "manus/manus_default")


@pytest.fixture
def hook(manus_conn: str, sandbox: Sandbox) -> Iterator[ManusHook]:
    found = ManusHook(manus_conn)
    yield found
    found.close()


def urls(sandbox: Sandbox) -> list[str]:
    return [one.url for one in sandbox.manus.webhooks.all()]


@pytest.mark.usefixtures("elsewhere")
class TestHook:
    def test_webhook_is_created_once(self, hook: ManusHook, sandbox: Sandbox) -> None:
        first, again = hook.create_webhook(), hook.create_webhook()

        assert first.id == again.id
        assert first.url == ELSEWHERE
        assert urls(sandbox) == [ELSEWHERE]

    def test_webhook_is_created_once_though_the_answer_is_lost(
        self, hook: ManusHook, sandbox: Sandbox
    ) -> None:
        sandbox.faults.add("drop_after", path="*/webhook.create", times=1)

        assert hook.create_webhook().url == ELSEWHERE
        assert urls(sandbox) == [ELSEWHERE]

    def test_webhook_that_was_not_created_is_an_error(self, hook: ManusHook, sandbox: Sandbox) -> None:
        sandbox.faults.add("status", path="*/webhook.create", status=500)

        with pytest.raises(RemoteTaskError, match="500"):
            hook.create_webhook()

    def test_webhook_that_is_inactive_is_replaced(
        self, hook: ManusHook, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = hook.create_webhook()
        found = hook.list_webhooks()
        monkeypatch.setattr(
            hook, "list_webhooks", lambda: [found[0].model_copy(update={"status": "inactive"})]
        )

        assert hook.create_webhook().id != first.id
        assert urls(sandbox) == [ELSEWHERE]

    def test_webhook_is_deleted_once(self, hook: ManusHook, sandbox: Sandbox) -> None:
        created = hook.create_webhook()
        sandbox.manus.webhooks.add("https://other.example.com")

        assert [hook.delete_webhook(), hook.delete_webhook(webhook_id=created.id)] == [1, 0]
        assert urls(sandbox) == ["https://other.example.com"]

    @pytest.mark.parametrize("url", ["", "http://hooks.example.com", "hooks.example.com"])
    def test_url_that_cannot_be_right_is_refused(self, hook: ManusHook, url: str, sandbox: Sandbox) -> None:
        with pytest.raises(InvalidArgumentError, match="url "):
            hook.create_webhook(url)
        assert sandbox.requests == []

    def test_webhooks_need_api_v2(self, server: Any, set_connection: Callable[..., str]) -> None:
        set_connection(
            "old",
            conn_type="manus",
            host=server.manus_url,
            password="sk-sandbox",
            extra={"api_version": "v1"},
        )
        with pytest.raises(ConnectionConfigError, match="registering webhooks needs API v2"):
            ManusHook("old").list_webhooks()


class TestReceiver:
    @pytest.fixture
    def address(self, manus_conn: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        holder: dict[str, Any] = {}

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await holder["app"](scope, receive, send)

        with served(app) as address:
            configure(monkeypatch, f"{address}/remote-tasks", "manus/manus_default")
            holder["notes"] = Notes()
            holder["app"] = receiver_alone(WebhookSettings.from_config(), holder["notes"])
            yield WebhookSettings.from_config().url_of(*PAIR)

    def test_webhook_is_registered_with_a_running_receiver(self, hook: ManusHook, address: str) -> None:
        assert hook.create_webhook().url == address
        assert hook.test_webhook().url == address

    def test_webhook_that_is_not_registered_fails_its_test(self, hook: ManusHook, address: str) -> None:
        with pytest.raises(ConnectionConfigError, match="has no webhook for"):
            hook.test_webhook()

    def test_url_without_a_receiver_fails_its_test(self, hook: ManusHook, address: str) -> None:
        with pytest.raises(RemoteTaskError, match=r"HTTP 404.*webhook_connections"):
            hook.test_webhook(address.replace("manus_default", "other"))
        with pytest.raises(InvalidRequestError, match="404"):
            hook.create_webhook(address.replace("manus_default", "other"))

    def test_url_that_nothing_listens_at_fails_its_test(self, hook: ManusHook) -> None:
        with pytest.raises(TransportError):
            hook.test_webhook("http://127.0.0.1:9/x")
        with pytest.raises(InvalidRequestError):
            hook.create_webhook("http://127.0.0.1:9/x")


@pytest.mark.usefixtures("elsewhere")
class TestOperator:
    def test_operator_does_each_action(self, manus_conn: str, sandbox: Sandbox, log_lines: list[str]) -> None:
        def run(action: str) -> Any:
            task = ManusWebhookOperator(task_id="listen", action=action, manus_conn_id=manus_conn)
            return task.execute({"ti": Mock()})  # type: ignore[typeddict-item]

        created = run("create")
        assert created["url"] == ELSEWHERE
        assert run("list") == [created]
        assert run("delete") == 1
        assert run("delete") == 0
        assert "Deleted 0 webhooks." in log_lines

    def test_operator_refuses_what_cannot_be_right(self) -> None:
        with pytest.raises(InvalidArgumentError, match="action"):
            ManusWebhookOperator(task_id="listen", action="register")
        with pytest.raises(InvalidArgumentError, match="url"):
            ManusWebhookOperator(task_id="listen", url="hooks.example.com")


@pytest.mark.usefixtures("elsewhere")
class TestCommand:
    def test_command_does_each_action(
        self, manus_conn: str, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for action in ("create", "create", "list"):
            assert main(["webhooks", action, manus_conn]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(set(lines)) == 1
        assert lines[0].endswith(f" active {ELSEWHERE}")

        assert main(["webhooks", "delete", manus_conn]) == 0
        assert capsys.readouterr().out == "1 deleted\n"

    def test_command_says_what_is_wrong(
        self, qstash_conn: str, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["webhooks", "create", qstash_conn]) == 1
        assert main(["webhooks", "list", "nothing_of_that_id"]) == 1
        assert "nothing to register" in capsys.readouterr().err
