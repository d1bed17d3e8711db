"""Polls of which one awaited task is odd: its wait has an error of its own, the others go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from remote_tasks_sandbox import Sandbox
from tests.manus.account import LIST, many
from tests.poll_driver import PollDriver

ODD_ITEMS: list[Any] = [
    {"status": "running"},
    {"id": 5},
    {"id": ""},
    {"id": None, "updated_at": "9999-12-31T23:59:59-05:00"},
    None,
    [],
    "t3",
]
ODD_TASK = '{"status": "running", "id": 7}'


def _listed(ids: list[str], odd: Any) -> list[Any]:
    return [odd if one == "t3" else {"id": one, "status": "running"} for one in ids]


@pytest.mark.parametrize("odd", ODD_ITEMS, ids=json.dumps)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_odd_task_has_an_error_of_its_own(
    make_driver: Callable[..., PollDriver], sandbox: Sandbox, version: str, odd: Any
) -> None:
    driver = make_driver(api_version=version)
    ids = many(sandbox, 6)
    listed, single = {"v1": (LIST, f"{LIST}/t3"), "v2": ("/manus/v2/task.list", "/manus/v2/task.detail")}[
        version
    ]
    page = json.dumps({"object": "list", "ok": True, "data": _listed(ids, odd)})
    sandbox.faults.add("status", path=listed, status=200, body=page)
    sandbox.faults.add(
        "status", path=single, status=200, body=ODD_TASK, task_id="t3" if version == "v2" else None
    )

    words = driver.words(ids)

    assert words == dict.fromkeys(ids, "running") | {"t3": "InvalidResponseError"}


@pytest.mark.parametrize(
    "odd", ["9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+14:00", 10**400, -1, float("nan")], ids=str
)
@pytest.mark.parametrize("field", ["created_at", "updated_at"])
def test_odd_time_of_one_task_spoils_no_poll(
    make_driver: Callable[..., PollDriver], sandbox: Sandbox, field: str, odd: Any
) -> None:
    driver = make_driver(api_version="v1")
    ids = many(sandbox, 6)
    page = json.dumps({"object": "list", "data": _listed(ids, {"id": "t3", "status": "running", field: odd})})
    sandbox.faults.add("status", path=LIST, status=200, body=page)

    assert driver.words(ids) == dict.fromkeys(ids, "running")
    assert driver.words(ids) == dict.fromkeys(ids, "running")


@pytest.mark.parametrize("text", [r"\ud83d", r"\u0000"])
def test_odd_text_of_one_task_spoils_no_poll(
    make_driver: Callable[..., PollDriver], sandbox: Sandbox, text: str
) -> None:
    driver = make_driver(api_version="v1")
    ids = many(sandbox, 6)
    odd = {"id": "t3", "status": "running", "metadata": {"task_title": "@"}, "output": [{"content": "@"}]}
    page = json.dumps({"object": "list", "data": _listed(ids, odd)}).replace("@", text)
    sandbox.faults.add("status", path=LIST, status=200, body=page)

    results = driver(ids)

    assert results["t3"].title == "\ufffd"  # type: ignore[union-attr]
    assert {one.state for one in results.values()} == {"running"}  # type: ignore[union-attr]
