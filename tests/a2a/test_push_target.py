"""Agents that can call back are asked to, with a secret of its own; real agents then ring a real receiver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("starlette")

from dev.a2a.peers import Agent
from remote_tasks_provider.a2a.api.messages import PushTarget, outgoing
from remote_tasks_provider.a2a.hooks import A2AHook
from remote_tasks_provider.a2a.models import A2ATask
from remote_tasks_provider.bases.webhooks import WebhookSettings
from remote_tasks_provider.core.errors import ConnectionConfigError
from remote_tasks_provider.receiver.serving import receiver_alone
from sandbox.tests.receiver import until
from tests.bases.test_webhooks import configure
from tests.receiver.bells import SECRET, Notes, served

VERSIONS: list[Any] = ["1.x", "0.3"]


@pytest.fixture(scope="module", params=VERSIONS)
def agent(request: pytest.FixtureRequest) -> Iterator[Agent]:
    with Agent(request.param, push=True) as running:
        yield running


@pytest.fixture
def rung(
    agent: Agent, set_connection: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Notes]:
    """The connection ``a2a_default`` to the agent, with push, and a receiver for it."""
    extra = {"webhook_secret": SECRET, "push": True}
    set_connection("a2a_default", conn_type="a2a", host=agent.url, extra=extra)
    holder: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await holder["app"](scope, receive, send)

    with served(app) as address:
        configure(monkeypatch, f"{address}/remote-tasks", "a2a/a2a_default")
        notes = Notes()
        holder["app"] = receiver_alone(WebhookSettings.from_config(), notes)
        yield notes


def sent(text: str) -> A2ATask:
    hook = A2AHook()
    found = hook.send_message(text)
    hook.close()
    assert isinstance(found, A2ATask)
    return found


class TestAgents:
    def test_agent_rings_when_its_task_has_finished(
        self, agent: Agent, rung: Notes, log_lines: list[str]
    ) -> None:
        task = sent("hold; say done")
        until(lambda: [line for line in log_lines if f"about {task.id} (" in line])
        assert rung.rings == []

        agent.release(task.id)
        # The server of 0.3 tells nothing of what happens after it has answered.
        if agent._version == "1.x":
            assert until(lambda: rung.rings) == [("a2a", "a2a_default")]

    def test_agent_with_another_secret_rings_nothing(
        self, agent: Agent, rung: Notes, monkeypatch: pytest.MonkeyPatch, log_lines: list[str]
    ) -> None:
        target = A2AHook._push_target

        def other(hook: A2AHook) -> PushTarget:
            found = target(hook)
            assert found is not None
            return PushTarget(found.url, "another-secret-0123456789")

        monkeypatch.setattr(A2AHook, "_push_target", other)
        sent("say done")
        until(lambda: [line for line in log_lines if "refused a webhook" in line])

        assert rung.rings == []


class TestTarget:
    def test_push_is_asked_for_only_where_all_is_set(
        self, set_connection: Callable[..., str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def target(
            url: str = "https://hooks.example.com/x", listed: str = "a2a/a2a_default", **extra: Any
        ) -> Any:
            configure(monkeypatch, url, listed)
            extra = {"push": True, "webhook_secret": SECRET} | extra
            set_connection("a2a_default", conn_type="a2a", host="http://127.0.0.1:9", extra=extra)
            return A2AHook()._push_target()

        assert target() == PushTarget("https://hooks.example.com/x/webhooks/a2a/a2a_default", SECRET)
        missing = [
            target(push=False),
            target(webhook_secret=None),
            target(url=""),
            target(listed="a2a/other"),
        ]
        assert missing == [None, None, None, None]

    def test_password_is_never_sent_as_the_secret(
        self, set_connection: Callable[..., str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        configure(monkeypatch, "https://hooks.example.com/x", "a2a/a2a_default")
        extra = {"push": True, "webhook_secret": SECRET}
        set_connection(
            "a2a_default", conn_type="a2a", host="http://127.0.0.1:9", password=SECRET, extra=extra
        )

        with pytest.raises(ConnectionConfigError, match="give it one of its own"):
            A2AHook().send_message("hello")

    @pytest.mark.parametrize(
        ("version", "name"), [("1.0", "taskPushNotificationConfig"), ("0.3", "pushNotificationConfig")]
    )
    def test_target_is_written_as_each_version_has_it(self, version: str, name: str) -> None:
        from dataclasses import replace

        message = replace(outgoing("hello"), push=PushTarget("https://x", SECRET))

        assert message.params(version)["configuration"][name] == {"url": "https://x", "token": SECRET}
        assert SECRET not in repr(message)

    def test_agent_that_cannot_call_back_is_not_asked_to(
        self, a2a_v1: Agent, set_connection: Callable[..., str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        configure(monkeypatch, "https://hooks.example.com/x", "a2a/a2a_default")
        extra = {"push": True, "webhook_secret": SECRET}
        set_connection("a2a_default", conn_type="a2a", host=a2a_v1.url, extra=extra)

        assert sent("say done").id
        assert "otificationConfig" not in str(a2a_v1.control("requests"))
