"""The vendor's own client, driven against the sandbox: what it sends is understood, what it reads is there.

So the sandbox is not only true to this project's reading of QStash. The client's own faults are tested as
well: a later version that mends one of them shows here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import pytest
from qstash import AsyncQStash, QStash, Receiver
from qstash.errors import DailyMessageLimitExceededError, QStashError, RateLimitExceededError, SignatureError
from qstash.log import LogState
from qstash.schedule import ScheduleState

from remote_tasks_sandbox import Sandbox, SandboxServer
from sandbox.tests import receiver as local

START = 1_763_501_439
HOOK = "https://example.com/hook"
GROUP = [{"url": "https://a.example", "name": "a"}, {"url": "https://b.example"}]


@pytest.fixture
def client(server: SandboxServer, capsys: pytest.CaptureFixture[str]) -> Iterator[QStash]:
    # ``capsys`` swallows what its log prints.
    found = QStash("sandbox-token", base_url=server.qstash_url, retry=False)
    yield found
    found.http._client.close()


@pytest.fixture
def receiver() -> Iterator[local.Receiver]:
    found = local.Receiver()
    yield found
    found.close()


def log_states(client: QStash, message_id: str) -> list[LogState]:
    return [entry.state for entry in client.log.list(filter={"message_id": message_id}).logs]


class TestPublish:
    def test_message_arrives_with_everything_it_was_given(self, sandbox: Sandbox, client: QStash) -> None:
        answer = client.message.publish(
            url=f"{HOOK}?a=1&b=2",
            body="hi",
            content_type="text/plain",
            method="PUT",
            headers={"X-Key": "k"},
            callback_headers={"Forward-X": "cb", "Retries": "1"},
            failure_callback_headers={"Forward-X": "fail"},
            retries=2,
            retry_delay="pow(2, retried) * 1000",
            callback="https://cb.example/all",
            failure_callback="https://cb.example/bad",
            delay="1m",
            deduplication_id="once",
            timeout=30,
            flow_control={"key": "k", "parallelism": 2, "rate": 3, "period": "1m"},
            label="mine",
            redact={"body": True, "header": ["X-Key"]},
        )
        assert not answer.deduplicated
        order = sandbox.qstash.get_message(answer.message_id).options
        assert (order.url, order.body, order.method) == (f"{HOOK}?a=1&b=2", b"hi", "PUT")
        assert order.headers == {"content-type": "text/plain", "x-key": "k"}
        assert (order.max_retries, order.retry_delay, order.delay, order.timeout) == (
            *(2, "pow(2, retried) * 1000"),
            *(60, 30),
        )
        assert (order.flow.key, order.flow.parallelism, order.flow.rate, order.flow.period) == ("k", 2, 3, 60)
        assert (order.callback.url, order.callback.max_retries) == ("https://cb.example/all", 1)
        assert (order.callback.headers, order.failure_callback.headers) == ({"x": "cb"}, {"x": "fail"})
        assert (order.labels, order.deduplication_id) == (("mine",), "once")
        assert order.redact == {"body", "header[x-key]"}
        message = client.message.get(answer.message_id)
        assert message.callback_headers == {"X": ["cb"]}
        assert message.failure_callback_headers == {"X": ["fail"]}
        assert message.retry_delay_expression == "pow(2, retried) * 1000"

    def test_message_with_the_same_id_is_the_first(self, sandbox: Sandbox, client: QStash) -> None:
        first, second = (
            client.message.publish_json(url=HOOK, body={}, deduplication_id="one") for _ in range(2)
        )
        assert (second.message_id, second.deduplicated) == (first.message_id, True)
        assert len(sandbox.qstash.messages) == 1

    def test_message_with_the_same_content_is_the_first(self, client: QStash) -> None:
        answers = [
            client.message.publish_json(url=HOOK, body={"n": number}, content_based_deduplication=True)
            for number in (1, 1, 2)
        ]
        assert [one.deduplicated for one in answers] == [False, True, False]

    def test_message_on_its_way_can_be_read(self, client: QStash) -> None:
        sent = client.message.publish_json(
            url=HOOK,
            body={"a": 1},
            delay=60,
            label="mine",
            flow_control={"key": "k", "parallelism": 1},
        )
        message = client.message.get(sent.message_id)
        assert (message.url, message.body, message.method) == (HOOK, '{"a": 1}', "POST")
        assert (message.max_retries, message.created_at) == (3, START * 1000)
        assert (message.not_before, message.label) == ((START + 60) * 1000, "mine")
        assert (message.flow_control.key, message.flow_control.parallelism) == ("k", 1)

    def test_message_goes_through_a_queue(self, sandbox: Sandbox, client: QStash) -> None:
        sent = client.message.enqueue_json(queue="q", url=HOOK, body=[1])
        client.message.enqueue(queue="q", url=HOOK, body="x")
        assert client.message.get(sent.message_id).queue == "q"
        assert client.queue.get("q").lag == 2

    def test_group_answers_for_each_member(self, client: QStash) -> None:
        client.url_group.upsert_endpoints("team", GROUP)
        sent = client.message.publish(url_group="team", body="hi", delay=60)
        assert [one.url for one in sent] == ["https://a.example", "https://b.example"]
        found = [client.message.get(one.message_id) for one in sent]
        assert [(one.url_group, one.endpoint) for one in found] == [("team", "a"), ("team", None)]

    def test_batch_is_answered_one_by_one(self, sandbox: Sandbox, client: QStash) -> None:
        client.url_group.upsert_endpoints("team", GROUP)
        plain, queued, group = client.message.batch_json(
            [
                {"url": HOOK, "body": {"n": 1}, "retries": 0},
                {"url": HOOK, "body": {"n": 2}, "queue": "q"},
                {"url_group": "team", "body": {"n": 3}},
            ]
        )
        assert sandbox.qstash.get_message(plain.message_id).options.body == b'{"n": 1}'
        assert sandbox.qstash.get_message(queued.message_id).options.queue == "q"
        assert [one.url for one in group] == ["https://a.example", "https://b.example"]

    @pytest.mark.parametrize(
        "options", [{"url": "example.com"}, {"url": HOOK, "retries": 99}, {"url_group": "none"}]
    )
    def test_refusal_is_raised_with_its_text(self, client: QStash, options: dict[str, object]) -> None:
        with pytest.raises(QStashError, match=r"status: 400, body: .*invalid"):
            client.message.publish(body="hi", **options)


class TestLog:
    def test_life_of_a_message_is_read(self, sandbox: Sandbox, client: QStash) -> None:
        sandbox.qstash.plan_delivery("*", [{"status": 503, "body": "busy"}, 200])
        sent = client.message.publish(url=HOOK, body="hi", label="mine", retry_delay="1000", timeout=5)
        sandbox.clock.advance(60)
        entries = client.log.list(filter={"message_id": sent.message_id}).logs
        assert [entry.state for entry in reversed(entries)] == [
            *(LogState.CREATED, LogState.ACTIVE, LogState.ERROR, LogState.RETRY),
            *(LogState.ACTIVE, LogState.DELIVERED),
        ]
        failed = entries[3]
        assert (failed.response_status, failed.error) == (503, "HTTP status 503")
        assert (failed.label, failed.max_retries) == ("mine", 3)
        assert (failed.next_delivery_time, failed.timeout) == ((START + 1) * 1000, 5000)
        # Its own test against the live service reads ``retryDelayExpr`` and not what the schema says.
        assert failed.retry_delay_expression == "1000"

    def test_filters_reach_the_sandbox(self, sandbox: Sandbox, client: QStash) -> None:
        add = sandbox.qstash.add_message
        add("a", ["DELIVERED"], labels=["x"])
        add("b", ["FAILED"], queue="q", topic="team", schedule_id="scd", url="https://b.example")
        add("c", [("ERROR", None)])
        for filters, found in (
            ({"message_ids": ["a", "b"]}, "ab"),
            ({"state": LogState.DELIVERED}, "a"),
            ({"state": LogState.IN_PROGRESS}, "c"),
            ({"label": "x"}, "a"),
            ({"queue": "q", "url_group": "team", "schedule_id": "scd", "url": "https://b.example"}, "b"),
            ({"from_time": START * 1000, "to_time": START * 1000}, "abc"),
            ({"from_time": START * 1000 + 1}, ""),
        ):
            entries = client.log.list(filter=filters).logs
            assert {entry.message_id for entry in entries} == set(found), filters

    def test_cursor_leads_to_the_end(self, sandbox: Sandbox, client: QStash) -> None:
        for number in range(25):
            sandbox.qstash.add_message(f"m{number}", ["DELIVERED"])
        found, cursor = [], None
        while True:
            page = client.log.list(cursor=cursor, count=10)
            found += [entry.message_id for entry in page.logs]
            cursor = page.cursor
            if cursor is None:
                break
        assert found == [f"m{number}" for number in reversed(range(25))]

    def test_client_fails_on_the_documented_cancelled_word(self, sandbox: Sandbox, client: QStash) -> None:
        sandbox.qstash.add_message("m", [("CREATED", None)])
        client.message.cancel("m")
        with pytest.raises(ValueError, match="'CANCELLED' is not a valid LogState"):
            log_states(client, "m")

    def test_client_reads_its_own_word_for_cancelled(self, sandbox: Sandbox, client: QStash) -> None:
        sandbox.settings.update({"qstash_cancelled_word": "CANCELED"})
        sandbox.qstash.add_message("m", [("CREATED", None)])
        client.message.cancel("m")
        assert log_states(client, "m") == [LogState.CANCELED, LogState.CANCEL_REQUESTED, LogState.CREATED]

    def test_client_prints_the_answer(
        self, sandbox: Sandbox, client: QStash, capsys: pytest.CaptureFixture[str]
    ) -> None:
        sandbox.qstash.add_message("m", ["DELIVERED"], headers={"Authorization": "deep secret"})
        client.log.list()
        assert "deep secret" in capsys.readouterr().out

    def test_client_cannot_read_the_key_of_the_schema(self, sandbox: Sandbox, client: QStash) -> None:
        sandbox.settings.update({"qstash_logs_key": "logs"})
        with pytest.raises(KeyError, match="events"):
            client.log.list()


class TestDeadLetters:
    def fail(self, sandbox: Sandbox, client: QStash, label: str) -> str:
        sandbox.qstash.plan_delivery("*", [{"status": 410, "body": "gone", "headers": {"x-why": "old"}}])
        return client.message.publish_json(url=HOOK, body={"n": 1}, retries=0, label=label).message_id

    def test_dlq_messages_are_listed_read_and_deleted(self, sandbox: Sandbox, client: QStash) -> None:
        first, second, third = (self.fail(sandbox, client, label) for label in "abc")
        page = client.dlq.list()
        assert [dlq_message.message_id for dlq_message in page.messages] == [first, second, third]
        assert page.cursor is None
        dlq_message = client.dlq.get(page.messages[0].dlq_id)
        assert (dlq_message.message_id, dlq_message.dlq_id) == (first, page.messages[0].dlq_id)
        assert (dlq_message.response_status, dlq_message.response_body) == (410, "gone")
        assert (dlq_message.response_headers, dlq_message.body, dlq_message.label) == (
            {"X-Why": ["old"]},
            '{"n": 1}',
            "a",
        )
        client.dlq.delete(dlq_message.dlq_id)
        with pytest.raises(QStashError, match="404"):
            client.dlq.get(dlq_message.dlq_id)
        assert client.dlq.delete_many([page.messages[1].dlq_id, "nobody"]) == 1
        assert [one.message_id for one in client.dlq.list().messages] == [third]

    def test_filters_and_pages_reach_the_sandbox(self, sandbox: Sandbox, client: QStash) -> None:
        ids = [self.fail(sandbox, client, label) for label in "ab"]
        for filters, found in (
            ({"message_id": ids[0]}, ids[:1]),
            ({"label": "b"}, ids[1:]),
            ({"response_status": 410, "url": HOOK, "caller_ip": "127.0.0.1"}, ids),
            ({"response_status": 500}, []),
            ({"from_time": START * 1000, "to_time": START * 1000}, ids),
            ({"queue": "q"}, []),
            ({"schedule_id": "s"}, []),
            ({"url_group": "t"}, []),
        ):
            assert [one.message_id for one in client.dlq.list(filter=filters).messages] == found, filters
        page = client.dlq.list(count=1)
        assert [one.message_id for one in client.dlq.list(cursor=page.cursor).messages] == ids[1:]


class TestCancel:
    def test_message_is_cancelled_and_an_unknown_one_is_an_error(self, client: QStash) -> None:
        sent = client.message.publish(url=HOOK, delay=60)
        client.message.cancel(sent.message_id)
        for call in (client.message.get, client.message.cancel):
            with pytest.raises(QStashError, match="404"):
                call(sent.message_id)

    def test_unknown_ids_among_many_do_no_harm(self, client: QStash) -> None:
        ids = [client.message.publish(url=HOOK, delay=60).message_id for _ in range(3)]
        assert client.message.cancel_many([*ids[:2], "nobody"]) == 2
        assert client.message.get(ids[2]).message_id == ids[2]
        assert client.message.cancel_all() == 1

    @pytest.mark.parametrize("how", ["one", "many"])
    def test_empty_id_or_list_cancels_everything(self, sandbox: Sandbox, client: QStash, how: str) -> None:
        for _ in range(3):
            client.message.publish(url=HOOK, delay=60)
        if how == "one":
            client.message.cancel("")
        else:
            assert client.message.cancel_many([]) == 3
        assert {message.state for message in sandbox.qstash.messages} == {"CANCELLED"}
        assert sandbox.qstash.bulk_cancels == [{"filters": {}, "cancelled": 3, "at": START}]


class TestSetup:
    def test_schedule_lives(self, sandbox: Sandbox, client: QStash) -> None:
        schedule_id = client.schedule.create_json(
            destination=HOOK,
            cron="CRON_TZ=Europe/Berlin */10 * * * *",
            body={"n": 1},
            retries=1,
            delay=5,
            timeout=10,
            schedule_id="mine",
            queue=None,
            label="nightly",
            callback="https://cb.example/",
            flow_control={"key": "k", "rate": 5, "period": 60},
        )
        schedule = client.schedule.get(schedule_id)
        assert (schedule.schedule_id, schedule.destination, schedule.retries) == ("mine", HOOK, 1)
        assert (schedule.cron, schedule.body) == ("CRON_TZ=Europe/Berlin */10 * * * *", '{"n": 1}')
        assert (schedule.delay, schedule.timeout, schedule.label, schedule.paused) == (
            5,
            10,
            "nightly",
            False,
        )
        assert schedule.next_schedule_time == (START - 39 + 600) * 1000
        sandbox.clock.advance(700)
        (run,) = client.log.list(filter={"schedule_id": "mine", "state": LogState.DELIVERED}).logs
        assert client.schedule.get("mine").last_schedule_states == {run.message_id: ScheduleState.SUCCESS}
        client.schedule.pause("mine")
        assert client.schedule.list()[0].paused
        client.schedule.resume("mine")
        assert not client.schedule.list()[0].paused
        client.schedule.delete("mine")
        assert client.schedule.list() == []

    def test_schedule_can_go_through_a_queue(self, client: QStash) -> None:
        client.schedule.create(destination=HOOK, cron="0 0 * * *", queue="q", schedule_id="mine")
        assert client.schedule.get("mine").queue == "q"

    def test_queue_lives(self, client: QStash) -> None:
        client.queue.upsert("q", parallelism=2, paused=True)
        queue = client.queue.get("q")
        assert (queue.name, queue.parallelism, queue.paused, queue.lag) == ("q", 2, True, 0)
        client.queue.resume("q")
        assert not client.queue.list()[0].paused
        client.queue.pause("q")
        assert client.queue.get("q").paused
        client.queue.delete("q")
        assert client.queue.list() == []

    def test_url_group_lives(self, client: QStash) -> None:
        client.url_group.upsert_endpoints("team", GROUP)
        group = client.url_group.get("team")
        assert [(one.url, one.name) for one in group.endpoints] == [
            ("https://a.example", "a"),
            ("https://b.example", None),
        ]
        client.url_group.remove_endpoints("team", [{"name": "a"}])
        assert len(client.url_group.list()[0].endpoints) == 1
        client.url_group.delete("team")
        with pytest.raises(QStashError, match="404"):
            client.url_group.get("team")

    def test_flow_control_lives(self, client: QStash) -> None:
        for _ in range(2):
            client.message.publish(url=HOOK, flow_control={"key": "k", "parallelism": 1})
        info = client.flow_control.get("k")
        assert (info.parallelism_max, info.parallelism_count, info.wait_list_size) == (1, 1, 1)
        client.flow_control.pause("k")
        client.flow_control.pin("k", {"parallelism": 4, "rate": 10, "period": 60})
        info = client.flow_control.get("k")
        assert (info.is_paused, info.is_pinned_parallelism, info.is_pinned_rate) == (True, True, True)
        assert (info.parallelism_max, info.rate_max, info.rate_period) == (4, 10, 60)
        client.flow_control.unpin("k", {"parallelism": True, "rate": True})
        client.flow_control.reset_rate("k")
        client.flow_control.resume("k")
        info = client.flow_control.get("k")
        assert (info.is_paused, info.is_pinned_parallelism, info.is_pinned_rate) == (False, False, False)
        assert client.flow_control.get_global_parallelism().parallelism_count == 2


class TestSignature:
    def deliver(self, sandbox: Sandbox, client: QStash, receiver: local.Receiver) -> tuple[str, str, str]:
        url = f"{receiver.url}/in?x=1"
        client.message.publish_json(url=url, body={"ä": 1})
        got = local.until(lambda: receiver.got)[-1]
        return got.headers["Upstash-Signature"], got.body.decode(), url

    def test_delivered_message_is_signed(
        self, sandbox: Sandbox, client: QStash, receiver: local.Receiver
    ) -> None:
        signature, body, url = self.deliver(sandbox, client, receiver)
        keys = client.signing_key.get()
        check = Receiver(keys.current, keys.next)
        check.verify(signature=signature, body=body, url=url)
        for wrong in ({"body": body + " "}, {"url": url + "0"}, {"signature": signature[:-4] + "AAAA"}):
            with pytest.raises(SignatureError):
                check.verify(**({"signature": signature, "body": body, "url": url} | wrong))

    def test_delivered_message_is_signed_after_the_keys_were_rotated(
        self, sandbox: Sandbox, client: QStash, receiver: local.Receiver
    ) -> None:
        before = client.signing_key.get()
        after = client.signing_key.rotate()
        signature, body, url = self.deliver(sandbox, client, receiver)
        assert after.current == before.next
        # Who still has the keys of before knows the new one as the next.
        Receiver(before.current, before.next).verify(signature=signature, body=body, url=url)
        client.signing_key.rotate()
        receiver.got.clear()
        signature, body, url = self.deliver(sandbox, client, receiver)
        with pytest.raises(SignatureError):
            Receiver(before.current, before.next).verify(signature=signature, body=body, url=url)


class TestErrors:
    def test_wrong_token_and_region_raise_errors(self, server: SandboxServer, sandbox: Sandbox) -> None:
        for token, text in (("x", "invalid token"), ("sandbox-us-token", "user not found in this region")):
            stranger = QStash(token, base_url=server.qstash_url, retry=False)
            with contextlib.closing(stranger.http._client), pytest.raises(QStashError, match=text):
                stranger.queue.list()

    def test_burst_limit_and_daily_limit_differ(self, sandbox: Sandbox, client: QStash) -> None:
        sandbox.settings.update({"qstash_burst_limit": 0, "qstash_daily_limit": 0})
        with pytest.raises(RateLimitExceededError) as burst:
            client.log.list()
        assert (burst.value.limit, burst.value.remaining, burst.value.reset) == ("0", "0", str(START + 1))
        with pytest.raises(DailyMessageLimitExceededError) as daily:
            client.message.publish(url=HOOK)
        assert (daily.value.limit, daily.value.remaining) == ("0", "0")

    @pytest.mark.parametrize("deduplication_id", [None, "once"])
    def test_lost_answer_is_retried(
        self, server: SandboxServer, sandbox: Sandbox, deduplication_id: str | None
    ) -> None:
        """Without a deduplication id its retries send twice."""
        sandbox.faults.add("drop_after", path="/qstash/v2/publish/*", times=1)
        client = QStash(
            "sandbox-token", base_url=server.qstash_url, retry={"retries": 2, "backoff": lambda _: 0.0}
        )
        with contextlib.closing(client.http._client):
            sent = client.message.publish(url=HOOK, deduplication_id=deduplication_id)
        assert [one.deduplicated for one in sandbox.qstash.published] == [False, deduplication_id is not None]
        assert len(sandbox.qstash.messages) == (1 if deduplication_id else 2)
        assert sent.message_id in {message.id for message in sandbox.qstash.messages}


def test_asynchronous_client_behaves_alike(server: SandboxServer, sandbox: Sandbox) -> None:
    async def talk() -> tuple[bool, list[LogState], int]:
        client = AsyncQStash("sandbox-token", base_url=server.qstash_url, retry=False)
        try:
            first = await client.message.publish_json(url=HOOK, body={}, deduplication_id="one", delay=60)
            again = await client.message.publish_json(url=HOOK, body={}, deduplication_id="one", delay=60)
            logs = await client.log.list(filter={"message_id": first.message_id})
            return again.deduplicated, [entry.state for entry in logs.logs], await client.message.cancel_all()
        finally:
            await client.http._client.aclose()

    assert asyncio.run(talk()) == (True, [LogState.CREATED], 1)
