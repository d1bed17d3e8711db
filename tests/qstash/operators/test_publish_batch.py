"""Many messages with one call: each is sent once, and one that is refused hides no other."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from remote_tasks_provider.core.errors import TaskFailedError, TransportError
from remote_tasks_provider.qstash.hooks import QStashHook
from remote_tasks_provider.qstash.operators import QStashPublishBatchOperator
from tests.manus.airflow_task import MODES
from tests.qstash.account import HOOK, QStash

THREE = [{"destination": f"https://example.com/{number}", "body": {"n": number}} for number in range(3)]


def batch(messages: Any = THREE, **options: Any) -> Any:
    return QStashPublishBatchOperator(task_id="ask", messages=messages, **options)


def arrived(account: QStash) -> list[tuple[str, bytes]]:
    return [(message.options.url, message.options.body) for message in account.qstash.messages]


class TestBatch:
    def test_messages_go_in_one_call_in_order(self, account: QStash) -> None:
        result = account.task().attempt(batch)

        assert arrived(account) == [(f"https://example.com/{n}", b'{"n":%d}' % n) for n in range(3)]
        assert [one["message_id"] for one in result] == account.sent
        assert len(account.requests("POST", "/v2/batch")) == 1

    def test_equal_messages_are_all_sent(self, account: QStash) -> None:
        account.task().attempt(lambda: batch([THREE[0]] * 3))

        assert len(account.sent) == 3

    @pytest.mark.parametrize(
        "trouble",
        [
            {"kind": "drop_after"},
            {"kind": "drop_before"},
            {"kind": "status", "status": 429},
            {"kind": "garbage"},
        ],
        ids=str,
    )
    def test_trouble_leads_to_one_message_each(self, account: QStash, trouble: dict[str, Any]) -> None:
        account.faults.add(**trouble, times=2)
        account.task(retries=3).attempts(batch)

        assert len(account.sent) == 3

    def test_retry_sends_no_message_twice(self, account: QStash) -> None:
        task = account.task(retries=1)
        first = task.attempt(batch)
        task.retry()
        again = task.attempt(batch)

        assert [one["message_id"] for one in again] == [one["message_id"] for one in first]
        assert {one["deduplicated"] for one in again} == {True}

    @pytest.mark.parametrize("key", [{"deduplication_id": None}, {"deduplication_id": ""}], ids=str)
    def test_lost_answer_without_a_deduplication_id_fails(self, account: QStash, key: dict[str, Any]) -> None:
        account.faults.add("drop_after", times=1)
        with pytest.raises(AirflowFailException, match="a retry would send it again") as caught:
            account.task(retries=3).attempts(lambda: batch([THREE[0], THREE[1] | key]))

        assert isinstance(caught.value.__cause__, TransportError)
        assert len(account.sent) == 2

    def test_own_and_content_based_deduplication_ids_are_used(self, account: QStash) -> None:
        messages = [
            THREE[0] | {"deduplication_id": "mine"},
            THREE[1] | {"content_based_deduplication": True},
        ]
        for index in range(2):
            account.task(map_index=index).attempt(lambda: batch(messages))

        assert len(account.sent) == 2

    def test_groups_and_queues_are_destinations_too(self, account: QStash) -> None:
        QStashHook().upsert_endpoints("group", [HOOK, "https://example.com/b"])
        QStashHook().upsert_endpoints("alone", [HOOK])
        result = account.task().attempt(
            lambda: batch(
                [{"url_group": "group"}, {"destination": HOOK, "queue": "q"}, {"destination": "alone"}]
            )
        )

        assert [one["url"] for one in result[0]] == [HOOK, "https://example.com/b"]
        assert result[1]["message_id"]
        assert [one["url"] for one in result[2]] == [HOOK]
        assert account.qstash.messages[2].options.queue == "q"


class TestRefusedByQStash:
    MESSAGES: ClassVar = [THREE[0], {"destination": "no-such-group"}, THREE[2]]

    def test_refused_message_fails_and_keeps_the_other_results(self, account: QStash) -> None:
        task = account.task(retries=3)
        with pytest.raises(AirflowFailException, match=r"1 of 3 refused: messages\[1\]: invalid") as caught:
            task.attempts(lambda: batch(self.MESSAGES))

        assert isinstance(caught.value.__cause__, TaskFailedError)
        assert task.try_number == 1
        first, refused, third = task.xcoms["published"]
        assert [first["message_id"], third["message_id"]] == account.sent
        assert refused["error"].startswith("invalid destination")

    def test_refused_message_is_returned_without_raise_on_failure(self, account: QStash) -> None:
        result = account.task().attempt(lambda: batch(self.MESSAGES, raise_on_failure=False))

        assert [bool(one["error"]) for one in result] == [False, True, False]


class TestRefusedBefore:
    @pytest.mark.parametrize(
        ("messages", "why"),
        [
            ([], "the batch is empty"),
            ([THREE[0], {"destination": "example.com"}], r"messages\[1\]: destination is"),
            ([{}], r"messages\[0\]: give one of destination"),
            ([{"destination": HOOK, "bdy": "x"}], r"messages\[0\]: .*'bdy'"),
            ([{"destination": HOOK, "deduplication_id": "a:b"}], r"messages\[0\]: deduplication_id"),
            ([{"destination": HOOK, "body": b"\xff"}], "publish this body by itself"),
            ([{"destination": HOOK, "delay": "8d"}], "set plan in the connection's extra"),
        ],
        ids=str,
    )
    def test_invalid_message_is_refused_by_its_place(self, account: QStash, messages: Any, why: str) -> None:
        with pytest.raises(ValueError, match=why):
            account.task().attempt(lambda: batch(messages))
        assert account.sandbox.requests == []

    def test_bodies_over_the_size_limit_are_refused(self, account: QStash) -> None:
        big = [{"destination": HOOK, "body": "x" * 1024**2}] * 101
        with pytest.raises(ValueError, match=r"the batch's bodies have .* bytes; QStash takes"):
            account.task().attempt(lambda: batch(big))
        assert account.sandbox.requests == []

    def test_invalid_connection_is_refused(self, account: QStash) -> None:
        account.connect(plan="gold")
        with pytest.raises(AirflowFailException, match="plan"):
            account.task().attempt(batch)


class TestWait:
    @pytest.mark.parametrize("mode", MODES)
    def test_batch_waits_for_all_its_messages(self, account: QStash, mode: str) -> None:
        result = account.task().attempt(
            lambda: batch(wait_for_completion=True, deferrable=mode == "deferred", poll_interval=5)
        )

        assert [one["id"] for one in result] == account.sent
        assert {one["state"] for one in result} == {"completed"}

    def test_ids_are_in_xcom_before_the_wait(self, account: QStash) -> None:
        task = account.task()
        task.attempt(lambda: batch(wait_for_completion=True))

        assert task.xcoms["message_ids"] == account.sent
        assert "remote_task_url" not in task.xcoms

    def test_names_of_the_operator_are_taken(self, account: QStash) -> None:
        given = [{**THREE[0], "delivery_retries": 1, "qstash_queue": "q"}]
        account.task().attempt(lambda: batch(given))

        (message,) = account.qstash.messages
        assert (message.options.max_retries, message.options.queue) == (1, "q")
