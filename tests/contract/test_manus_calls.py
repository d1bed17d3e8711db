"""Every Manus call over both transports: equal requests, equal results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from remote_tasks_provider.core.http.connection import ConnectionConfig, ConnectionFields
from remote_tasks_provider.manus.api.filters import task_filter
from remote_tasks_provider.manus.api.v1 import get_task, list_tasks
from remote_tasks_provider.manus.models import ManusTask
from remote_tasks_provider.manus.service import MANUS
from remote_tasks_sandbox import Sandbox, SandboxServer
from tests.conftest import MANUS_KEY

OnBoth = Callable[..., Any]


@pytest.fixture
def config(server: SandboxServer) -> ConnectionConfig:
    return MANUS.config(ConnectionFields("my_conn", host=server.manus_url, password=MANUS_KEY))


class TestGet:
    def test_task_is_read_with_all_its_fields(
        self, sandbox: Sandbox, config: ConnectionConfig, on_both: OnBoth
    ) -> None:
        sandbox.manus.add_task(
            "t1",
            [("completed", None)],
            "Sums",
            prompt="What is 2+2?",
            answer="4",
            files=["answer.md"],
            credit_usage=22,
            created_at=1763507071,
        )
        task: ManusTask = on_both(lambda over: over.operation(get_task("t1"), config))

        assert (task.id, task.state, task.title, task.credit_usage) == ("t1", "completed", "Sums", 22)
        assert task.created_at is not None
        assert task.created_at.timestamp() == 1763507071
        assert [part.text for message in task.output for part in message.content] == [
            "What is 2+2?",
            "4",
            None,
        ]
        assert task.output[-1].content[-1].file_name == "answer.md"

    @pytest.mark.parametrize("task_id", ["a/b", "ü", "%2e", "a b", "a?b=c#d", "a%2Fb", "..a", "{x}", "🙂"])
    def test_id_is_percent_encoded(
        self, task_id: str, sandbox: Sandbox, config: ConnectionConfig, on_both: OnBoth
    ) -> None:
        sandbox.manus.add_task(task_id)

        assert on_both(lambda over: over.operation(get_task(task_id), config)).id == task_id

    @pytest.mark.parametrize("word", ["running", "pending", "completed", "failed", "error", "dreaming"])
    def test_statuses_map_to_states(
        self, word: str, sandbox: Sandbox, config: ConnectionConfig, on_both: OnBoth
    ) -> None:
        sandbox.manus.add_task("t1", [(word, None)])

        assert on_both(lambda over: over.operation(get_task("t1"), config)).status == word


class TestList:
    @pytest.fixture(autouse=True)
    def _tasks(self, sandbox: Sandbox) -> None:
        for number, word in enumerate(["completed", "failed", "running", "pending", "completed"]):
            sandbox.manus.add_task(
                f"t{number}",
                [(word, None)],
                title=f"Report {'north' if number % 2 else 'south'}",
                created_at=1_763_000_000 + number * 100,
                project_id="p1" if number < 3 else None,
            )

    @pytest.mark.parametrize(
        ("filters", "ids"),
        [
            ({}, "t4 t3 t2 t1 t0"),
            ({"status": "completed"}, "t4 t0"),
            ({"status": ["failed", "running"]}, "t2 t1"),
            ({"query": "NORTH"}, "t3 t1"),
            ({"query": "a & b=ü"}, ""),
            ({"created_after": 1_763_000_200}, "t4 t3"),
            ({"created_before": 1_763_000_200}, "t1 t0"),
            ({"created_after": 1_763_000_000, "created_before": 1_763_000_300}, "t2 t1"),
            ({"project_id": "p1"}, "t2 t1 t0"),
            ({"order": "asc"}, "t0 t1 t2 t3 t4"),
            ({"order_by": "created_at", "after": "t2"}, "t1 t0"),
            ({"order": "asc", "after": "t2", "page_size": 1}, "t3 t4"),
            ({"page_size": 1}, "t4 t3 t2 t1 t0"),
            ({"page_size": 2, "status": ["completed", "running", "failed"]}, "t4 t2 t1 t0"),
            ({"page_size": 1000}, "t4 t3 t2 t1 t0"),
        ],
        ids=str,
    )
    def test_filters_and_page_size_narrow_the_list(
        self, filters: dict[str, Any], ids: str, config: ConnectionConfig, on_both: OnBoth
    ) -> None:
        tasks = on_both(lambda over: over.items(list_tasks(task_filter(**filters)), config))

        assert [task.id for task in tasks] == ids.split()

    def test_order_by_update_is_sent(
        self, config: ConnectionConfig, on_both: OnBoth, sandbox: Sandbox
    ) -> None:
        tasks = on_both(
            lambda over: over.items(list_tasks(task_filter(order="asc", order_by="updated_at")), config)
        )

        assert len(tasks) == 5
        assert ("orderBy", "updated_at") in sandbox.requests[-1].query

    def test_limit_ends_the_listing_without_another_page(
        self, config: ConnectionConfig, on_both: OnBoth, sandbox: Sandbox
    ) -> None:
        operation = list_tasks(task_filter(page_size=2))
        tasks = on_both(lambda over: over.items(operation, config, limit=4))

        assert [task.id for task in tasks] == ["t4", "t3", "t2", "t1"]
        assert len(sandbox.requests) == 2 * 2

    def test_empty_account_has_no_tasks(
        self, sandbox: Sandbox, config: ConnectionConfig, on_both: OnBoth
    ) -> None:
        sandbox.manus.clear()

        assert on_both(lambda over: over.items(list_tasks(task_filter()), config)) == []


class TestProbe:
    def test_probe_is_one_light_read(
        self, sandbox: Sandbox, config: ConnectionConfig, on_both: OnBoth
    ) -> None:
        on_both(lambda over: over.operation(MANUS.probe(config.extras), config))

        record = sandbox.requests[-1]
        assert (record.method, record.path) == ("GET", "/manus/v2/task.list")
        assert dict(record.query)["limit"] == "1"
