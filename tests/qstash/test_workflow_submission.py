"""A workflow run is triggered once, whatever answer is lost and however often Airflow retries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from remote_tasks_provider.core.errors import OrphanedStartError, RemoteTaskError, StaleStartError
from remote_tasks_provider.qstash.operators import QStashResumeWorkflowOperator, QStashWorkflowOperator
from remote_tasks_provider.qstash.workflow_submission import WorkflowSubmission
from tests.manus.airflow_task import AirflowTask, dying
from tests.qstash.account import QStash

URL = "https://example.com/workflow"
TRIGGER = "/qstash/v2/trigger/*"
LONG = [("RUN_STARTED", 1200), ("RUN_SUCCESS", None)]
REMEMBERS = pytest.mark.parametrize("remembers", [True, False])


def trigger(**options: Any) -> Any:
    return QStashWorkflowOperator(**({"task_id": "ask", "workflow_url": URL, "body": {"n": 1}} | options))


def runs(account: QStash) -> list[str]:
    return [run.id for run in account.qstash.workflows.all()]


def states(account: QStash) -> list[str]:
    return [run.state(account.clock.now()) for run in account.qstash.workflows.all()]


def asked(account: QStash) -> int:
    return len(account.requests("POST", "/v2/trigger"))


def die_in_the_request(task: AirflowTask, make: Callable[[], Any]) -> None:
    """Run an attempt that is killed after Upstash read its request, and before it knows the answer."""
    submit = WorkflowSubmission.submit

    def killed(self: WorkflowSubmission, tag: Any) -> None:
        submit(self, tag)
        raise SystemExit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkflowSubmission, "submit", killed)
        with pytest.raises(SystemExit):
            task.attempt(make)


class TestRetry:
    @REMEMBERS
    def test_retry_re_attaches_to_the_run(self, account: QStash, remembers: bool) -> None:
        account.qstash.workflows.plan(script=LONG)
        task = account.task(retries=1, remembers=remembers)
        with pytest.raises(SystemExit):
            task.attempt(dying(trigger))
        task.retry()
        result = task.attempt(trigger)

        assert [result["id"]] == runs(account)
        assert result["state"] == "completed"

    @REMEMBERS
    def test_retry_takes_a_run_that_has_finished(self, account: QStash, remembers: bool) -> None:
        task = account.task(retries=1, remembers=remembers)
        with pytest.raises(SystemExit):
            task.attempt(dying(trigger))
        account.clock.advance(3600)
        task.retry()

        assert task.attempt(trigger)["state"] == "completed"
        assert len(runs(account)) == asked(account) == 1

    @REMEMBERS
    @pytest.mark.parametrize("script", [LONG, [("RUN_SUCCESS", None)]], ids=["running", "finished"])
    def test_worker_that_died_in_the_request_has_triggered_the_run(
        self, account: QStash, script: Any, remembers: bool
    ) -> None:
        account.qstash.workflows.plan(script=script)
        task = account.task(retries=1, remembers=remembers)
        die_in_the_request(task, trigger)
        task.retry()

        assert [task.attempt(trigger)["id"]] == runs(account)

    def test_lost_answer_is_found_by_the_same_attempt(self, account: QStash) -> None:
        account.sandbox.settings.update({"qstash_log_lag": 40})
        account.faults.add("drop_after", path=TRIGGER)

        assert [account.task().attempt(trigger)["id"]] == runs(account)
        assert asked(account) == 1

    def test_run_that_the_logs_do_not_show_is_not_triggered_twice(self, account: QStash) -> None:
        """The logs stand still, and the first request has begun a run: Upstash refuses the second one."""
        account.qstash.workflows.plan(script=LONG)
        account.sandbox.settings.update({"qstash_log_lag": 1000})
        task = account.task(retries=1)
        account.faults.add("drop_after", path=TRIGGER, times=1)
        with pytest.raises(RemoteTaskError):
            task.attempt(lambda: trigger(wait_for_completion=False))
        task.retry()
        result = task.attempt(lambda: trigger(wait_for_completion=False))

        assert [result["id"]] == runs(account)
        assert asked(account) == 2

    def test_refused_trigger_is_sent_again_by_the_retry(self, account: QStash) -> None:
        account.faults.add("status", path=TRIGGER, status=503, times=1)
        task = account.task(retries=1)

        assert task.attempts(trigger)["state"] == "completed"
        assert len(runs(account)) == 1

    def test_trigger_is_not_repeated_by_the_client(self, account: QStash) -> None:
        account.faults.add("status", path=TRIGGER, status=503)
        with pytest.raises(RemoteTaskError):
            account.task().attempt(lambda: trigger(not_found_grace=30))

        assert asked(account) == 1

    def test_search_that_finds_nothing_may_be_forbidden_to_lead_to_a_run(self, account: QStash) -> None:
        task = account.task(retries=1)
        account.faults.add("drop_before", path=TRIGGER, times=1)
        with pytest.raises(AirflowFailException) as caught:
            task.attempt(lambda: trigger(on_orphaned_intent="fail"))

        assert isinstance(caught.value.__cause__, OrphanedStartError)
        assert runs(account) == []


class TestClear:
    def test_cleared_task_re_attaches_to_a_run_at_work(self, account: QStash) -> None:
        account.qstash.workflows.plan(script=LONG)
        task = account.task()
        with pytest.raises(SystemExit):
            task.attempt(dying(trigger))
        task.clear()

        assert [task.attempt(trigger)["id"]] == runs(account)

    @REMEMBERS
    def test_cleared_task_triggers_a_new_run_after_its_result(self, account: QStash, remembers: bool) -> None:
        task = account.task(remembers=remembers)
        first = task.attempt(trigger)
        task.clear()
        second = task.attempt(trigger)

        assert [first["id"], second["id"]] == runs(account)
        assert first["id"] != second["id"]

    def test_id_of_a_run_that_has_finished_is_not_used_again(self, account: QStash) -> None:
        """As after a DAG run was deleted and made anew: its first attempt has the same id as before."""
        first = account.task().attempt(trigger)
        account.clock.advance(3600)
        second = account.task().attempt(trigger)

        assert second["id"] == f"{first['id']}-1"
        assert second["created_at"] > first["created_at"]


class TestStaleInputs:
    @REMEMBERS
    def test_run_with_other_inputs_fails_for_good(self, account: QStash, remembers: bool) -> None:
        account.qstash.workflows.plan(script=LONG)
        task = account.task(retries=1, remembers=remembers)
        with pytest.raises(SystemExit):
            task.attempt(dying(trigger))
        task.retry()
        with pytest.raises(AirflowFailException) as caught:
            task.attempt(lambda: trigger(body={"n": 2}))

        assert isinstance(caught.value.__cause__, StaleStartError)
        assert f"submitted QStash workflow run {runs(account)[0]} " in str(caught.value)
        assert states(account) == ["RUN_STARTED"]

    @REMEMBERS
    def test_restart_cancels_the_run_and_triggers_another(self, account: QStash, remembers: bool) -> None:
        account.qstash.workflows.plan(script=LONG)
        task = account.task(retries=2, remembers=remembers)
        with pytest.raises(SystemExit):
            task.attempt(dying(trigger))
        task.retry()
        with pytest.raises(SystemExit):
            task.attempt(dying(lambda: trigger(body={"n": 2}, on_stale_state="restart")))
        task.retry()
        result = task.attempt(lambda: trigger(body={"n": 2}, on_stale_state="restart"))

        assert states(account) == ["RUN_CANCELED", "RUN_SUCCESS"]
        assert result["id"] == runs(account)[1]

    def test_inputs_that_change_back_lead_to_a_new_run(self, account: QStash) -> None:
        account.qstash.workflows.plan(script=LONG)
        task = account.task(retries=2)
        for number in (1, 2):
            with pytest.raises(SystemExit):
                task.attempt(dying(lambda n=number: trigger(body={"n": n}, on_stale_state="restart")))
            task.retry()
        result = task.attempt(lambda: trigger(on_stale_state="restart"))

        assert states(account) == ["RUN_CANCELED", "RUN_CANCELED", "RUN_SUCCESS"]
        assert result["id"] == f"{runs(account)[0]}-1"

    def test_reattach_takes_the_run_all_the_same(self, account: QStash) -> None:
        task = account.task(retries=1)
        with pytest.raises(SystemExit):
            task.attempt(dying(trigger))
        task.retry()

        result = task.attempt(lambda: trigger(body={"n": 2}, on_stale_state="reattach"))
        assert [result["id"]] == runs(account)

    def test_labels_delays_and_retries_are_no_inputs(self, account: QStash) -> None:
        task = account.task(retries=1)
        with pytest.raises(SystemExit):
            task.attempt(dying(lambda: trigger(labels="a", delivery_retries=1)))
        task.retry()

        task.attempt(lambda: trigger(labels="b", delivery_retries=2))
        assert len(runs(account)) == 1


class TestTwoAirflows:
    def test_run_of_each_is_triggered(self, account: QStash, monkeypatch: pytest.MonkeyPatch) -> None:
        account.qstash.workflows.plan(script=LONG)
        for name in ("production", "staging"):
            monkeypatch.setenv("AIRFLOW__REMOTE_TASKS__DEPLOYMENT_ID", name)
            account.task().attempt(lambda: trigger(wait_for_completion=False))

        assert len(set(runs(account))) == 2

    def test_run_of_an_unknown_twin_is_told_and_never_cancelled(
        self, account: QStash, capsys: Any, caplog: Any
    ) -> None:
        account.qstash.workflows.plan(script=LONG)
        account.task().attempt(lambda: trigger(wait_for_completion=False))
        operator = trigger()

        def killed(*_: Any, **__: Any) -> Any:
            raise SystemExit

        operator.wait_for_tasks = killed
        task = account.task()
        with pytest.raises(SystemExit):
            operator.execute(task.context)
        account.ended_as(task, "failed")
        operator.on_kill()

        assert states(account) == ["RUN_STARTED"]
        assert "Set [remote_tasks] deployment_id" in caplog.text + capsys.readouterr().out


class TestIterations:
    def test_mapped_tasks_have_runs_of_their_own(self, account: QStash) -> None:
        for index in range(2):
            account.task(map_index=index).attempt(trigger)

        assert len(set(runs(account))) == 2


class TestResume:
    @pytest.fixture
    def dlq_id(self, account: QStash) -> str:
        workflows = account.qstash.workflows
        failed = workflows.find(workflows.add("wfr_old", [("RUN_FAILED", None)], labels=["nightly"]))
        assert failed is not None
        return str(failed.dlq_id(account.clock.now()))

    def resume(self, dlq_id: str, **options: Any) -> Any:
        return QStashResumeWorkflowOperator(task_id="ask", dlq_id=dlq_id, **options)

    @REMEMBERS
    def test_lost_answer_leads_to_one_run(self, account: QStash, dlq_id: str, remembers: bool) -> None:
        task = account.task(retries=1, remembers=remembers)
        die_in_the_request(task, lambda: self.resume(dlq_id))
        task.retry()
        result = task.attempt(lambda: self.resume(dlq_id))

        assert runs(account) == ["wfr_old", result["id"]]
        assert result["state"] == "completed"

    def test_new_run_keeps_the_labels_of_the_old_one(self, account: QStash, dlq_id: str) -> None:
        result = account.task().attempt(lambda: self.resume(dlq_id, restart=True, delivery_retries=1))
        run = account.qstash.workflows.find(result["id"])

        assert run is not None
        assert run.labels[-1] == "nightly"
        (sent,) = account.requests("POST", "/v2/workflows/dlq/restart")
        assert sent.headers["upstash-retries"] == "1"

    def test_labels_of_this_provider_are_not_kept(self, account: QStash) -> None:
        account.qstash.workflows.plan(script=[("RUN_FAILED", None)])
        with pytest.raises(AirflowFailException):
            account.task().attempt(lambda: trigger(labels="mine"))
        account.qstash.workflows.plan(script=[("RUN_SUCCESS", None)])
        (failed,) = account.qstash.workflows.all()
        dlq_id = str(failed.dlq_id(account.clock.now()))
        result = account.task(map_index=3).attempt(lambda: self.resume(dlq_id))
        run = account.qstash.workflows.find(result["id"])

        assert run is not None
        assert [label for label in run.labels if not label.startswith("af-")] == ["mine"]
        assert len(run.labels) == 3

    def test_dlq_message_that_is_not_there_sends_nothing(self, account: QStash) -> None:
        with pytest.raises(RemoteTaskError, match="not found"):
            account.task().attempt(lambda: self.resume("1-1"))

        assert account.requests("POST", "/v2/workflows") == []
