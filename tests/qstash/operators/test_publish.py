"""A message is published once, whatever happens on the way; what cannot be published is refused before."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from remote_tasks_provider.core.errors import (
    ConnectionConfigError,
    InvalidArgumentError,
    InvalidRequestError,
    RateLimitedError,
    RemoteTaskError,
    TransportError,
)
from remote_tasks_provider.qstash.operators import QStashPublishOperator
from tests.bases.test_webhooks import configure
from tests.qstash.account import HOOK, QStash


def publish(**options: Any) -> Any:
    return QStashPublishOperator(**({"task_id": "ask", "destination": HOOK, "body": {"a": 1}} | options))


class TestRequest:
    def test_options_reach_the_service(self, account: QStash) -> None:
        account.task().attempt(
            lambda: publish(
                method="put",
                headers={"Authorization": "Bearer x"},
                delay="10s",
                delivery_retries=1,
                delivery_retry_delay="1000",
                delivery_timeout="2m",
                callback="https://example.com/done",
                failure_callback="https://example.com/failed",
                flow_control={"key": "k", "parallelism": 2},
                labels=["a", "b"],
                redact="body",
            )
        )
        (message,) = account.qstash.messages
        order = message.options

        assert (order.url, order.method, order.body) == (HOOK, "PUT", b'{"a":1}')
        assert (order.headers["authorization"], order.headers["content-type"]) == (
            "Bearer x",
            "application/json",
        )
        assert (order.delay, order.max_retries, order.timeout, order.labels) == (10, 1, 120, ("a", "b"))
        assert order.flow.key == "k"
        assert order.callback.url == "https://example.com/done"
        assert order.failure_callback.url == "https://example.com/failed"
        assert order.redact == {"body"}

    def test_receiver_is_told_with_one_parameter(
        self, account: QStash, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        configure(monkeypatch, "https://hooks.example.com/x", "qstash/qstash_default")
        account.task().attempt(lambda: publish(notify_airflow=True))
        order = account.qstash.messages[0].options

        url = "https://hooks.example.com/x/webhooks/qstash/qstash_default"
        assert (order.callback.url, order.failure_callback.url) == (url, url)

    def test_receiver_that_is_not_there_is_told_nothing(
        self, account: QStash, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        configure(monkeypatch)
        with pytest.raises(Exception, match="there is no receiver of webhooks"):
            account.task().attempt(lambda: publish(notify_airflow=True))
        assert account.qstash.messages == []

    @pytest.mark.parametrize("name", ["callback", "failure_callback"])
    def test_receiver_takes_the_place_of_a_callback(self, name: str) -> None:
        with pytest.raises(InvalidArgumentError, match="notify_airflow is given with"):
            publish(notify_airflow=True, **{name: "https://example.com"})

    def test_result_names_the_message_in_xcom_too(self, account: QStash) -> None:
        task = account.task()
        result = task.attempt(publish)

        assert result == {"message_id": account.sent[0], "deduplicated": False, "url": None, "error": None}
        assert task.xcoms["message_ids"] == account.sent

    def test_result_of_a_group_is_a_list(self, account: QStash) -> None:
        for as_object in (False, True):
            account.sandbox.settings.update({"qstash_groups_as_object": as_object})
            for name, count in (("one", 1), ("two", 2)):
                urls = [f"https://example.com/{name}/{number}?key=hush" for number in range(count)]
                task = account.task()
                _group(account, name, urls)
                result = task.attempt(lambda name=name: publish(destination=name))  # type: ignore[misc]

                assert [one["url"] for one in result] == [url.partition("?")[0] for url in urls]
                assert task.xcoms["message_ids"] == [one["message_id"] for one in result]

    def test_message_goes_through_its_queue(self, account: QStash) -> None:
        account.task().attempt(lambda: publish(qstash_queue="q"))

        assert account.qstash.messages[0].options.queue == "q"

    def test_template_fields_hold_the_request_options(self) -> None:
        assert set(QStashPublishOperator.template_fields) >= {
            *("destination", "body", "url_group", "qstash_queue", "method", "headers", "delay"),
            *("not_before", "deduplication_id", "callback", "failure_callback", "labels", "qstash_conn_id"),
        }


def _group(account: QStash, name: str, urls: list[str]) -> None:
    from remote_tasks_provider.qstash.hooks import QStashHook

    QStashHook().upsert_endpoints(name, urls)


TROUBLE = [
    {"kind": "drop_before", "times": 1},
    {"kind": "drop_after", "times": 1},
    {"kind": "drop_after", "times": 2},
    {"kind": "status", "status": 429, "times": 1},
    {"kind": "status", "status": 429, "headers": {"Burst-RateLimit-Reset": "1"}, "times": 2},
    {"kind": "status", "status": 500, "times": 2},
    {"kind": "garbage", "times": 1},
    {"kind": "hang", "seconds": 30, "times": 1},
]


class TestDeduplication:
    @pytest.mark.parametrize("trouble", TROUBLE, ids=str)
    @pytest.mark.parametrize("destination", [HOOK, "group"])
    def test_trouble_leads_to_one_message(
        self, account: QStash, trouble: dict[str, Any], destination: str
    ) -> None:
        account.connect(read_timeout=0.3)
        _group(account, "group", [HOOK])
        account.faults.add(**trouble, path="/qstash/v2/publish/*")
        account.task(retries=3).attempts(lambda: publish(destination=destination))

        assert len(account.sent) == 1

    def test_retries_after_lost_answers_lead_to_one_message(self, account: QStash) -> None:
        account.faults.add("drop_after", times=7, path="/qstash/v2/publish/*")
        task = account.task(retries=3)
        result = task.attempts(publish)

        assert account.sent == [result["message_id"]]
        assert (task.try_number, result["deduplicated"]) == (3, True)
        assert len(account.requests("POST", "/v2/publish")) == 8

    def test_worker_killed_after_the_request_leads_to_one_message(self, account: QStash) -> None:
        task = account.task(retries=1)

        def dying() -> Any:
            operator = publish()
            sent = operator.publish

            def die(context: Any) -> None:
                sent(context)
                raise SystemExit

            operator.publish = die
            return operator

        with pytest.raises(SystemExit):
            task.attempt(dying)
        task.retry()

        assert task.attempt(publish)["deduplicated"] is True
        assert len(account.sent) == 1

    def test_retry_below_airflow_33_is_deduplicated_for_ten_minutes(self, account: QStash) -> None:
        task = account.task(retries=2)
        task.store = None
        task.attempt(publish)
        account.clock.advance(599)
        task.retry()
        task.attempt(publish)
        assert len(account.sent) == 1
        account.clock.advance(2)
        task.retry()
        task.attempt(publish)

        assert len(account.sent) == 2

    def test_retry_with_a_state_store_never_resends(self, account: QStash) -> None:
        task = account.task(retries=1)
        task.attempt(lambda: publish(retries=1))
        account.clock.advance(86_400)
        task.retry()
        result = task.attempt(lambda: publish(retries=1))

        assert [result["message_id"]] == account.sent

    def test_cleared_task_sends_again(self, account: QStash) -> None:
        task = account.task(retries=1)
        task.attempt(publish)
        task.clear()
        task.attempt(publish)

        assert len(account.sent) == 2

    def test_mapped_tasks_send_their_own_message(self, account: QStash) -> None:
        for index in range(3):
            account.task(map_index=index).attempt(publish)

        assert len(account.sent) == 3


class TestWithoutDeduplicationId:
    @pytest.mark.parametrize("kind", ["drop_after", "drop_before", "hang"])
    def test_lost_answer_fails_for_a_person_to_judge(self, account: QStash, kind: str) -> None:
        account.connect(read_timeout=0.3)
        account.faults.add(kind, times=1)
        task = account.task(retries=3)
        with pytest.raises(AirflowFailException, match="a retry would send it again") as caught:
            task.attempts(lambda: publish(deduplication_id=""))

        assert isinstance(caught.value.__cause__, TransportError)
        assert len(account.requests("POST", "/v2/publish")) == 1
        assert len(account.sent) <= 1

    def test_refused_429_is_repeated(self, account: QStash) -> None:
        account.faults.add("status", status=429, times=2)
        account.task().attempt(lambda: publish(deduplication_id=""))

        assert len(account.sent) == 1

    def test_retry_below_airflow_33_sends_again(self, account: QStash) -> None:
        task = account.task(retries=1)
        task.store = None
        for _ in range(2):
            task.attempt(lambda: publish(deduplication_id=""))
            task.retry()

        assert len(account.sent) == 2

    def test_own_deduplication_id_is_used(self, account: QStash) -> None:
        account.task().attempt(lambda: publish(deduplication_id="mine"))
        account.task(map_index=1).attempt(lambda: publish(deduplication_id="mine"))

        assert len(account.sent) == 1


class TestRefused:
    @pytest.mark.parametrize(
        ("options", "why"),
        [
            ({"destination": "None"}, "did a template or an XCom come out empty"),
            ({"body": "x" * (1024**2 + 1)}, "set plan in the connection's extra"),
            ({"delay": "8d"}, "set plan in the connection's extra"),
        ],
        ids=str,
    )
    def test_invalid_option_is_refused_before_any_request(
        self, account: QStash, options: dict[str, Any], why: str
    ) -> None:
        with pytest.raises(ValueError, match=why):
            account.task().attempt(lambda: publish(**options))
        assert account.sandbox.requests == []

    def test_larger_plan_allows_more(self, account: QStash) -> None:
        account.connect(plan="payg")
        account.sandbox.settings.update({"qstash_plan": "payg"})
        account.task().attempt(lambda: publish(body="x" * (1024**2 + 1), delay="8d"))

        assert len(account.sent) == 1

    def test_refusal_by_qstash_is_not_retried(self, account: QStash) -> None:
        account.connect(plan="payg")
        with pytest.raises(AirflowFailException) as caught:
            account.task().attempt(lambda: publish(delay="8d"))
        assert isinstance(caught.value.__cause__, InvalidRequestError)

    def test_read_only_token_is_final(self, account: QStash) -> None:
        account.connect(password=account.sandbox.settings.qstash_read_only_token)
        with pytest.raises(AirflowFailException, match=r"HTTP 40[13]"):
            account.task().attempt(publish)
        assert account.sent == []

    def test_token_of_another_region_is_final(self, account: QStash) -> None:
        account.connect(password=account.sandbox.settings.qstash_foreign_token)
        with pytest.raises(AirflowFailException, match="QStash's regions are separate"):
            account.task().attempt(publish)

    def test_daily_limit_is_left_to_a_retry(self, account: QStash) -> None:
        account.sandbox.settings.update({"qstash_daily_limit": 0})
        with pytest.raises(RateLimitedError) as caught:
            account.task().attempt(publish)
        assert caught.value.retry_after is not None

    def test_invalid_connection_is_refused(self, account: QStash) -> None:
        account.connect(region="mars")
        with pytest.raises((AirflowFailException, ConnectionConfigError), match="region"):
            account.task().attempt(publish)


class TestClose:
    def test_connection_is_closed_after_an_error(self, account: QStash) -> None:
        account.faults.add("status", status=500)
        operator = publish()
        with pytest.raises(RemoteTaskError):
            operator.execute(account.task().context)

        assert "client" not in vars(operator.hook)


class TestContentType:
    @pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
    def test_message_without_a_body_has_no_content_type(self, account: QStash, method: str) -> None:
        account.task().attempt(lambda: QStashPublishOperator(task_id="ask", destination=HOOK, method=method))

        (message,) = account.qstash.messages
        assert "content-type" not in {name.lower() for name in message.options.headers}
