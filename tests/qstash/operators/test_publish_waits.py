"""A publish that waits for the outcome, on a worker and deferred; and what a kill does to its messages."""

from __future__ import annotations

import asyncio
import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSensorTimeout, TaskDeferred

from remote_tasks_provider.bases import operators
from remote_tasks_provider.qstash.hooks import QStashHook
from remote_tasks_provider.qstash.operators import QStashPublishOperator, QStashRetryDlqOperator
from remote_tasks_provider.qstash.triggers import QStashMessageTrigger
from tests.manus.airflow_task import MODES, AirflowTask, over_json
from tests.qstash.account import HOOK, QStash


@pytest.fixture(params=MODES)
def deferrable(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "deferred")


def publish(**options: Any) -> Any:
    given = {"task_id": "ask", "destination": HOOK, "body": "text", "wait_for_completion": True}
    return QStashPublishOperator(**(given | options))


class TestOutcome:
    def test_delivered_message_succeeds(self, account: QStash, deferrable: bool) -> None:
        account.sandbox.settings.update({"qstash_log_lag": 40})
        result = account.task().attempt(lambda: publish(deferrable=deferrable))

        assert (result["id"], result["state"], result["status"]) == (
            account.sent[0],
            "completed",
            "DELIVERED",
        )
        assert (result["url"], result["dlq_id"], result["error"]) == (HOOK, None, None)
        assert set(result) == {
            *("id", "state", "status", "url", "title", "error", "created_at", "updated_at", "credit_usage"),
            *("message_id", "dlq_id", "response_status"),
        }

    def test_log_says_that_a_message_is_delivered_and_calls_it_a_message(
        self, account: QStash, deferrable: bool, log_lines: list[str]
    ) -> None:
        account.sandbox.settings.update({"qstash_log_lag": 40})
        account.task().attempt(lambda: publish(deferrable=deferrable))
        name = f"QStash message {account.sent[0]}"

        assert f"{name} is published." in log_lines
        assert f"{name} is completed (delivered)." in log_lines
        assert [line for line in log_lines if line.startswith(f"{name} is not")]
        assert not [line for line in log_lines if "task msg" in line.lower()]

    def test_last_line_of_a_deferral_says_who_continues_and_what_to_check(
        self, account: QStash, log_lines: list[str]
    ) -> None:
        account.sandbox.settings.update({"qstash_log_lag": 40})
        with pytest.raises(TaskDeferred):
            publish(deferrable=True, poll_interval=30).execute(account.task().context)

        assert re.fullmatch(
            r"The triggerer continues this wait and polls next at \d\d:\d\d:\d\d UTC, in 30 s; its lines "
            r"follow here\. If none does, check that a triggerer is running .*",
            log_lines[-1],
        )

    def test_destination_is_no_page_of_the_message(self, account: QStash, deferrable: bool) -> None:
        """It may hold a secret, and the button *Manus task* would lead there."""
        task = account.task()
        task.attempt(lambda: publish(deferrable=deferrable, destination=f"{HOOK}?key=hush"))

        assert "remote_task_url" not in task.xcoms
        assert "hush" not in json.dumps(task.xcoms)

    def test_earlier_failed_attempts_do_not_matter(self, account: QStash, deferrable: bool) -> None:
        account.sandbox.settings.update({"qstash_retry_seconds": None})
        account.qstash.plan_delivery(HOOK, [500, 503, 200])
        result = account.task().attempt(lambda: publish(deferrable=deferrable))

        assert (result["state"], result["error"]) == ("completed", None)

    def test_failed_message_fails_with_status_and_answer(self, account: QStash, deferrable: bool) -> None:
        account.fail(status=503, body="no room, token=hush")
        with pytest.raises(AirflowFailException) as caught:
            account.task().attempt(lambda: publish(deferrable=deferrable))

        assert f"QStash message {account.sent[0]} failed: HTTP status 503: no room, token=***" in str(
            caught.value
        )

    def test_failed_message_is_returned_without_raise_on_failure(
        self, account: QStash, deferrable: bool
    ) -> None:
        account.fail(status=503)
        result = account.task().attempt(lambda: publish(deferrable=deferrable, raise_on_failure=False))
        (dlq_message,) = account.qstash.dlq_messages

        assert (result["state"], result["dlq_id"], result["response_status"]) == (
            "failed",
            dlq_message.id,
            503,
        )

    def test_cancelled_message_fails(self, account: QStash, deferrable: bool) -> None:
        account.sandbox.settings.update({"qstash_cancelled_word": "CANCELED"})
        task = account.task()

        def make() -> Any:
            operator = publish(deferrable=deferrable, delay="1h")
            if account.sent:
                QStashHook().cancel_message(account.sent[0])
            else:
                sent = operator.publish

                def cancelled(context: Any) -> Any:
                    messages = sent(context)
                    QStashHook().cancel_message(messages[0].message_id)
                    return messages

                operator.publish = cancelled
            return operator

        with pytest.raises(AirflowFailException, match="was cancelled"):
            task.attempt(make)

    def test_timeout_ends_the_wait(self, account: QStash, deferrable: bool) -> None:
        began = account.clock.now()
        with pytest.raises(AirflowSensorTimeout, match="Gave up after"):
            account.task().attempt(lambda: publish(deferrable=deferrable, delay="1h", timeout=600))

        assert 600 <= account.clock.now() - began < 700
        assert account.states_of(account.sent) == ["CREATED"]

    def test_message_without_a_log_entry_fails_after_the_grace(
        self, account: QStash, deferrable: bool
    ) -> None:
        account.sandbox.settings.update({"qstash_log_lag": 10**6})
        began = account.clock.now()
        with pytest.raises(AirflowFailException, match="the logs have no entry of message"):
            account.task().attempt(lambda: publish(deferrable=deferrable, not_found_grace=120))

        assert 120 <= account.clock.now() - began < 200


class TestGroups:
    def test_group_is_waited_for_in_order(self, account: QStash, deferrable: bool) -> None:
        urls = [f"https://example.com/{number}" for number in range(5)]
        QStashHook().upsert_endpoints("group", urls)
        result = account.task().attempt(lambda: publish(deferrable=deferrable, destination="group"))

        assert [one["url"] for one in result] == urls
        assert {one["state"] for one in result} == {"completed"}

    def test_failed_message_fails_the_task_once_all_are_finished(
        self, account: QStash, deferrable: bool
    ) -> None:
        QStashHook().upsert_endpoints("group", [HOOK, "https://example.com/b"])
        account.fail("https://example.com/b")
        with pytest.raises(AirflowFailException, match=r"1 of 2: QStash message \w+ failed"):
            account.task().attempt(lambda: publish(deferrable=deferrable, destination="group"))
        assert sorted(account.states_of(account.sent)) == ["DELIVERED", "FAILED"]

    def test_group_larger_than_an_event_keeps_its_order(self, account: QStash, deferrable: bool) -> None:
        urls = [f"https://example.com/{number}" for number in range(130)]
        QStashHook().upsert_endpoints("group", urls)
        account.fail("https://example.com/7", status=418)
        result = account.task().attempt(
            lambda: publish(deferrable=deferrable, destination="group", raise_on_failure=False)
        )

        assert [one["url"] for one in result] == urls
        assert [one["state"] for one in result].count("failed") == 1
        assert (result[7]["state"], result[7]["response_status"]) == ("failed", 418)


class TestDeferral:
    def test_trigger_carries_neither_key_nor_body(self, account: QStash) -> None:
        task = account.task()
        deferral = task.defer(
            lambda: publish(deferrable=True, delay="1h", body="hush", headers={"Authorization": "hush"})
        )
        stored = json.dumps([deferral.trigger.serialize(), deferral.kwargs])

        assert "hush" not in stored
        assert "sandbox-token" not in stored
        path, kwargs = deferral.trigger.serialize()
        assert path == "remote_tasks_provider.qstash.triggers.QStashMessageTrigger"
        assert kwargs["message_ids"] == account.sent
        assert "remote_task_ids" not in kwargs
        assert over_json(QStashMessageTrigger(**over_json(kwargs)).serialize()[1]) == over_json(kwargs)

    def test_retry_resumes_the_same_message(self, account: QStash) -> None:
        task = account.task(retries=1)
        task.defer(lambda: publish(deferrable=True, delay="5m"))
        task.retry()
        result = task.attempt(lambda: publish(deferrable=True, delay="5m"))

        assert account.sent == [result["id"]]


class TestKillOnAWorker:
    """A user marks the task failed or successful while it waits."""

    def _waiting(self, account: QStash, **options: Any) -> tuple[AirflowTask, Any]:
        """Return a task whose operator waits on a worker, and the operator."""
        operator = publish(delay="1h", **options)

        def killed(*_: Any, **__: Any) -> Any:
            raise SystemExit

        operator.wait_for_tasks = killed
        task = account.task()
        with pytest.raises(SystemExit):
            operator.execute(task.context)
        return task, operator

    @pytest.mark.parametrize("state", ["failed", "success"])
    def test_finished_airflow_task_cancels_only_its_own_message(self, account: QStash, state: str) -> None:
        (other,) = account.qstash.publish(HOOK, headers={"Upstash-Delay": "1h"})
        task, operator = self._waiting(account)
        account.ended_as(task, state)
        operator.on_kill()

        assert account.states_of(account.sent) == ["CREATED", "CANCELLED"]
        assert account.sent[0] == other
        assert account.qstash.bulk_cancels == []

    @pytest.mark.parametrize("state", ["running", "up_for_retry", "restarting", "deferred", "queued"])
    def test_airflow_task_that_will_run_again_leaves_the_message(self, account: QStash, state: str) -> None:
        task, operator = self._waiting(account)
        account.ended_as(task, state)
        operator.on_kill()

        assert account.states_of(account.sent) == ["CREATED"]

    def test_unknown_airflow_state_leaves_the_message(
        self, account: QStash, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(_: Any) -> str:
            raise RuntimeError

        _, operator = self._waiting(account)
        monkeypatch.setattr(operators, "task_state", fail)
        operator.on_kill()

        assert account.states_of(account.sent) == ["CREATED"]

    def test_cancel_on_kill_off_leaves_the_message(self, account: QStash) -> None:
        task, operator = self._waiting(account, cancel_on_kill=False)
        account.ended_as(task, "failed")
        operator.on_kill()

        assert account.states_of(account.sent) == ["CREATED"]
        assert account.requests("DELETE", "") == []

    def test_kill_before_the_submission_sends_nothing(self, account: QStash) -> None:
        publish().on_kill()
        assert account.sandbox.requests == []

    def test_failed_cancel_does_not_keep_the_others(self, account: QStash) -> None:
        QStashHook().upsert_endpoints("group", [HOOK, "https://example.com/b", "https://example.com/c"])
        task, operator = self._waiting(account, destination="group")
        account.qstash.set_message_state(account.sent[0], "DELIVERED")
        account.faults.add("status", status=500, method="DELETE", path="*/v2/messages")
        account.faults.add("status", status=500, method="DELETE", task_id=account.sent[1])
        account.ended_as(task, "failed")
        operator.on_kill()

        assert account.states_of(account.sent) == ["DELIVERED", "CREATED", "CANCELLED"]

    def test_message_of_another_publisher_is_left(self, account: QStash) -> None:
        account.qstash.publish(HOOK, headers={"Upstash-Delay": "1h", "Upstash-Deduplication-Id": "ours"})
        task, operator = self._waiting(account, deduplication_id="ours")
        account.ended_as(task, "failed")
        operator.on_kill()

        assert not operator.cancels_when_killed
        assert account.states_of(account.sent) == ["CREATED"]

    def test_message_of_an_earlier_attempt_is_cancelled(self, account: QStash) -> None:
        task, _ = self._waiting(account)
        task.retry()
        operator = publish(delay="1h")
        operator.wait_for_tasks = lambda *_: None
        operator.execute(task.context)
        account.ended_as(task, "failed")
        operator.on_kill()

        assert account.states_of(account.sent) == ["CANCELLED"]


class TestKillWhileDeferred:
    def _trigger(self, account: QStash, *ids: str, cancel_on_kill: bool = True) -> Any:
        trigger = QStashMessageTrigger("qstash_default", list(ids), 15.0, cancel_on_kill=cancel_on_kill)
        trigger.task_instance = SimpleNamespace(  # type: ignore[assignment]
            dag_id=AirflowTask.dag_id, run_id=AirflowTask.run_id, task_id=AirflowTask.task_id, map_index=-1
        )
        return trigger

    def _published(self, account: QStash, count: int) -> list[str]:
        return [account.qstash.publish(HOOK, headers={"Upstash-Delay": "1h"})[0] for _ in range(count)]

    @pytest.mark.parametrize(("state", "ends"), [("failed", True), ("success", True), ("queued", False)])
    def test_trigger_cancels_its_messages_once_the_airflow_task_is_finished(
        self, account: QStash, state: str, ends: bool
    ) -> None:
        mine, other = self._published(account, 2)
        account.states(ask=state)
        asyncio.run(self._trigger(account, mine).on_kill())

        assert account.states_of([mine, other]) == ["CANCELLED" if ends else "CREATED", "CREATED"]

    def test_trigger_of_a_sensor_cancels_nothing(self, account: QStash) -> None:
        (message_id,) = self._published(account, 1)
        account.states(ask="failed")
        asyncio.run(self._trigger(account, message_id, cancel_on_kill=False).on_kill())

        assert account.states_of([message_id]) == ["CREATED"]

    def test_failed_cancel_does_not_keep_the_others(self, account: QStash) -> None:
        first, second, third = self._published(account, 3)
        account.qstash.set_message_state(first, "DELIVERED")
        account.states(ask="failed")
        asyncio.run(self._trigger(account, first, second, third).on_kill())

        assert account.states_of([first, second, third]) == ["DELIVERED", "CANCELLED", "CANCELLED"]

    def test_operator_decides_whether_its_trigger_cancels(self, account: QStash) -> None:
        for options, may in (
            ({}, True),
            ({"cancel_on_kill": False}, False),
            ({"deduplication_id": "mine"}, True),
        ):
            deferral = account.task().defer(
                lambda given=options: publish(deferrable=True, delay="1h", **given)  # type: ignore[misc]
            )
            assert deferral.trigger.cancel_on_kill is may
        again = account.task(map_index=5).defer(
            lambda: publish(deferrable=True, delay="1h", deduplication_id="mine")
        )
        assert again.trigger.cancel_on_kill is False


class TestDlqRetry:
    """Messages that are sent again can be waited for likewise."""

    def _dlq_messages(self, account: QStash, count: int) -> list[str]:
        account.fail()
        for _ in range(count):
            account.qstash.publish(HOOK, headers={"Upstash-Retries": "0", "Upstash-Label": "nightly"})
        account.clock.advance(60)
        return [dlq_message.id for dlq_message in account.qstash.dlq_messages]

    def test_resent_messages_are_waited_for(self, account: QStash, deferrable: bool) -> None:
        self._dlq_messages(account, 3)
        account.qstash.plan_delivery(HOOK, [200])
        task = account.task()
        result = task.attempt(
            lambda: QStashRetryDlqOperator(
                task_id="ask", labels="nightly", wait_for_completion=True, deferrable=deferrable
            )
        )

        assert [one["id"] for one in result] == account.sent[3:] == task.xcoms["message_ids"]
        assert {one["state"] for one in result} == {"completed"}
        assert account.qstash.dlq_messages == []

    def test_resent_message_that_fails_fails_the_task(self, account: QStash, deferrable: bool) -> None:
        (dlq_message,) = self._dlq_messages(account, 1)
        with pytest.raises(AirflowFailException, match=r"QStash message \w+ failed"):
            account.task().attempt(
                lambda: QStashRetryDlqOperator(
                    task_id="ask", dlq_id=dlq_message, wait_for_completion=True, deferrable=deferrable
                )
            )

    def test_empty_selection_has_nothing_to_wait_for(self, account: QStash, deferrable: bool) -> None:
        result = account.task().attempt(
            lambda: QStashRetryDlqOperator(
                task_id="ask", labels="other", wait_for_completion=True, deferrable=deferrable
            )
        )
        assert result == []
