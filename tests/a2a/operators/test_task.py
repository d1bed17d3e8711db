"""An agent is asked once, awaited and answered, over each wire form; what is lost is found again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSensorTimeout
from airflow.sdk.execution_time import task_runner

from remote_tasks_provider.a2a.decorators import a2a_task
from remote_tasks_provider.a2a.operators import A2ATaskOperator
from remote_tasks_provider.a2a.submission import A2ASubmission
from remote_tasks_provider.core.errors import (
    InvalidArgumentError,
    OrphanedStartError,
    StaleStartError,
    TaskCancelledError,
    TaskNeedsInputError,
)
from remote_tasks_provider.core.states import TaskState
from remote_tasks_sandbox import Sandbox
from tests.a2a.conftest import Wire
from tests.manus.airflow_task import MODES, AirflowTask, Desk, dying


@pytest.fixture(params=MODES)
def deferrable(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "deferred")


@pytest.fixture
def make_task(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AirflowTask]:
    def make(*answers: Any, **facts: Any) -> AirflowTask:
        task = AirflowTask(sandbox, **facts)
        task.run_id = f"{task.id}"  # no other test's tasks are this one's
        task.desk = Desk(*answers)
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", task.desk, raising=False)
        return task

    return make


def ask(message: str = "say hello", **options: Any) -> Any:
    arguments = {"poll_interval": 0.2, "not_found_grace": 0, "timeout": 60} | options
    return A2ATaskOperator(task_id="ask", message=message, **arguments)


class TestOutcome:
    def test_result_is_returned(
        self, wire: Wire, make_task: Callable[..., AirflowTask], deferrable: bool
    ) -> None:
        task = make_task()
        script = 'say hel; say lo; data {"n": 3}; file a.txt content'
        result = task.attempt(lambda: ask(script, deferrable=deferrable))

        assert (result["state"], result["text"], result["structured"]) == ("completed", "hello", {"n": 3})
        assert result["files"][0]["name"] == "a.txt"
        assert result["id"] == task.xcoms["remote_task_id"]

    @pytest.mark.parametrize("script", ["fail no luck", "reject no luck"])
    def test_failure_has_the_agents_text(
        self, wire: Wire, make_task: Callable[..., AirflowTask], script: str
    ) -> None:
        with pytest.raises(AirflowFailException, match="no luck"):
            make_task().attempt(lambda: ask(script))

        result = make_task().attempt(lambda: ask(script, raise_on_failure=False))
        assert (result["state"], result["error"]) == ("failed", "no luck")

    def test_agent_may_answer_without_a_task(self, wire: Wire, make_task: Callable[..., AirflowTask]) -> None:
        result = make_task().attempt(lambda: ask("message hello"))

        assert (result["id"], result["state"], result["text"]) == (None, "completed", "hello")

    def test_operator_returns_at_once_without_a_wait(
        self, wire: Wire, make_task: Callable[..., AirflowTask]
    ) -> None:
        result = make_task().attempt(lambda: ask("hold", wait_for_completion=False))

        assert not wire.hook.get_task(result["id"]).state.is_terminal
        wire.agent.release(result["id"])

    def test_files_and_parts_are_sent_and_the_result_is_written(
        self, rest: Wire, make_task: Callable[..., AirflowTask], tmp_path: Path
    ) -> None:
        (tmp_path / "in.txt").write_text("content")
        path = tmp_path / "out.json"
        options = {"attachments": f"file://{tmp_path}/in.txt", "parts": [{"data": {"a": 1}}]}
        result = make_task().attempt(lambda: ask(result_path=f"file://{path}", metadata={"b": 2}, **options))

        assert (result["text"], json.loads(path.read_text())["text"]) == (None, "hello")
        first = rest.hook.get_task(result["id"]).history[0]
        assert (first.parts[1].data, first.parts[2].filename) == ({"a": 1}, "in.txt")
        assert (first.model_extra or {})["metadata"]["b"] == 2

    def test_result_that_cannot_be_written_is_refused_before_a_task_begins(
        self, rest: Wire, make_task: Callable[..., AirflowTask], tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(ValueError, match="result_path"):
            make_task().attempt(lambda: ask(result_path=f"file://{tmp_path}/file/more"))

        assert rest.runs() == []

    def test_options_that_need_a_wait_are_refused_without_one(self) -> None:
        with pytest.raises(InvalidArgumentError, match="result_path and on_waiting"):
            ask(wait_for_completion=False, on_waiting="fail", result_path="file:///tmp/a")


class TestOnce:
    def test_lost_answer_leads_to_the_same_task(
        self, make_wire: Callable[..., Wire], make_task: Callable[..., AirflowTask], deferrable: bool
    ) -> None:
        for name in ("1.0 REST", "1.0 JSON-RPC"):
            wire = make_wire(name)
            wire.lose()
            result = make_task().attempt(lambda: ask(deferrable=deferrable))

            assert result["text"] == "hello"
            assert wire.runs() == ["say hello"]

    @pytest.mark.parametrize("remembers", [True, False])
    def test_later_attempt_re_attaches(
        self, rest: Wire, make_task: Callable[..., AirflowTask], remembers: bool
    ) -> None:
        task = make_task(remembers=remembers, retries=1)
        with pytest.raises(SystemExit):
            task.attempt(dying(ask))
        task.retry()

        assert task.attempt(ask)["text"] == "hello"
        assert rest.runs() == ["say hello"]

    def test_attempt_that_died_in_its_request_is_found(
        self, rest: Wire, make_task: Callable[..., AirflowTask], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        submit = A2ASubmission.submit

        def killed(self: A2ASubmission, tag: Any) -> Any:
            submit(self, tag)
            raise SystemExit

        task = make_task(retries=1)
        monkeypatch.setattr(A2ASubmission, "submit", killed)
        with pytest.raises(SystemExit):
            task.attempt(ask)
        monkeypatch.setattr(A2ASubmission, "submit", submit)
        task.retry()

        assert task.attempt(ask)["text"] == "hello"
        assert rest.runs() == ["say hello"]

    def test_conversation_of_the_user_is_continued_once(
        self, rest: Wire, make_task: Callable[..., AirflowTask]
    ) -> None:
        first = rest.hook.send_message("say first")
        rest.lose()
        result = make_task().attempt(lambda: ask(context_id=first.context_id))

        assert (result["context_id"], result["text"]) == (first.context_id, "hello")
        assert rest.runs() == ["say first", "say hello"]

    def test_task_with_other_inputs_is_stale(self, rest: Wire, make_task: Callable[..., AirflowTask]) -> None:
        task = make_task(retries=1)
        with pytest.raises(SystemExit):
            task.attempt(dying(lambda: ask("hold")))
        task.retry()

        with pytest.raises(AirflowFailException) as caught:
            task.attempt(lambda: ask("say other"))
        assert isinstance(caught.value.__cause__, StaleStartError)
        assert task.attempt(lambda: ask("say other", on_stale_state="restart"))["text"] == "other"

    def test_lost_answer_of_an_agent_without_a_list_is_left_to_a_person(
        self, make_wire: Callable[..., Wire], make_task: Callable[..., AirflowTask]
    ) -> None:
        wire = make_wire("0.3")
        wire.lose()
        with pytest.raises(AirflowFailException) as caught:
            make_task().attempt(ask)

        assert isinstance(caught.value.__cause__, OrphanedStartError)
        assert wire.runs() == ["say hello"]

    def test_cleared_task_asks_anew(self, rest: Wire, make_task: Callable[..., AirflowTask]) -> None:
        task = make_task()
        task.attempt(ask)
        task.clear()
        task.attempt(ask)

        assert rest.runs() == ["say hello"] * 2


class TestCancel:
    def test_task_is_cancelled_when_the_operator_gives_up(
        self, wire: Wire, make_task: Callable[..., AirflowTask]
    ) -> None:
        task = make_task()
        with pytest.raises(AirflowSensorTimeout, match="was cancelled"):
            task.attempt(lambda: ask("hold", timeout=1))

        assert wire.hook.get_task(task.xcoms["remote_task_id"]).state is TaskState.CANCELLED


class TestQuestion:
    def test_person_answers(
        self, wire: Wire, make_task: Callable[..., AirflowTask], deferrable: bool
    ) -> None:
        task = make_task(("Send", {"answer": "blue"}))
        script = "ask Which colour?; say {answer}"
        result = task.attempt(lambda: ask(script, on_waiting="human", deferrable=deferrable))

        assert (result["text"], wire.runs()) == ("blue", [script, "blue"])
        assert "Which colour" in task.desk.asked[0]["body"]

    def test_answer_is_sent_once_whatever_is_lost(
        self, wire: Wire, make_task: Callable[..., AirflowTask], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task = make_task(("Send", {"answer": "blue"}))
        reply = task.desk.reply

        def meanwhile() -> Any:
            wire.lose()
            return reply()

        monkeypatch.setattr(task.desk, "reply", meanwhile)
        result = task.attempt(lambda: ask("ask Which?; say {answer}", on_waiting="human"))

        assert (result["text"], wire.runs()[1:]) == ("blue", ["blue"])

    def test_authorisation_is_shown_and_never_asked_for(
        self, rest: Wire, make_task: Callable[..., AirflowTask]
    ) -> None:
        task = make_task("Done")
        result = task.attempt(lambda: ask("auth Open https://example.com; say ok", on_waiting="human"))

        (form,) = task.desk.asked
        assert result["text"] == "ok"
        assert list(form["params"]) == ["question_code"]

    def test_person_may_cancel_the_task(self, rest: Wire, make_task: Callable[..., AirflowTask]) -> None:
        task = make_task("Cancel the task")
        with pytest.raises(AirflowFailException) as caught:
            task.attempt(lambda: ask("ask Which?", on_waiting="human"))

        assert isinstance(caught.value.__cause__, TaskCancelledError)
        assert rest.hook.get_task(task.xcoms["remote_task_id"]).state is TaskState.CANCELLED

    def test_empty_answer_is_asked_for_again(self, rest: Wire, make_task: Callable[..., AirflowTask]) -> None:
        task = make_task(("Send", {"answer": " "}), ("Send", {"answer": "blue"}))
        result = task.attempt(lambda: ask("ask Which?; say {answer}", on_waiting="human"))

        assert (result["text"], len(task.desk.asked)) == ("blue", 2)

    def test_answer_that_does_not_come_fails(self, rest: Wire, make_task: Callable[..., AirflowTask]) -> None:
        with pytest.raises(AirflowFailException, match="No answer was given") as caught:
            make_task(None).attempt(lambda: ask("ask Which?", on_waiting="human", response_timeout=20))
        assert isinstance(caught.value.__cause__, TaskNeedsInputError)

    def test_question_answered_elsewhere_is_dropped(
        self, rest: Wire, make_task: Callable[..., AirflowTask], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task = make_task(("Send", {"answer": "late"}))
        reply = task.desk.reply

        def meanwhile() -> Any:
            task_id = task.xcoms["remote_task_id"]
            rest.hook.send_message("red", task_id=task_id)
            rest.until(task_id, TaskState.COMPLETED)
            return reply()

        monkeypatch.setattr(task.desk, "reply", meanwhile)
        result = task.attempt(lambda: ask("ask Which?; say {answer}", on_waiting="human"))

        assert result["text"] == "red"

    def test_question_is_returned_or_fails(self, wire: Wire, make_task: Callable[..., AirflowTask]) -> None:
        result = make_task().attempt(lambda: ask("ask Which?", on_waiting="return"))
        assert (result["state"], result["text"]) == ("waiting", "Which?")

        with pytest.raises(AirflowFailException, match="Which"):
            make_task().attempt(lambda: ask("ask Which?", on_waiting="fail"))


class TestDecorator:
    def test_function_returns_the_message(self, rest: Wire, make_task: Callable[..., AirflowTask]) -> None:
        from airflow.sdk import DAG

        def say(word: str) -> str:
            return f"say {word}"

        with DAG("brief", schedule=None) as dag:
            a2a_task(say, poll_interval=0.2)("hello")

        assert make_task().attempt(lambda: dag.get_task("say"))["text"] == "hello"
