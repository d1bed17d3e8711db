"""Polls of messages where an entry of the logs or a DLQ message is odd: the others go on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from remote_tasks_sandbox import Sandbox
from tests.poll_driver import PollDriver

LOGS, DLQ = "/qstash/v2/logs", "/qstash/v2/dlq"
ODD_ITEMS: list[Any] = [{"state": "ACTIVE"}, {"messageId": 5}, {"messageId": ""}, None, [], "m1"]


@pytest.mark.parametrize("odd", ODD_ITEMS, ids=json.dumps)
def test_odd_log_entry_spoils_no_poll(message_driver: PollDriver, sandbox: Sandbox, odd: Any) -> None:
    entries = [
        {"messageId": "m0", "state": "DELIVERED", "time": 1},
        odd,
        {"messageId": "m2", "state": "ACTIVE"},
    ]
    sandbox.faults.add("status", path=LOGS, status=200, body=json.dumps({"events": entries}))

    words = message_driver.words(["m0", "m1", "m2"])

    assert words == {"m0": "completed", "m1": "NotFoundError", "m2": "running"}


@pytest.mark.parametrize("odd", ODD_ITEMS, ids=json.dumps)
def test_odd_dlq_message_spoils_no_poll(message_driver: PollDriver, sandbox: Sandbox, odd: Any) -> None:
    entries = [{"messageId": one, "state": "FAILED", "time": 1} for one in ("m0", "m1")]
    sandbox.faults.add("status", path=LOGS, status=200, body=json.dumps({"events": entries}))
    letters = [{"messageId": "m0", "dlqId": "d0", "responseBody": "a\0b"}, odd]
    sandbox.faults.add("status", path=DLQ, status=200, body=json.dumps({"messages": letters}))

    results = message_driver(["m0", "m1"])

    records = [one.to_record() for one in results.values()]  # type: ignore[union-attr]
    assert [(one["state"], one["dlq_id"], one["error"]) for one in records] == [
        ("failed", "d0", "a\ufffdb"),
        ("failed", None, None),
    ]
