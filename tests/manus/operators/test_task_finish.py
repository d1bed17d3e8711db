"""What a task comes to: results, failures, XComs, and what it may cost; on a worker and deferred alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from remote_tasks_provider.bases import submission
from remote_tasks_provider.bases.output import MAX_XCOM_CHARACTERS
from remote_tasks_provider.core.errors import BudgetExceededError, OutputMissingError, TransportError
from remote_tasks_provider.manus.hooks import ManusHook
from remote_tasks_provider.manus.operators import ManusTaskOperator
from tests.manus.airflow_task import MODES, Account, Make, dying

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["v1", "v2", "best"])
def version(request: pytest.FixtureRequest, account: Account) -> str:
    account.connect(request.param)
    return str(request.param)


def asks(mode: str = "on a worker", **arguments: Any) -> Make:
    given = {"task_id": "ask", "prompt": "Do it.", "poll_interval": 10, **arguments}
    return lambda: ManusTaskOperator(deferrable=mode == "deferred", **given)


class TestSuccess:
    def test_result_has_the_documented_fields(self, account: Account, mode: str, version: str) -> None:
        account.manus.plan(
            answer="42.", files=["a.csv"], credit_usage=7, script=[("running", 60), "completed"]
        )
        task = account.task()

        result = task.attempt(asks(mode))

        (task_id,) = account.created
        assert result | {"title": None, "created_at": None, "updated_at": None} == {
            "id": task_id,
            "state": "completed",
            "status": "stopped" if version == "v2" else "completed",
            "url": f"{account.sandbox.base_url}/manus/app/{task_id}",
            "title": None,
            "text": "42.",
            "structured": None,
            "files": [{"name": "a.csv", "content_type": "text/csv", "turn": 1}],
            "credit_usage": 7,
            "error": None,
            "created_at": None,
            "updated_at": None,
            "model": "manus-1.6" if version == "v2" else "manus-1.6-agent",
        }
        assert task.xcoms["credit_usage"] == 7
        assert "Signature" not in json.dumps([result, task.xcoms])

    @pytest.mark.parametrize(("cost", "text"), [(0, ""), (1, "; it cost 1 credit")])
    def test_log_says_the_cost_where_manus_tells(
        self, account: Account, mode: str, cost: int, text: str, log_lines: list[str]
    ) -> None:
        """API v2 says nothing of a task that has cost nothing yet."""
        account.connect("v2")
        account.manus.plan(answer="42.", files=["a.csv"], credit_usage=cost)
        account.task().attempt(asks(mode))

        assert f"Manus task {account.created[0]} is completed, with 1 file{text}." in log_lines

    def test_result_is_the_same_in_both_modes(self, account: Account, version: str) -> None:
        account.manus.plan(default=True, answer="42.", script=[("running", 60), "completed"])
        first, second = (account.task().attempt(asks(mode)) for mode in MODES)

        changing = {"id": None, "url": None, "created_at": None, "updated_at": None, "title": None}
        assert first | changing == second | changing

    def test_id_and_url_are_pushed_before_the_wait(self, account: Account, version: str) -> None:
        task = account.task()
        with pytest.raises(SystemExit):
            task.attempt(dying(asks()))

        (task_id,) = account.created
        assert task.xcoms == {
            "remote_task_id": task_id,
            "remote_task_url": f"{account.sandbox.base_url}/manus/app/{task_id}",
        }

    def test_id_is_pushed_before_the_deferral(self, account: Account, version: str) -> None:
        task = account.task()
        deferral = task.defer(asks("deferred"))

        assert task.xcoms["remote_task_id"] == account.created[0]
        assert deferral.trigger.remote_task_ids == account.created

    def test_submission_without_a_wait_sends_one_request(self, account: Account, version: str) -> None:
        result = account.task().attempt(asks(wait_for_completion=False))

        assert result["id"] == account.created[0]
        assert set(result) == {"id", "url", "title"}
        assert len(account.sandbox.requests) == 1

    def test_late_output_is_waited_for(self, account: Account, mode: str) -> None:
        account.manus.plan(answer="At last.", files=["a.csv"], output_lag=20)

        result = account.task().attempt(asks(mode))

        assert result["text"] == "At last."
        assert result["files"] == [{"name": "a.csv", "content_type": "text/csv", "turn": 1}]

    def test_task_with_background_jobs_is_not_finished(self, account: Account, mode: str) -> None:
        account.manus.plan(background_jobs=300, script=[("running", 5), "completed"])
        began = account.sandbox.clock.now()

        assert account.task().attempt(asks(mode))["state"] == "completed"
        assert account.sandbox.clock.now() - began >= 300


class TestResultPath:
    def test_long_text_is_cut(self, account: Account, mode: str, version: str) -> None:
        account.manus.plan(answer="x" * (MAX_XCOM_CHARACTERS + 1))

        result = account.task().attempt(asks(mode))

        assert len(result["text"]) == MAX_XCOM_CHARACTERS
        assert result["truncated"] == ["text"]

    def test_file_holds_the_whole_result(
        self, account: Account, mode: str, version: str, tmp_path: Path
    ) -> None:
        account.manus.plan(answer="ü" * 100_000)
        path = f"file://{tmp_path}/new/result.json"

        result = account.task().attempt(asks(mode, result_path=path))

        kept = json.loads((tmp_path / "new" / "result.json").read_text("utf-8"))
        assert kept["text"] == "ü" * 100_000
        assert kept["id"] == result["id"]
        assert (result["text"], result["structured"]) == (None, None)
        assert result["result_path"].endswith("/new/result.json")


class TestUnansweredQuestion:
    def test_error_names_the_question_and_the_next_step(
        self, account: Account, mode: str, version: str
    ) -> None:
        account.manus.plan(script=[("running", 60), ("waiting", None)])
        began = account.sandbox.clock.now()

        with pytest.raises(AirflowFailException) as failed:
            account.task().attempt(asks(mode, timeout=1e6, waiting_timeout=3600))

        words = (account.created[0], "waits for an answer", "within waiting_timeout", "clear this task")
        assert all(word in str(failed.value) for word in words)
        assert 3600 <= account.sandbox.clock.now() - began < 4000
        assert account.word(account.created[0]) in ("waiting", "pending")

    def test_wait_is_resumed_after_a_clear(self, account: Account, mode: str) -> None:
        account.manus.plan(script=[("running", 60), ("waiting", 5000), "completed"])
        task = account.task()
        make = asks(mode, timeout=1e6, waiting_timeout=3600)
        with pytest.raises(AirflowFailException):
            task.attempt(make)
        task.clear()

        assert [task.attempt(make)["id"]] == account.created


class TestDelivery:
    """A user who clears the Airflow task wants another remote task only if this one's outcome arrived."""

    def spoiled(self, account: Account, make: Make, task: Any, folder: Path) -> None:
        """Run an attempt whose result cannot be written in the end."""

        def made() -> Any:
            operator = make()
            collect = operator.collect

            def collecting(*arguments: Any) -> Any:
                folder.rmdir()
                folder.write_text("not a folder")
                return collect(*arguments)

            operator.collect = collecting
            return operator

        with pytest.raises(OSError, match="results"):
            task.attempt(made)
        folder.unlink()
        folder.mkdir()

    @pytest.mark.parametrize("clears_drop_state", [False, True])
    def test_result_that_could_not_be_written_is_taken_after_a_clear(
        self, account: Account, mode: str, tmp_path: Path, clears_drop_state: bool
    ) -> None:
        account.patch.setattr(submission, "CLEARS_DROP_STATE", clears_drop_state)
        account.manus.plan(default=True, answer="42.", script=[("running", 60), "completed"])
        task, folder = account.task(), tmp_path / "results"
        make = asks(mode, result_path=f"file://{folder}/r.json")
        self.spoiled(account, make, task, folder)
        task.clear()
        if clears_drop_state:
            task.store.clear()

        assert [task.attempt(make)["id"]] == account.created
        task.clear()
        if clears_drop_state:
            task.store.clear()
        assert task.attempt(make)["id"] == account.created[1]

    def test_result_that_could_not_be_written_is_taken_after_a_clear_with_v1(
        self, account: Account, mode: str, tmp_path: Path
    ) -> None:
        account.connect("v1")
        account.manus.plan(answer="42.", script=[("running", 60), "completed"])
        task, folder = account.task(), tmp_path / "results"
        make = asks(mode, result_path=f"file://{folder}/r.json")
        self.spoiled(account, make, task, folder)
        task.clear()

        assert [task.attempt(make)["id"]] == account.created

    def test_result_that_could_not_be_written_is_taken_after_a_clear_below_airflow_33(
        self, account: Account, mode: str, tmp_path: Path
    ) -> None:
        account.manus.plan(default=True, answer="42.", script=[("running", 60), "completed"])
        task, folder = account.task(remembers=False), tmp_path / "results"
        make = asks(mode, result_path=f"file://{folder}/r.json")
        self.spoiled(account, make, task, folder)
        task.clear()

        assert [task.attempt(make)["id"]] == account.created
        task.clear()
        assert task.attempt(make)["id"] == account.created[1]

    @pytest.mark.parametrize("remembers", [True, False])
    def test_stop_by_a_user_that_was_reported_is_history_after_a_clear(
        self, account: Account, mode: str, remembers: bool
    ) -> None:
        account.connect("v2")
        account.manus.plan(script=[("running", 3600), "completed"])
        task = account.task(remembers=remembers)

        def stopped_meanwhile() -> Any:
            operator = asks(mode)()
            wait = operator.wait

            def waiting(context: Any) -> Any:
                account.manus.stop_as_user(account.created[0])
                return wait(context)

            operator.wait = waiting
            return operator

        with pytest.raises(AirflowFailException, match="stopped by a user"):
            task.attempt(stopped_meanwhile)
        task.clear()

        assert [task.attempt(asks(mode))["id"]] == account.created[1:]

    def test_title_that_cannot_be_marked_hides_no_error(self, account: Account, tmp_path: Path) -> None:
        account.manus.plan(answer="42.")
        account.faults.add("status", path="*/task.update", status=400)
        task, folder = account.task(remembers=False), tmp_path / "results"

        self.spoiled(account, asks(result_path=f"file://{folder}/r.json"), task, folder)

        assert account.calls("task.update") == 1

    def test_result_that_could_not_be_read_is_taken_after_a_clear(self, account: Account, mode: str) -> None:
        account.manus.plan(answer="42.", script=[("running", 60), "completed"])
        account.faults.add("status", path="*/task.listMessages", status=400)
        task = account.task()
        with pytest.raises(AirflowFailException):
            task.attempt(asks(mode))
        account.faults.clear()
        task.clear()

        assert task.attempt(asks(mode))["id"] == account.created[0]
        assert len(account.created) == 1

    def test_failure_that_was_reported_is_history_after_a_clear(
        self, account: Account, mode: str, version: str
    ) -> None:
        account.manus.plan(script=[("running", 60), "error"])
        task = account.task()
        with pytest.raises(AirflowFailException):
            task.attempt(asks(mode))
        task.clear()

        assert [task.attempt(asks(mode))["id"]] == account.created[1:]

    def test_task_that_a_kill_has_stopped_is_history_after_a_clear(self, account: Account, mode: str) -> None:
        account.manus.plan(script=[("running", 3600), "completed"])
        task = account.task()
        operators = []

        def kept() -> Any:
            operators.append(asks(mode)())
            return operators[-1]

        account.states(ask="failed")
        if mode == "deferred":
            task.defer(kept)
            ManusHook().stop_task(account.created[0])
        else:
            with pytest.raises(SystemExit):
                task.attempt(dying(kept))
            operators[0].on_kill()
        assert account.word(account.created[0]) == "stopped"
        task.clear()

        assert [task.attempt(asks(mode))["id"]] == account.created[1:]

    def test_task_that_a_kill_could_not_stop_is_taken_after_a_clear(self, account: Account) -> None:
        task, operators = account.task(), []

        def kept() -> Any:
            operators.append(asks()())
            return operators[-1]

        account.states(ask="failed")
        account.faults.add("status", path="*/task.stop", status=404)
        with pytest.raises(SystemExit):
            task.attempt(dying(kept))
        operators[0].on_kill()
        task.clear()

        assert [task.attempt(asks())["id"]] == account.created

    def test_task_that_nobody_waited_for_is_history_after_a_clear(self, account: Account) -> None:
        task = account.task()
        task.attempt(asks(wait_for_completion=False))
        account.sandbox.clock.advance(3600)
        task.clear()

        assert [task.attempt(asks(wait_for_completion=False))["id"]] == account.created[1:]


class TestStructuredOutput:
    def test_value_is_returned(self, account: Account, mode: str) -> None:
        account.manus.plan(structured={"value": {"city": "Bern"}})

        assert account.task().attempt(asks(mode, structured_output_schema=SCHEMA))["structured"] == {
            "city": "Bern"
        }
        assert account.manus.created[0].body["structured_output_schema"] == SCHEMA

    def test_late_value_is_waited_for(self, account: Account) -> None:
        account.manus.plan(structured={"value": {"city": "Bern"}}, output_lag=25)

        assert account.task().attempt(asks(structured_output_schema=SCHEMA))["structured"] == {"city": "Bern"}

    def test_value_that_could_not_be_made_fails_with_its_reason(self, account: Account, mode: str) -> None:
        account.manus.plan(structured={"success": False, "error": "no city was found"}, credit_usage=9)
        task = account.task(retries=3)

        with pytest.raises(AirflowFailException, match="no city was found"):
            task.attempt(asks(mode, structured_output_schema=SCHEMA))

        assert task.xcoms["credit_usage"] == 9

    def test_value_that_could_not_be_made_is_returned_without_a_placeholder(
        self, account: Account, mode: str
    ) -> None:
        account.manus.plan(structured={"success": False, "error": "no city was found"})

        result = account.task().attempt(asks(mode, structured_output_schema=SCHEMA, raise_on_failure=False))

        assert (result["state"], result["structured"]) == ("failed", None)
        assert "no city was found" in result["error"]

    @pytest.mark.parametrize("goes_on", ["retry", "clear"])
    def test_value_that_comes_too_late_is_taken_by_the_next_attempt(
        self, account: Account, mode: str, goes_on: str
    ) -> None:
        account.manus.plan(structured={"value": {"city": "Bern"}}, output_lag=3600)
        task = account.task()

        with pytest.raises(OutputMissingError, match="Retry or clear this Airflow task"):
            task.attempt(asks(mode, structured_output_schema=SCHEMA))
        account.sandbox.clock.advance(3600)
        getattr(task, goes_on)()

        assert task.attempt(asks(mode, structured_output_schema=SCHEMA))["structured"] == {"city": "Bern"}
        assert len(account.created) == 1


class TestFailure:
    def failing(self, account: Account) -> None:
        account.manus.plan(script=[("running", 30), "failed"], error="The site is down.", credit_usage=5)

    def test_failed_task_is_final_and_named_with_its_page(
        self, account: Account, mode: str, version: str
    ) -> None:
        self.failing(account)
        task = account.task(retries=3)

        with pytest.raises(AirflowFailException) as failed:
            task.attempt(asks(mode))

        assert all(word in str(failed.value) for word in (account.created[0], "The site is down.", "/app/"))
        assert task.xcoms["credit_usage"] == 5

    def test_failed_task_is_returned_without_raise_on_failure(
        self, account: Account, mode: str, version: str
    ) -> None:
        self.failing(account)
        task = account.task()

        result = task.attempt(asks(mode, raise_on_failure=False))

        assert (result["state"], result["error"]) == ("failed", "The site is down.")
        assert task.xcoms["credit_usage"] == 5

    def test_task_stopped_by_a_user_is_cancelled(self, account: Account, mode: str) -> None:
        account.manus.plan(default=True, stopped_by_user=True, script=[("running", 30), "stopped"])

        with pytest.raises(AirflowFailException, match="was stopped by a user"):
            account.task().attempt(asks(mode))
        assert account.task().attempt(asks(mode, raise_on_failure=False))["state"] == "cancelled"

    def test_retry_after_a_service_error_resumes_the_task(
        self, account: Account, mode: str, version: str
    ) -> None:
        account.manus.plan(script=[("running", 3600), "completed"])
        task = account.task(retries=1)
        account.faults.add("drop_before", method="GET")
        with pytest.raises(TransportError):
            task.attempt(asks(mode, outage_tolerance=2))
        account.faults.clear()
        task.retry()

        assert [task.attempt(asks(mode))["id"]] == account.created

    def test_single_failed_polls_do_no_harm(self, account: Account, mode: str, version: str) -> None:
        account.manus.plan(script=[("running", 600), "completed"])
        account.faults.add("status", method="GET", status=500, times=4, after=2)

        assert account.task().attempt(asks(mode))["state"] == "completed"

    def test_result_that_could_not_be_fetched_is_fetched_by_a_retry(
        self, account: Account, mode: str
    ) -> None:
        account.connect("v2", max_attempts=1)
        task = account.task(retries=1)
        account.manus.plan(script=["completed"], answer="42.")
        account.faults.add("status", path="*/task.listMessages", status=500, after=1, times=1)

        assert task.attempts(asks(mode))["text"] == "42."
        assert task.try_number == 2
        assert len(account.created) == 1


class TestMaxCredits:
    @pytest.fixture(autouse=True)
    def _costly(self, account: Account) -> None:
        account.manus.plan(script=[("running", 1e6), "completed"], credits_per_second=1)

    def test_task_over_the_limit_is_stopped_and_fails(self, account: Account, mode: str) -> None:
        task = account.task(retries=3)

        with pytest.raises(AirflowFailException) as failed:
            task.attempt(asks(mode, max_credits=100))

        (task_id,) = account.created
        assert account.word(task_id) == "stopped"
        assert 100 < task.xcoms["credit_usage"] <= 120
        assert f"more than max_credits (100). Manus task {task_id} was stopped" in str(failed.value)
        assert isinstance(failed.value.__cause__, BudgetExceededError)

    def test_clear_submits_another_task(self, account: Account, mode: str) -> None:
        task = account.task()
        with pytest.raises(AirflowFailException):
            task.attempt(asks(mode, max_credits=100))
        task.clear()

        assert task.attempt(asks(mode, max_credits=100))["id"] == account.created[1]

    def test_task_that_could_not_be_stopped_is_not_forgotten(self, account: Account, mode: str) -> None:
        account.faults.add("status", path="*/task.stop", status=400, times=1)
        # Otherwise the correlation tag in its title would find it.
        account.faults.add("omit")
        task = account.task()
        with pytest.raises(AirflowFailException, match=r"not be cancelled and .* Stop it in the Manus app"):
            task.attempt(asks(mode, max_credits=100))
        task.clear()
        with pytest.raises(AirflowFailException, match="was stopped; it can be resumed"):
            task.attempt(asks(mode, max_credits=100))

        assert len(account.created) == 1

    def test_limit_comes_before_a_confirmation(self, account: Account, mode: str) -> None:
        account.manus.clear()
        account.manus.plan(
            waiting="apiHighCreditNotice",
            credit_usage=500,
            script=[("running", 20), ("waiting", None), ("running", 1e6), "completed"],
        )
        allowed = {"apiHighCreditNotice": {"action": "accept"}}

        with pytest.raises(AirflowFailException, match="max_credits"):
            account.task().attempt(asks(mode, max_credits=100, on_waiting="fail", auto_confirm=allowed))

        (task_id,) = account.created
        assert account.manus.answers(task_id) == []
        assert account.word(task_id) == "stopped"

    def test_task_that_finished_over_the_limit_succeeds(self, account: Account, mode: str) -> None:
        account.manus.clear()
        account.manus.plan(script=["completed"], credit_usage=500)

        assert account.task().attempt(asks(mode, max_credits=100))["credit_usage"] == 500

    @pytest.mark.parametrize("limit", ["100", "  100  "])
    def test_templated_limit_holds_after_a_pause(self, account: Account, mode: str, limit: str) -> None:
        account.manus.clear()
        account.manus.plan(
            waiting="deployAction",
            credits_per_second=1,
            script=[("running", 20), ("waiting", None), ("running", 1e6), "completed"],
        )
        allowed = {"deployAction": {"accept": True}}

        with pytest.raises(AirflowFailException, match=r"more than max_credits .*Manus task .* was stopped"):
            account.task().attempt(asks(mode, max_credits=limit, on_waiting="fail", auto_confirm=allowed))

        assert len(account.manus.answers(account.created[0])) == 1
