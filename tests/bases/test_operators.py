"""The operators that read: what they return, what they write, and what they refuse."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from remote_tasks_provider.bases.operators import CancelAftermath
from remote_tasks_provider.core.cancellation import Cancelled, CancelOutcome
from remote_tasks_provider.core.errors import NotFoundError, PaginationError, ServerError
from remote_tasks_provider.manus.hooks import ManusHook
from remote_tasks_provider.manus.operators import (
    ManusGetTaskOperator,
    ManusListTasksOperator,
    ManusListUsageOperator,
)
from remote_tasks_provider.qstash.operators import QStashGetTaskOperator, QStashListMessageTasksOperator
from remote_tasks_sandbox import Sandbox, SandboxServer
from tests.bases.history import Clock, TaskInstance
from tests.conftest import MANUS_KEY


@pytest.fixture
def context() -> dict[str, Any]:
    return {"ti": TaskInstance(Clock())}


class TestGet:
    def test_task_comes_without_its_conversation(
        self, sandbox: Sandbox, manus_conn: str, context: dict[str, Any]
    ) -> None:
        task_id = sandbox.manus.add_task(
            script=[("completed", None)], title="Report", answer="42", files=("a.md",)
        )

        task = ManusGetTaskOperator(task_id="get", remote_task_id=task_id, manus_conn_id=manus_conn).execute(
            context
        )

        assert (task["id"], task["state"], task["title"]) == (task_id, "completed", "Report")
        assert "output" not in task
        assert context["ti"].xcoms["remote_task_url"] == task["url"]

    def test_conversation_comes_on_request_without_links_to_files(
        self, sandbox: Sandbox, manus_conn: str, context: dict[str, Any]
    ) -> None:
        task_id = sandbox.manus.add_task(script=[("completed", None)], answer="42", files=("a.md",))

        task = ManusGetTaskOperator(
            task_id="get", remote_task_id=task_id, manus_conn_id=manus_conn, include_output=True
        ).execute(context)

        text = json.dumps(task["output"])
        assert "42" in text
        assert "a.md" in text
        assert "Signature" not in text

    def test_missing_fresh_task_is_left_to_airflow_retries(
        self, sandbox: Sandbox, manus_conn: str, context: dict[str, Any]
    ) -> None:
        with pytest.raises(NotFoundError, match="Is the id right"):
            ManusGetTaskOperator(task_id="get", remote_task_id="nope", manus_conn_id=manus_conn).execute(
                context
            )

    def test_outage_is_left_to_airflow_retries(
        self, sandbox: Sandbox, manus_conn: str, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        once = json.loads(__import__("os").environ["AIRFLOW_CONN_MANUS_DEFAULT"])
        once["extra"] = {"max_attempts": 1}
        monkeypatch.setenv("AIRFLOW_CONN_MANUS_DEFAULT", json.dumps(once))
        sandbox.faults.add("status", path="/manus/*", status=503)

        with pytest.raises(ServerError) as outage:
            ManusGetTaskOperator(task_id="get", remote_task_id="a", manus_conn_id=manus_conn).execute(context)

        assert pickle.loads(pickle.dumps(outage.value)).status_code == 503

    def test_wrong_key_is_final(self, sandbox: Sandbox, manus_conn: str, context: dict[str, Any]) -> None:
        sandbox.settings.manus_key = "another"

        with pytest.raises(
            AirflowFailException, match=r"HTTP 401.*password \(API key\) of connection 'manus_default'"
        ):
            ManusGetTaskOperator(task_id="get", remote_task_id="a", manus_conn_id=manus_conn).execute(context)

    def test_qstash_task_is_fetched(
        self, sandbox: Sandbox, qstash_conn: str, context: dict[str, Any]
    ) -> None:
        sandbox.qstash.add_task(
            "tsk", "msg", [("error", None)], url="https://example.com/in?token=hush", error="500"
        )

        task = QStashGetTaskOperator(task_id="get", remote_task_id="tsk", qstash_conn_id=qstash_conn).execute(
            context
        )

        assert (task["state"], task["status"], task["url"]) == ("running", "error", "https://example.com/in")

    def test_token_of_another_region_names_the_region(
        self, sandbox: Sandbox, qstash_conn: str, context: dict[str, Any]
    ) -> None:
        sandbox.settings.wrong_region = True

        with pytest.raises(AirflowFailException, match="regions are separate"):
            QStashGetTaskOperator(task_id="get", remote_task_id="tsk", qstash_conn_id=qstash_conn).execute(
                context
            )


class TestList:
    def add(self, sandbox: Sandbox, count: int) -> list[str]:
        made = [
            sandbox.manus.add_task(
                f"task-{number:04}", [("completed", None)], created_at=1_700_000_000 + number
            )
            for number in range(count)
        ]
        return list(reversed(made))

    def test_hundred_tasks_go_to_xcom_by_default(
        self, sandbox: Sandbox, manus_conn: str, context: dict[str, Any]
    ) -> None:
        newest_first = self.add(sandbox, 130)

        found = ManusListTasksOperator(task_id="list", manus_conn_id=manus_conn).execute(context)

        assert [task["id"] for task in found] == newest_first[:100]

    def test_file_holds_all_tasks_and_xcom_a_small_manifest(
        self, sandbox: Sandbox, manus_conn: str, context: dict[str, Any], tmp_path: Path
    ) -> None:
        newest_first = self.add(sandbox, 130)
        target = tmp_path / "deep" / "tasks.jsonl"

        manifest = ManusListTasksOperator(
            task_id="list", manus_conn_id=manus_conn, page_size=50, output_path=f"file://{target}"
        ).execute(context)

        ids = [json.loads(line)["id"] for line in target.read_text().splitlines()]
        assert ids == newest_first
        assert manifest == {
            "count": 130,
            "first_id": newest_first[0],
            "last_id": newest_first[-1],
            "path": f"file://{target}",
        }
        assert len([one for one in sandbox.requests if one.path == "/manus/v1/tasks"]) == 3

    def test_empty_list_is_an_empty_file(
        self, sandbox: Sandbox, manus_conn: str, context: dict[str, Any], tmp_path: Path
    ) -> None:
        manifest = ManusListTasksOperator(
            task_id="list", manus_conn_id=manus_conn, output_path=str(tmp_path / "none.jsonl")
        ).execute(context)

        assert (manifest["count"], manifest["first_id"]) == (0, None)
        assert (tmp_path / "none.jsonl").read_text() == ""

    @pytest.mark.parametrize("before", [{}, {"half.jsonl": "yesterday's"}])
    def test_interrupted_listing_leaves_everything_as_it_was(
        self,
        before: dict[str, str],
        sandbox: Sandbox,
        manus_conn: str,
        context: dict[str, Any],
        tmp_path: Path,
    ) -> None:
        for name, text in before.items():
            (tmp_path / name).write_text(text)
        self.add(sandbox, 30)
        sandbox.faults.add("repeat_cursor", path="/manus/v1/tasks")

        with pytest.raises(AirflowFailException) as stopped:
            ManusListTasksOperator(
                task_id="list",
                manus_conn_id=manus_conn,
                page_size=10,
                output_path=str(tmp_path / "half.jsonl"),
            ).execute(context)

        assert isinstance(stopped.value.__cause__, PaginationError)
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before

    @pytest.mark.parametrize(
        ("arguments", "complaint"),
        [
            ({"limit": 1001}, "limit is 1001.*output_path"),
            ({"limit": 0}, "limit is 0"),
            ({"limit": "many"}, "limit is 'many'"),
            ({"page_size": 0}, "page_size is 0; it must be a whole number from 1 to 1000"),
            ({"page_size": 1001}, "page_size is 1001"),
            (
                {"status": "done"},
                "status is 'done'; it must be one of pending, waiting, running, completed, failed",
            ),
            ({"status": ["failed", "error"]}, "status is 'error'"),
            ({"order": "up"}, "order is 'up'"),
            ({"order_by": "title"}, "order_by is 'title'"),
            ({"created_after": "yesterday"}, "created_after is 'yesterday'"),
            ({"created_before": datetime(2026, 1, 1)}, "created_before is .*aware"),  # noqa: DTZ001
            ({"after": ""}, "after is ''"),
            ({"project_id": " "}, "project_id is ' '"),
        ],
    )
    def test_invalid_input_is_named_before_any_request(
        self,
        arguments: dict[str, Any],
        complaint: str,
        sandbox: Sandbox,
        manus_conn: str,
        context: dict[str, Any],
    ) -> None:
        with pytest.raises(ValueError, match=complaint):
            ManusListTasksOperator(task_id="list", manus_conn_id=manus_conn, **arguments).execute(context)

        assert list(sandbox.requests) == []

    def test_rendered_values_are_read(
        self, sandbox: Sandbox, manus_conn: str, context: dict[str, Any]
    ) -> None:
        newest_first = self.add(sandbox, 9)
        moment = datetime.fromtimestamp(1_700_000_004, UTC)

        found = ManusListTasksOperator(
            task_id="list", manus_conn_id=manus_conn, limit="3", page_size="2",  # type: ignore[arg-type]
            created_after=moment.isoformat(), created_before="1700000008.0",
        ).execute(context)  # fmt: skip

        assert {task["id"] for task in found} <= set(newest_first)
        assert 1 <= len(found) <= 3

    def test_tasks_of_a_message_are_listed(
        self, sandbox: Sandbox, qstash_conn: str, context: dict[str, Any]
    ) -> None:
        for number in range(3):
            sandbox.qstash.add_task(f"tsk_{number}", "msg", [("delivered", None)])

        found = QStashListMessageTasksOperator(
            task_id="list", message_id="msg", qstash_conn_id=qstash_conn
        ).execute(context)

        assert {task["task_id"] for task in found} == {"tsk_0", "tsk_1", "tsk_2"}
        assert {task["state"] for task in found} == {"completed"}


class TestCancelAftermath:
    def test_text_says_what_became_of_each_task(self) -> None:
        aftermath = CancelAftermath(
            {
                "a": Cancelled(CancelOutcome.CANCELLED),
                "b": Cancelled(CancelOutcome.FAILED, "HTTP 500: no."),
                "c": Cancelled(CancelOutcome.CANCELLED),
                "d": Cancelled(CancelOutcome.NOT_FOUND, "HTTP 404"),
                "e": Cancelled(CancelOutcome.NOT_RUNNING, "1 of 2 were cancelled"),
            },
            "Job",
            "was stopped",
            "keeps running",
        )

        assert str(aftermath) == (
            "Job a, c was stopped. Job b could not be cancelled and keeps running: HTTP 500: no. "
            "Job d was not found: it has finished, or no longer exists. "
            "Job e does not run any more: it was cancelled, or had finished (1 of 2 were cancelled)."
        )
        assert aftermath.still_run == ["b"]


class TestConversations:
    """API v2 lists tasks without their conversations, and does not say which were stopped by a user."""

    @pytest.mark.parametrize("version", ["v1", "v2", None])
    def test_list_with_output_shows_each_task_as_reading_it_does(
        self, server: SandboxServer, sandbox: Sandbox, set_connection: Any, context: Any, version: str | None
    ) -> None:
        extra = {"api_version": version} if version else {}
        conn_id = set_connection(
            "listed", conn_type="manus", host=server.manus_url, password=MANUS_KEY, extra=extra
        )
        sandbox.manus.add_task("t1", ["completed"], "Sums", prompt="2+2?", answer="4")

        (found,) = ManusListTasksOperator(task_id="list", manus_conn_id=conn_id, include_output=True).execute(
            context
        )
        single = ManusGetTaskOperator(
            task_id="get", manus_conn_id=conn_id, remote_task_id="t1", include_output=True
        ).execute(context)

        assert [one["content"][0]["text"] for one in found["output"]] == ["2+2?", "4"]
        assert found == single


class TestUsage:
    def test_costs_are_listed_newest_first(
        self, sandbox: Sandbox, manus_conn: str, context: dict[str, Any]
    ) -> None:
        for number in range(3):
            sandbox.manus.add_task(f"t{number}", ["completed"], "Sums", credit_usage=number + 1)

        found = ManusListUsageOperator(task_id="report", manus_conn_id=manus_conn, limit=2).execute(context)

        assert [(one["task_id"], one["credits"], one["type"]) for one in found] == [
            ("t2", -3, "cost"),
            ("t1", -2, "cost"),
        ]

    @pytest.mark.parametrize(("after", "count"), [(-60, 3), (60, 0)])
    def test_reading_stops_at_the_moment(
        self, sandbox: Sandbox, manus_conn: str, context: dict[str, Any], after: int, count: int
    ) -> None:
        for number in range(3):
            sandbox.manus.add_task(f"t{number}", ["completed"], "Sums", credit_usage=1)
        since = int(sandbox.clock.now()) + after

        found = ManusListUsageOperator(task_id="report", manus_conn_id=manus_conn, since=since).execute(
            context
        )

        assert len(found) == count

    def test_connectors_and_skills_have_ids_by_name(self, manus_conn: str) -> None:
        hook = ManusHook(manus_conn)

        assert all(one["id"] and one["name"] for one in [*hook.list_connectors(), *hook.list_skills()])
        assert hook.list_connectors()
        assert hook.list_skills()
