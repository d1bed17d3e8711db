"""Every QStash call over both transports: equal requests, equal results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from remote_tasks_provider.core.errors import NotFoundError
from remote_tasks_provider.core.http.connection import ConnectionConfig, ConnectionFields
from remote_tasks_provider.qstash.api.v1 import get_task, list_message_tasks
from remote_tasks_provider.qstash.models import QStashTask
from remote_tasks_provider.qstash.service import QSTASH
from remote_tasks_sandbox import Sandbox, SandboxServer
from tests.conftest import QSTASH_TOKEN

OnBoth = Callable[..., Any]


@pytest.fixture
def config(server: SandboxServer) -> ConnectionConfig:
    return QSTASH.config(ConnectionFields("my_conn", host=server.qstash_url, password=QSTASH_TOKEN))


class TestGet:
    @pytest.mark.parametrize("strings", [(), ("maxRetry", "retried", "lastErrorAt")])
    def test_counts_and_times_are_read_as_numbers_and_as_strings(
        self, strings: tuple[str, ...], sandbox: Sandbox, config: ConnectionConfig, on_both: OnBoth
    ) -> None:
        sandbox.settings.update({"qstash_string_fields": strings})
        sandbox.qstash.add_task(
            "t1", "m1", ["retrying"], url="https://h/x", error="timed out", max_retry=5, retried=4
        )
        task: QStashTask = on_both(lambda over: over.operation(get_task("t1"), config))

        assert (task.task_id, task.message_id, task.state, task.error) == ("t1", "m1", "running", "timed out")
        assert (task.max_retry, task.retried) == (5, 5)
        assert task.last_error_at is not None

    @pytest.mark.parametrize("task_id", ["a/b", "ü", "%2e", "a?b=c", "..a", "🙂"])
    def test_id_is_percent_encoded(
        self, task_id: str, sandbox: Sandbox, config: ConnectionConfig, on_both: OnBoth
    ) -> None:
        sandbox.qstash.add_task(task_id)

        assert on_both(lambda over: over.operation(get_task(task_id), config)).task_id == task_id

    @pytest.mark.parametrize(
        "word", ["created", "active", "error", "delivered", "failed", "canceled", "dreaming"]
    )
    def test_words_map_to_states(
        self, word: str, sandbox: Sandbox, config: ConnectionConfig, on_both: OnBoth
    ) -> None:
        sandbox.qstash.add_task("t1", script=[word])

        assert on_both(lambda over: over.operation(get_task("t1"), config)).status == word


class TestMessageTasks:
    def _list(self, on_both: OnBoth, config: ConnectionConfig, *args: Any, **kwargs: Any) -> list[str]:
        tasks = on_both(lambda over: over.items(list_message_tasks(*args), config, **kwargs))
        return [task.task_id for task in tasks]

    @pytest.mark.parametrize("end", ["absent", None, 0, "0", ""])
    def test_last_page_is_recognised_in_every_spelling(
        self, end: Any, sandbox: Sandbox, config: ConnectionConfig, on_both: OnBoth
    ) -> None:
        sandbox.settings.update({"cursor_end": end})
        for number in range(250):
            sandbox.qstash.add_task(f"t{number}", "m1")

        assert self._list(on_both, config, "m1") == [f"t{number}" for number in reversed(range(250))]
        assert len(sandbox.requests) == 2 * 3

    def test_listing_can_start_at_a_cursor(
        self, sandbox: Sandbox, config: ConnectionConfig, on_both: OnBoth
    ) -> None:
        for number in range(3):
            sandbox.qstash.add_task(f"t{number}", "m1", created_at=1_700_000_000_000 + number)

        assert self._list(on_both, config, "m1", "1700000000002") == ["t1", "t0"]

    def test_limit_counts_tasks(self, sandbox: Sandbox, config: ConnectionConfig, on_both: OnBoth) -> None:
        for number in range(101):
            sandbox.qstash.add_task(f"t{number}", "m1")

        assert len(self._list(on_both, config, "m1", limit=100)) == 100
        assert len(sandbox.requests) == 2

    def test_message_without_tasks_gives_an_empty_list(
        self, sandbox: Sandbox, config: ConnectionConfig, on_both: OnBoth
    ) -> None:
        sandbox.qstash.delete_task(sandbox.qstash.add_task(message_id="a/b"))

        assert self._list(on_both, config, "a/b") == []

    def test_unknown_message_is_not_found(
        self, sandbox: Sandbox, config: ConnectionConfig, on_both: OnBoth
    ) -> None:
        kind, _ = on_both(lambda over: over.items(list_message_tasks("m1"), config))

        assert kind is NotFoundError


class TestProbe:
    def test_probe_is_one_light_read(
        self, sandbox: Sandbox, config: ConnectionConfig, on_both: OnBoth
    ) -> None:
        on_both(lambda over: over.operation(QSTASH.probe(config.extras), config))

        record = sandbox.requests[-1]
        assert (record.method, record.path, record.query) == ("GET", "/qstash/v2/logs", [("count", "1")])
