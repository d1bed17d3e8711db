"""The ends of an account's tasks, as Manus lists them."""

from __future__ import annotations

from typing import Any

import pytest

from remote_tasks_provider.core.polling.drivers import results_of
from remote_tasks_provider.core.polling.strategy import PollRequest
from remote_tasks_provider.manus.events import MANUS_EVENTS
from remote_tasks_provider.manus.hooks import ManusHook
from remote_tasks_sandbox import Sandbox, SandboxServer
from tests.conftest import IMPATIENT, MANUS_KEY


@pytest.mark.parametrize("version", [None, "v1", "v2"])
def test_finished_tasks_are_events_and_running_ones_are_not(
    version: str | None, sandbox: Sandbox, server: SandboxServer, set_connection: Any
) -> None:
    extra = IMPATIENT | ({"api_version": version} if version else {})
    set_connection("manus_default", conn_type="manus", host=server.manus_url, password=MANUS_KEY, extra=extra)
    sandbox.manus.add_task("done", [("completed", None)], "A report")
    sandbox.manus.add_task("broken", [("failed", None)], error="the page was gone")
    sandbox.manus.add_task("busy", [("running", None)])
    client = ManusHook().client
    request = PollRequest(["0.0"])

    found: Any = results_of(MANUS_EVENTS.poll_strategy(client.config).plan(request), client.send)
    client.close()

    assert {key: one.payload and one.payload["state"] for key, one in found.items()} == {
        "done": "completed",
        "broken": "failed",
        "busy": None,
    }
    assert found["done"].payload["title"] == "A report"
    assert found["done"].at > 0
