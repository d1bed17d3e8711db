"""DLQ messages are retried once each and deleted, and counted right, whatever answer is lost on the way."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from remote_tasks_provider.core.errors import (
    InvalidResponseError,
    NotFoundError,
    OrphanedStartError,
    RemoteTaskError,
    ServerError,
)
from remote_tasks_provider.qstash import dlq
from remote_tasks_provider.qstash.hooks import QStashHook
from remote_tasks_provider.qstash.operators import QStashDeleteDlqOperator, QStashRetryDlqOperator
from tests.manus.airflow_task import AirflowTask
from tests.qstash.account import HOOK, QStash

RETRY = "/qstash/v2/dlq/retry*"


def retry(**options: Any) -> Any:
    return QStashRetryDlqOperator(**({"task_id": "ask"} | (options or {"labels": "nightly"})))


def delete(**options: Any) -> Any:
    return QStashDeleteDlqOperator(**({"task_id": "ask"} | (options or {"labels": "nightly"})))


def fill(account: QStash, count: int, url: str = HOOK, label: str = "nightly") -> list[str]:
    """Put messages into the dead letter queue; return their ids there."""
    account.fail(f"{HOOK}*")
    before = len(account.qstash.dlq_messages)
    for number in range(count):
        headers = {"Upstash-Retries": "0", "Upstash-Label": label}
        account.qstash.publish(url, f"message {number}", headers)
    account.clock.advance(600)
    return [one.id for one in account.qstash.dlq_messages][before:]


def in_queue(account: QStash) -> list[str]:
    return [one.id for one in account.qstash.dlq_messages]


def resent(account: QStash, count: int) -> list[str]:
    return account.sent[count:]


class TestLostAnswer:
    """The request reached QStash, and its answer never came."""

    @pytest.mark.parametrize(("kind", "times"), [("drop_after", 1), ("drop_after", None), ("garbage", 1)])
    @pytest.mark.parametrize("count", [1, 3])
    def test_new_messages_are_found_in_the_logs(
        self, account: QStash, count: int, kind: str, times: int | None
    ) -> None:
        fill(account, count)
        account.qstash.plan_delivery(f"{HOOK}*", [200])
        account.faults.add(kind, times=times, path=RETRY)
        found = account.task(retries=1).attempts(retry)

        assert len(account.sent) == 2 * count
        assert sorted(found) == sorted(resent(account, count))

    def test_single_id_is_looked_for(self, account: QStash) -> None:
        (dlq_id,) = fill(account, 1)
        account.faults.add("drop_after", times=1, path=RETRY)

        assert account.task().attempt(lambda: retry(dlq_id=dlq_id)) == resent(account, 1)

    def test_single_id_is_looked_for_by_the_hook(self, account: QStash) -> None:
        (dlq_id,) = fill(account, 1)
        account.faults.add("drop_after", path=RETRY)
        (found,) = QStashHook().retry_dlq(dlq_id)

        assert [found.message_id] == resent(account, 1)

    def test_later_attempt_finds_them_while_they_are_active(self, account: QStash) -> None:
        fill(account, 3)
        account.qstash.plan_delivery(HOOK, [200], latency=10_000)
        account.faults.add("drop_after", path=RETRY)
        account.faults.add("status", status=503, method="GET", times=30)
        task = account.task(retries=1)
        with pytest.raises(ServerError):
            task.attempt(retry)
        account.faults.clear()
        task.retry()

        assert sorted(task.attempt(retry)) == sorted(resent(account, 3))
        assert len(account.sent) == 6

    def test_messages_that_failed_again_are_not_retried_again(self, account: QStash) -> None:
        fill(account, 3)
        account.sandbox.settings.update({"qstash_log_lag": 30})
        account.faults.add("drop_after", path=RETRY)
        task = account.task(retries=2)
        found = task.attempts(retry)
        account.clock.advance(600)

        assert sorted(found) == sorted(resent(account, 3))
        assert len(in_queue(account)) == 3

    def test_worker_that_died_in_the_request_leaves_it_to_the_next_attempt(self, account: QStash) -> None:
        fill(account, 130)
        task = account.task(retries=1)
        die_in_request(task, 2)
        assert len(resent(account, 130)) == 130
        account.clock.advance(3600)
        task.retry()

        assert sorted(task.attempt(retry)) == sorted(resent(account, 130))
        assert len(account.sent) == 260

    def test_messages_that_the_logs_do_not_tell_are_named(self, account: QStash) -> None:
        ids = fill(account, 2)
        account.sandbox.settings.update({"qstash_log_lag": 10**6})
        account.faults.add("drop_after", path=RETRY)
        task = account.task(retries=3)
        with pytest.raises(AirflowFailException) as caught:
            task.attempts(retry)

        assert isinstance(caught.value.__cause__, OrphanedStartError)
        assert all(one in str(caught.value) for one in ids)
        assert "clear it" in str(caught.value)
        assert task.try_number == 1
        assert len(account.sent) == 4

    def test_equal_message_of_another_is_never_taken(self, account: QStash) -> None:
        fill(account, 1)
        account.faults.add("drop_after", path=RETRY)
        task = account.task()
        account.qstash.publish(HOOK, "message 0")
        with pytest.raises(AirflowFailException, match="They may be"):
            task.attempt(retry)

    def test_search_takes_no_other_message_to_the_destination(self, account: QStash) -> None:
        fill(account, 2)
        account.faults.add("drop_after", path=RETRY)
        other = account.qstash.publish(HOOK, "message 2")
        found = account.task().attempt(retry)

        assert sorted([*found, *other]) == sorted(resent(account, 2))

    def test_short_answer_hides_no_new_message(self, account: QStash, monkeypatch: Any) -> None:
        fill(account, 3)
        monkeypatch.setattr(dlq.DlqRetry, "_request", first_answer_only(dlq.DlqRetry._request))

        assert sorted(account.task().attempt(retry)) == sorted(resent(account, 3))


def first_answer_only(request: Any) -> Any:
    return lambda self, dlq_ids: request(self, dlq_ids)[:1]


def die_in_request(task: AirflowTask, number: int) -> None:
    """Run an attempt that is killed after QStash read its request of that number."""
    request, seen = dlq.DlqRetry._request, []

    def dying(self: Any, dlq_ids: Any) -> Any:
        seen.append(dlq_ids)
        answer = request(self, dlq_ids)
        if len(seen) == number:
            raise SystemExit
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dlq.DlqRetry, "_request", dying)
        with pytest.raises(SystemExit):
            task.attempt(retry)


class TestPages:
    def test_failed_page_does_not_hide_those_before_it(self, account: QStash) -> None:
        fill(account, 150)
        account.faults.add("status", status=503, path=RETRY, after=1, times=3)
        task = account.task(retries=1)
        found = task.attempts(retry)

        assert task.try_number == 2
        assert sorted(found) == sorted(resent(account, 150))
        assert len(found) == 150

    def test_failed_page_leaves_the_others_in_xcom(self, account: QStash) -> None:
        fill(account, 150)
        account.faults.add("status", status=503, path=RETRY, after=1)
        task = account.task()
        with pytest.raises(ServerError):
            task.attempt(retry)

        assert sorted(task.xcoms["message_ids"]) == sorted(resent(account, 150))
        assert len(resent(account, 150)) == 100

    def test_message_that_left_the_queue_between_two_attempts_is_left_alone(self, account: QStash) -> None:
        ids = fill(account, 3)
        account.faults.add("status", status=503, path=RETRY)
        task = account.task(retries=1)
        with pytest.raises(ServerError):
            task.attempt(retry)
        account.faults.clear()
        QStashHook().delete_dlq(ids[0])
        task.retry()

        assert task.attempt(retry) == resent(account, 3)
        assert len(account.sent) == 5

    def test_messages_that_came_after_the_first_attempt_are_left(self, account: QStash) -> None:
        fill(account, 2)
        account.faults.add("status", status=503, path=RETRY)
        task = account.task(retries=1)
        with pytest.raises(ServerError):
            task.attempt(retry)
        account.faults.clear()
        late = fill(account, 1)
        task.retry()

        assert len(task.attempt(retry)) == 2
        assert set(late) <= set(in_queue(account))

    def test_request_that_was_not_sent_is_sent_by_the_retry(self, account: QStash) -> None:
        fill(account, 2)
        account.faults.add("status", status=429, path=RETRY, times=3)
        task = account.task(retries=1)

        assert task.attempts(retry) == resent(account, 2)

    def test_messages_that_qstash_leaves_are_an_error(self, account: QStash, monkeypatch: Any) -> None:
        ids = fill(account, 2)
        monkeypatch.setattr(dlq.DlqRetry, "_request", lambda *_: [])
        with pytest.raises(InvalidResponseError, match=f"0 of 2 DLQ messages again, and left {ids[0]}"):
            account.task().attempt(retry)

    def test_cleared_task_retries_what_matches_then(self, account: QStash) -> None:
        fill(account, 2)
        task = account.task(retries=1)
        task.attempt(retry)
        account.clock.advance(600)
        task.clear()

        assert len(task.attempt(retry)) == 2
        assert len(account.sent) == 6

    def test_edited_retries_do_not_matter(self, account: QStash) -> None:
        fill(account, 2)
        task = account.task(retries=3)
        first = task.attempt(retry)
        account.clock.advance(600)
        task.retries = 1
        task.retry()

        assert task.attempt(retry) == first
        assert len(account.sent) == 4


class TestWithoutAStore:
    """Below Airflow 3.3 an attempt knows nothing of the one before."""

    def _task(self, account: QStash, **facts: Any) -> AirflowTask:
        return account.task(retries=2, **facts, remembers=False)

    def test_lost_answer_is_looked_for_by_the_same_attempt(self, account: QStash) -> None:
        fill(account, 3)
        account.faults.add("drop_after", path=RETRY)

        assert sorted(self._task(account).attempts(retry)) == sorted(resent(account, 3))

    def test_failed_page_ends_the_task(self, account: QStash) -> None:
        fill(account, 150)
        account.faults.add("status", status=503, path=RETRY, after=1)
        task = self._task(account)
        with pytest.raises(AirflowFailException, match="100 DLQ messages were published again"):
            task.attempts(retry)

        assert task.try_number == 1
        assert len(task.xcoms["message_ids"]) == 100

    def test_later_attempt_retries_nothing_by_filter(self, account: QStash) -> None:
        fill(account, 2)
        task = self._task(account)
        die_in_request(task, 1)
        task.retry()
        with pytest.raises(AirflowFailException, match="Clear this task"):
            task.attempt(retry)

        assert len(account.sent) == 4

    def test_later_attempt_names_ids_that_are_gone(self, account: QStash) -> None:
        ids = fill(account, 2)
        task = self._task(account)
        for given in ({"dlq_ids": ids}, {"dlq_id": ids[0]}):
            if task.try_number == 1:
                task.attempt(lambda: retry(dlq_ids=ids))
            task.retry()
            with pytest.raises(AirflowFailException, match=f"may have retried.*{ids[0]}"):
                task.attempt(lambda given=given: retry(**given))  # type: ignore[misc]

        assert len(account.sent) == 4

    def test_later_attempt_retries_ids_that_are_there(self, account: QStash) -> None:
        ids = fill(account, 2)
        task = self._task(account)
        account.faults.add("drop_before", method="GET", times=3)
        found = task.attempts(lambda: retry(dlq_ids=ids))

        assert (task.try_number, found) == (2, resent(account, 2))

    def test_cleared_task_retries_what_matches_then(self, account: QStash) -> None:
        fill(account, 2)
        task = self._task(account)
        task.attempt(retry)
        account.clock.advance(600)
        task.clear()

        assert len(task.attempt(retry)) == 2


class TestDelete:
    @pytest.mark.parametrize("count", [1, 3])
    def test_lost_answer_is_counted(self, account: QStash, count: int) -> None:
        fill(account, count)
        account.faults.add("drop_after", times=1, method="DELETE")

        assert account.task(retries=1).attempts(delete) == count
        assert in_queue(account) == []

    def test_later_attempt_counts_what_the_first_has_deleted(self, account: QStash) -> None:
        fill(account, 150)
        account.faults.add("status", status=503, method="DELETE", after=1, times=3)
        task = account.task(retries=1)

        assert (task.attempts(delete), task.try_number) == (150, 2)

    def test_later_attempt_deletes_no_message_that_came_after_the_first(self, account: QStash) -> None:
        fill(account, 2)
        account.faults.add("drop_after", method="DELETE")
        task = account.task(retries=1)
        with pytest.raises(RemoteTaskError):
            task.attempt(delete)
        account.faults.clear()
        late = fill(account, 1)
        task.retry()

        assert task.attempt(delete) == 2
        assert in_queue(account) == late

    def test_missing_dlq_id_is_an_error_of_the_hook(self, account: QStash) -> None:
        with pytest.raises(NotFoundError):
            QStashHook().delete_dlq("5-0")
