"""Branches on outcomes; lists of logs and DLQ messages; nothing is sent, deleted or cancelled beyond them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from remote_tasks_provider.core.errors import AuthenticationError, NotFoundError
from remote_tasks_provider.qstash.hooks import QStashHook
from remote_tasks_provider.qstash.operators import (
    QStashCancelMessageOperator,
    QStashDeleteDlqOperator,
    QStashListDlqOperator,
    QStashListLogsOperator,
    QStashMessageBranchOperator,
    QStashRetryDlqOperator,
)
from tests.manus.airflow_task import MODES
from tests.qstash.account import HOOK, QStash


def run(operator: Any, account: QStash) -> Any:
    return account.task().attempt(lambda: operator)


def dlq_messages(account: QStash, count: int, label: str = "nightly") -> list[str]:
    account.fail()
    before = len(account.qstash.dlq_messages)
    for _ in range(count):
        account.qstash.publish(HOOK, "text", {"Upstash-Retries": "0", "Upstash-Label": label})
    account.clock.advance(60)
    return [dlq_message.id for dlq_message in account.qstash.dlq_messages][before:]


def waiting(account: QStash, count: int, **headers: str) -> list[str]:
    return [account.qstash.publish(HOOK, "text", {"Upstash-Delay": "1h"} | headers)[0] for _ in range(count)]


class TestBranch:
    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize(
        ("state", "branch"), [("DELIVERED", "done"), ("FAILED", "broken"), ("CANCELED", "stopped")]
    )
    def test_branch_follows_the_outcome(
        self, account: QStash, mode: str, state: str, branch: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        account.qstash.add_message("m", [("CREATED", 90.0), (state, None)])
        followed: list[Any] = []
        task = account.task()

        def make() -> Any:
            operator = QStashMessageBranchOperator(
                task_id="ask",
                message_id="m",
                completed="done",
                failed=["broken"],
                cancelled="stopped",
                deferrable=mode == "deferred",
            )
            operator.do_branch = lambda _context, chosen: followed.append(chosen)  # type: ignore[assignment, method-assign]
            return operator

        task.attempt(make)

        assert followed in ([branch], [[branch]])
        assert task.xcoms["remote_task"]["message_id"] == "m"

    def test_outcome_without_a_branch_fails(self, account: QStash) -> None:
        account.qstash.add_message("m", ["FAILED"])
        with pytest.raises(AirflowFailException, match="QStash message m failed"):
            run(QStashMessageBranchOperator(task_id="ask", message_id="m", completed="done"), account)

    def test_empty_id_is_refused(self, account: QStash) -> None:
        with pytest.raises(ValueError, match="message_id is ''"):
            run(QStashMessageBranchOperator(task_id="ask", message_id=""), account)


class TestLogs:
    def test_entries_are_read_newest_first_and_page_by_page(self, account: QStash, tmp_path: Path) -> None:
        for number in range(150):
            account.qstash.add_message(f"m{number}", ["DELIVERED"])
            account.clock.advance(1)
        target = tmp_path / "logs.jsonl"
        manifest = run(QStashListLogsOperator(task_id="ask", output_path=f"file://{target}"), account)

        ids = [json.loads(line)["message_id"] for line in target.read_text().splitlines()]
        assert ids == [f"m{number}" for number in reversed(range(150))]
        assert (manifest["count"], manifest["first_id"]) == (150, "m149")
        assert len(account.requests("GET", "/v2/logs")) == 2

    def test_filters_narrow_the_entries(self, account: QStash) -> None:
        account.qstash.add_message("a", ["DELIVERED"], labels=["x"])
        account.qstash.add_message("b", ["FAILED"], labels=["x"])
        account.qstash.add_message("c", ["FAILED"], queue="q")
        now = account.clock.now()

        def ids(**filters: Any) -> list[str]:
            found = run(QStashListLogsOperator(task_id="ask", **filters), account)
            return sorted(one["message_id"] for one in found)

        assert ids(state="failed") == ["b", "c"]
        assert ids(state=["failed", "delivered"], labels="x") == ["a", "b"]
        assert ids(message_ids=["a", "c"]) == ["a", "c"]
        assert ids(qstash_queue="q") == ["c"]
        assert ids(from_date=int(now) + 60) == []
        assert ids(to_date=int(now) + 60, limit=1) == ["c"]

    @pytest.mark.parametrize("name", ["message_ids", "labels", "url", "qstash_queue", "state"])
    @pytest.mark.parametrize("value", ["", []], ids=str)
    def test_empty_filter_is_refused(self, account: QStash, name: str, value: Any) -> None:
        with pytest.raises(ValueError, match="is"):
            run(QStashListLogsOperator(task_id="ask", **{name: value}), account)
        assert account.sandbox.requests == []


class TestDlq:
    def test_dlq_messages_are_listed_without_their_content(self, account: QStash) -> None:
        ids = dlq_messages(account, 2)
        found = run(QStashListDlqOperator(task_id="ask", labels="nightly", response_status=500), account)

        assert [one["dlq_id"] for one in found] == ids
        assert not {"header", "body", "response_body", "response_text", "response_base64"} & set(found[0])
        assert run(QStashListDlqOperator(task_id="ask", response_status=[404]), account) == []

    def test_message_ids_select_only_their_dlq_messages(self, account: QStash) -> None:
        ids = dlq_messages(account, 4)
        message = account.sent[1]
        found = run(QStashListDlqOperator(task_id="ask", message_ids=message), account)
        assert [one["dlq_id"] for one in found] == [ids[1]]
        assert run(QStashDeleteDlqOperator(task_id="ask", message_ids=[message]), account) == 1

        assert [dlq_message.id for dlq_message in account.qstash.dlq_messages] == [ids[0], *ids[2:]]

    def test_dlq_message_is_resent_as_a_new_message(self, account: QStash) -> None:
        first, second = dlq_messages(account, 2)
        task = account.task()
        new = task.attempt(lambda: QStashRetryDlqOperator(task_id="ask", dlq_id=first))

        assert new == account.sent[2:] == task.xcoms["message_ids"]
        assert second in [dlq_message.id for dlq_message in account.qstash.dlq_messages]

    def test_filter_resends_more_than_a_page(self, account: QStash) -> None:
        dlq_messages(account, 130)
        dlq_messages(account, 2, label="other")
        account.qstash.plan_delivery(HOOK, [200])
        new = run(QStashRetryDlqOperator(task_id="ask", labels="nightly"), account)

        assert len(set(new)) == 130
        assert len(account.qstash.dlq_messages) == 2

    def test_filter_that_matches_no_dlq_message_succeeds(self, account: QStash) -> None:
        assert run(QStashRetryDlqOperator(task_id="ask", dlq_ids=["5-0", "6-0"]), account) == []
        assert run(QStashRetryDlqOperator(task_id="ask", labels="other"), account) == []

    def test_missing_dlq_id_is_an_error(self, account: QStash) -> None:
        with pytest.raises(NotFoundError):
            run(QStashRetryDlqOperator(task_id="ask", dlq_id="5-0"), account)

    def test_deleted_dlq_messages_are_counted(self, account: QStash) -> None:
        first, *_ = dlq_messages(account, 130)
        dlq_messages(account, 1, label="other")

        assert run(QStashDeleteDlqOperator(task_id="ask", dlq_id=first), account) == 1
        assert run(QStashDeleteDlqOperator(task_id="ask", dlq_id=first), account) == 0
        assert run(QStashDeleteDlqOperator(task_id="ask", labels="nightly"), account) == 129
        assert len(account.qstash.dlq_messages) == 1

    @pytest.mark.parametrize("make", [QStashRetryDlqOperator, QStashDeleteDlqOperator])
    @pytest.mark.parametrize("name", ["dlq_ids", "message_ids", "labels", "url", "qstash_queue", "url_group"])
    @pytest.mark.parametrize("value", ["", []], ids=str)
    def test_empty_filter_never_widens_the_choice(
        self, account: QStash, make: Any, name: str, value: Any
    ) -> None:
        dlq_messages(account, 2)
        before = len(account.sandbox.requests)
        with pytest.raises(ValueError, match="is"):
            run(make(task_id="ask", response_status=500, **{name: value}), account)

        assert len(account.sandbox.requests) == before
        assert len(account.qstash.dlq_messages) == 2

    @pytest.mark.parametrize("make", [QStashRetryDlqOperator, QStashDeleteDlqOperator])
    @pytest.mark.parametrize(
        "options", [{}, {"dlq_id": ""}, {"dlq_id": "None"}, {"dlq_id": "5-0", "labels": "x"}], ids=str
    )
    def test_dlq_id_and_filters_exclude_each_other(
        self, account: QStash, make: Any, options: dict[str, Any]
    ) -> None:
        with pytest.raises(ValueError, match="dlq_id"):
            run(make(task_id="ask", **options), account)
        assert account.sandbox.requests == []


class TestCancel:
    def test_messages_are_cancelled_by_their_ids_in_bulk(self, account: QStash) -> None:
        first, second, third = waiting(account, 3)
        account.qstash.set_message_state(second, "DELIVERED")
        cancelled = run(
            QStashCancelMessageOperator(task_id="ask", message_id=[first, second, "unknown"]), account
        )

        assert cancelled == 1
        assert account.states_of([first, second, third]) == ["CANCELLED", "DELIVERED", "CREATED"]
        assert {tuple(one["filters"]["messageId"]) for one in account.qstash.bulk_cancels} == {
            (first, second, "unknown")
        }

    def test_many_messages_are_cancelled_100_in_a_request(self, account: QStash) -> None:
        ids = waiting(account, 230)

        assert run(QStashCancelMessageOperator(task_id="ask", message_id=ids), account) == 230
        sizes = [len(one["filters"]["messageId"]) for one in account.qstash.bulk_cancels if one["cancelled"]]
        assert sizes == [100, 100, 30]

    def test_single_id_is_accepted(self, account: QStash) -> None:
        (message_id,) = waiting(account, 1)

        assert run(QStashCancelMessageOperator(task_id="ask", message_id=message_id), account) == 1

    @pytest.mark.parametrize("value", ["", [], ["m", ""]], ids=str)
    def test_empty_id_never_becomes_a_bulk_cancel(self, account: QStash, value: Any) -> None:
        ids = waiting(account, 2)
        with pytest.raises(ValueError, match="message_id"):
            run(QStashCancelMessageOperator(task_id="ask", message_id=value), account)

        assert account.states_of(ids) == ["CREATED", "CREATED"]
        assert account.requests("DELETE", "") == []

    def test_filters_cancel_in_bulk(self, account: QStash) -> None:
        mine = waiting(account, 2, **{"Upstash-Label": "mine"})
        other = waiting(account, 1, **{"Upstash-Label": "other"})
        cancelled = run(QStashCancelMessageOperator(task_id="ask", filters={"labels": "mine"}), account)

        assert cancelled == 2
        assert account.states_of([*mine, *other]) == ["CANCELLED", "CANCELLED", "CREATED"]

    @pytest.mark.parametrize(
        "filters",
        [
            {},
            {"labels": ""},
            {"labels": None},
            {"labels": []},
            {"labels": "x", "url": ""},
            {"state": "CREATED"},
            {"dlq_ids": ["5-0"]},
            {"response_status": 500},
            {"lables": "x"},
        ],
        ids=str,
    )
    def test_invalid_filter_sends_nothing(self, account: QStash, filters: dict[str, Any]) -> None:
        ids = waiting(account, 2)
        with pytest.raises(ValueError, match=r"filter|is"):
            run(QStashCancelMessageOperator(task_id="ask", filters=filters), account)

        assert account.states_of(ids) == ["CREATED", "CREATED"]
        assert account.requests("DELETE", "") == []

    @pytest.mark.parametrize("options", [{}, {"message_id": "m", "filters": {"labels": "x"}}], ids=str)
    def test_message_id_and_filters_exclude_each_other(
        self, account: QStash, options: dict[str, Any]
    ) -> None:
        with pytest.raises(ValueError, match="give message_id, or filters"):
            run(QStashCancelMessageOperator(task_id="ask", **options), account)

    def test_wrong_token_is_final(self, account: QStash) -> None:
        account.connect(password="wrong")
        with pytest.raises(AirflowFailException) as caught:
            run(QStashCancelMessageOperator(task_id="ask", message_id="m"), account)
        assert isinstance(caught.value.__cause__, AuthenticationError)

    def test_lost_answer_about_one_message_is_looked_for(self, account: QStash) -> None:
        ids = waiting(account, 1)
        account.faults.add("drop_after", times=1, method="DELETE")

        assert run(QStashCancelMessageOperator(task_id="ask", message_id=ids), account) == 1
        assert run(QStashCancelMessageOperator(task_id="ask", message_id=ids), account) == 0

    @pytest.mark.parametrize("options", [{"filters": {"labels": "x"}}, {"message_id": ["a", "b"]}], ids=str)
    def test_lost_answer_makes_the_count_a_least_one(
        self, account: QStash, options: dict[str, Any], caplog: Any, capsys: Any
    ) -> None:
        for name in "ab":
            account.qstash.add_message(name, [("CREATED", None)], labels=["x"])
        account.faults.add("drop_after", times=1, method="DELETE")
        run(QStashCancelMessageOperator(task_id="ask", **options), account)

        assert account.states_of(["a", "b"]) == ["CANCELLED", "CANCELLED"]
        assert "An answer was lost: at least 0 messages" in caplog.text + capsys.readouterr().out

    def test_refused_request_loses_no_answer(self, account: QStash, caplog: Any, capsys: Any) -> None:
        waiting(account, 2, **{"Upstash-Label": "x"})
        account.faults.add("status", status=429, times=1, method="DELETE")

        assert run(QStashCancelMessageOperator(task_id="ask", filters={"labels": "x"}), account) == 2
        assert "An answer was lost" not in caplog.text + capsys.readouterr().out


class TestHook:
    def test_bulk_methods_need_a_filter(self, account: QStash) -> None:
        hook = QStashHook()
        for operation in (hook.cancel_messages, hook.delete_dlq, hook.retry_dlq):
            with pytest.raises(ValueError, match="no filter is given"):
                operation()
        assert account.sandbox.requests == []
