"""Workflow runs in Airflow tasks: triggered, awaited in each mode, branched on, cancelled, notified."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSensorTimeout

from remote_tasks_provider.bases.links import LINK_KEY
from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.qstash.hooks import QStashHook
from remote_tasks_provider.qstash.operators import (
    QStashCancelWorkflowOperator,
    QStashListWorkflowRunsOperator,
    QStashNotifyWorkflowOperator,
    QStashResumeWorkflowOperator,
    QStashWorkflowBranchOperator,
    QStashWorkflowOperator,
)
from remote_tasks_provider.qstash.sensors import QStashWorkflowSensor
from remote_tasks_provider.qstash.triggers import QStashWorkflowTrigger
from tests.manus.airflow_task import MODES, AirflowTask, run_trigger
from tests.qstash.account import QStash

URL = "https://example.com/workflow"
LONG = [("RUN_STARTED", 86_400), ("RUN_SUCCESS", None)]


@pytest.fixture(params=MODES)
def deferrable(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "deferred")


def trigger(**options: Any) -> Any:
    return QStashWorkflowOperator(**({"task_id": "ask", "workflow_url": URL, "body": {"n": 1}} | options))


def only(account: QStash) -> Any:
    (run,) = account.qstash.workflows.all()
    return run


class TestOutcome:
    def test_run_that_succeeds_returns_what_the_workflow_has_returned(
        self, account: QStash, deferrable: bool
    ) -> None:
        account.sandbox.settings.update({"qstash_log_lag": 40})
        account.qstash.workflows.plan(response='{"rows": 3}')
        task = account.task()
        result = task.attempt(lambda: trigger(deferrable=deferrable, workflow_url=f"{URL}?key=hush"))

        run = only(account)
        assert (result["id"], result["workflow_run_id"]) == (run.id, run.id)
        assert (result["state"], result["status"], result["structured"], result["text"]) == (
            "completed",
            "RUN_SUCCESS",
            {"rows": 3},
            None,
        )
        assert result["url"] == URL
        assert "hush" not in json.dumps(result)
        assert task.xcoms["workflow_run_id"] == run.id
        assert task.xcoms[LINK_KEY].startswith("https://console.upstash.com/")

    @pytest.mark.parametrize(
        ("response", "text", "value"), [("hello", "hello", None), ('"x"', None, "x"), (None, None, None)]
    )
    def test_response_that_is_no_json_is_text(
        self, account: QStash, response: Any, text: Any, value: Any
    ) -> None:
        account.qstash.workflows.plan(response=response)
        result = account.task().attempt(trigger)

        assert (result["text"], result["structured"]) == (text, value)

    def test_failed_run_fails_for_good_with_status_and_answer(
        self, account: QStash, deferrable: bool
    ) -> None:
        account.qstash.workflows.plan(
            script=[("RUN_STARTED", 60), ("RUN_FAILED", None)],
            response_status=503,
            response_body="no room, token=hush",
        )
        with pytest.raises(AirflowFailException) as caught:
            account.task().attempt(lambda: trigger(deferrable=deferrable))

        run = f"QStash workflow run {only(account).id}"
        assert f"{run} failed: HTTP 503: no room, token=***" in str(caught.value)

    def test_failed_run_is_returned_without_raise_on_failure(self, account: QStash, deferrable: bool) -> None:
        account.qstash.workflows.plan(script=[("RUN_FAILED", None)], response_status=503)
        result = account.task().attempt(lambda: trigger(deferrable=deferrable, raise_on_failure=False))

        assert (result["state"], result["response_status"]) == ("failed", 503)
        assert result["dlq_id"] == only(account).dlq_id(account.clock.now())

    def test_cancelled_run_fails(self, account: QStash, deferrable: bool) -> None:
        account.qstash.workflows.plan(script=[("RUN_STARTED", 60), ("RUN_CANCELED", None)])
        with pytest.raises(AirflowFailException, match="was cancelled"):
            account.task().attempt(lambda: trigger(deferrable=deferrable))

    def test_result_goes_to_a_file(self, account: QStash, tmp_path: Path) -> None:
        account.qstash.workflows.plan(response='{"rows": 3}')
        path = tmp_path / "result.json"
        result = account.task().attempt(lambda: trigger(result_path=f"file://{path}"))

        assert (result["structured"], result["result_path"]) == (None, f"file://{path}")
        assert json.loads(path.read_text())["structured"] == {"rows": 3}

    def test_result_that_cannot_be_written_is_refused_before_a_run_begins(
        self, account: QStash, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(ValueError, match="result_path"):
            account.task().attempt(lambda: trigger(result_path=f"file://{tmp_path}/file/more"))

        assert account.qstash.workflows.all() == []

    def test_run_is_not_awaited_if_it_need_not_be(self, account: QStash) -> None:
        result = account.task().attempt(lambda: trigger(wait_for_completion=False))

        assert result == {"id": only(account).id, "workflow_run_id": only(account).id, "url": URL}

    def test_run_that_the_logs_never_show_fails_after_the_grace(
        self, account: QStash, deferrable: bool
    ) -> None:
        account.sandbox.settings.update({"qstash_log_lag": 10**6})
        began = account.clock.now()
        with pytest.raises(AirflowFailException, match="the logs have no workflow run"):
            account.task().attempt(lambda: trigger(deferrable=deferrable, not_found_grace=120))

        assert 120 <= account.clock.now() - began < 200


class TestWhatIsSent:
    def test_trigger_has_id_label_and_options(self, account: QStash) -> None:
        account.task().attempt(
            lambda: trigger(
                headers={"Authorization": "Bearer x"},
                labels=["a", "b"],
                delivery_retries=2,
                flow_control={"key": "user:1", "parallelism": 2},
                failure_callback="https://example.com/failed",
                extra_headers={"Upstash-New": "1"},
            )
        )
        run = only(account)

        assert run.id.startswith("wfr_af-")
        assert run.labels[2:] == ("a", "b")
        assert run.labels[0] == "-".join(run.id.removeprefix("wfr_").split("-")[:2])
        assert json.loads(run.body) == {"n": 1}
        sent = run.options.asked
        assert sent["upstash-forward-authorization"] == "Bearer x"
        assert (sent["upstash-retries"], sent["upstash-flow-control-key"]) == ("2", "user:1")
        assert (sent["upstash-failure-callback"], sent["upstash-new"]) == ("https://example.com/failed", "1")
        assert "upstash-method" not in sent

    def test_run_begins_later(self, account: QStash) -> None:
        began = account.clock.now()
        account.task().attempt(lambda: trigger(delay="1h"))

        assert account.clock.now() - began > 3600

    @pytest.mark.parametrize(
        "options",
        [
            {"workflow_url": "example.com"},
            {"workflow_url": "group"},
            {"workflow_url": None},
            {"delivery_retries": -1},
            {"delay": 1, "not_before": "2030-01-01T00:00:00Z"},
            {"extra_headers": {"Upstash-Workflow-RunId": "mine"}},
            {"labels": "a,b"},
            {"on_stale_state": "perhaps"},
            {"on_orphaned_intent": "perhaps"},
            {"wait_for_completion": False, "result_path": "file:///tmp/x"},
        ],
        ids=str,
    )
    def test_argument_that_cannot_be_right_is_refused_at_once(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(options))):
            trigger(**options)

    def test_url_that_renders_to_nothing_sends_nothing(self, account: QStash) -> None:
        operator = trigger(workflow_url="{{ x }}")
        with pytest.raises(AirflowFailException, match="workflow_url"):
            operator.workflow_url = "None"

        assert account.requests("POST", "/v2/trigger") == []


class TestEndings:
    def test_timeout_cancels_the_run(self, account: QStash, deferrable: bool) -> None:
        account.qstash.workflows.plan(script=LONG)
        with pytest.raises(AirflowSensorTimeout, match="was cancelled"):
            account.task().attempt(lambda: trigger(deferrable=deferrable, timeout=600))

        assert only(account).state(account.clock.now()) == "RUN_CANCELED"

    def test_timeout_leaves_the_run_if_it_is_to(self, account: QStash, deferrable: bool) -> None:
        account.qstash.workflows.plan(script=LONG)
        with pytest.raises(AirflowSensorTimeout, match="cancel_on_timeout is off"):
            account.task().attempt(
                lambda: trigger(deferrable=deferrable, timeout=600, cancel_on_timeout=False)
            )

        assert only(account).state(account.clock.now()) == "RUN_STARTED"

    @pytest.mark.parametrize(("cancel", "state"), [(True, "RUN_CANCELED"), (False, "RUN_STARTED")])
    def test_kill_cancels_the_run(self, account: QStash, cancel: bool, state: str) -> None:
        account.qstash.workflows.plan(script=LONG)
        operator = trigger(cancel_on_kill=cancel)

        def killed(*_: Any, **__: Any) -> Any:
            raise SystemExit

        operator.wait_for_tasks = killed
        task = account.task()
        with pytest.raises(SystemExit):
            operator.execute(task.context)
        account.ended_as(task, "failed")
        operator.on_kill()

        assert only(account).state(account.clock.now()) == state

    def test_deferred_wait_tells_the_trigger_to_cancel(self, account: QStash) -> None:
        account.qstash.workflows.plan(script=LONG)
        deferral = account.task().defer(lambda: trigger(deferrable=True))
        path, kwargs = deferral.trigger.serialize()

        assert path == "remote_tasks_provider.qstash.triggers.QStashWorkflowTrigger"
        assert (kwargs["workflow_run_ids"], kwargs["cancel_on_kill"]) == ([only(account).id], True)

    def test_run_that_a_killed_task_has_cancelled_is_not_adopted(self, account: QStash) -> None:
        account.qstash.workflows.plan(script=[("RUN_STARTED", 600), ("RUN_SUCCESS", None)])
        task = account.task()
        operator = trigger()

        def killed(*_: Any, **__: Any) -> Any:
            raise SystemExit

        operator.wait_for_tasks = killed
        with pytest.raises(SystemExit):
            operator.execute(task.context)
        account.ended_as(task, "failed")
        operator.on_kill()
        task.clear()
        result = task.attempt(trigger)

        assert result["state"] == "completed"
        assert len(account.qstash.workflows.all()) == 2


class TestSensor:
    def test_runs_are_awaited_in_order(self, account: QStash, deferrable: bool) -> None:
        ids = [
            account.qstash.workflows.add(
                f"wfr_{number}", [("RUN_STARTED", 60 * number), ("RUN_SUCCESS", None)]
            )
            for number in (3, 1, 2)
        ]
        result = account.task().attempt(
            lambda: QStashWorkflowSensor(
                task_id="ask", workflow_run_id=ids, deferrable=deferrable, timeout=3600
            )
        )

        assert [one["id"] for one in result] == ids
        assert set(result[0]) == {
            *("id", "state", "status", "url", "title", "error", "created_at", "updated_at", "credit_usage"),
            *("workflow_run_id", "dlq_id", "response_status"),
        }

    def test_newest_of_several_runs_with_one_id_counts(self, account: QStash) -> None:
        account.qstash.workflows.add("wfr_1", [("RUN_FAILED", None)])
        account.clock.advance(60)
        account.qstash.workflows.add("wfr_1", [("RUN_STARTED", 60), ("RUN_SUCCESS", None)])
        sensor = QStashWorkflowSensor(task_id="ask", workflow_run_id="wfr_1", deferrable=False)

        assert sensor.execute(account.task().context)["state"] == "completed"

    def test_trigger_fires_once_all_have_finished(self, account: QStash) -> None:
        ids = [account.qstash.workflows.add() for _ in range(12)]
        event = run_trigger(QStashWorkflowTrigger("qstash_default", ids, 15))

        assert {one["state"] for one in event["records"].values()} == {"completed"}
        assert QStashWorkflowTrigger("qstash_default", ids).workflow_run_ids == ids


class TestBranch:
    @pytest.mark.parametrize(
        ("state", "branch"), [("RUN_SUCCESS", "good"), ("RUN_FAILED", "bad"), ("RUN_CANCELED", "stopped")]
    )
    def test_branch_of_the_outcome_is_followed(self, account: QStash, state: str, branch: str) -> None:
        account.qstash.workflows.add("wfr_1", [(state, None)])
        operator = QStashWorkflowBranchOperator(
            task_id="ask",
            workflow_run_id="wfr_1",
            completed="good",
            failed="bad",
            cancelled="stopped",
            deferrable=False,
        )
        task = account.task()
        followed: list[Any] = []
        operator.do_branch = lambda _context, names: followed.append(names)  # type: ignore[method-assign]
        operator.execute(task.context)

        assert followed == [branch]
        assert task.xcoms["remote_task"]["id"] == "wfr_1"


class TestResume:
    @pytest.mark.parametrize("restart", [True, False])
    def test_failed_run_of_an_operator_is_resumed(
        self, account: QStash, restart: bool, deferrable: bool
    ) -> None:
        account.qstash.workflows.plan(script=[("RUN_FAILED", None)])
        failed = account.task().attempt(lambda: trigger(raise_on_failure=False))
        account.qstash.workflows.plan(response="7")
        result = account.task(map_index=1).attempt(
            lambda: QStashResumeWorkflowOperator(
                task_id="ask", dlq_id=failed["dlq_id"], restart=restart, deferrable=deferrable
            )
        )

        assert (result["state"], result["structured"]) == ("completed", 7)
        assert result["id"] != failed["id"]
        verb = "restart" if restart else "resume"
        assert len(account.requests("POST", f"/v2/workflows/dlq/{verb}")) == 1

    @pytest.mark.parametrize(
        "options", [{"dlq_id": ""}, {"restart": "perhaps"}, {"flow_control": {"key": "a"}}], ids=str
    )
    def test_argument_that_cannot_be_right_is_refused_at_once(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(options))):
            QStashResumeWorkflowOperator(**{"task_id": "ask", "dlq_id": "1-1", **options})


class TestList:
    def test_runs_are_listed_by_filters(self, account: QStash) -> None:
        account.qstash.workflows.add("wfr_1", [("RUN_FAILED", None)], labels=["a"], response_body="no")
        account.qstash.workflows.add("wfr_2", [("RUN_SUCCESS", None)], response="7")
        operator = QStashListWorkflowRunsOperator(task_id="ask", state="run_failed", labels="a")
        (found,) = operator.execute(account.task().context)

        assert (found["workflow_run_id"], found["state"], found["error"]) == (
            "wfr_1",
            "failed",
            "HTTP 500: no",
        )
        assert "groups" not in found

    @pytest.mark.parametrize(
        "options", [{"state": "DELIVERED"}, {"workflow_run_ids": ""}, {"from_date": 5}], ids=str
    )
    def test_filter_that_cannot_be_right_is_refused_at_once(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(options))):
            QStashListWorkflowRunsOperator(task_id="ask", **options)


class TestCancel:
    def cancel(self, account: QStash, **options: Any) -> int:
        operator = QStashCancelWorkflowOperator(task_id="ask", **options)
        return int(operator.execute(account.task().context))

    def test_run_is_cancelled_once(self, account: QStash) -> None:
        account.qstash.workflows.add("wfr_1", LONG)

        assert [self.cancel(account, workflow_run_id="wfr_1") for _ in range(2)] == [1, 0]

    def test_many_runs_are_cancelled_by_few_requests(self, account: QStash) -> None:
        ids = [account.qstash.workflows.add(script=LONG) for _ in range(150)]

        assert self.cancel(account, workflow_run_id=[*ids, "nobody"]) == 150
        assert len(account.requests("DELETE", "/v2/workflows/runs")) <= 4

    def test_runs_are_cancelled_by_filters(self, account: QStash) -> None:
        account.qstash.workflows.add("wfr_1", LONG, url=URL)
        account.qstash.workflows.add("wfr_2", LONG, url=f"{URL}/other")

        assert self.cancel(account, filters={"workflow_url": URL}) == 1
        assert account.qstash.workflows.find("wfr_2").awaits(0) is None  # type: ignore[union-attr]
        assert [run.state(account.clock.now()) for run in account.qstash.workflows.all()] == [
            "RUN_CANCELED",
            "RUN_STARTED",
        ]

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"workflow_run_id": []},
            {"workflow_run_id": ""},
            {"filters": {"url": URL}},
            {"filters": {"labels": []}},
            {"workflow_run_id": "wfr_1", "filters": {"labels": "a"}},
        ],
        ids=str,
    )
    def test_selection_that_could_mean_everything_is_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"filters|workflow_run_id"):
            QStashCancelWorkflowOperator(task_id="ask", **options)

    @pytest.mark.parametrize("filters", [{}, {"workflow_run_ids": ["a"], "labels": "b"}], ids=str)
    def test_hook_refuses_filters_that_upstash_would_ignore(
        self, account: QStash, filters: dict[str, Any]
    ) -> None:
        with pytest.raises(ValueError, match="filter"):
            QStashHook().cancel_workflow_runs(**filters)
        assert account.requests("DELETE", "") == []


class TestNotify:
    WAITS: ClassVar[Any] = [("WAIT approved", None), ("RUN_SUCCESS", None)]

    def notify(self, task: AirflowTask, **options: Any) -> Any:
        given = {"task_id": "ask", "event_id": "approved", "event_data": {"by": "Ada"}, **options}
        return task.attempt(lambda: QStashNotifyWorkflowOperator(**given))

    def test_waiting_run_goes_on(self, account: QStash) -> None:
        account.qstash.workflows.add("wfr_1", self.WAITS)
        (told,) = self.notify(account.task())

        assert (told["workflow_run_id"], told["error"]) == ("wfr_1", None)
        assert only(account).events == [("approved", '{"by":"Ada"}')]
        assert QStashHook().get_workflow_run("wfr_1").state == "completed"

    def test_run_is_notified_alone(self, account: QStash) -> None:
        for run_id in ("wfr_1", "wfr_2"):
            account.qstash.workflows.add(run_id, self.WAITS)
        (told,) = self.notify(account.task(), workflow_run_id="wfr_2")

        assert told["workflow_run_id"] == "wfr_2"
        assert QStashHook().workflow_waiters("approved") == ["wfr_1"]

    def test_event_that_nobody_waits_for_is_not_lost_but_tried_again(self, account: QStash) -> None:
        account.qstash.workflows.add("wfr_1", [("RUN_STARTED", 60), *self.WAITS])
        task = account.task(retries=1)
        with pytest.raises(RemoteTaskError, match="no workflow run waits"):
            self.notify(task)
        assert account.requests("POST", "/v2/notify") == []
        account.clock.advance(60)
        task.retry()

        assert len(self.notify(task)) == 1

    def test_waiter_is_not_required_if_the_user_says_so(self, account: QStash) -> None:
        assert self.notify(account.task(), require_waiter=False) == []

    def test_lost_answer_notifies_once(self, account: QStash) -> None:
        account.qstash.workflows.add("wfr_1", self.WAITS)
        account.faults.add("drop_after", path="/qstash/v2/notify/*", times=1)
        task = account.task(retries=1)

        assert self.notify(task) == []
        task.retry()
        assert self.notify(task) == []
        assert len(only(account).events) == 1
        assert len(account.requests("POST", "/v2/notify")) == 1

    def test_run_shows_what_it_waits_for(self, account: QStash) -> None:
        account.qstash.workflows.add("wfr_1", self.WAITS)

        assert QStashHook().get_workflow_run("wfr_1").to_json()["waits_for"] == ["approved"]

    @pytest.mark.parametrize(
        "options", [{"event_id": "a:b"}, {"event_id": ""}, {"event_data": {1, 2}}], ids=str
    )
    def test_argument_that_cannot_be_right_is_refused_at_once(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"event_id|event_data"):
            QStashNotifyWorkflowOperator(**{"task_id": "ask", "event_id": "a", **options})


class TestHook:
    def test_run_is_triggered_with_an_id_of_the_callers(self, account: QStash) -> None:
        run = QStashHook().trigger_workflow(URL, {"n": 1}, workflow_run_id="wfr_mine", delivery_retries=1)

        assert (run.workflow_run_id, run.deduplicated) == ("wfr_mine", False)
        assert run.created_at is not None
        assert QStashHook().trigger_workflow(URL).workflow_run_id.startswith("wfr_")

    def test_dead_letters_are_listed(self, account: QStash) -> None:
        account.qstash.workflows.add("wfr_1", [("RUN_FAILED", None)], response_body="token=hush")
        account.qstash.workflows.add("wfr_2", [("RUN_FAILED", None)])
        (found,) = QStashHook().iter_workflow_dlq(workflow_run_ids="wfr_1", limit=5)

        assert (found.workflow_run_id, found.to_json()["response"]) == ("wfr_1", "token=***")
        assert QStashHook().resume_workflow(found.dlq_id, restart=True).workflow_run_id.startswith("wfr_")
        assert [one.workflow_run_id for one in QStashHook().iter_workflow_dlq()] == ["wfr_2"]
