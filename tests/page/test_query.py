"""What the page reads from a real metadata database of Airflow."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from airflow.models.trigger import Trigger

from dev.page.rows import MANUS_TRIGGER, NOW, Row, ago, deferred
from remote_tasks_provider.page.catalog import awaited_by_operator, awaited_by_trigger
from remote_tasks_provider.page.query import read_waits
from remote_tasks_provider.page.waits import Wait
from tests.page.conftest import Database

URL = "https://manus.im/app/task_1"
SEEN = {"state": "running", "credits": 12, "at": NOW.timestamp() - 60}


def read(*dag_ids: str, with_questions: bool = True) -> list[Wait]:
    return read_waits(set(dag_ids) or {"reports"}, with_questions=with_questions)


def only(**how: Any) -> Wait:
    (wait,) = read(**how)
    return wait


class TestDeferred:
    def test_deferred_wait_is_read_from_its_trigger(self, database: Database) -> None:
        began = NOW.timestamp() - 4000
        database.add(deferred("task_1", started_at=began, seen=SEEN, xcoms={"remote_task_url": URL}))

        assert only() == Wait(
            dag_id="reports",
            run_id="manual",
            task_id="wait",
            map_index=-1,
            place="triggerer",
            service="Manus",
            task_type="Manus task",
            conn_id="manus_default",
            remote_ids=["task_1"],
            url=URL,
            state="running",
            state_at=SEEN["at"],
            since=began,
            credits=12,
            is_attended=True,
        )

    def test_wait_of_an_older_version_says_no_state(self, database: Database) -> None:
        database.add(deferred())
        wait = only()

        assert (wait.state, wait.credits, wait.polled_at) == (None, None, None)
        assert wait.since == pytest.approx(ago(minutes=5).timestamp())

    @pytest.mark.parametrize("path", sorted(awaited_by_trigger()))
    def test_wait_of_every_trigger_is_read(self, database: Database, path: str) -> None:
        kind = awaited_by_trigger()[path]
        trigger = (path, {"conn_id": "c", kind.ids_params[0]: ["a", "b"], "poll_interval": 5.0})
        database.add(deferred(trigger=trigger))
        wait = only()

        assert (wait.service, wait.task_type) == (kind.service, kind.task_type)
        assert (wait.conn_id, wait.remote_ids) == ("c", ["a", "b"])

    def test_wait_whose_triggerer_is_silent_is_not_attended(self, database: Database) -> None:
        database.add(deferred(heartbeat=3600))

        assert only().is_attended is False

    def test_trigger_that_cannot_be_decrypted_is_still_a_row(
        self, database: Database, caplog: pytest.LogCaptureFixture
    ) -> None:
        database.add(deferred())
        with database.session() as session:
            session.query(Trigger).update({"encrypted_kwargs": "gAAAAAB-not-ours"}, synchronize_session=False)
        with caplog.at_level(logging.WARNING):
            wait = only()

        assert (wait.service, wait.conn_id, wait.remote_ids) == ("Manus", None, ())
        assert "gAAAAAB" not in caplog.text

    def test_wait_of_somebody_elses_operator_is_known_by_its_trigger(self, database: Database) -> None:
        database.add(deferred(operator="TheirSensor"))

        assert only().service == "Manus"


class TestOtherPlaces:
    def test_rescheduled_wait_began_with_its_first_poll(self, database: Database) -> None:
        rendered = {"remote_task_id": "task_1", "manus_conn_id": "m"}
        row = Row(state="up_for_reschedule", rendered=rendered, reschedules=[20, 10], started=10)
        database.add(row)
        wait = only()

        assert (wait.place, wait.conn_id, wait.remote_ids) == ("scheduler", "m", ["task_1"])
        assert wait.since == pytest.approx(ago(minutes=20).timestamp())
        assert wait.polled_at == pytest.approx(ago(minutes=10).timestamp())

    def test_task_on_a_worker_has_its_ids_from_xcom(self, database: Database) -> None:
        row = Row(state="running", operator="QStashPublishOperator", rendered={"qstash_conn_id": "q"})
        row.xcoms = {"message_ids": ["msg_1", "msg_2"]}
        database.add(row)
        wait = only()

        assert (wait.place, wait.service, wait.remote_ids) == ("worker", "QStash", ["msg_1", "msg_2"])

    @pytest.mark.parametrize(
        "value",
        [
            "Truncated. You can change this behaviour in [core]max_templated_field_length. 'abc",
            "{{ params.task }}",
            "",
            None,
            {"a": 1},
        ],
    )
    def test_parameter_that_is_no_id_is_not_shown_as_one(self, database: Database, value: Any) -> None:
        rendered = {"remote_task_id": value, "manus_conn_id": "m"}
        database.add(Row(state="running", rendered=rendered))

        assert only().remote_ids == []

    @pytest.mark.parametrize("operator", sorted(awaited_by_operator()))
    def test_waiting_operators_of_every_service_are_known(self, database: Database, operator: str) -> None:
        kind = awaited_by_operator()[operator]
        database.add(Row(state="running", operator=operator, rendered={kind.conn_param: "c"}))
        wait = only()

        assert (wait.service, wait.task_type, wait.conn_id) == (kind.service, kind.task_type, "c")

    @pytest.mark.parametrize(
        "row",
        [
            Row(operator="BashOperator", state="running"),
            Row(operator="ManusTaskSensor", state="success"),
            Row(operator="ManusTaskSensor", state="up_for_retry"),
            Row(operator="X", trigger=("airflow.triggers.testing.SuccessTrigger", {})),
            Row(operator="X", trigger=("remoteXtasks_provider.x", {})),
        ],
        ids=["another operator", "finished", "between attempts", "another trigger", "LIKE has wildcards"],
    )
    def test_task_that_waits_for_no_remote_task_is_not_read(self, database: Database, row: Row) -> None:
        database.add(row)

        assert read() == []


class TestQuestions:
    ASKING = Row(
        operator="ManusTaskOperator",
        state="awaiting_input",
        next_method="resume_with_reply",
        rendered={"manus_conn_id": "m", "prompt": "secret prompt"},
        xcoms={"remote_task_id": "task_1"},
        question="Which one?",
    )

    def test_open_question_is_read(self, database: Database) -> None:
        database.add(self.ASKING)
        wait = only()

        assert (wait.place, wait.state, wait.question) == ("person", "waiting", "Which one?")
        assert wait.asked_at == pytest.approx(ago(minutes=2).timestamp())
        assert "secret prompt" not in str(wait)

    def test_question_is_kept_from_a_user_who_may_not_see_it(self, database: Database) -> None:
        database.add(self.ASKING)

        assert only(with_questions=False).question is None

    def test_answered_question_is_not_open(self, database: Database) -> None:
        database.add(Row(**{**vars(self.ASKING), "is_answered": True}))

        assert only().question is None

    def test_question_of_an_earlier_attempt_is_not_that_of_a_deferred_wait(self, database: Database) -> None:
        database.add(deferred(question="Old?"))

        assert only().question is None

    def test_question_of_somebody_elses_operator_is_known_by_its_parameters(self, database: Database) -> None:
        database.add(Row(**{**vars(self.ASKING), "operator": "TheirOperator"}))
        wait = only()

        assert (wait.service, wait.conn_id, wait.question) == ("Manus", "m", "Which one?")

    def test_question_below_airflow_3_3_is_read(self, database: Database) -> None:
        trigger = ("airflow.providers.standard.triggers.hitl.HITLTrigger", {"ti_id": "1"})
        database.add(Row(**{**vars(self.ASKING), "state": "deferred", "trigger": trigger}))
        wait = only()

        assert (wait.place, wait.service, wait.question) == ("person", "Manus", "Which one?")


class TestReports:
    def add(self, database: Database, at: float) -> None:
        reported = {"state": "waiting", "credits": 30, "at": at}
        database.add(deferred(started_at=NOW.timestamp() - 600, seen=SEEN, reported=reported))

    def test_report_of_a_triggerer_is_newer_than_what_the_worker_saw(self, database: Database) -> None:
        self.add(database, NOW.timestamp() - 5)
        wait = only()

        assert (wait.state, wait.credits) == ("waiting", 30)
        assert wait.polled_at == wait.state_at == pytest.approx(NOW.timestamp() - 5, abs=0.1)

    def test_report_from_before_the_wait_is_that_of_another_trigger(self, database: Database) -> None:
        self.add(database, NOW.timestamp() - 700)

        assert (only().state, only().polled_at) == ("running", None)


class TestPermission:
    def test_waits_of_other_dags_are_not_read(self, database: Database) -> None:
        database.add(deferred("mine"), deferred("theirs", dag_id="payroll"))

        assert [wait.remote_ids for wait in read("reports")] == [["mine"]]
        assert read_waits(set(), with_questions=True) == []


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "manus.im", 7, None])
def test_link_that_is_no_page_is_not_shown(database: Database, url: Any) -> None:
    database.add(deferred(xcoms={"remote_task_url": url}))

    assert only().url is None


def test_number_of_queries_does_not_depend_on_the_number_of_waits(database: Database) -> None:
    database.add(*(deferred(f"t{one}", map_index=one, xcoms={"remote_task_url": URL}) for one in range(3)))
    read()
    few = list(database.queries)
    database.add(
        *(
            deferred(f"u{one}", dag_id="more", task_id=f"w{one}", trigger=(MANUS_TRIGGER, {}))
            for one in range(60)
        )
    )
    database.queries.clear()

    assert len(read("reports", "more")) == 63
    assert len(database.queries) <= 6
    assert len(few) >= len(database.queries)
