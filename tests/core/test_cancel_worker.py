"""Cancelling on a worker: it blocks until each task is settled, and says what became of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from remote_tasks_provider.core import cancel_worker
from remote_tasks_provider.core.cancel_worker import cancel_tasks
from remote_tasks_provider.core.cancellation import CancelOutcome, CancelRules
from remote_tasks_provider.core.errors import ConnectionConfigError, RemoteTaskError
from remote_tasks_provider.core.http.client import Client
from tests.core.build import a_call, a_config
from tests.core.shared_poller import Log, World
from tests.core.words import Words, ask

WHY = "this task was marked failed"
RULES = CancelRules(patience=100.0, not_found_grace=10.0)


class Worker:
    """A worker that cancels; keeps what was sent and logged. Time passes only while it sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log = Log()
        self.words = Words({})
        self.now = 0.0
        self.keys = ["key 1"]
        self.confirm: Callable[[], str | None] = lambda: WHY
        self.clients: list[Client] = []
        self.closed = 0
        clock = SimpleNamespace(monotonic=lambda: self.now, sleep=self._sleep)
        monkeypatch.setattr(cancel_worker, "time", clock)
        monkeypatch.setattr(random, "uniform", lambda _least, most: most)

    def _sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds

    def _connect(self) -> Client:
        key = self.keys.pop(0) if len(self.keys) > 1 else self.keys[0]
        if not key:
            raise ConnectionConfigError("no such connection")
        client = Client(replace(a_config(max_attempts=1), secret=key), self.words, lambda *_: None)
        self.clients.append(client)
        client.close = self._close  # type: ignore[method-assign]
        return client

    def _close(self) -> None:
        self.closed += 1
        raise OSError("closed already")

    def cancel(
        self, *ids: str, cancel: Any = lambda _extras, ids: ask(*ids), **answers: Any
    ) -> dict[str, str]:
        self.words.answers |= answers
        results = cancel_tasks(
            ids,
            task_type=replace(World().task_type, cancel=cancel),
            connect=self._connect,
            confirm=lambda: self.confirm(),
            rules=RULES,
            log=self.log,
        )
        assert all(one.may_run is (one.outcome.name in ("LEFT", "FAILED")) for one in results.values())
        return {task_id: result.outcome.name for task_id, result in results.items()}


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    return Worker(monkeypatch)


class TestCancelTasks:
    def test_cancelled_tasks_are_logged_with_the_reason(self, worker: Worker) -> None:
        assert worker.cancel("a", "b") == {"a": "CANCELLED", "b": "CANCELLED"}
        assert worker.words.asked == ["a", "b"]
        assert worker.log.infos == [f"Example task {one} was cancelled: {WHY}." for one in "ab"]
        assert len(worker.clients) == 1

    def test_failed_cancel_is_repeated_and_logged(self, worker: Worker) -> None:
        assert worker.cancel("a", "b", a=500) == {"a": "FAILED", "b": "CANCELLED"}
        assert worker.words.asked.count("a") == 8
        assert [line.split(":")[0] for line in worker.log.warnings] == [
            "Example task a is not cancelled yet, another request follows",
            "Example task a was not cancelled and may still run",
        ]
        assert worker.now == 100.0

    def test_missing_task_is_logged(self, worker: Worker) -> None:
        assert worker.cancel("a", a=404) == {"a": "NOT_FOUND"}
        assert worker.log.infos == ["Example task a was not found: it has finished, or no longer exists."]

    def test_count_of_a_batch_is_logged(self, worker: Worker) -> None:
        def cancel(_extras: Any, ids: Sequence[str]) -> Any:
            return a_call(lambda response: int(response.body), path=f"/{len(ids)}")

        worker.words.answers["3"] = "1"
        task_type = replace(World().task_type, cancel=cancel, cancel_batch_size=3)
        results = cancel_tasks(
            "abc",
            task_type=task_type,
            connect=worker._connect,
            confirm=worker.confirm,
            rules=RULES,
            log=worker.log,
        )

        assert {one.outcome for one in results.values()} == {CancelOutcome.NOT_RUNNING}
        assert worker.log.infos[0] == (
            "Example task a does not run any more: it was cancelled, or had finished "
            "(1 of 3 were cancelled, the service does not say which)."
        )

    def test_task_that_must_be_left_alone_gets_no_request(self, worker: Worker) -> None:
        worker.confirm = lambda: None

        assert worker.cancel("a", "b") == {"a": "LEFT", "b": "LEFT"}
        assert worker.words.asked == []
        assert worker.clients == []

    def test_doubt_whether_to_cancel_is_outlasted(self, worker: Worker) -> None:
        worker.confirm = lambda: WHY if worker.now > 5 else str(1 / 0)

        assert worker.cancel("a") == {"a": "CANCELLED"}
        assert "ZeroDivisionError" in worker.log.warnings[0]

    def test_connection_that_cannot_be_read_is_outlasted(self, worker: Worker) -> None:
        worker.keys = ["", "", "key 1"]

        assert worker.cancel("a") == {"a": "CANCELLED"}
        assert "the connection could not be read: ConnectionConfigError" in worker.log.warnings[0]

    def test_connection_is_read_again_when_the_key_is_refused(self, worker: Worker) -> None:
        worker.keys = ["key 1", "", "key 2"]
        worker.words.answers["a"] = 401

        assert worker.cancel("a") == {"a": "FAILED"}
        assert [client.config.secret for client in worker.clients][:2] == ["key 1", "key 2"]
        assert worker.closed == len(worker.clients)

    def test_service_without_a_cancel_operation_is_named(self, worker: Worker) -> None:
        assert worker.cancel("a", cancel=lambda *_: None) == {"a": "FAILED"}
        assert "Example has no operation that cancels it" in worker.log.warnings[0]

    @pytest.mark.parametrize(
        "error", [RemoteTaskError("set api_version to v2"), ValueError("set api_version to v2")]
    )
    def test_cancel_that_cannot_be_built_is_logged(self, worker: Worker, error: Exception) -> None:
        def refuse(*_: Any) -> Any:
            raise error

        assert worker.cancel("a", cancel=refuse) == {"a": "FAILED"}
        assert "set api_version to v2" in worker.log.warnings[0]

    def test_empty_list_reads_no_connection(self, worker: Worker) -> None:
        assert worker.cancel() == {}
        assert worker.clients == []
