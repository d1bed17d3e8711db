"""What becomes of a message: attempts, retries, callbacks, the dead letter, cancellation."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import time
from itertools import pairwise

import pytest

from sandbox.tests.receiver import Receiver, until

START = 1_763_501_439
HOOK = "https://example.com/hook"


def states(sandbox, message_id):
    return sandbox.qstash.get_message(message_id).states


def times(sandbox, message_id, state):
    entries = sandbox.qstash.get_message(message_id).entries
    return [entry.time_ms / 1000 - START for entry in entries if entry.state == state]


class TestByPlan:
    def test_destination_without_a_plan_takes_everything(self, sandbox):
        (message_id,) = sandbox.qstash.publish(HOOK)
        assert states(sandbox, message_id) == ["CREATED", "ACTIVE"]
        sandbox.clock.advance(1)
        assert states(sandbox, message_id) == ["CREATED", "ACTIVE", "DELIVERED"]

    def test_outcomes_follow_one_another_and_the_last_stays(self, sandbox):
        sandbox.qstash.plan_delivery("https://example.com/*", [500, "error", 200], latency=2)
        sandbox.settings.update({"qstash_retry_seconds": 10})
        (message_id,) = sandbox.qstash.publish(HOOK)
        sandbox.clock.advance(100)
        attempts = ["ACTIVE", "ERROR", "RETRY"]
        assert states(sandbox, message_id) == ["CREATED", *attempts, *attempts, "ACTIVE", "DELIVERED"]
        assert times(sandbox, message_id, "ACTIVE") == [0, 12, 24]
        assert [(one.retried, one.status, one.real) for one in sandbox.qstash.deliveries] == [
            (0, 500, False),
            (1, 0, False),
            (2, 200, False),
        ]

    def test_newest_plan_that_fits_counts(self, sandbox):
        sandbox.qstash.plan_delivery("*", [500])
        sandbox.qstash.plan_delivery("*/hook", 204)
        (message_id,) = sandbox.qstash.publish(HOOK)
        assert states(sandbox, message_id)[-1] == "DELIVERED"

    def test_failure_without_retries_has_four_entries(self, sandbox):
        sandbox.qstash.plan_delivery("*", [{"status": 418, "body": "teapot", "headers": {"X": "y"}}])
        (message_id,) = sandbox.qstash.publish(HOOK, headers={"Upstash-Retries": "0"})
        assert states(sandbox, message_id) == ["CREATED", "ACTIVE", "ERROR", "FAILED"]
        (dlq_message,) = sandbox.qstash.dlq_messages
        assert (dlq_message.message.id, dlq_message.response.status, dlq_message.response.body) == (
            message_id,
            418,
            b"teapot",
        )

    def test_attempt_that_takes_too_long_is_a_timeout(self, sandbox):
        sandbox.qstash.plan_delivery("*", [200], latency=11)
        (message_id,) = sandbox.qstash.publish(
            HOOK, headers={"Upstash-Timeout": "10s", "Upstash-Retries": "0"}
        )
        sandbox.clock.advance(10)
        message = sandbox.qstash.get_message(message_id)
        assert (message.state, message.entries[-2].error) == ("FAILED", "timeout")

    def test_destination_may_forbid_another_attempt(self, sandbox):
        final = {"status": 489, "headers": {"upstash-nonretryable-error": "true"}}
        sandbox.qstash.plan_delivery("*/final", [final])
        sandbox.qstash.plan_delivery("*/not", [489, 200])
        ended, goes_on = (sandbox.qstash.publish(f"https://a.example/{name}")[0] for name in ("final", "not"))
        sandbox.clock.advance(60)
        assert states(sandbox, ended)[-2:] == ["ERROR", "FAILED"]
        assert states(sandbox, goes_on)[-1] == "DELIVERED"

    @pytest.mark.parametrize(
        "outcome", [100, 600, True, "oops", {"code": 200}, {"latency": -1}, {"latency": "1"}, None]
    )
    def test_outcome_of_another_form_is_refused(self, sandbox, outcome):
        with pytest.raises(ValueError, match=r"outcome|latency"):
            sandbox.qstash.plan_delivery("*", [outcome])

    @pytest.mark.parametrize(("pattern", "outcomes"), [("", [200]), ("*", [])])
    def test_plan_needs_a_pattern_and_an_outcome(self, sandbox, pattern, outcomes):
        with pytest.raises(ValueError, match="a plan needs"):
            sandbox.qstash.plan_delivery(pattern, outcomes)


class TestRetryDelay:
    def run(self, sandbox, outcome=500, **headers):
        sandbox.qstash.plan_delivery("*", [outcome])
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        (message_id,) = sandbox.qstash.publish(HOOK, headers=named)
        sandbox.clock.advance(10 * 86400)
        began = times(sandbox, message_id, "ACTIVE")
        return [round(later - before) for before, later in pairwise(began)]

    def test_retry_delay_is_short(self, sandbox):
        assert self.run(sandbox) == [1, 1, 1]

    def test_retry_delay_can_be_the_vendors_own(self, sandbox):
        sandbox.settings.update({"qstash_retry_seconds": None, "qstash_plan": "payg"})
        # 12 s, 2 min 28 s, 30 min 8 s, 6 h 7 min, 24 h
        assert self.run(sandbox, Upstash_Retries="5") == [12, 148, 1808, 22026, 86400]

    def test_retry_delay_is_what_the_publisher_says(self, sandbox):
        assert self.run(sandbox, Upstash_Retry_Delay="1000 * (2 + retried)") == [2, 3, 4]

    @pytest.mark.parametrize(
        "name", ["Retry-After", "retry-after", "X-RateLimit-Reset", "X-RateLimit-Reset-Tokens"]
    )
    def test_retry_delay_is_what_the_destination_says(self, sandbox, name):
        outcome = {"status": 429, "headers": {name: "30"}}
        assert self.run(sandbox, outcome, Upstash_Retry_Delay="1000") == [30, 30, 30]

    def test_retry_delay_that_fails_later_does_no_harm(self, sandbox):
        assert self.run(sandbox, Upstash_Retry_Delay="1000 / (1 - retried)") == [1, 1, 0]

    def test_log_says_when_the_next_attempt_is(self, sandbox):
        sandbox.qstash.plan_delivery("*", [500])
        (message_id,) = sandbox.qstash.publish(HOOK, headers={"Upstash-Retry-Delay": "5000"})
        entries = sandbox.qstash.get_message(message_id).entries
        assert [(one.state, one.next_ms) for one in entries] == [
            ("CREATED", None),
            ("ACTIVE", None),
            ("ERROR", (START + 5) * 1000),
            ("RETRY", (START + 5) * 1000),
        ]


class TestDelay:
    @pytest.mark.parametrize("headers", [{"Upstash-Delay": "1m"}, {"Upstash-Not-Before": str(START + 60)}])
    def test_delayed_message_is_only_created(self, sandbox, headers):
        (message_id,) = sandbox.qstash.publish(HOOK, headers=headers)
        sandbox.clock.advance(59)
        assert states(sandbox, message_id) == ["CREATED"]
        sandbox.clock.advance(2)
        assert times(sandbox, message_id, "ACTIVE") == [60]

    def test_time_that_has_passed_is_now(self, sandbox):
        (message_id,) = sandbox.qstash.publish(HOOK, headers={"Upstash-Not-Before": "1"})
        assert times(sandbox, message_id, "ACTIVE") == [0]


class TestCallbacks:
    def publish(self, sandbox, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        callback = {
            "Upstash-Callback": "https://cb.example/all",
            "Upstash-Failure-Callback": "https://cb.example/bad",
        }
        (message_id,) = sandbox.qstash.publish(HOOK, "in", {**callback, **named})
        sandbox.clock.advance(60)
        return message_id

    def bodies(self, sandbox, name):
        return [one.json for one in sandbox.qstash.deliveries if one.url == f"https://cb.example/{name}"]

    def test_callback_comes_after_every_attempt(self, sandbox):
        sandbox.qstash.plan_delivery("*/hook", [500, {"status": 201, "body": "done", "headers": {"X": "y"}}])
        message_id = self.publish(sandbox, Upstash_Forward_A="b")
        first, last = self.bodies(sandbox, "all")
        assert (first["status"], first["retried"], last["status"], last["retried"]) == (500, 0, 201, 1)
        assert last == {
            "status": 201,
            "retried": 1,
            "maxRetries": 3,
            "header": {"X": ["y"]},
            "body": base64.b64encode(b"done").decode(),
            "sourceMessageId": message_id,
            "url": HOOK,
            "method": "POST",
            "sourceHeader": {"A": ["b"]},
            "sourceBody": base64.b64encode(b"in").decode(),
            "notBefore": str(START * 1000),
            "createdAt": str(START * 1000),
            "callerIP": "127.0.0.1",
        }
        assert self.bodies(sandbox, "bad") == []

    def test_failure_callback_comes_with_the_dlq_message(self, sandbox):
        sandbox.qstash.plan_delivery("*/hook", [500])
        self.publish(sandbox, Upstash_Retries="1")
        (body,) = self.bodies(sandbox, "bad")
        assert (body["dlqId"], body["retried"], body["maxRetries"]) == (
            sandbox.qstash.dlq_messages[0].id,
            1,
            1,
        )
        assert len(self.bodies(sandbox, "all")) == 2

    def test_callback_is_a_message_of_its_own_and_may_fail_too(self, sandbox):
        sandbox.qstash.plan_delivery("https://cb.example/*", [500])
        message_id = self.publish(
            sandbox,
            Upstash_Callback_Retries="0",
            Upstash_Callback_Method="PUT",
            Upstash_Callback_Forward_Key="k",
        )
        source, callback = sandbox.qstash.messages
        assert (source.id, source.state, callback.state) == (message_id, "DELIVERED", "FAILED")
        assert callback.cause is source
        assert (callback.options.method, callback.options.headers["key"]) == ("PUT", "k")
        assert sandbox.qstash.dlq_messages[0].message is callback


class TestQueue:
    def enqueue(self, sandbox, count=3, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return [sandbox.qstash.publish(f"{HOOK}?{n}", headers=named, queue="q")[0] for n in range(count)]

    def test_queue_sends_one_message_after_the_other(self, sandbox):
        sandbox.qstash.plan_delivery("*", [200], latency=10)
        ids = self.enqueue(sandbox)
        sandbox.clock.advance(25)
        assert [states(sandbox, one)[-1] for one in ids] == ["DELIVERED", "DELIVERED", "ACTIVE"]

    def test_next_message_waits_for_retries_and_callbacks(self, sandbox):
        sandbox.qstash.plan_delivery(f"{HOOK}?0", [500, 200], latency=1)
        sandbox.qstash.plan_delivery("https://cb.example/*", [200], latency=100)
        sandbox.settings.update({"qstash_retry_seconds": 10})
        ids = self.enqueue(sandbox, 2, Upstash_Callback="https://cb.example/")
        sandbox.clock.advance(300)
        # Second attempt from 11 to 12, its callback until 112.
        assert times(sandbox, ids[0], "DELIVERED") == [12]
        assert times(sandbox, ids[1], "ACTIVE") == [112]

    def test_queue_sends_more_at_once_with_more_parallelism(self, sandbox, qstash):
        qstash.call("POST", "/v2/queues", json={"queueName": "q", "parallelism": 2})
        sandbox.qstash.plan_delivery("*", [200], latency=10)
        ids = self.enqueue(sandbox)
        assert [states(sandbox, one)[-1] for one in ids] == ["ACTIVE", "ACTIVE", "CREATED"]

    def test_paused_queue_holds_its_messages_until_it_resumes(self, sandbox, qstash):
        qstash.call("POST", "/v2/queues", json={"queueName": "q", "parallelism": 1, "paused": True})
        ids = self.enqueue(sandbox)
        sandbox.clock.advance(86400)
        assert [states(sandbox, one) for one in ids] == [["CREATED"]] * 3
        assert qstash.get("/v2/queues/q").json()["lag"] == 3
        qstash.call("POST", "/v2/queues/q/resume")
        sandbox.clock.advance(1)
        assert [states(sandbox, one)[-1] for one in ids] == ["DELIVERED"] * 3
        assert qstash.get("/v2/queues/q").json()["lag"] == 0

    def test_retry_in_a_paused_queue_keeps_its_place(self, sandbox, qstash):
        sandbox.qstash.plan_delivery(f"{HOOK}?0", [500, 200])
        ids = self.enqueue(sandbox, 2)
        qstash.call("POST", "/v2/queues/q/pause")
        sandbox.clock.advance(60)
        assert states(sandbox, ids[0])[-1] == "RETRY"
        qstash.call("POST", "/v2/queues/q/resume")
        sandbox.clock.advance(1)
        assert [states(sandbox, one)[-1] for one in ids] == ["DELIVERED", "DELIVERED"]
        assert times(sandbox, ids[0], "DELIVERED") <= times(sandbox, ids[1], "ACTIVE")

    def test_message_cancelled_while_it_calls_back_leaves_its_place_after_that(self, sandbox, qstash):
        sandbox.qstash.plan_delivery("*", [500])
        sandbox.qstash.plan_delivery("https://cb.example/*", [200], latency=100)
        sandbox.settings.update({"qstash_retry_seconds": 10})
        ids = self.enqueue(sandbox, 2, Upstash_Callback="https://cb.example/")
        qstash.call("POST", "/v2/queues/q/pause")
        sandbox.clock.advance(20)
        qstash.call("DELETE", f"/v2/messages/{ids[0]}")
        qstash.call("POST", "/v2/queues/q/resume")
        sandbox.clock.advance(60)
        assert [states(sandbox, one)[-1] for one in ids] == ["CANCELLED", "CREATED"]
        sandbox.clock.advance(60)
        assert states(sandbox, ids[0]).count("CANCELLED") == 1
        assert times(sandbox, ids[1], "ACTIVE")[0] == 100

    def test_message_that_is_given_a_script_leaves_its_place(self, sandbox):
        sandbox.qstash.plan_delivery("*", [200], latency=10)
        ids = self.enqueue(sandbox, 2)
        sandbox.qstash.set_message_state(ids[0], "dreaming")
        assert [states(sandbox, one)[-1] for one in ids] == ["dreaming", "ACTIVE"]

    def test_cancelled_message_lets_the_next_go(self, sandbox, qstash):
        sandbox.qstash.plan_delivery("*", [500])
        sandbox.settings.update({"qstash_retry_seconds": 1000})
        ids = self.enqueue(sandbox, 2)
        qstash.call("DELETE", f"/v2/messages/{ids[0]}")
        assert [states(sandbox, one)[-1] for one in ids] == ["CANCELLED", "RETRY"]


class TestFlowControl:
    def publish(self, sandbox, value, count=3):
        headers = {"Upstash-Flow-Control-Key": "k", "Upstash-Flow-Control-Value": value}
        return [sandbox.qstash.publish(HOOK, headers=headers)[0] for _ in range(count)]

    def test_flow_control_limits_the_attempts_at_once(self, sandbox, qstash):
        sandbox.qstash.plan_delivery("*", [200], latency=10)
        ids = self.publish(sandbox, "parallelism=2")
        flow = qstash.get("/v2/flowControl/k").json()
        assert (flow["waitListSize"], flow["parallelismMax"], flow["parallelismCount"]) == (1, 2, 2)
        sandbox.clock.advance(10)
        assert states(sandbox, ids[2])[-1] == "ACTIVE"

    def test_flow_control_limits_the_attempts_in_a_period(self, sandbox):
        ids = self.publish(sandbox, "rate=2, period=1m", 5)
        sandbox.clock.advance(600)
        assert [times(sandbox, one, "ACTIVE")[0] for one in ids] == [0, 0, 60, 60, 120]

    def test_place_is_free_between_attempts(self, sandbox):
        sandbox.qstash.plan_delivery("*", [500])
        sandbox.settings.update({"qstash_retry_seconds": 1000})
        ids = self.publish(sandbox, "parallelism=1", 2)
        assert [states(sandbox, one)[-1] for one in ids] == ["RETRY", "RETRY"]

    def test_flow_control_can_be_paused_and_pinned(self, sandbox, qstash):
        self.publish(sandbox, "parallelism=2", 1)
        qstash.call("POST", "/v2/flowControl/k/pause")
        qstash.call("POST", "/v2/flowControl/k/pin?parallelism=7&rate=3&period=60")
        (held,) = self.publish(sandbox, "parallelism=1", 1)
        flow = qstash.get("/v2/flowControl").json()[0]
        assert (flow["isPaused"], flow["parallelismMax"], flow["rateMax"], flow["ratePeriod"]) == (
            True,
            7,
            3,
            60,
        )
        assert (flow["isPinnedParallelism"], flow["isPinnedRate"]) == (True, True)
        assert states(sandbox, held) == ["CREATED"]
        qstash.call("POST", "/v2/flowControl/k/unpin?parallelism=true")
        qstash.call("POST", "/v2/flowControl/k/resetRate")
        qstash.call("POST", "/v2/flowControl/k/resume")
        flow = qstash.get("/v2/flowControl", search="k").json()[0]
        assert (flow["isPaused"], flow["isPinnedParallelism"], flow["isPinnedRate"]) == (False, False, True)
        assert states(sandbox, held)[-1] == "ACTIVE"
        assert qstash.get("/v2/flowControl", search="other").json() == []

    def test_unknown_key_is_refused(self, qstash):
        assert qstash.get("/v2/flowControl/k").status_code == 404
        assert qstash.call("POST", "/v2/flowControl/k/pause").status_code == 400


class TestCancel:
    def test_waiting_message_is_gone_at_once(self, sandbox, qstash):
        (message_id,) = sandbox.qstash.publish(HOOK, headers={"Upstash-Delay": "1h"})
        answer = qstash.call("DELETE", f"/v2/messages/{message_id}")
        assert (answer.status_code, answer.json()) == (200, {"cancelled": 1})
        assert states(sandbox, message_id) == ["CREATED", "CANCEL_REQUESTED", "CANCELLED"]
        sandbox.clock.advance(7200)
        assert states(sandbox, message_id)[-1] == "CANCELLED"
        assert qstash.call("DELETE", f"/v2/messages/{message_id}").status_code == 404

    def test_cancellation_can_take_until_the_next_attempt(self, sandbox, qstash):
        sandbox.settings.update({"qstash_cancel_seconds": None, "qstash_retry_seconds": 30})
        sandbox.qstash.plan_delivery("*", [500])
        (message_id,) = sandbox.qstash.publish(HOOK)
        qstash.call("DELETE", f"/v2/messages/{message_id}")
        sandbox.clock.advance(29)
        assert states(sandbox, message_id)[-1] == "CANCEL_REQUESTED"
        assert qstash.get(f"/v2/messages/{message_id}").status_code == 200
        sandbox.clock.advance(1)
        assert states(sandbox, message_id)[-1] == "CANCELLED"

    @pytest.mark.parametrize("script", [[("CREATED", 30), ("DELIVERED", None)], [("CREATED", None)]], ids=str)
    def test_cancelled_scripted_message_takes_no_more_steps(self, sandbox, qstash, script):
        sandbox.settings.update({"qstash_cancel_seconds": None})
        sandbox.qstash.add_message("m", script)
        assert qstash.call("DELETE", "/v2/messages/m").status_code == 200
        assert qstash.call("DELETE", "/v2/messages").json() == {"cancelled": 0}
        sandbox.clock.advance(30)
        assert states(sandbox, "m") == ["CREATED", "CANCEL_REQUESTED", "CANCELLED"]

    def test_cancelled_message_can_be_given_another_state(self, sandbox, qstash):
        sandbox.settings.update({"qstash_cancel_seconds": 60})
        sandbox.qstash.add_message("m", [("CREATED", None)])
        qstash.call("DELETE", "/v2/messages/m")
        sandbox.qstash.set_message_state("m", "DELIVERED")
        sandbox.clock.advance(60)
        assert states(sandbox, "m") == ["CREATED", "CANCEL_REQUESTED", "DELIVERED"]

    def test_cancelled_word_can_be_that_of_the_sdk(self, sandbox, qstash):
        sandbox.settings.update({"qstash_cancelled_word": "CANCELED", "qstash_cancel_seconds": 5})
        message_id = sandbox.qstash.add_message(script=[("CREATED", None)])
        qstash.call("DELETE", f"/v2/messages/{message_id}")
        assert states(sandbox, message_id)[-1] == "CANCEL_REQUESTED"
        sandbox.clock.advance(5)
        assert states(sandbox, message_id)[-1] == "CANCELED"

    @pytest.mark.parametrize(("outcome", "end"), [(200, "DELIVERED"), (500, "CANCELLED")])
    def test_attempt_under_way_is_not_stopped(self, sandbox, qstash, outcome, end):
        sandbox.qstash.plan_delivery("*", [outcome], latency=10)
        (message_id,) = sandbox.qstash.publish(HOOK)
        qstash.call("DELETE", f"/v2/messages/{message_id}")
        assert states(sandbox, message_id)[-1] == "CANCEL_REQUESTED"
        sandbox.clock.advance(10)
        assert states(sandbox, message_id)[-1] == end

    def test_last_attempt_fails_all_the_same(self, sandbox, qstash):
        sandbox.qstash.plan_delivery("*", [500], latency=10)
        (message_id,) = sandbox.qstash.publish(HOOK, headers={"Upstash-Retries": "0"})
        qstash.call("DELETE", f"/v2/messages/{message_id}")
        sandbox.clock.advance(10)
        assert states(sandbox, message_id)[-1] == "FAILED"

    @pytest.mark.parametrize("message_id", ["msg_nobody", "%20"])
    def test_unknown_message_is_not_found(self, qstash, message_id):
        assert qstash.call("DELETE", f"/v2/messages/{message_id}").status_code == 404


class TestBulkCancel:
    @pytest.fixture
    def ids(self, sandbox):
        def add(**facts):
            return sandbox.qstash.add_message(script=[("CREATED", None)], **facts)

        return [
            add(url="https://a.example/x", labels=["one"]),
            add(url="https://b.example/x", labels=["two"], queue="q"),
            add(url="https://b.example/y", topic="team", schedule_id="scd"),
        ]

    def cancel(self, client, query="", body=None):
        return client.call("DELETE", f"/v2/messages{query}", json=body).json()["cancelled"]

    @pytest.mark.parametrize(
        ("query", "hit"),
        [
            ("?label=one", [0]),
            ("?label=one&label=two", [0, 1]),
            ("?label=one,two", [0, 1]),
            ("?label=one&queueName=q", []),
            ("?url=https://b.example/y", [2]),
            ("?host=b.example", [1, 2]),
            ("?path=/x", [0, 1]),
            ("?topicName=team", [2]),
            ("?scheduleId=scd", [2]),
            ("?callerIp=10.0.0.1", []),
            ("?flowControlKey=k", []),
            (f"?fromDate={(START + 1) * 1000}", []),
            (f"?toDate={START * 1000}", [0, 1, 2]),
            ("?host=b.example&count=1", [1]),
        ],
    )
    def test_filters_say_which(self, sandbox, qstash, ids, query, hit):
        assert self.cancel(qstash, query) == len(hit)
        assert [states(sandbox, one)[-1] == "CANCELLED" for one in ids] == [n in hit for n in range(3)]

    def test_ids_come_in_the_query_or_in_the_body_and_unknown_ids_do_no_harm(self, sandbox, qstash, ids):
        assert self.cancel(qstash, f"?messageIds={ids[0]}&messageIds=nobody") == 1
        assert self.cancel(qstash, body={"messageIds": [ids[1], "nobody"]}) == 1
        assert states(sandbox, ids[2]) == ["CREATED"]

    @pytest.mark.parametrize(
        ("path", "body"), [("", None), ("/", None), ("", {"messageIds": []}), ("?label=", None)]
    )
    def test_bulk_cancel_without_a_filter_cancels_everything(self, sandbox, qstash, ids, path, body):
        assert self.cancel(qstash, path, body) == 3
        assert sandbox.qstash.bulk_cancels == [{"filters": {}, "cancelled": 3, "at": START}]

    def test_finished_messages_are_left_alone(self, sandbox, qstash, ids):
        sandbox.qstash.set_message_state(ids[0], "DELIVERED")
        assert self.cancel(qstash) == 2

    @pytest.mark.parametrize("count", ["0", "501", "x"])
    def test_count_out_of_range_is_refused(self, qstash, ids, count):
        assert qstash.call("DELETE", f"/v2/messages?count={count}").status_code == 400


class TestScripts:
    def test_message_follows_its_script(self, sandbox):
        script = [("CREATED", 0), ("ACTIVE", 1), ("ERROR", 5), ("ACTIVE", 1), ("DELIVERED", None)]
        sandbox.qstash.add_message("m", script, response_status=502, response_body="no")
        assert states(sandbox, "m") == ["CREATED", "ACTIVE"]
        sandbox.clock.advance(1)
        failed = sandbox.qstash.get_message("m").entries[-1]
        assert (failed.state, failed.error, failed.next_ms) == (
            "ERROR",
            "HTTP status 502",
            (START + 6) * 1000,
        )
        assert (failed.response.status, failed.response.body) == (502, b"no")
        sandbox.clock.advance(60)
        assert times(sandbox, "m", "DELIVERED") == [7]
        assert sandbox.qstash.get_message("m").retried == 1

    def test_failed_scripted_message_is_in_the_dlq(self, sandbox):
        sandbox.qstash.add_message("m", ["FAILED"], response_status=404, error="Nobody there")
        (dlq_message,) = sandbox.qstash.dlq_messages
        assert (dlq_message.message.id, dlq_message.response.status, dlq_message.response.reason) == (
            "m",
            404,
            "Nobody there",
        )

    def test_scripted_message_can_be_given_another_state(self, sandbox):
        sandbox.qstash.add_message("m", [("ACTIVE", 5), ("DELIVERED", None)])
        sandbox.qstash.set_message_state("m", "dreaming")
        sandbox.clock.advance(60)
        assert states(sandbox, "m") == ["ACTIVE", "dreaming"]

    def test_published_message_can_be_given_another_state(self, sandbox):
        sandbox.qstash.plan_delivery("*", [200], latency=10)
        (message_id,) = sandbox.qstash.publish(HOOK)
        sandbox.qstash.set_message_script(message_id, [("RETRY", 5), ("FAILED", None)])
        sandbox.clock.advance(60)
        assert states(sandbox, message_id) == ["CREATED", "ACTIVE", "RETRY", "FAILED"]

    def test_bad_script_or_id_is_refused(self, sandbox):
        sandbox.qstash.add_message("m")
        for arguments in (("m",), ("",), ("n", []), ("n", [("ACTIVE", None), ("DELIVERED", None)])):
            with pytest.raises(ValueError, match=r"in use|step"):
                sandbox.qstash.add_message(*arguments)
        with pytest.raises(KeyError):
            sandbox.qstash.set_message_state("nobody", "DELIVERED")


class TestMessage:
    def test_message_is_shown_without_a_state_until_it_is_finished(self, sandbox, qstash):
        headers = {
            **{"Content-Type": "text/plain", "Upstash-Label": "a,b", "Upstash-Method": "PUT"},
            **{
                "Upstash-Callback": "https://cb.example/",
                "Upstash-Retry-Delay": "1000",
                "Upstash-Delay": "10s",
            },
            **{
                "Upstash-Flow-Control-Key": "k",
                "Upstash-Flow-Control-Value": "rate=3,period=1m,parallelism=2",
            },
        }
        (message_id,) = sandbox.qstash.publish(HOOK, "hi", headers)
        assert qstash.get(f"/v2/messages/{message_id}").json() == {
            "messageId": message_id,
            "url": HOOK,
            "method": "PUT",
            "maxRetries": 3,
            "header": {"Content-Type": ["text/plain"]},
            "body": "hi",
            "createdAt": START * 1000,
            "notBefore": (START + 10) * 1000,
            "callback": "https://cb.example/",
            "retryDelayExpression": "1000",
            "label": "a",
            "labels": ["a", "b"],
            "flowControlKey": "k",
            "parallelism": 2,
            "rate": 3,
            "period": 60,
            "callerIP": "127.0.0.1",
        }

    def test_body_that_is_no_text_comes_in_base64(self, sandbox, qstash):
        (message_id,) = sandbox.qstash.publish(HOOK, b"\xff\x00", {"Upstash-Delay": "1m"})
        body = qstash.get(f"/v2/messages/{message_id}").json()
        assert ("body" in body, body["bodyBase64"]) == (False, "/wA=")

    @pytest.mark.parametrize("end", ["DELIVERED", "FAILED", "CANCELLED"])
    def test_finished_message_is_not_found(self, sandbox, qstash, end):
        sandbox.qstash.add_message("m", [end])
        answer = qstash.get("/v2/messages/m")
        assert (answer.status_code, list(answer.json())) == (404, ["error"])

    def test_message_can_be_hidden_at_first(self, sandbox, qstash):
        sandbox.qstash.add_message("m", [("CREATED", None)])
        sandbox.faults.add("hide", task_id="m", reads=1)
        assert [qstash.get("/v2/messages/m").status_code for _ in range(2)] == [404, 200]


@pytest.fixture
def receiver():
    found = Receiver()
    yield found
    found.close()


class TestForReal:
    """Deliveries over a socket, to this machine."""

    def ended(self, sandbox, message_id):
        return until(lambda: sandbox.qstash.get_message(message_id).finished)

    def test_destination_gets_the_message_signed(self, sandbox, receiver):
        headers = {"Content-Type": "application/json", "Upstash-Forward-X-Key": "k", "Upstash-Method": "PUT"}
        url = f"{receiver.url}/in/box?x=1"
        (message_id,) = sandbox.qstash.publish(url, '{"a": 1}', headers)
        self.ended(sandbox, message_id)
        (got,) = receiver.got
        assert (got.method, got.path, got.body) == ("PUT", "/in/box?x=1", b'{"a": 1}')
        assert got.headers["Content-Type"] == "application/json"
        assert (got.headers["X-Key"], got.headers["User-Agent"]) == ("k", "Upstash-QStash")
        assert (got.headers["Upstash-Message-Id"], got.headers["Upstash-Retried"]) == (message_id, "0")
        assert got.headers["Upstash-Region"] == "EU-CENTRAL-1"
        assert "Authorization" not in got.headers
        self.check_signature(got, url, sandbox.settings.qstash_current_signing_key)

    def check_signature(self, got, url, key):
        signed, _, signature = got.headers["Upstash-Signature"].rpartition(".")
        expected = hmac.new(key.encode(), signed.encode(), hashlib.sha256).digest()
        assert base64.urlsafe_b64decode(signature + "==") == expected
        head, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in signed.split("."))
        assert head["alg"] == "HS256"
        assert (claims["iss"], claims["sub"], claims["nbf"]) == ("Upstash", url, 0)
        # The machine's time and not the sandbox's, which stands still in the past here.
        assert claims["exp"] - claims["iat"] == 300
        assert abs(claims["iat"] - time.time()) < 60
        assert base64.urlsafe_b64decode(claims["body"]) == hashlib.sha256(got.body).digest()

    def test_real_delivery_is_repeated_until_it_succeeds(self, sandbox, receiver):
        sandbox.settings.update({"qstash_retry_seconds": 0})
        receiver.answers = [(500, {}), None]
        (message_id,) = sandbox.qstash.publish(receiver.url)
        self.ended(sandbox, message_id)
        assert [one.headers["Upstash-Retried"] for one in receiver.got] == ["0", "1", "2"]
        assert [(one.status, one.real) for one in sandbox.qstash.deliveries] == [
            (500, True),
            (0, True),
            (200, True),
        ]
        errors = [entry for entry in sandbox.qstash.get_message(message_id).entries if entry.state == "ERROR"]
        assert [entry.response.body for entry in errors] == [b"thanks", b""]
        assert [bool(entry.response.headers) for entry in errors] == [True, False]

    def test_retry_waits_for_the_sandbox_clock(self, sandbox, receiver):
        receiver.answers = [(503, {"Retry-After": "3600"})]
        (message_id,) = sandbox.qstash.publish(receiver.url)
        until(lambda: states(sandbox, message_id)[-1] == "RETRY")
        sandbox.clock.advance(3599)
        assert states(sandbox, message_id)[-1] == "RETRY"
        sandbox.clock.advance(1)
        self.ended(sandbox, message_id)
        assert len(receiver.got) == 2

    def test_real_delivery_happens_without_a_request(self, sandbox, receiver):
        sandbox.qstash.publish(receiver.url, headers={"Upstash-Delay": "1h"})
        sandbox.clock.advance(3600)
        until(lambda: receiver.got)

    def test_closed_port_fails(self, sandbox):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        (message_id,) = sandbox.qstash.publish(url, headers={"Upstash-Retries": "0"})
        self.ended(sandbox, message_id)
        assert sandbox.qstash.dlq_messages[0].response.status == 0
        assert "refused" in sandbox.qstash.get_message(message_id).entries[-2].error.lower()

    def test_destination_that_hangs_times_out(self, sandbox):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
            headers = {"Upstash-Retries": "0", "Upstash-Timeout": "1s"}
            (message_id,) = sandbox.qstash.publish(url, headers=headers)
            self.ended(sandbox, message_id)
        assert sandbox.qstash.get_message(message_id).entries[-2].error == "timeout"

    def test_redirect_is_not_followed(self, sandbox, receiver):
        receiver.answers = [(302, {"Location": f"{receiver.url}/elsewhere"})]
        (message_id,) = sandbox.qstash.publish(receiver.url, headers={"Upstash-Retries": "0"})
        self.ended(sandbox, message_id)
        assert (sandbox.qstash.get_message(message_id).state, len(receiver.got)) == ("FAILED", 1)

    def test_callbacks_are_delivered_too_wherever_the_message_goes(self, sandbox, receiver):
        sandbox.qstash.plan_delivery("https://example.com/*", [500])
        headers = {"Upstash-Retries": "0", "Upstash-Failure-Callback": f"{receiver.url}/bad"}
        sandbox.qstash.publish(HOOK, headers=headers)
        got = until(lambda: receiver.got)[0]
        assert (got.path, json.loads(got.body)["dlqId"]) == ("/bad", sandbox.qstash.dlq_messages[0].id)
        self.check_signature(got, f"{receiver.url}/bad", sandbox.settings.qstash_current_signing_key)

    def test_plan_stands_above_a_real_destination(self, sandbox, receiver):
        sandbox.qstash.plan_delivery(f"{receiver.url}*", [500])
        sandbox.qstash.publish(receiver.url, headers={"Upstash-Retries": "0"})
        assert (sandbox.qstash.messages[0].state, receiver.got) == ("FAILED", [])

    def test_real_delivery_can_be_switched_off(self, sandbox, receiver):
        sandbox.settings.update({"qstash_deliver": False})
        sandbox.qstash.publish(receiver.url)
        sandbox.clock.advance(1)
        assert (sandbox.qstash.messages[0].state, receiver.got) == ("DELIVERED", [])

    def test_hosts_of_elsewhere_are_never_contacted(self, sandbox, monkeypatch):
        tried = []
        monkeypatch.setattr(socket, "create_connection", lambda *args, **kwargs: tried.append(args))
        for host in ("example.com", "10.0.0.1", "localhost.example.com", "127.0.0.1.example.com"):
            sandbox.qstash.publish(f"http://{host}/")
        sandbox.clock.advance(60)
        assert [message.state for message in sandbox.qstash.messages] == ["DELIVERED"] * 4
        assert not any(delivery.real for delivery in sandbox.qstash.deliveries)
        assert tried == []

    def test_attempt_under_way_does_not_outlive_a_reset(self, sandbox):
        with socket.create_server(("127.0.0.1", 0)) as slow:
            sandbox.qstash.publish(f"http://127.0.0.1:{slow.getsockname()[1]}/")
            connection, _ = slow.accept()
            sandbox.reset()
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            connection.close()
        time.sleep(0.05)
        assert (sandbox.qstash.messages, sandbox.qstash.deliveries) == ([], [])

    def test_answer_does_not_count_once_a_test_has_decided(self, sandbox):
        with socket.create_server(("127.0.0.1", 0)) as slow:
            (message_id,) = sandbox.qstash.publish(f"http://127.0.0.1:{slow.getsockname()[1]}/")
            connection, _ = slow.accept()
            sandbox.qstash.set_message_state(message_id, "FAILED")
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            connection.close()
        time.sleep(0.05)
        assert states(sandbox, message_id)[-1] == "FAILED"
        assert sandbox.qstash.deliveries == []

    def test_real_deliveries_run_side_by_side(self, sandbox, receiver):
        ids = [sandbox.qstash.publish(f"{receiver.url}/{number}")[0] for number in range(60)]
        until(lambda: all(sandbox.qstash.get_message(one).finished for one in ids))
        assert sorted(int(one.path[1:]) for one in receiver.got) == list(range(60))
