"""A message is published once: by whom, where to, and what is remembered between attempts and clears."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from pydantic import JsonValue, TypeAdapter

from remote_tasks_provider.bases.origin import Origin
from remote_tasks_provider.core.errors import (
    InvalidResponseError,
    OrphanedStartError,
    RemoteTaskError,
    TransportError,
)
from remote_tasks_provider.qstash.hooks import QStashHook
from remote_tasks_provider.qstash.operators import QStashPublishBatchOperator, QStashPublishOperator
from remote_tasks_provider.qstash.submission import deduplication_id
from tests.manus.airflow_task import AirflowTask
from tests.qstash.account import HOOK, QStash

PUBLISH = "/qstash/v2/*"
ORIGIN = Origin("production", "dag", "run", "task", -1, "", 1, 2)


def publish(**options: Any) -> Any:
    return QStashPublishOperator(**({"task_id": "ask", "destination": HOOK, "body": "text"} | options))


def batch(*messages: Any, **options: Any) -> Any:
    return QStashPublishBatchOperator(task_id="ask", messages=messages or THREE, **options)


def message(number: int, **options: Any) -> dict[str, Any]:
    return {"destination": f"https://example.com/{number}", "body": f"body {number}"} | options


THREE = [message(number) for number in range(3)]
REFUSED = {"destination": "no-such-group", "body": "x"}


def arrived(account: QStash) -> list[str]:
    return [one.options.url for one in account.qstash.messages]


def die_after_the_request(task: AirflowTask, make: Callable[[], Any]) -> None:
    """Run an attempt that is killed after QStash read its request, and before it knows the answer."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("send", "publish_batch"):
            sent = getattr(QStashHook, name)

            def dying(self: Any, what: Any, sent: Any = sent, **options: Any) -> Any:
                sent(self, what, **options)
                raise SystemExit

            patch.setattr(QStashHook, name, dying)
        with pytest.raises(SystemExit):
            task.attempt(make)


def on_kill(account: QStash, task: AirflowTask, **options: Any) -> None:
    """Run an attempt that a user ends while it waits on a worker."""
    operator = publish(delay="1h", wait_for_completion=True, **options)

    def killed(*_: Any, **__: Any) -> Any:
        raise SystemExit

    operator.wait_for_tasks = killed
    with pytest.raises(SystemExit):
        operator.execute(task.context)
    account.ended_as(task, "failed")
    operator.on_kill()


def told(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> str:
    return caplog.text + capsys.readouterr().out


class TestDeduplicationId:
    @pytest.mark.parametrize(
        "other",
        [
            {"deployment": "staging"},
            {"dag_id": "other"},
            {"run_id": "other"},
            {"task_id": "other"},
            {"map_index": 0},
            {"loop": "region/0"},
            {"max_tries": 3},
        ],
        ids=str,
    )
    def test_deduplication_id_is_that_of_one_task_instance(self, other: dict[str, Any]) -> None:
        assert deduplication_id(ORIGIN, HOOK) != deduplication_id(replace(ORIGIN, **other), HOOK)

    def test_deduplication_id_is_that_of_one_message(self) -> None:
        ids = [
            deduplication_id(ORIGIN, HOOK),
            deduplication_id(ORIGIN, "group"),
            deduplication_id(ORIGIN, HOOK, "queue"),
            deduplication_id(ORIGIN, HOOK, None, "0"),
        ]
        assert len(set(ids)) == len(ids)

    def test_deduplication_id_is_the_same_on_every_attempt(self) -> None:
        assert deduplication_id(ORIGIN, HOOK) == deduplication_id(replace(ORIGIN, attempt=2), HOOK)

    def test_deduplication_id_has_only_characters_that_qstash_takes(self) -> None:
        assert deduplication_id(ORIGIN, HOOK).removeprefix("af-").isalnum()


class TestTwoAirflows:
    """Staging and production have the same DAGs and run ids, and one account."""

    @pytest.fixture
    def of(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
        return lambda name: monkeypatch.setenv("AIRFLOW__REMOTE_TASKS__DEPLOYMENT_ID", name)

    def test_message_of_each_is_published(self, account: QStash, of: Callable[[str], None]) -> None:
        for name in ("production", "staging"):
            of(name)
            assert account.task().attempt(publish)["deduplicated"] is False

        assert len(account.sent) == 2

    def test_kill_of_one_leaves_the_message_of_the_other(
        self, account: QStash, of: Callable[[str], None]
    ) -> None:
        of("production")
        account.task().attempt(lambda: publish(delay="1h"))
        of("staging")
        on_kill(account, account.task())

        assert account.states_of(account.sent) == ["CREATED", "CANCELLED"]

    def test_destinations_are_told_apart_without_a_deployment_id(self, account: QStash) -> None:
        account.task().attempt(lambda: publish(destination="https://example.com/production"))
        account.task().attempt(lambda: publish(destination="https://example.com/staging"))
        account.task().attempt(lambda: publish(destination="https://example.com/staging", qstash_queue="q"))

        assert arrived(account)[:2] == ["https://example.com/production", "https://example.com/staging"]
        assert len(account.sent) == 3

    @pytest.mark.parametrize("remembers", [True, False])
    def test_message_of_an_unknown_twin_is_told_and_never_cancelled(
        self, account: QStash, remembers: bool, capsys: Any, caplog: Any
    ) -> None:
        account.task(remembers=remembers).attempt(lambda: publish(delay="1h"))
        on_kill(account, account.task(remembers=remembers))

        assert account.states_of(account.sent) == ["CREATED"]
        assert "Set [remote_tasks] deployment_id" in told(capsys, caplog)


class TestLoop:
    def test_message_of_each_iteration_is_published(self, account: QStash) -> None:
        region = uuid.uuid4()
        for index in range(3):
            task = account.task()
            task.region_id, task.region_index = region, index  # type: ignore[attr-defined]
            task.attempt(publish)

        assert len(account.sent) == 3


class TestEditedRetries:
    @pytest.mark.parametrize("remembers", [True, False])
    @pytest.mark.parametrize(("before", "after"), [(3, 1), (1, 3), (0, 2), (2, 0)])
    def test_retry_publishes_nothing_more(
        self, account: QStash, before: int, after: int, remembers: bool
    ) -> None:
        task = account.task(retries=before, remembers=remembers)
        task.attempt(publish)
        task.retries = after
        task.retry()
        task.attempt(publish)

        assert len(account.sent) == 1

    def test_record_is_written_without_retries(self, account: QStash) -> None:
        task = account.task()
        first = task.attempt(publish)
        account.clock.advance(86_400)
        task.clear_while_running()

        assert task.attempt(publish)["message_id"] == first["message_id"]
        assert len(account.sent) == 1


class TestOwner:
    """What a kill cancels."""

    def test_message_of_another_stays_anothers_after_a_retry(self, account: QStash) -> None:
        account.qstash.publish(HOOK, headers={"Upstash-Delay": "1h", "Upstash-Deduplication-Id": "ours"})
        task = account.task(retries=1)
        task.attempt(lambda: publish(deduplication_id="ours"))
        task.retry()
        on_kill(account, task, deduplication_id="ours")

        assert account.states_of(account.sent) == ["CREATED"]

    @pytest.mark.parametrize("given", [{}, {"deduplication_id": "ours"}], ids=str)
    def test_own_message_stays_own_after_a_retry(self, account: QStash, given: dict[str, Any]) -> None:
        task = account.task(retries=1)
        task.attempt(lambda: publish(delay="1h", **given))
        task.retry()
        on_kill(account, task, **given)

        assert account.states_of(account.sent) == ["CANCELLED"]

    @pytest.mark.parametrize("remembers", [True, False])
    def test_message_of_a_lost_answer_is_own(self, account: QStash, remembers: bool) -> None:
        account.faults.add("drop_after", times=1, path=PUBLISH)
        on_kill(account, account.task(remembers=remembers))

        assert account.states_of(account.sent) == ["CANCELLED"]

    def test_message_after_a_refused_request_is_not_own(self, account: QStash) -> None:
        account.task().attempt(lambda: publish(delay="1h"))
        account.faults.add("status", status=429, times=1, path=PUBLISH)
        on_kill(account, account.task())

        assert account.states_of(account.sent) == ["CREATED"]

    @pytest.mark.parametrize("remembers", [True, False])
    def test_message_of_a_dead_worker_is_own(self, account: QStash, remembers: bool) -> None:
        task = account.task(retries=1, remembers=remembers)
        die_after_the_request(task, lambda: publish(delay="1h"))
        task.retry()
        on_kill(account, task, retries=1)

        assert account.states_of(account.sent) == ["CANCELLED"]

    def test_message_that_an_older_version_recorded_is_own_by_the_default_id(self, account: QStash) -> None:
        (sent,) = account.qstash.publish(HOOK, headers={"Upstash-Delay": "1h"})
        for given, state in (({"deduplication_id": "ours"}, "CREATED"), ({}, "CANCELLED")):
            task = account.task(retries=1)
            record = {"first_try": 1, "messages": [{"message_id": sent, "url": None}]}
            task.store["qstash_messages"] = record  # type: ignore[index]
            task.retry()
            task.attempt(lambda given=given: publish(retries=1, **given))  # type: ignore[misc]
            on_kill(account, task, retries=1, **given)

            assert account.states_of([sent]) == [state]


class TestBody:
    def test_retry_with_another_body_publishes_nothing_more(
        self, account: QStash, capsys: Any, caplog: Any
    ) -> None:
        task = account.task(retries=1)
        first = task.attempt(lambda: publish(body="at 12:00:00"))
        task.retry()
        account.clock.advance(3600)

        assert task.attempt(lambda: publish(body="at 13:00:00"))["message_id"] == first["message_id"]
        assert len(account.sent) == 1
        assert "A body is not the one" in told(capsys, caplog)

    def test_retry_to_another_destination_publishes_there(
        self, account: QStash, capsys: Any, caplog: Any
    ) -> None:
        task = account.task(retries=1)
        task.attempt(lambda: publish(destination="https://example.com/1"))
        task.retry()
        task.attempt(lambda: publish(destination="https://example.com/2"))

        assert arrived(account) == ["https://example.com/1", "https://example.com/2"]
        assert "has published messages to other destinations" in told(capsys, caplog)


class TestLostRequest:
    """The answer never came, and the next attempt comes late."""

    def _lost(self, account: QStash, make: Callable[[], Any], **facts: Any) -> AirflowTask:
        task = account.task(retries=3, **facts)
        die_after_the_request(task, make)
        task.retry()
        return task

    def test_repeat_within_the_window_is_recognised(self, account: QStash) -> None:
        task = self._lost(account, publish)
        account.clock.advance(500)

        assert task.attempt(publish)["message_id"] == account.sent[0]
        assert len(account.sent) == 1

    @pytest.mark.parametrize("make", [publish, batch])
    def test_late_repeat_is_left_to_a_person(self, account: QStash, make: Callable[[], Any]) -> None:
        task = self._lost(account, make)
        sent = list(account.sent)
        account.clock.advance(3600)
        with pytest.raises(AirflowFailException, match="clear it to send the message") as caught:
            task.attempt(make)

        assert isinstance(caught.value.__cause__, OrphanedStartError)
        assert all(one in str(caught.value) for one in sent)
        assert account.sent == sent

    def test_repeats_of_a_request_end_with_the_window(
        self, account: QStash, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task = self._lost(account, publish)
        account.clock.advance(530)
        send, ends = QStashHook.send, []

        def noted(self: Any, options: Any, *, give_up_at: float) -> Any:
            ends.append(give_up_at)
            return send(self, options, give_up_at=give_up_at)

        monkeypatch.setattr(QStashHook, "send", noted)
        began = account.clock.now()
        task.attempt(publish)

        assert [end - began for end in ends] == [pytest.approx(60, abs=1)]

    def test_window_counts_from_the_first_lost_request(self, account: QStash) -> None:
        task = self._lost(account, publish)
        account.clock.advance(500)
        die_after_the_request(task, publish)
        account.clock.advance(500)
        task.retry()
        with pytest.raises(AirflowFailException):
            task.attempt(publish)

        assert len(account.sent) == 1

    def test_late_repeat_to_a_group_is_left_to_a_person(self, account: QStash) -> None:
        QStashHook().upsert_endpoints("group", [HOOK, "https://example.com/b"])
        task = self._lost(account, lambda: publish(destination="group"))
        account.clock.advance(3600)
        with pytest.raises(AirflowFailException, match="to group"):
            task.attempt(lambda: publish(destination="group"))

    def test_request_that_never_arrived_is_sent_late(self, account: QStash) -> None:
        account.faults.add("drop_before", path=PUBLISH, method="POST")
        account.qstash.publish("https://example.com/other")
        task = account.task(retries=1)
        with pytest.raises(TransportError):
            task.attempt(publish)
        account.faults.clear()
        account.clock.advance(3600)
        task.retry()
        task.attempt(publish)

        assert len(account.sent) == 2

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ({"deduplication_id": "at-12"}, {"deduplication_id": "at-13"}),
            ({"content_based_deduplication": True}, {"content_based_deduplication": True, "body": "at 13"}),
            (
                {"content_based_deduplication": True, "headers": {"X-At": "12"}},
                {"content_based_deduplication": True, "headers": {"X-At": "13"}},
            ),
        ],
        ids=str,
    )
    def test_repeat_that_qstash_would_not_recognise_is_left_to_a_person(
        self, account: QStash, first: dict[str, Any], second: dict[str, Any]
    ) -> None:
        task = self._lost(account, lambda: batch(message(0, **first)))
        with pytest.raises(AirflowFailException, match="was lost"):
            task.attempt(lambda: batch(message(0, **second)))
        assert len(account.sent) == 1
        task = self._lost(account, lambda: batch(message(1, **second)))

        assert ids(task.attempt(lambda: batch(message(1, **second)))) == account.sent[1:]

    def test_request_of_days_ago_is_left_to_a_person(self, account: QStash) -> None:
        task = self._lost(account, publish)
        account.clock.advance(5 * 86_400)
        with pytest.raises(AirflowFailException, match="was lost"):
            task.attempt(publish)

    def test_request_without_a_deduplication_id_is_never_repeated(self, account: QStash) -> None:
        def make() -> Any:
            return publish(deduplication_id="")

        account.sandbox.settings.update({"qstash_log_lag": 60})
        task = self._lost(account, make)
        with pytest.raises(AirflowFailException, match="was lost"):
            task.attempt(make)

        assert len(account.sent) == 1

    def test_refused_request_is_no_lost_one(self, account: QStash) -> None:
        account.faults.add("status", status=429, path=PUBLISH, times=3)
        task = account.task(retries=1)
        with pytest.raises(RemoteTaskError):
            task.attempt(publish)
        account.clock.advance(86_400 * 5)
        task.retry()
        task.attempt(publish)

        assert len(account.sent) == 1

    @pytest.mark.parametrize(("wait", "count"), [(300, 1), (3600, 2)])
    def test_clear_sends_what_qstash_does_not_recognise(self, account: QStash, wait: int, count: int) -> None:
        task = self._lost(account, publish)
        account.clock.advance(wait)
        task.clear()
        task.attempt(publish)

        assert len(account.sent) == count

    def test_intent_that_cannot_be_kept_sends_nothing(self, account: QStash) -> None:
        task = account.task()
        task.store.set = fail  # type: ignore[union-attr, method-assign]
        with pytest.raises(ConnectionError):
            task.attempt(publish)

        assert account.sent == []

    @pytest.mark.parametrize("make", [publish, batch])
    def test_record_has_only_what_the_store_of_airflow_takes(
        self, account: QStash, make: Callable[[], Any]
    ) -> None:
        task = account.task()
        keep = task.store.set  # type: ignore[union-attr]

        def set_json(key: str, value: Any) -> None:
            TypeAdapter(JsonValue).validate_python(value, strict=True)
            keep(key, value)

        task.store.set = set_json  # type: ignore[union-attr, method-assign]
        task.attempt(make)

        assert task.store["qstash_messages"]["parts"][0]["messages"]  # type: ignore[index]

    def test_answer_that_cannot_be_kept_does_not_fail(self, account: QStash) -> None:
        task = account.task()
        keep = task.store.set  # type: ignore[union-attr]

        def set_once(key: str, value: Any) -> None:
            keep(key, value)
            task.store.set = fail  # type: ignore[union-attr, method-assign]

        task.store.set = set_once  # type: ignore[union-attr, method-assign]

        assert task.attempt(publish)["message_id"] == account.sent[0]


def fail(*_: Any) -> None:
    raise ConnectionError


class TestBatch:
    def test_retry_sends_nothing_more_however_late(self, account: QStash) -> None:
        task = account.task(retries=1)
        first = task.attempt(batch)
        account.clock.advance(86_400)
        task.retry()

        assert ids(task.attempt(batch)) == ids(first)
        assert len(account.sent) == 3

    def test_clear_after_a_refusal_sends_only_what_was_refused(self, account: QStash) -> None:
        task = account.task()
        messages = [THREE[0], REFUSED, THREE[2]]
        with pytest.raises(AirflowFailException):
            task.attempt(lambda: batch(*messages))
        QStashHook().upsert_endpoints("no-such-group", ["https://example.com/1"])
        account.clock.advance(3600)
        task.clear()
        result = task.attempt(lambda: batch(*messages))

        assert sorted(arrived(account)) == [f"https://example.com/{number}" for number in range(3)]
        assert [result[0]["message_id"], result[2]["message_id"]] == account.sent[:2]

    @pytest.mark.parametrize(
        "repaired",
        [
            [THREE[0], message(1), THREE[2]],
            [THREE[0], THREE[2]],
            [THREE[2], message(1), THREE[0]],
            [message(0, body="other"), message(1), message(2, body="other")],
            [message(1), THREE[0], THREE[2]],
        ],
        ids=["repaired", "removed", "reordered", "other bodies", "moved"],
    )
    def test_clear_of_a_repaired_batch_sends_no_accepted_message_again(
        self, account: QStash, repaired: list[Any]
    ) -> None:
        task = account.task()
        with pytest.raises(AirflowFailException):
            task.attempt(lambda: batch(THREE[0], REFUSED, THREE[2]))
        account.clock.advance(3600)
        task.clear()
        result = task.attempt(lambda: batch(*repaired))

        assert len(result) == len(repaired)
        assert len(account.sent) == len(repaired)
        assert len(set(arrived(account))) == len(repaired)

    def test_clear_of_a_complete_batch_sends_all(self, account: QStash) -> None:
        task = account.task()
        task.attempt(batch)
        for _ in range(2):
            task.clear()
            task.attempt(batch)

        assert len(account.sent) == 9

    def test_clear_after_the_rest_was_sent_sends_all(self, account: QStash) -> None:
        task = account.task()
        with pytest.raises(AirflowFailException):
            task.attempt(lambda: batch(THREE[0], REFUSED))
        for count in (2, 4):
            task.clear()
            task.attempt(lambda: batch(THREE[0], THREE[1]))
            assert len(account.sent) == count

    def test_equal_messages_are_counted(self, account: QStash) -> None:
        task = account.task(retries=1)
        task.attempt(lambda: batch(*[THREE[0]] * 3))
        task.retry()
        task.attempt(lambda: batch(*[THREE[0]] * 4))

        assert len(account.sent) == 4

    def test_batch_of_hundreds_is_remembered(self, account: QStash) -> None:
        many = [message(number) for number in range(250)]
        task = account.task(retries=1)
        task.attempt(lambda: batch(*many))
        account.clock.advance(3600)
        task.retry()

        assert ids(task.attempt(lambda: batch(*many))) == account.sent
        assert len(account.sent) == 250
        assert max(len(json.dumps(value)) for value in (task.store or {}).values()) < 65_535

    @pytest.mark.parametrize(
        "change", [lambda found: found[:-1], lambda found: [*found, found[0]]], ids=["fewer", "more"]
    )
    def test_answer_of_another_length_loses_nothing(self, account: QStash, change: Any) -> None:
        task = account.task(retries=1)
        with pytest.MonkeyPatch.context() as patch:
            alter_answers(patch, change)
            with pytest.raises(InvalidResponseError, match="accepted: msg_"):
                task.attempt(batch)
        sent = list(account.sent)
        task.retry()

        assert ids(task.attempt(batch)) == sent == account.sent

    def test_answer_of_another_length_is_final_without_deduplication_ids(self, account: QStash) -> None:
        with pytest.MonkeyPatch.context() as patch:
            alter_answers(patch, lambda found: found[:-1])
            with pytest.raises(AirflowFailException, match="a retry would send it again"):
                account.task(retries=3).attempts(lambda: batch(THREE[0], message(1, deduplication_id="")))

        assert len(account.sent) == 2

    def test_element_whose_answer_is_odd_is_sent_again_only_while_recognised(self, account: QStash) -> None:
        task = account.task()
        with pytest.MonkeyPatch.context() as patch:
            alter_answers(patch, lambda found: [5, *found[1:]])
            with pytest.raises(AirflowFailException, match="cannot be read"):
                task.attempt(batch)
        task.clear()

        assert ids(task.attempt(batch)) == account.sent
        assert len(account.sent) == 3

    def test_batch_that_is_too_large_leaves_no_lost_request(self, account: QStash) -> None:
        task = account.task()
        with pytest.raises(ValueError, match="QStash takes"):
            task.attempt(lambda: batch(*[message(0, body="x" * 1024**2)] * 101))
        account.clock.advance(5 * 86_400)
        task.clear_while_running()
        task.attempt(batch)

        assert len(account.sent) == 3


def ids(results: list[dict[str, Any]]) -> list[str]:
    return [one["message_id"] for one in results]


def alter_answers(patch: pytest.MonkeyPatch, change: Callable[[Any], Any]) -> None:
    """Change what QStash answers to a batch on its way."""
    from remote_tasks_provider.core.http.transport import RequestsTransport

    sent = RequestsTransport.send

    def send(self: Any, request: Any, **options: Any) -> Any:
        response = sent(self, request, **options)
        if not request.path.endswith("/batch"):
            return response
        return replace(response, body=json.dumps(change(json.loads(response.body))).encode())

    patch.setattr(RequestsTransport, "send", send)


class TestGroupWithARefusedMessage:
    def _refuse_one(self, patch: pytest.MonkeyPatch) -> None:
        from remote_tasks_provider.core.http.transport import RequestsTransport

        sent = RequestsTransport.send

        def send(self: Any, request: Any, **options: Any) -> Any:
            response = sent(self, request, **options)
            found = json.loads(response.body)
            found[1] = {"url": found[1]["url"], "error": "no room"}
            return replace(response, body=json.dumps(found).encode())

        patch.setattr(RequestsTransport, "send", send)

    def test_accepted_messages_are_kept_and_the_refusal_is_final(self, account: QStash) -> None:
        QStashHook().upsert_endpoints("group", [HOOK, "https://example.com/b?key=hush"])
        task = account.task(retries=3)
        with pytest.MonkeyPatch.context() as patch:
            self._refuse_one(patch)
            with pytest.raises(AirflowFailException, match=r"1 of 2 refused: https://example.com/b: no room"):
                task.attempts(lambda: publish(destination="group"))

        assert task.try_number == 1
        assert task.xcoms["message_ids"] == account.sent[:1]
        assert "hush" not in json.dumps(task.store)
