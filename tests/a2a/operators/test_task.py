"""An agent is asked once, awaited and answered, over each wire form; what is lost is found again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSensorTimeout
from airflow.sdk.execution_time import task_runner

from dev.a2a.peers import Agent
from remote_tasks_provider.a2a.decorators import a2a_task
from remote_tasks_provider.a2a.hooks import A2AHook
from remote_tasks_provider.a2a.operators import A2ATaskOperator
from remote_tasks_provider.a2a.operators import task as module
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
from tests.conftest import IMPATIENT
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


def dies(*_: Any, **__: Any) -> None:
    raise SystemExit


def die_in_the_request(task: AirflowTask, make: Callable[[], Any]) -> None:
    """Run an attempt that is killed after the agent read its request, and before it knows the answer."""
    submit = A2ASubmission.submit

    def killed(self: A2ASubmission, tag: Any) -> Any:
        submit(self, tag)
        raise SystemExit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(A2ASubmission, "submit", killed)
        # The next attempt searches until the lost request is over; these agents live in real time.
        patch.setattr(A2ASubmission, "longest_request", 1.0)
        with pytest.raises(SystemExit):
            task.attempt(make)


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
        self, rest: Wire, make_task: Callable[..., AirflowTask]
    ) -> None:
        task = make_task(retries=1)
        die_in_the_request(task, ask)
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

    def test_task_that_somebody_began_in_the_context_is_not_taken(
        self, rest: Wire, make_task: Callable[..., AirflowTask]
    ) -> None:
        task = make_task(retries=1)
        with pytest.raises(SystemExit):
            task.attempt(dying(lambda: ask("hold; say mine")))
        own = rest.hook.get_task(task.xcoms["remote_task_id"])
        rest.hook.send_message("say another", context_id=own.context_id)
        rest.agent.release(own.id)
        task.store.clear()
        task.retry()

        assert task.attempt(lambda: ask("hold; say mine"))["text"] == "mine"


@pytest.fixture(scope="module")
def shared() -> Iterator[Agent]:
    """An agent with two users, who do not see each other's tasks."""
    with Agent("1.x", owners={"token-of-ada": "ada", "token-of-bob": "bob"}) as agent:
        yield agent


class TestOwners:
    """Two tokens on one server: what one began is unknown to the other."""

    @pytest.fixture
    def become(self, shared: Agent, set_connection: Callable[..., str]) -> Callable[[str], Wire]:
        shared.control("reset")

        def become(name: str) -> Wire:
            facts = {"host": shared.url, "password": f"token-of-{name}", "extra": IMPATIENT}
            return Wire(name, shared, A2AHook(set_connection("a2a_default", conn_type="a2a", **facts)))

        return become

    def test_task_of_another_user_is_neither_taken_nor_replaced(
        self, become: Callable[[str], Wire], make_task: Callable[..., AirflowTask]
    ) -> None:
        task = make_task(retries=1)
        ada = become("ada")
        with pytest.raises(SystemExit):
            task.attempt(dying(lambda: ask("hold")))
        task_id = task.xcoms["remote_task_id"]
        become("bob")
        task.retry()

        with pytest.raises(AirflowFailException, match="another host or key") as caught:
            task.attempt(lambda: ask("hold"))
        assert isinstance(caught.value.__cause__, OrphanedStartError)
        assert ada.runs() == ["hold"]

        become("ada")
        ada.agent.release(task_id)
        task.clear()
        assert task.attempt(lambda: ask("hold"))["id"] == task_id

    def test_lost_request_of_another_user_is_left_to_a_person(
        self, become: Callable[[str], Wire], make_task: Callable[..., AirflowTask]
    ) -> None:
        task = make_task(retries=1)
        ada = become("ada")
        die_in_the_request(task, ask)
        become("bob")
        task.retry()

        with pytest.raises(AirflowFailException) as caught:
            task.attempt(ask)
        assert isinstance(caught.value.__cause__, OrphanedStartError)
        assert ada.runs() == ["say hello"]

    def test_users_of_the_same_dag_get_tasks_of_their_own(
        self, become: Callable[[str], Wire], make_task: Callable[..., AirflowTask]
    ) -> None:
        found = []
        for name in ("ada", "bob"):
            wire = become(name)
            task = make_task()
            task.run_id = "the same"
            found.append(task.attempt(ask))

        assert found[0]["context_id"] == found[1]["context_id"]
        assert found[0]["id"] != found[1]["id"]
        assert wire.runs() == ["say hello"] * 2


class TestAnswerWithoutATask:
    """A message of the agent's is in no list, and can be read once only."""

    def test_answer_is_returned_by_the_next_attempt_of_a_dead_worker(
        self, wire: Wire, make_task: Callable[..., AirflowTask], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task = make_task(retries=1)
        with monkeypatch.context() as patch:
            patch.setattr(A2ATaskOperator, "_answer", dies)
            with pytest.raises(SystemExit):
                task.attempt(lambda: ask("message hello"))
        task.retry()

        result = task.attempt(lambda: ask("message hello"))

        assert (result["id"], result["state"], result["text"]) == (None, "completed", "hello")
        assert result["context_id"]
        assert wire.runs() == ["message hello"]

    def test_answer_that_could_not_be_kept_says_so_and_is_paid_again_only_by_a_clear(
        self,
        rest: Wire,
        make_task: Callable[..., AirflowTask],
        monkeypatch: pytest.MonkeyPatch,
        log_lines: Any,
    ) -> None:
        task = make_task(retries=1)
        keep = task.store.set

        def refuse(key: str, value: Any) -> None:
            if key == "remote_task_answer":
                raise ValueError("65535 bytes at most")
            keep(key, value)

        task.store.set = refuse
        with monkeypatch.context() as patch:
            patch.setattr(A2ATaskOperator, "_answer", dies)
            with pytest.raises(SystemExit):
                task.attempt(lambda: ask("message hello"))
        assert any("Airflow could not keep" in line and "hello" in line for line in log_lines)
        task.retry()

        with pytest.raises(AirflowFailException, match="the log of that attempt has it"):
            task.attempt(lambda: ask("message hello"))
        assert rest.runs() == ["message hello"]
        task.clear()
        assert task.attempt(lambda: ask("message hello"))["text"] == "hello"
        assert rest.runs() == ["message hello"] * 2

    @pytest.mark.parametrize("remembers", [True, False])
    def test_answer_that_cannot_be_written_is_not_paid_again(
        self,
        rest: Wire,
        make_task: Callable[..., AirflowTask],
        monkeypatch: pytest.MonkeyPatch,
        remembers: bool,
        tmp_path: Path,
        log_lines: list[str],
    ) -> None:
        task = make_task(retries=1, remembers=remembers)
        to_xcom = module.result_to_xcom

        def breaks(*_: Any) -> None:
            raise OSError("no space left")

        monkeypatch.setattr(module, "result_to_xcom", breaks)
        with pytest.raises(OSError if remembers else AirflowFailException):
            task.attempt(lambda: ask("message hello"))
        monkeypatch.setattr(module, "result_to_xcom", to_xcom)
        if remembers:
            task.retry()
            assert task.attempt(lambda: ask("message hello"))["text"] == "hello"
        else:
            assert any("The agent's answer" in line and "hello" in line for line in log_lines)

        assert rest.runs() == ["message hello"]


class TestAttachments:
    def test_attachments_beyond_the_limit_are_refused_before_they_are_read(
        self, rest: Wire, make_task: Callable[..., AirflowTask], tmp_path: Path
    ) -> None:
        for name in ("a", "b"):
            with (tmp_path / name).open("wb") as file:
                file.truncate(17 * 1024 * 1024)
        places = [f"file://{tmp_path}/a", f"file://{tmp_path}/b"]

        with pytest.raises(
            AirflowFailException, match=r"attachments have 35.7 MB together.* parts, by a url"
        ):
            make_task().attempt(lambda: ask(attachments=places))
        assert rest.runs() == []

    def test_attachments_are_told_to_openlineage(self) -> None:
        assert ask(attachments="file:///a").files_read() == ["file:///a"]
        assert ask(attachments=["file:///a", "file:///b"]).files_read() == ["file:///a", "file:///b"]
        assert ask().files_read() == []


class TestCancel:
    def test_task_is_cancelled_when_the_operator_gives_up(
        self, wire: Wire, make_task: Callable[..., AirflowTask]
    ) -> None:
        task = make_task()
        with pytest.raises(AirflowSensorTimeout, match="was cancelled"):
            task.attempt(lambda: ask("hold", timeout=1))

        assert wire.hook.get_task(task.xcoms["remote_task_id"]).state is TaskState.CANCELLED


class TestKill:
    """A user marks the Airflow task: the agent is asked to cancel, and then what became of the task."""

    REFUSED: ClassVar[dict[str, Any]] = {
        "status": 400,
        "body": {"error": {"code": 400, "details": [{"reason": "TASK_NOT_CANCELABLE"}]}},
    }

    def on_worker(self, task: AirflowTask, message: str, meanwhile: Callable[[str], Any] = str) -> str:
        operators: list[Any] = []

        def make() -> Any:
            operators.append(dying(lambda: ask(message))())
            return operators[-1]

        with pytest.raises(SystemExit):
            task.attempt(make)
        task_id = str(task.xcoms["remote_task_id"])
        meanwhile(task_id)
        operators[-1].on_kill()
        return task_id

    def in_triggerer(self, task: AirflowTask, message: str, meanwhile: Callable[[str], Any] = str) -> str:
        deferral = task.defer(lambda: ask(message, deferrable=True))
        trigger: Any = deferral.trigger
        trigger.task_instance = task
        task_id = str(task.xcoms["remote_task_id"])
        meanwhile(task_id)
        asyncio.run(trigger.on_kill())
        return task_id

    @pytest.fixture(autouse=True)
    def is_marked_failed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def get_task_states(**query: Any) -> dict[str, dict[str, str]]:
            return {run_id: {"ask": "failed"} for run_id in query["run_ids"]}

        monkeypatch.setattr(task_runner.RuntimeTaskInstance, "get_task_states", staticmethod(get_task_states))

    @pytest.mark.parametrize("kill", [on_worker, in_triggerer])
    def test_kill_cancels_the_task_and_says_what_that_may_mean(
        self,
        rest: Wire,
        make_task: Callable[..., AirflowTask],
        log_lines: list[str],
        kill: Any,
    ) -> None:
        task_id = kill(self, make_task(), "hold")

        assert rest.hook.get_task(task_id).state is TaskState.CANCELLED
        assert any(f"A2A task {task_id} was cancelled (as the agent says; some" in one for one in log_lines)

    @pytest.mark.parametrize("kill", [on_worker, in_triggerer])
    @pytest.mark.parametrize(("message", "word"), [("say a", "completed"), ("fail no", "failed")])
    def test_refused_cancellation_of_a_task_that_has_ended_says_how(
        self,
        rest: Wire,
        make_task: Callable[..., AirflowTask],
        log_lines: list[str],
        kill: Any,
        message: str,
        word: str,
    ) -> None:
        def end(task_id: str) -> None:
            rest.agent.release(task_id)
            rest.until(task_id, TaskState(word))

        task_id = kill(self, make_task(), f"hold; {message}", end)

        assert any(f"A2A task {task_id}" in one and f"({word})" in one for one in log_lines)

    @pytest.mark.parametrize("kill", [on_worker, in_triggerer])
    def test_refused_cancellation_of_a_task_that_works_is_told(
        self,
        rest: Wire,
        make_task: Callable[..., AirflowTask],
        log_lines: list[str],
        kill: Any,
    ) -> None:
        rest.agent.control("faults", {"match": ":cancel", **self.REFUSED})
        task_id = kill(self, make_task(), "hold")

        assert any(
            f"A2A task {task_id} was not cancelled and may still run" in one and "TASK_NOT_CANCELABLE" in one
            for one in log_lines
        )
        rest.agent.release(task_id)


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
