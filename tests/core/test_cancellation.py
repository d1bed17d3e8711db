"""Cancelling remote tasks: the same on a worker and in a triggerer, and each task is reported."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from remote_tasks_provider.core.cancellation import acancel_tasks, cancel_tasks
from remote_tasks_provider.core.errors import RemoteTaskError, TransportError
from remote_tasks_provider.core.http.client import AsyncClient, Client
from tests.core.build import a_config
from tests.core.shared_poller import Log, World
from tests.core.words import AsyncWords, Words, ask

WHY = "this task was marked failed"


def _asks(_extras: Any, task_id: str) -> Any:
    return ask(task_id)


class Canceller:
    """Cancels tasks over one of the two clients; keeps what was sent and logged."""

    def __init__(self, is_async: bool) -> None:
        self.is_async = is_async
        self.log = Log()
        self.words: Words = Words({})

    def __call__(
        self, *ids: str, cancel: Callable[[Any, str], Any] = _asks, **answers: str | int | Exception
    ) -> list[str]:
        config, task_type = a_config(max_attempts=1), replace(World().task_type, cancel=cancel)
        if not self.is_async:
            self.words = Words(answers)
            client = Client(config, self.words, lambda *_: None)
            return cancel_tasks(client, task_type, ids, WHY, self.log)
        self.words = words = AsyncWords(answers)
        aclient = AsyncClient(config, words, lambda *_: None)
        return asyncio.run(acancel_tasks(aclient, task_type, ids, WHY, self.log))


@pytest.fixture(params=[False, True], ids=["worker", "triggerer"])
def cancel(request: pytest.FixtureRequest) -> Canceller:
    return Canceller(request.param)


def test_cancelled_tasks_are_logged_with_the_reason(cancel: Canceller) -> None:
    assert cancel("a", "b") == []
    assert cancel.words.asked == ["a", "b"]
    assert cancel.log.infos == [f"Example task {one} was cancelled: {WHY}." for one in "ab"]


def test_missing_task_counts_as_cancelled(cancel: Canceller) -> None:
    assert cancel("a", a=404) == []
    assert cancel.log.infos == ["Example task a no longer exists."]


@pytest.mark.parametrize("answer", [429, 500, TransportError("reset")], ids=str)
def test_failed_cancel_is_logged_and_the_others_are_tried(cancel: Canceller, answer: Any) -> None:
    assert cancel("a", "b", a=answer) == ["a"]
    assert cancel.log.warnings[0].startswith("Example task a was not cancelled and may still run: ")
    assert cancel.log.infos == [f"Example task b was cancelled: {WHY}."]


def test_error_for_all_tasks_is_met_once(cancel: Canceller) -> None:
    assert cancel("a", "b", a=401) == ["a", "b"]
    assert cancel.words.asked == ["a"]
    assert len(cancel.log.warnings) == 2


def test_service_without_a_cancel_operation_is_named(cancel: Canceller) -> None:
    assert cancel("a", cancel=lambda *_: None) == ["a"]
    assert "Example has no operation that cancels it" in cancel.log.warnings[0]
    assert cancel.words.asked == []


def test_cancel_that_cannot_be_built_is_logged(cancel: Canceller) -> None:
    def refuse(_extras: Any, _task_id: str) -> Any:
        raise RemoteTaskError("set api_version to v2")

    assert cancel("a", cancel=refuse) == ["a"]
    assert "set api_version to v2" in cancel.log.warnings[0]
