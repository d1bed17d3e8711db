"""Schedules, queues and URL groups: what is sent, what is read, and their operators against the sandbox."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from remote_tasks_provider.core.errors import (
    InvalidRequestError,
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
)
from remote_tasks_provider.core.http.connection import ConnectionFields
from remote_tasks_provider.core.http.operation import Idempotency, Operation, Response
from remote_tasks_provider.core.http.response import read_response
from remote_tasks_provider.qstash.api import settings as settings
from remote_tasks_provider.qstash.api.options import PublishOptions
from remote_tasks_provider.qstash.hooks import QStashHook
from remote_tasks_provider.qstash.operators import (
    QStashFlowControlOperator,
    QStashQueueOperator,
    QStashScheduleOperator,
    QStashUrlGroupOperator,
)
from remote_tasks_provider.qstash.service import QSTASH
from tests.qstash.account import HOOK, QStash

CONFIG = QSTASH.config(ConnectionFields("my_conn", password="token"))


def order(**options: Any) -> Any:
    return PublishOptions(HOOK, "text", plan="free", **options)


def read(operation: Operation[Any], body: Any) -> Any:
    return read_response(operation, Response(200, {}, json.dumps(body).encode()), CONFIG, QSTASH.explain)


def run(operator: Any) -> Any:
    return operator.execute({})


class TestCalls:
    @pytest.mark.parametrize(
        "cron", ["0 4 * * *", " */5 1,2 * jan MON-FRI ", "CRON_TZ=Europe/Zurich 0 4 * * *", "0  4 * * *"]
    )
    def test_cron_has_five_fields_and_an_optional_zone(self, cron: str) -> None:
        operation = settings.create_schedule(order(), cron)

        assert ("Upstash-Cron", cron.strip()) in operation.request.headers
        assert operation.request.path == f"/v2/schedules/{HOOK}"

    @pytest.mark.parametrize(
        "cron", ["", "0 4 * *", "0 4 * * * *", "@daily", None, 5, "0 4 * * *\nX: y", "é 4 * * *"]
    )
    def test_invalid_cron_is_refused_with_an_example(self, cron: Any) -> None:
        with pytest.raises(ValueError, match=r"cron is .*such as '0 4 \* \* \*'"):
            settings.create_schedule(order(), cron)

    def test_named_schedule_alone_can_be_repeated(self) -> None:
        assert settings.create_schedule(order(), "0 4 * * *").idempotency is Idempotency.NOT_IDEMPOTENT
        assert settings.create_schedule(order(), "0 4 * * *", "nightly").idempotency is Idempotency.KEYED

    def test_schedule_can_go_through_a_queue(self) -> None:
        operation = settings.create_schedule(order(queue="q"), "0 4 * * *", "nightly")

        assert {("Upstash-Queue-Name", "q"), ("Upstash-Schedule-Id", "nightly")} <= set(
            operation.request.headers
        )

    @pytest.mark.parametrize(
        "make",
        [
            settings.SCHEDULES.get,
            settings.SCHEDULES.delete,
            settings.SCHEDULES.pause,
            settings.SCHEDULES.resume,
            settings.QUEUES.get,
            settings.QUEUES.delete,
            settings.QUEUES.pause,
            settings.QUEUES.resume,
            settings.upsert_queue,
            settings.URL_GROUPS.get,
            settings.URL_GROUPS.delete,
            lambda name: settings.change_endpoints("POST", name, [HOOK]),
            lambda name: settings.change_endpoints("DELETE", name, [HOOK]),
        ],
    )
    def test_empty_name_is_refused(self, make: Any) -> None:
        with pytest.raises(ValueError, match=r"schedule_id|queue|url_group"):
            make("")

    def test_name_reaches_no_other_endpoint(self) -> None:
        assert settings.QUEUES.delete("a/b").request.path == "/v2/queues/a%2Fb"
        assert settings.SCHEDULES.pause("a/b").request.path == "/v2/schedules/a%2Fb/pause"

    @pytest.mark.parametrize("parallelism", [0, -1, 1.5, "many", None, True])
    def test_queue_delivers_at_least_one_at_a_time(self, parallelism: Any) -> None:
        with pytest.raises(ValueError, match="parallelism is"):
            settings.upsert_queue("q", parallelism)

    @pytest.mark.parametrize(
        ("endpoints", "why"),
        [
            ([], "endpoints is empty"),
            (["example.com"], r"endpoints\[0\] is 'example.com', without a scheme"),
            ([HOOK, {"url": ""}], r"endpoints\[1\] is ''"),
            ([{}], r"endpoints\[0\] has neither url nor name"),
            ([{"name": ""}], r"endpoints\[0\] has neither url nor name"),
        ],
    )
    @pytest.mark.parametrize("method", ["POST", "DELETE"])
    def test_group_needs_urls(self, method: str, endpoints: Any, why: str) -> None:
        with pytest.raises(ValueError, match=why):
            settings.change_endpoints(method, "g", endpoints)

    @pytest.mark.parametrize("resource", [settings.SCHEDULES, settings.QUEUES, settings.URL_GROUPS])
    @pytest.mark.parametrize("body", [None, []])
    def test_list_may_be_empty_in_two_ways(self, resource: settings.NamedResource[Any], body: Any) -> None:
        assert read(resource.all(), body) == []

    @pytest.mark.parametrize("body", [{}, {"scheduleId": ""}, "OK"])
    def test_schedule_without_an_id_is_refused(self, body: Any) -> None:
        with pytest.raises(InvalidResponseError, match="POST /v2/schedules: expected a schedule's id"):
            read(settings.create_schedule(order(), "0 4 * * *"), body)


class TestModels:
    def test_schedule_shows_no_header_no_body_and_no_query(self) -> None:
        body = {
            "scheduleId": "s",
            "cron": "* * * * *",
            "destination": f"{HOOK}?key=hush",
            "header": {"Authorization": ["hush"]},
            "body": "hush",
            "isPaused": True,
            "lastScheduleTime": 1755095280020,
            "lastScheduleStates": {"msg_1": "SUCCESS"},
        }
        found = read(settings.SCHEDULES.get("s"), body)

        assert "hush" not in repr(found)
        assert "hush" not in json.dumps(found.to_json())
        assert found.to_json()["last_states"] == {"msg_1": "SUCCESS"}
        assert (found.is_paused, found.to_json()["destination"]) == (True, HOOK)
        assert found.to_json()["last_run_at"] == "2025-08-13T14:28:00.020000Z"

    def test_group_shows_no_query(self) -> None:
        found = read(
            settings.URL_GROUPS.get("g"),
            {"name": "g", "endpoints": [{"name": "a", "url": f"{HOOK}?key=hush"}, {"url": HOOK}]},
        )

        assert "hush" not in repr(found)
        assert found.to_json()["endpoints"] == [{"name": "a", "url": HOOK}, {"name": None, "url": HOOK}]

    @pytest.mark.parametrize("odd", [None, "x", [5], {}])
    def test_odd_field_costs_only_itself(self, odd: Any) -> None:
        assert read(
            settings.SCHEDULES.get("s"), {"scheduleId": "s", "retries": odd, "lastScheduleStates": odd}
        )
        assert read(settings.QUEUES.get("q"), {"name": "q", "lag": odd, "paused": odd})


class TestSchedules:
    def test_schedule_is_created_read_paused_and_deleted(self, account: QStash) -> None:
        made = run(
            QStashScheduleOperator(
                task_id="t",
                action="create",
                schedule_id="nightly",
                cron="0 4 * * *",
                destination=HOOK,
                body={"a": 1},
                options={"retries": 0, "labels": "n"},
            )
        )
        assert made == "nightly"
        assert [one["schedule_id"] for one in run(QStashScheduleOperator(task_id="t", action="list"))] == [
            "nightly"
        ]
        for action, paused in (("pause", True), ("resume", False)):
            run(QStashScheduleOperator(task_id="t", action=action, schedule_id="nightly"))
            found = run(QStashScheduleOperator(task_id="t", action="get", schedule_id="nightly"))
            assert (found["cron"], bool(found["is_paused"])) == ("0 4 * * *", paused)
        for _ in range(2):
            run(QStashScheduleOperator(task_id="t", action="delete", schedule_id="nightly"))
        assert run(QStashScheduleOperator(task_id="t", action="list")) == []

    def test_named_schedule_is_created_once_after_a_lost_answer(self, account: QStash) -> None:
        account.faults.add("drop_after", times=1)
        run(
            QStashScheduleOperator(
                task_id="t", action="create", schedule_id="n", cron="0 4 * * *", destination=HOOK
            )
        )

        assert len(QStashHook().list_schedules()) == 1

    def test_unnamed_schedule_is_created_once_by_a_task_instance(self, account: QStash) -> None:
        def make() -> Any:
            return QStashScheduleOperator(
                task_id="ask",
                action="create",
                cron="0 4 * * *",
                destination=HOOK,
            )

        account.faults.add("drop_after", times=1)
        task = account.task(retries=1)
        first = task.attempt(make)
        task.retry()
        assert task.attempt(make) == first
        assert len(QStashHook().list_schedules()) == 1
        task.clear()
        task.attempt(make)

        assert len(QStashHook().list_schedules()) == 2

    @pytest.mark.parametrize("action", ["get", "pause", "resume", "delete"])
    def test_empty_name_sends_no_request(self, account: QStash, action: str) -> None:
        with pytest.raises(ValueError, match="schedule_id"):
            run(QStashScheduleOperator(task_id="t", action=action))
        assert account.sandbox.requests == []

    def test_missing_schedule_is_reported(self, account: QStash) -> None:
        with pytest.raises(NotFoundError):
            run(QStashScheduleOperator(task_id="t", action="get", schedule_id="other"))

    def test_unknown_action_is_refused(self, account: QStash) -> None:
        with pytest.raises(ValueError, match="action is 'stop'; it must be one of create, get"):
            run(QStashScheduleOperator(task_id="t", action="stop"))


class TestQueues:
    def test_queue_is_created_read_paused_and_deleted(self, account: QStash) -> None:
        def do(action: str, **facts: Any) -> Any:
            return run(QStashQueueOperator(task_id="t", action=action, **facts))

        do("upsert", qstash_queue="q", parallelism=3)
        assert [(one["name"], one["parallelism"]) for one in do("list")] == [("q", 3)]
        for action, paused in (("pause", True), ("resume", False)):
            do(action, qstash_queue="q")
            assert do("get", qstash_queue="q")["paused"] is paused
        do("delete", qstash_queue="q")
        assert do("list") == []

    def test_paused_queue_keeps_its_messages(self, account: QStash) -> None:
        hook = QStashHook()
        hook.upsert_queue("q")
        hook.pause_queue("q")
        one = hook.publish(HOOK, "text", queue="q")
        account.clock.advance(60)
        assert hook.get_outcomes([one.message_id])[one.message_id].state == "pending"  # type: ignore[union-attr]
        hook.resume_queue("q")
        account.clock.advance(60)

        assert hook.get_outcomes([one.message_id])[one.message_id].state == "completed"  # type: ignore[union-attr]

    def test_queue_is_made_paused(self, account: QStash) -> None:
        run(QStashQueueOperator(task_id="t", action="upsert", qstash_queue="q", paused=True))

        assert QStashHook().get_queue("q").paused is True


class TestFlowControl:
    KEY = "user:1/a"

    def test_key_is_read_pinned_paused_and_reset(self, account: QStash) -> None:
        def do(action: str, **facts: Any) -> Any:
            return run(
                QStashFlowControlOperator(task_id="t", action=action, flow_control_key=self.KEY, **facts)
            )

        QStashHook().publish(HOOK, "text", delay="1h", flow_control={"key": self.KEY, "parallelism": 2})

        assert do("get")["parallelism"] == 2
        do("pin", parallelism=3, rate="5", period=60)
        pinned = do("get")
        assert (pinned["parallelism"], pinned["rate"], pinned["rate_period"]) == (3, 5, 60)
        assert pinned["is_pinned_rate"] is pinned["is_pinned_parallelism"] is True
        do("unpin")
        assert do("get")["is_pinned_rate"] is False
        for action, paused in (("pause", True), ("resume", False)):
            do(action)
            assert do("get")["is_paused"] is paused
        do("reset")

    def test_keys_are_listed_and_searched(self, account: QStash) -> None:
        hook = QStashHook()
        for key in ("user:1", "user:2", "other"):
            hook.publish(HOOK, "text", delay="1h", flow_control={"key": key, "rate": 5})

        found = run(QStashFlowControlOperator(task_id="t", action="list"))
        assert {one["key"] for one in found} == {"user:1", "user:2", "other"}
        assert {one.key for one in hook.list_flow_control("user")} == {"user:1", "user:2"}

    def test_parallelism_of_the_account_is_read(self, account: QStash) -> None:
        found = QStashHook().get_global_parallelism()

        assert (found.most, found.active) == (100, 0)

    @pytest.mark.parametrize("limits", [{}, {"period": 5}, {"period": 5, "parallelism": 5}])
    def test_pin_of_nothing_is_refused_when_the_dag_is_parsed(self, limits: dict[str, int]) -> None:
        with pytest.raises(ValueError, match="give parallelism, rate, or both to pin"):
            QStashFlowControlOperator(task_id="t", action="pin", flow_control_key="k", **limits)

    def test_unpin_of_nothing_is_refused(self) -> None:
        with pytest.raises(ValueError, match="nothing to unpin"):
            settings.unpin_flow_control("k", parallelism=False, rate=False)

    @pytest.mark.parametrize("action", ["get", "pause", "pin"])
    def test_action_needs_a_key(self, action: str) -> None:
        limits = {"rate": 5} if action == "pin" else {}
        with pytest.raises(ValueError, match="flow_control_key is not given"):
            QStashFlowControlOperator(task_id="t", action=action, **limits)


class TestSwitch:
    """QStash's reference says POST, and its own clients send PATCH."""

    @pytest.mark.parametrize("refused", ["POST", "PATCH"])
    @pytest.mark.parametrize("verb", ["pause", "resume"])
    def test_schedule_is_switched_by_the_method_that_the_service_takes(
        self, account: QStash, refused: str, verb: str
    ) -> None:
        hook = QStashHook()
        hook.create_schedule(HOOK, "0 4 * * *", schedule_id="s")
        account.faults.add("status", f"*/{verb}", refused, status=405)

        getattr(hook, f"{verb}_schedule")("s")

        assert hook.get_schedule("s").is_paused is (verb == "pause")

    def test_method_that_the_service_takes_is_remembered(self, account: QStash) -> None:
        hook = QStashHook()
        hook.create_schedule(HOOK, "0 4 * * *", schedule_id="s")
        account.faults.add("status", "*/schedules/s/*", "POST", status=405)

        hook.pause_schedule("s")
        hook.resume_schedule("s")

        assert len(account.requests("POST", "/v2/schedules/s/")) == 1
        assert len(account.requests("PATCH", "/v2/schedules/s/")) == 2

    def test_refusal_of_both_methods_is_an_error_after_one_try_each(self, account: QStash) -> None:
        account.faults.add("status", "*/schedules/s/*", status=405)

        with pytest.raises(InvalidRequestError) as caught:
            QStashHook().pause_schedule("s")

        assert caught.value.status_code == 405
        assert [one.method for one in account.sandbox.requests] == ["POST", "PATCH"]

    def test_refusal_for_another_reason_is_not_tried_again(self, account: QStash) -> None:
        account.faults.add("status", status=403, times=1)
        with pytest.raises(PermissionDeniedError):
            QStashHook().pause_schedule("s")
        assert len(account.requests("PATCH", "/v2/schedules/s/pause")) == 0


class TestScheduledMessage:
    def test_schedule_may_have_a_queue_and_a_delay(self, account: QStash) -> None:
        options = {"qstash_queue": "q", "delay": "1m", "delivery_retries": 2}
        run(
            QStashScheduleOperator(
                task_id="t",
                action="create",
                schedule_id="s",
                cron="0 4 * * *",
                destination=HOOK,
                options=options,
            )
        )

        found = QStashHook().get_schedule("s")
        assert (found.queue, found.retries) == ("q", 2)


class TestUrlGroups:
    def test_group_is_created_read_changed_and_deleted(self, account: QStash) -> None:
        def do(action: str, **facts: Any) -> Any:
            return run(QStashUrlGroupOperator(task_id="t", action=action, **facts))

        do("add", url_group="g", endpoints=[HOOK, {"url": "https://example.com/b", "name": "b"}])
        assert [one["name"] for one in do("list")] == ["g"]
        do("remove", url_group="g", endpoints=[{"name": "b"}])
        assert [one["url"] for one in do("get", url_group="g")["endpoints"]] == [HOOK]
        do("delete", url_group="g")
        assert do("list") == []

    def test_single_url_is_accepted(self, account: QStash) -> None:
        run(QStashUrlGroupOperator(task_id="t", action="add", url_group="g", endpoints=HOOK))

        assert [one.url for one in QStashHook().get_url_group("g").endpoints] == [HOOK]

    def test_refusal_by_qstash_is_not_retried(self, account: QStash) -> None:
        account.faults.add("status", status=412)
        with pytest.raises(AirflowFailException) as caught:
            run(QStashUrlGroupOperator(task_id="t", action="list"))
        assert isinstance(caught.value.__cause__, InvalidRequestError)
