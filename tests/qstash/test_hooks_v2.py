"""The hook's methods for messages, against the sandbox: lazy, in order, and never a wrong outcome."""

from __future__ import annotations

from typing import Any

import pytest

from remote_tasks_provider.core.errors import (
    AuthenticationError,
    NotFoundError,
    PaginationError,
    RateLimitedError,
    ServerError,
)
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.qstash import bulk
from remote_tasks_provider.qstash.api import v2
from remote_tasks_provider.qstash.api.v2_models import MessageOutcome, PublishedMessage
from remote_tasks_provider.qstash.hooks import QStashHook
from tests.qstash.account import HOOK, QStash

WAITING = [("CREATED", 0.0), ("ACTIVE", None)]


@pytest.fixture
def hook(account: QStash) -> QStashHook:
    return QStashHook()


class TestPublish:
    def test_publish_returns_one_message_or_a_list_for_a_group(
        self, account: QStash, hook: QStashHook
    ) -> None:
        hook.upsert_endpoints("group", [HOOK])
        one, several = hook.publish(HOOK, "text"), hook.publish("group", "text")

        assert isinstance(one, PublishedMessage)
        assert isinstance(several, list)
        assert [one.message_id, several[0].message_id] == account.sent

    def test_deduplicated_message_is_reported(self, account: QStash, hook: QStashHook) -> None:
        first, again = (hook.publish(HOOK, deduplication_id="a") for _ in range(2))

        assert (first.deduplicated, again.deduplicated) == (False, True)  # type: ignore[union-attr]
        assert first.message_id == again.message_id  # type: ignore[union-attr]

    def test_misspelt_option_is_refused(self, hook: QStashHook) -> None:
        with pytest.raises(TypeError, match="dely"):
            hook.publish(HOOK, dely=5)

    def test_empty_batch_is_refused(self, account: QStash, hook: QStashHook) -> None:
        with pytest.raises(ValueError, match="the batch is empty"):
            hook.publish_batch([])

    def test_plan_of_the_connection_counts(self, account: QStash) -> None:
        account.connect(plan="fixed")
        assert QStashHook().order(HOOK, delay="1000d")


class TestOutcomes:
    def test_outcomes_follow_the_order_of_the_ids(self, account: QStash, hook: QStashHook) -> None:
        account.qstash.add_message("a", ["DELIVERED"])
        account.qstash.add_message("b", ["FAILED"], response_body="busy")
        account.qstash.add_message("c", WAITING)
        found = hook.get_outcomes(["c", "never-sent", "b", "a"])

        assert list(found) == ["c", "never-sent", "b", "a"]
        assert [one.state for one in found.values()] == ["running", "unknown", "failed", "completed"]
        assert found["never-sent"] == MessageOutcome("never-sent", TaskState.UNKNOWN)
        (dlq_message,) = account.qstash.dlq_messages
        failed = found["b"]
        assert (failed.dlq_id, failed.response_status, failed.response) == (dlq_message.id, 500, "busy")

    @pytest.mark.parametrize("finished", [0, 1, 49, 120, 250])
    def test_many_outcomes_take_few_calls(self, account: QStash, hook: QStashHook, finished: int) -> None:
        ids = [account.qstash.add_message(f"m{number}", WAITING) for number in range(250)]
        account.clock.advance(60)
        for one in ids[:finished]:
            account.qstash.set_message_state(one, "DELIVERED")
        found = hook.get_outcomes([*ids, "never-sent"])

        assert [one.state for one in found.values()] == [
            *["completed"] * finished,
            *["pending"] * (250 - finished),
            "unknown",
        ]
        assert len(account.requests("GET", "/v2/logs")) <= 6

    def test_single_id_is_accepted(self, account: QStash, hook: QStashHook) -> None:
        account.qstash.add_message("a", ["DELIVERED"])

        assert hook.get_outcomes("a")["a"].state == "completed"

    def test_empty_list_sends_no_request(self, account: QStash, hook: QStashHook) -> None:
        assert hook.get_outcomes([]) == {}
        assert account.sandbox.requests == []

    def test_empty_id_is_refused(self, account: QStash, hook: QStashHook) -> None:
        with pytest.raises(ValueError, match="message_ids"):
            hook.get_outcomes(["a", ""])
        assert account.sandbox.requests == []

    @pytest.mark.parametrize(
        ("status", "kind"), [(500, ServerError), (401, AuthenticationError), (429, RateLimitedError)]
    )
    @pytest.mark.parametrize("count", [1, 150])
    def test_error_is_raised_and_never_taken_for_an_outcome(
        self, account: QStash, hook: QStashHook, status: int, kind: Any, count: int
    ) -> None:
        ids = [account.qstash.add_message(f"m{number}", ["DELIVERED"]) for number in range(count)]
        account.faults.add("status", status=status)
        with pytest.raises(kind):
            hook.get_outcomes(ids)


class TestLists:
    def test_entries_are_read_lazily(self, account: QStash, hook: QStashHook) -> None:
        for number in range(60):
            account.qstash.add_message(f"m{number}", WAITING)
        entries = hook.iter_logs()
        assert account.sandbox.requests == []
        next(entries)
        assert len(account.sandbox.requests) == 1
        assert len(list(entries)) == 119
        assert len(account.sandbox.requests) == 2

    def test_limit_counts_items_and_bounds_the_pages(self, account: QStash, hook: QStashHook) -> None:
        for number in range(60):
            account.qstash.add_message(f"m{number}", WAITING)

        assert len(list(hook.iter_logs(limit=7))) == 7
        assert ("count", "7") in account.sandbox.requests[-1].query
        assert len(list(hook.iter_logs(limit=119))) == 119

    @pytest.mark.parametrize("limit", [0, -1, "many"])
    def test_invalid_limit_is_refused(self, hook: QStashHook, limit: Any) -> None:
        for method in (hook.iter_logs, hook.iter_dlq):
            with pytest.raises(ValueError, match="limit is"):
                method(limit=limit)

    def test_circular_pages_are_reported(self, account: QStash, hook: QStashHook) -> None:
        account.qstash.add_message("m", WAITING)
        account.faults.add("repeat_cursor")
        with pytest.raises(PaginationError):
            list(hook.iter_logs())

    def test_dlq_messages_are_read_page_by_page(self, account: QStash, hook: QStashHook) -> None:
        for number in range(130):
            account.qstash.add_message(f"m{number}", ["FAILED"])

        assert len({dlq_message.dlq_id for dlq_message in hook.iter_dlq()}) == 130
        assert len(account.requests("GET", "/v2/dlq")) == 2


class TestChanges:
    def test_finished_message_cannot_be_cancelled(self, account: QStash, hook: QStashHook) -> None:
        account.qstash.add_message("m", ["DELIVERED"])
        with pytest.raises(NotFoundError):
            hook.cancel_message("m")

    def test_messages_with_given_ids_are_cancelled_with_one_call(
        self, account: QStash, hook: QStashHook
    ) -> None:
        for name in "abc":
            account.qstash.add_message(name, [("CREATED", 10.0), ("ACTIVE", None)])

        assert hook.cancel_messages(message_ids=["a", "b"]) == 2
        assert len(account.requests("DELETE", "/v2/messages")) == 1

    def test_messages_that_match_are_cancelled_until_a_call_finds_none(
        self, account: QStash, hook: QStashHook, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(v2, "MAX_CANCELLED", 2)
        for name in "abcde":
            account.qstash.add_message(name, [("CREATED", 10.0), ("ACTIVE", None)])

        assert hook.cancel_messages(url=HOOK) == 5
        assert len(account.requests("DELETE", "/v2/messages")) == 4

    def test_cancellation_that_finds_messages_for_ever_ends(
        self,
        account: QStash,
        hook: QStashHook,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(v2, "MAX_CANCELLED", 1)
        monkeypatch.setattr(bulk, "_MOST_CANCELLATIONS", 3)
        for name in "abcde":
            account.qstash.add_message(name, [("CREATED", 10.0), ("ACTIVE", None)])

        assert hook.cancel_messages(url=HOOK) == 3
        assert "some messages may be left" in caplog.text + capsys.readouterr().out

    def test_dlq_messages_are_retried_and_deleted_by_id_or_filter(
        self, account: QStash, hook: QStashHook
    ) -> None:
        for name in "abc":
            account.qstash.add_message(name, ["FAILED"], labels=["x"])
        first, *others = [dlq_message.id for dlq_message in account.qstash.dlq_messages]

        assert len(hook.retry_dlq(first)) == 1
        assert hook.delete_dlq(others[0]) == 1
        assert hook.delete_dlq(labels="x") == 1
        assert account.qstash.dlq_messages == []


class TestConnection:
    def test_read_only_token_passes_the_connection_test(self, account: QStash) -> None:
        account.connect(password=account.sandbox.settings.qstash_read_only_token)

        assert QStashHook().test_connection()[0] is True
        assert [one.path for one in account.sandbox.requests] == ["/qstash/v2/logs"]

    @pytest.mark.parametrize(
        ("token", "why"), [("qstash_foreign_token", "regions are separate"), (None, "Check the password")]
    )
    def test_connection_test_names_the_field_to_fix(
        self, account: QStash, token: str | None, why: str
    ) -> None:
        account.connect(password=getattr(account.sandbox.settings, token) if token else "wrong-token")
        good, text = QStashHook().test_connection()

        assert not good
        assert why in text
        assert "of this connection" in text
