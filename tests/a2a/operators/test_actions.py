"""Operators that act on a task of an agent, over each wire form."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from remote_tasks_provider.a2a.hooks import A2AHook
from remote_tasks_provider.a2a.models import A2ATask
from remote_tasks_provider.a2a.operators import (
    A2ACancelTaskOperator,
    A2ADownloadArtifactsOperator,
    A2AGetTaskOperator,
    A2AListTasksOperator,
    A2ASendMessageOperator,
)
from remote_tasks_provider.bases import once
from remote_tasks_provider.core.errors import OrphanedActionError, TaskFailedError
from remote_tasks_provider.core.states import TaskState
from tests.a2a.conftest import Wire
from tests.core.raw_server import RawServer, answer


class TaskInstance:
    dag_id, run_id, task_id, map_index, max_tries = "dag", "run", "act", -1, 2
    start_date = None

    def __init__(self, try_number: int) -> None:
        self.try_number = try_number

    def xcom_push(self, key: str, value: Any) -> None: ...


class Store(dict[str, Any]):
    def set(self, key: str, value: Any) -> None:
        self[key] = value


def context(try_number: int = 1, store: Store | None = None) -> Any:
    return {"ti": TaskInstance(try_number), "task_state_store": store}


def begin(wire: Wire, text: str, state: TaskState) -> A2ATask:
    task = wire.hook.send_message(text)
    assert isinstance(task, A2ATask)
    found: A2ATask = wire.until(task.id, state)
    return found


class TestSendMessage:
    def test_answer_continues_the_task(self, wire: Wire) -> None:
        task = begin(wire, "ask Which?; say {answer}", TaskState.WAITING)

        A2ASendMessageOperator(task_id="act", remote_task_id=task.id, text="blue").execute(context())

        wire.until(task.id, TaskState.COMPLETED)
        assert wire.hook.get_result(task.id).text == "blue"

    def test_answer_is_sent_once_whatever_is_lost(self, wire: Wire) -> None:
        task = begin(wire, "ask Which?; say {answer}", TaskState.WAITING)
        wire.lose()

        A2ASendMessageOperator(task_id="act", remote_task_id=task.id, text="blue").execute(context())

        assert [run["text"] for run in wire.agent.control("requests")["runs"]].count("blue") == 1

    def test_later_attempt_does_not_send_it_again(self, rest: Wire) -> None:
        task = begin(rest, "ask Which?; ask And?; say {answer}", TaskState.WAITING)
        operator = A2ASendMessageOperator(task_id="act", remote_task_id=task.id, text="blue", retries=1)
        operator.execute(context())

        # Below Airflow 3.3 no record is left, and the task waits again.
        with pytest.raises(AirflowFailException) as caught:
            operator.execute(context(try_number=3))
        assert isinstance(caught.value.__cause__, OrphanedActionError)

    def test_task_that_does_not_wait_gets_no_message(
        self, rest: Wire, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # These agents live in real time.
        monkeypatch.setattr(once, "_APPEARS_WITHIN", 1.0)
        task = begin(rest, "say a", TaskState.COMPLETED)

        with pytest.raises(AirflowFailException) as caught:
            A2ASendMessageOperator(task_id="act", remote_task_id=task.id, text="blue").execute(context())
        assert isinstance(caught.value.__cause__, TaskFailedError)


class TestCancel:
    def test_task_is_cancelled_and_returned(self, wire: Wire) -> None:
        task = begin(wire, "hold", TaskState.RUNNING)

        found = A2ACancelTaskOperator(task_id="act", remote_task_id=task.id).execute(context())

        assert found["state"] == "cancelled"


class TestGet:
    def test_task_is_returned_with_its_artifacts(self, wire: Wire) -> None:
        task = begin(wire, "say a", TaskState.COMPLETED)

        found = A2AGetTaskOperator(task_id="act", remote_task_id=task.id).execute(context())

        assert (found["state"], found["artifacts"][0]["parts"][0]["text"]) == ("completed", "a")
        assert "history" not in found

    def test_conversation_comes_if_asked_for(self, rest: Wire) -> None:
        task = begin(rest, "say a", TaskState.COMPLETED)
        operator = A2AGetTaskOperator(task_id="act", remote_task_id=task.id, include_history=True)

        assert operator.execute(context())["history"][0]["parts"][0]["text"] == "say a"


class TestList:
    def test_tasks_of_a_context_are_listed(self, rest: Wire) -> None:
        task = begin(rest, "say a", TaskState.COMPLETED)
        operator = A2AListTasksOperator(task_id="act", context_id=task.context_id, status="completed")

        assert [one["id"] for one in operator.execute(context())] == [task.id]


def raw(name: str | None, content: bytes | str = b"a", media_type: str | None = None) -> dict[str, Any]:
    text = content if isinstance(content, str) else base64.b64encode(content).decode()
    return {"raw": text, "filename": name, "mediaType": media_type}


class TestDownloadArtifacts:
    def save(self, task_id: Any, tmp_path: Path, **arguments: Any) -> list[dict[str, Any]]:
        given = {"output_path": f"file://{tmp_path}/out", **arguments}
        operator = A2ADownloadArtifactsOperator(task_id="act", remote_task_id=task_id, **given)
        found: list[dict[str, Any]] = operator.execute(context())
        return found

    def of(self, monkeypatch: pytest.MonkeyPatch, *parts: dict[str, Any], state: str = "completed") -> str:
        """Let the agent have a task with one artifact, which no real server would give."""
        task = {
            "id": "t1",
            "status": {"state": state},
            "artifacts": [{"artifactId": "a1", "parts": list(parts)}],
        }
        monkeypatch.setattr(A2AHook, "get_task", lambda _hook, _id: A2ATask.model_validate(task))
        return "t1"

    def names(self, tmp_path: Path) -> dict[str, bytes]:
        return {one.name: one.read_bytes() for one in (tmp_path / "out").iterdir() if one.name[0] != "."}

    def test_files_are_saved_over_each_wire_form(self, wire: Wire, tmp_path: Path, log_lines: Any) -> None:
        task = begin(wire, "say a; file ../a.csv 1,2; file a.csv 3; data 5", TaskState.COMPLETED)

        found = self.save(task.id, tmp_path)

        assert self.names(tmp_path) == {"a.csv": b"1,2", "a (2).csv": b"3"}
        assert [one["name"] for one in found] == ["../a.csv", "a.csv"]
        assert set(found[0]) == {"name", "path", "size", "content_type", "sha256", "artifact_id"}
        assert (found[0]["size"], found[0]["content_type"]) == (3, "text/plain")
        assert log_lines[-1] == f"In file://{tmp_path}/out: 2 files of A2A task {task.id}, 4 bytes."

    def test_repetition_finds_the_files_in_place(self, rest: Wire, tmp_path: Path) -> None:
        task = begin(rest, "file a.csv 1", TaskState.COMPLETED)
        first = self.save(task.id, tmp_path)

        assert self.save(task.id, tmp_path) == first

    def test_file_of_another_task_is_not_overwritten(self, rest: Wire, tmp_path: Path) -> None:
        for text in ("file a.csv 1", "file a.csv 2"):
            task = begin(rest, text, TaskState.COMPLETED)
            if text.endswith("1"):
                self.save(task.id, tmp_path)

        with pytest.raises(AirflowFailException, match="overwrite=True"):
            self.save(task.id, tmp_path)
        self.save(task.id, tmp_path, overwrite=True)
        assert self.names(tmp_path) == {"a.csv": b"2"}

    def test_linked_file_is_fetched_without_the_token(
        self, make_wire: Callable[..., Wire], set_connection: Callable[..., str], tmp_path: Path
    ) -> None:
        rest = make_wire("1.0 REST")
        set_connection("a2a_default", conn_type="a2a", host=rest.agent.url, password="top-secret")
        with RawServer(answer(200, b"linked", content_type="text/x")) as files:
            task = begin(rest, f"link {files.url}/deep/a%20b.txt?sig=1", TaskState.COMPLETED)
            (found,) = self.save(task.id, tmp_path)

        assert b"top-secret" not in files.requests[0]
        assert (found["name"], self.names(tmp_path)) == ("a b.txt", {"a b.txt": b"linked"})

    def test_http_link_elsewhere_is_refused(self, monkeypatch: Any, rest: Wire, tmp_path: Path) -> None:
        task_id = self.of(monkeypatch, {"url": "http://files.test/a.txt"}, raw("b"))

        with pytest.raises(AirflowFailException, match=r"a.txt \(download from files.test: the link is http"):
            self.save(task_id, tmp_path)
        assert self.names(tmp_path) == {"b": b"a"}

    @pytest.mark.parametrize("url", ["report.csv", "/files/report.csv?key=1"])
    def test_relative_url_is_refused(self, monkeypatch: Any, rest: Wire, tmp_path: Path, url: str) -> None:
        with pytest.raises(AirflowFailException, match=r"report.csv .*names no host"):
            self.save(self.of(monkeypatch, {"url": url}), tmp_path)

    def test_names_are_safe_and_distinct(self, monkeypatch: Any, rest: Wire, tmp_path: Path) -> None:
        names = ["../../etc/passwd", "A.txt", "a.txt", None, "..", "CON"]
        task_id = self.of(monkeypatch, *(raw(name, media_type="text/csv") for name in names))

        found = self.save(task_id, tmp_path)

        assert [one["name"] for one in found] == [name or "" for name in names]
        assert sorted(self.names(tmp_path)) == [
            *("A.txt", "_CON", "a (2).txt", "file-4.csv", "file-5.csv", "passwd"),
        ]

    def test_empty_file_is_saved(self, wire: Wire, tmp_path: Path) -> None:
        task = begin(wire, "file empty.txt", TaskState.COMPLETED)

        (found,) = self.save(task.id, tmp_path)

        assert (found["size"], self.names(tmp_path)) == (0, {"empty.txt": b""})

    def test_file_beyond_the_limit_fails_the_operator(self, rest: Wire, tmp_path: Path) -> None:
        task = begin(rest, "file a.txt 12345; file b.txt 1", TaskState.COMPLETED)

        with pytest.raises(AirflowFailException, match=r"a.txt \(the file has 5 bytes, and 4 are allowed"):
            self.save(task.id, tmp_path, max_file_size=4)
        assert self.names(tmp_path) == {"b.txt": b"1"}

    def test_broken_content_fails_the_operator(self, monkeypatch: Any, rest: Wire, tmp_path: Path) -> None:
        with pytest.raises(AirflowFailException, match=r"a.bin \(.*no base64"):
            self.save(self.of(monkeypatch, raw("a.bin", "%%%")), tmp_path)

    @pytest.mark.parametrize("text", ["data 5", "say a"])
    def test_task_without_files_says_so(
        self, rest: Wire, tmp_path: Path, text: str, log_lines: list[str]
    ) -> None:
        task = begin(rest, text, TaskState.COMPLETED)

        assert self.save(task.id, tmp_path) == []
        assert log_lines[-1] == f"A2A task {task.id} has made no files, so nothing was saved."

    def test_task_that_works_gives_its_files_with_a_warning(
        self, rest: Wire, tmp_path: Path, log_lines: list[str]
    ) -> None:
        task = begin(rest, "file a.txt 1; hold", TaskState.RUNNING)
        while not rest.hook.get_result(task.id).files:
            pass

        assert len(self.save(task.id, tmp_path)) == 1
        assert f"A2A task {task.id} is running (working): it may make more files." in log_lines

    @pytest.mark.parametrize("task_id", [None, "None"])
    def test_answer_without_a_task_is_refused(self, task_id: Any, rest: Wire, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="remote_task_id"):
            self.save(task_id, tmp_path)
        assert rest.requests() == []

    def test_expired_link_is_asked_for_again(self, rest: Wire, monkeypatch: Any, tmp_path: Path) -> None:
        with RawServer(answer(403, b""), answer(200, b"fresh")) as files:
            urls = iter([f"{files.url}/a.txt?old", f"{files.url}/a.txt?new"])
            task = {"id": "t1", "status": {"state": "completed"}}
            monkeypatch.setattr(
                A2AHook,
                "get_task",
                lambda _hook, _id: A2ATask.model_validate(
                    {**task, "artifacts": [{"parts": [{"url": next(urls)}]}]}
                ),
            )
            self.save("t1", tmp_path)

        assert self.names(tmp_path) == {"a.txt": b"fresh"}
