"""What a task comes to: results, failures, XComs, and what it may cost; on a worker and deferred alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from remote_tasks_provider.core.errors import BudgetExceededError, TransportError
from remote_tasks_provider.manus import output
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


@pytest.fixture(params=["v1", "v2"])
def version(request: pytest.FixtureRequest, account: Account) -> str:
    account.connect(request.param)
    return str(request.param)


def asks(mode: str = "on a worker", **arguments: Any) -> Make:
    given = {"task_id": "ask", "prompt": "Do it.", "poll_interval": 10, **arguments}
    return lambda: ManusTaskOperator(deferrable=mode == "deferred", **given)


class TestSuccess:
    def test_the_result_is_what_the_docstring_promises(
        self, account: Account, mode: str, version: str
    ) -> None:
        account.manus.plan(
            answer="42.", files=["a.csv"], credit_usage=7, script=[("running", 60), "completed"]
        )
        task = account.task()

        result = task.attempt(asks(mode))

        (task_id,) = account.created
        assert result | {"title": None, "created_at": None, "updated_at": None} == {
            "id": task_id,
            "state": "completed",
            "status": "completed" if version == "v1" else "stopped",
            "url": f"{account.sandbox.base_url}/manus/app/{task_id}",
            "title": None,
            "text": "42.",
            "structured": None,
            "files": [{"name": "a.csv", "content_type": "text/csv"}],
            "credit_usage": 7,
            "error": None,
            "created_at": None,
            "updated_at": None,
            "model": "manus-1.6-agent" if version == "v1" else "manus-1.6",
        }
        assert task.xcoms["credit_usage"] == 7
        assert "Signature" not in json.dumps([result, task.xcoms])

    def test_both_modes_return_the_same(self, account: Account, version: str) -> None:
        account.manus.plan(default=True, answer="42.", script=[("running", 60), "completed"])
        first, second = (account.task().attempt(asks(mode)) for mode in MODES)

        changing = {"id": None, "url": None, "created_at": None, "updated_at": None, "title": None}
        assert first | changing == second | changing

    def test_id_and_page_are_known_before_the_wait(self, account: Account, version: str) -> None:
        task = account.task()
        with pytest.raises(SystemExit):
            task.attempt(dying(asks()))

        (task_id,) = account.created
        assert task.xcoms == {
            "remote_task_id": task_id,
            "remote_task_url": f"{account.sandbox.base_url}/manus/app/{task_id}",
        }

    def test_and_when_it_is_deferred(self, account: Account, version: str) -> None:
        task = account.task()
        deferral = task.defer(asks("deferred"))

        assert task.xcoms["remote_task_id"] == account.created[0]
        assert deferral.trigger.remote_task_ids == account.created

    def test_without_a_wait_nothing_is_looked_at(self, account: Account, version: str) -> None:
        result = account.task().attempt(asks(wait_for_completion=False))

        assert result["id"] == account.created[0]
        assert set(result) == {"id", "url", "title"}
        assert len(account.sandbox.requests) == 1

    def test_output_that_lags_is_waited_for(self, account: Account, mode: str) -> None:
        account.manus.plan(answer="At last.", files=["a.csv"], output_lag=20)

        result = account.task().attempt(asks(mode))

        assert result["text"] == "At last."
        assert result["files"] == [{"name": "a.csv", "content_type": "text/csv"}]

    def test_a_task_with_jobs_in_the_background_is_not_done(self, account: Account, mode: str) -> None:
        account.manus.plan(background_jobs=300, script=[("running", 5), "completed"])
        began = account.sandbox.clock.now()

        assert account.task().attempt(asks(mode))["state"] == "completed"
        assert account.sandbox.clock.now() - began >= 300


class TestWhereTheResultGoes:
    def test_a_long_text_is_cut(self, account: Account, mode: str, version: str) -> None:
        account.manus.plan(answer="x" * 100_000)

        result = account.task().attempt(asks(mode))

        assert result["text"] == "x" * output._MOST_TEXT

    def test_a_file_takes_the_whole_of_it(
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


class TestStructuredOutput:
    def test_the_value_is_returned(self, account: Account, mode: str) -> None:
        account.manus.plan(structured={"value": {"city": "Bern"}})

        assert account.task().attempt(asks(mode, structured_output_schema=SCHEMA))["structured"] == {
            "city": "Bern"
        }
        assert account.manus.created[0].body["structured_output_schema"] == SCHEMA

    def test_one_that_comes_late_is_waited_for(self, account: Account) -> None:
        account.manus.plan(structured={"value": {"city": "Bern"}}, output_lag=25)

        assert account.task().attempt(asks(structured_output_schema=SCHEMA))["structured"] == {"city": "Bern"}

    def test_one_that_could_not_be_made_is_a_failure_with_its_reason(
        self, account: Account, mode: str
    ) -> None:
        account.manus.plan(structured={"success": False, "error": "no city was found"}, credit_usage=9)
        task = account.task(retries=3)

        with pytest.raises(AirflowFailException, match="no city was found"):
            task.attempt(asks(mode, structured_output_schema=SCHEMA))

        assert task.xcoms["credit_usage"] == 9

    def test_or_a_result_to_branch_on_without_the_empty_stand_in(self, account: Account, mode: str) -> None:
        account.manus.plan(structured={"success": False, "error": "no city was found"})

        result = account.task().attempt(asks(mode, structured_output_schema=SCHEMA, raise_on_failure=False))

        assert (result["state"], result["structured"]) == ("failed", None)
        assert "no city was found" in result["error"]

    def test_one_that_never_comes_is_a_failure(self, account: Account, mode: str) -> None:
        account.manus.plan(structured={"value": {"city": "Bern"}}, output_lag=1e6)

        with pytest.raises(AirflowFailException, match="never came"):
            account.task().attempt(asks(mode, structured_output_schema=SCHEMA))


class TestFailure:
    def failing(self, account: Account) -> None:
        account.manus.plan(script=[("running", 30), "failed"], error="The site is down.", credit_usage=5)

    def test_it_is_final_and_tells_why_and_where(self, account: Account, mode: str, version: str) -> None:
        self.failing(account)
        task = account.task(retries=3)

        with pytest.raises(AirflowFailException) as failed:
            task.attempt(asks(mode))

        assert all(word in str(failed.value) for word in (account.created[0], "The site is down.", "/app/"))
        assert task.xcoms["credit_usage"] == 5

    def test_or_a_result_to_branch_on(self, account: Account, mode: str, version: str) -> None:
        self.failing(account)
        task = account.task()

        result = task.attempt(asks(mode, raise_on_failure=False))

        assert (result["state"], result["error"]) == ("failed", "The site is down.")
        assert task.xcoms["credit_usage"] == 5

    def test_a_task_that_a_user_stopped_was_cancelled(self, account: Account, mode: str) -> None:
        account.manus.plan(default=True, stopped_by_user=True, script=[("running", 30), "stopped"])

        with pytest.raises(AirflowFailException, match="was cancelled"):
            account.task().attempt(asks(mode))
        assert account.task().attempt(asks(mode, raise_on_failure=False))["state"] == "cancelled"

    def test_trouble_with_the_service_is_retried_and_goes_on_with_the_task(
        self, account: Account, mode: str, version: str
    ) -> None:
        account.manus.plan(script=[("running", 3600), "completed"])
        task = account.task(retries=1)
        account.faults.add("drop_before", method="GET")
        with pytest.raises(TransportError):
            task.attempt(asks(mode, max_poll_failures=2))
        account.faults.clear()
        task.retry()

        assert [task.attempt(asks(mode))["id"]] == account.created

    def test_an_odd_failed_look_does_no_harm(self, account: Account, mode: str, version: str) -> None:
        account.manus.plan(script=[("running", 600), "completed"])
        account.faults.add("status", method="GET", status=500, times=4, after=2)

        assert account.task().attempt(asks(mode))["state"] == "completed"

    def test_a_result_that_cannot_be_fetched_now_is_fetched_by_a_retry(
        self, account: Account, mode: str
    ) -> None:
        account.connect("v2", max_attempts=1)
        task = account.task(retries=1)
        account.manus.plan(script=["completed"], answer="42.")
        account.faults.add("status", path="*/task.listMessages", status=500, after=1, times=1)

        assert task.attempts(asks(mode))["text"] == "42."
        assert task.try_number == 2
        assert len(account.created) == 1


class TestWhatItMayCost:
    @pytest.fixture(autouse=True)
    def _costly(self, account: Account) -> None:
        account.manus.plan(script=[("running", 1e6), "completed"], credits_per_second=1)

    def test_above_it_the_task_is_stopped_and_the_operator_fails(self, account: Account, mode: str) -> None:
        task = account.task(retries=3)

        with pytest.raises(AirflowFailException) as failed:
            task.attempt(asks(mode, max_credits=100))

        (task_id,) = account.created
        assert account.word(task_id) == "stopped"
        assert 100 < task.xcoms["credit_usage"] <= 120
        assert "more than max_credits (100). It was stopped." in str(failed.value)
        assert isinstance(failed.value.__cause__, BudgetExceededError)

    def test_after_a_clear_another_is_started(self, account: Account, mode: str) -> None:
        task = account.task()
        with pytest.raises(AirflowFailException):
            task.attempt(asks(mode, max_credits=100))
        task.clear()

        assert task.attempt(asks(mode, max_credits=100))["id"] == account.created[1]

    def test_one_that_could_not_be_stopped_is_not_forgotten(self, account: Account, mode: str) -> None:
        account.faults.add("status", path="*/task.stop", status=400, times=1)
        # Or the mark in its title would find it.
        account.faults.add("omit")
        task = account.task()
        with pytest.raises(AirflowFailException, match="could not be stopped; stop it in the Manus app"):
            task.attempt(asks(mode, max_credits=100))
        task.clear()
        with pytest.raises(AirflowFailException, match="It was stopped"):
            task.attempt(asks(mode, max_credits=100))

        assert len(account.created) == 1

    def test_a_question_is_no_way_around_it(self, account: Account, mode: str) -> None:
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

    def test_a_task_that_ended_above_it_is_a_success(self, account: Account, mode: str) -> None:
        account.manus.clear()
        account.manus.plan(script=["completed"], credit_usage=500)

        assert account.task().attempt(asks(mode, max_credits=100))["credit_usage"] == 500

    @pytest.mark.parametrize("limit", ["100", "  100  "])
    def test_a_limit_from_a_template_holds_after_a_pause_too(
        self, account: Account, mode: str, limit: str
    ) -> None:
        account.manus.clear()
        account.manus.plan(
            waiting="deployAction",
            credits_per_second=1,
            script=[("running", 20), ("waiting", None), ("running", 1e6), "completed"],
        )
        allowed = {"deployAction": {"accept": True}}

        with pytest.raises(AirflowFailException, match=r"more than max_credits .*It was stopped"):
            account.task().attempt(asks(mode, max_credits=limit, on_waiting="fail", auto_confirm=allowed))

        assert len(account.manus.answers(account.created[0])) == 1
