"""The log and the dead letter queue, as a client reads them."""

from __future__ import annotations

import base64
import hashlib

import pytest

START_MS = 1_763_501_439_000
HOOK = "https://example.com/hook"


def entries(client, **params):
    answer = client.call("GET", "/v2/logs", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()["events"]


def seen(client, **params):
    return {entry["messageId"] for entry in entries(client, **params)}


class TestEntries:
    def test_entries_come_newest_first(self, sandbox, qstash):
        sandbox.qstash.add_message("m", [("CREATED", 1), ("ACTIVE", 1), ("DELIVERED", None)])
        sandbox.clock.advance(9)
        found = [(one["time"], one["state"]) for one in entries(qstash)]
        assert found == [(START_MS + 2000, "DELIVERED"), (START_MS + 1000, "ACTIVE"), (START_MS, "CREATED")]
        assert entries(qstash, order="earliestFirst") == entries(qstash)[::-1]

    def test_events_is_another_name_for_logs(self, sandbox, qstash):
        sandbox.qstash.add_message("m")
        assert qstash.get("/v2/events").json() == qstash.get("/v2/logs").json()

    def test_entries_show_how_the_message_was_published(self, sandbox, qstash):
        headers = {
            **{"Content-Type": "text/plain", "Upstash-Label": "a,b", "Upstash-Timeout": "10s"},
            **{"Upstash-Callback": "https://cb.example/", "Upstash-Callback-Forward-X": "y"},
            **{"Upstash-Retry-Delay": "1000", "Upstash-Delay": "1h", "Upstash-Retries": "2"},
        }
        (message_id,) = sandbox.qstash.publish(HOOK, "hi", headers)
        assert entries(qstash) == [
            {
                "time": START_MS,
                "messageId": message_id,
                "state": "CREATED",
                "url": HOOK,
                "method": "POST",
                "header": {"Content-Type": ["text/plain"]},
                "body": base64.b64encode(b"hi").decode(),
                "maxRetries": 2,
                "timeout": 10_000,
                "callback": "https://cb.example/",
                "callbackHeaders": {"X": ["y"]},
                "retryDelayExpr": "1000",
                "label": "a",
                "labels": ["a", "b"],
            }
        ]

    def test_answer_shows_in_a_failed_attempt_only(self, sandbox, qstash):
        outcome = {"status": 503, "body": "busy", "headers": {"x-reason": "night"}}
        sandbox.qstash.plan_delivery("*", [outcome, 200])
        sandbox.qstash.publish(HOOK)
        sandbox.clock.advance(60)
        told = {one["state"]: one for one in entries(qstash) if "responseStatus" in one}
        assert list(told) == ["ERROR"]
        assert (told["ERROR"]["error"], told["ERROR"]["responseStatus"]) == ("HTTP status 503", 503)
        assert base64.b64decode(told["ERROR"]["responseBody"]) == b"busy"
        assert told["ERROR"]["responseHeaders"] == {"X-Reason": ["night"]}
        assert told["ERROR"]["nextDeliveryTime"] == START_MS + 1000

    def test_redacted_fields_are_hidden(self, sandbox, qstash):
        def redacted(text):
            return f"REDACTED:{hashlib.sha256(text.encode()).hexdigest()}"

        headers = {"Upstash-Forward-Authorization": "secret", "Upstash-Forward-X": "y", "Upstash-Delay": "1h"}
        fields = {"Upstash-Redact-Fields": "body,header[Authorization]"}
        (message_id,) = sandbox.qstash.publish(HOOK, "hi", headers | fields)
        (entry,) = entries(qstash)
        assert base64.b64decode(entry["body"]).decode() == redacted("hi")
        assert entry["header"] == {"Authorization": [redacted("secret")], "X": ["y"]}
        assert qstash.get(f"/v2/messages/{message_id}").json()["body"] == redacted("hi")
        sandbox.qstash.publish(HOOK, headers=headers | {"Upstash-Redact-Fields": "header"})
        assert entries(qstash, count=1)[0]["header"]["X"] == [redacted("y")]

    def test_entries_can_be_spelled_as_in_the_examples(self, sandbox, qstash):
        sandbox.settings.update(
            {"qstash_logs_key": "logs", "qstash_lower_case_states": True, "qstash_times_as_strings": True}
        )
        sandbox.qstash.add_message("m", ["DELIVERED"])
        (entry,) = qstash.get("/v2/logs").json()["logs"]
        assert (entry["time"], entry["state"]) == (str(START_MS), "delivered")

    def test_entries_come_late_and_expire(self, sandbox, qstash):
        sandbox.settings.update({"qstash_log_lag": 5, "qstash_log_retention": 60})
        sandbox.qstash.add_message("m", ["DELIVERED"])
        shown = []
        for seconds in (0, 4, 1, 55, 1):
            sandbox.clock.advance(seconds)
            shown.append(len(entries(qstash)))
        assert shown == [0, 0, 1, 1, 0]

    def test_faults_hide_and_omit_messages(self, sandbox, qstash):
        for name in "abc":
            sandbox.qstash.add_message(name, ["DELIVERED"])
        sandbox.faults.add("hide", path="/qstash/v2/logs", task_id="a", seconds=10)
        sandbox.faults.add("omit", task_id="b")
        assert seen(qstash) == {"c"}
        sandbox.clock.advance(10)
        assert seen(qstash) == {"a", "c"}


class TestFilters:
    @pytest.fixture(autouse=True)
    def _messages(self, sandbox):
        add = sandbox.qstash.add_message
        add("a", ["DELIVERED"], url="https://a.example/x,y", labels=["one", "both"])
        add("b", ["FAILED"], url="https://b.example/x", labels=["two", "both"], queue="q")
        sandbox.clock.advance(10)
        add("c", [("ACTIVE", None)], url="https://b.example/y", topic="team", schedule_id="scd")
        add("d", [("RETRY", None)])
        add("e", ["CANCELED"])
        add("f", [("ERROR", None)])

    @pytest.mark.parametrize(
        ("params", "found"),
        [
            ({"messageId": "a"}, "a"),
            ({"messageIds": ["a", "c", "nobody"]}, "ac"),
            ({"messageIds": "a,c"}, "ac"),
            ({"messageIds": ["a", "b"], "state": "FAILED"}, "b"),
            ({"messageId": "nobody"}, ""),
            ({"state": "DELIVERED"}, "a"),
            ({"state": ["DELIVERED", "FAILED"]}, "ab"),
            ({"state": "DELIVERED,FAILED"}, "ab"),
            ({"state": "IN_PROGRESS"}, "cdf"),
            ({"state": "CANCELLED"}, "e"),
            ({"state": "CANCELED"}, "e"),
            ({"state": "CANCEL_REQUESTED"}, ""),
            ({"url": "https://a.example/x,y"}, "a"),
            ({"host": "b.example"}, "bc"),
            ({"path": "/x"}, "b"),
            ({"topicName": "team"}, "c"),
            ({"scheduleId": "scd"}, "c"),
            ({"queueName": "q"}, "b"),
            ({"label": "both"}, "ab"),
            ({"label": ["one", "two"]}, "ab"),
            ({"label": "both", "queueName": "q"}, "b"),
            ({"fromDate": START_MS + 1}, "cdef"),
            ({"toDate": START_MS}, "ab"),
            ({"fromDate": START_MS, "toDate": START_MS + 9999}, "ab"),
            ({"callerIp": "127.0.0.1"}, "abcdef"),
            ({"callerIp": "10.0.0.1"}, ""),
            ({"unknown": "x", "label": ""}, "abcdef"),
        ],
    )
    def test_filters_leave_what_was_asked_for(self, qstash, params, found):
        assert seen(qstash, **params) == set(found)

    @pytest.mark.parametrize(
        "params",
        [
            {"state": "delivered"},
            {"state": "DREAMING"},
            {"count": 0},
            {"count": 101},
            {"count": "x"},
            {"cursor": "x"},
            {"cursor": "1-"},
            {"fromDate": "yesterday"},
            {"order": "random"},
        ],
    )
    def test_wrong_value_is_refused(self, qstash, params):
        assert qstash.get("/v2/logs", **params).status_code == 400


class TestPages:
    def walk(self, client, path, key, **params):
        pages, cursor = [], None
        while len(pages) < 50:
            body = client.get(path, cursor=cursor, **params).json()
            pages.append(body[key])
            cursor = body.get("cursor")
            if not cursor:
                return pages
        raise AssertionError("no end")

    @pytest.mark.parametrize("order", ["latestFirst", "earliestFirst"])
    @pytest.mark.parametrize("count", [1, 7, 100])
    def test_entry_is_shown_once(self, sandbox, qstash, order, count):
        # All entries in one millisecond: only their numbers tell them apart.
        for number in range(10):
            sandbox.qstash.add_message(f"m{number}", [("CREATED", 0), ("ACTIVE", 0), ("DELIVERED", None)])
        pages = self.walk(qstash, "/v2/logs", "events", order=order, count=count)
        found = [(one["messageId"], one["state"]) for page in pages for one in page]
        assert len(found) == len(set(found)) == 30
        assert all(len(page) == count for page in pages[:-1])

    def test_page_has_a_hundred_at_most(self, sandbox, qstash):
        for number in range(150):
            sandbox.qstash.add_message(f"m{number}", ["FAILED"])
        assert [len(page) for page in self.walk(qstash, "/v2/logs", "events")] == [100, 50]
        assert [len(page) for page in self.walk(qstash, "/v2/dlq", "messages")] == [100, 50]

    def test_new_entries_shift_no_page(self, sandbox, qstash):
        for number in range(4):
            sandbox.qstash.add_message(f"m{number}", ["FAILED"])
        for path, key in (("/v2/logs", "events"), ("/v2/dlq", "messages")):
            first = qstash.get(path, count=2, order="latestFirst").json()
            sandbox.qstash.add_message(None, ["FAILED"])
            rest = qstash.get(path, count=2, order="latestFirst", cursor=first["cursor"]).json()
            shown = [one["messageId"] for one in (*first[key], *rest[key])]
            assert len(set(shown)) == 4

    @pytest.mark.parametrize("end", [None, "", 0])
    def test_end_can_be_spelled_in_every_form(self, sandbox, qstash, end):
        sandbox.settings.update({"cursor_end": end})
        for path in ("/v2/logs", "/v2/dlq"):
            assert qstash.get(path).json()["cursor"] == end

    @pytest.mark.parametrize(("path", "key"), [("/v2/logs", "events"), ("/v2/dlq", "messages")])
    def test_cursor_can_go_round_in_circles(self, sandbox, qstash, path, key):
        for number in range(3):
            sandbox.qstash.add_message(f"m{number}", ["FAILED"])
        sandbox.faults.add("repeat_cursor")
        first = qstash.get(path, count=2).json()
        assert qstash.get(path, count=2, cursor=first["cursor"]).json() == first
        assert len(first[key]) == 2

    def test_thousand_messages_are_found_a_hundred_at_a_time(self, sandbox, qstash):
        for number in range(1000):
            sandbox.qstash.add_message(f"m{number}", [("CREATED", 0), ("DELIVERED", None)])
        ids = [f"m{number}" for number in range(100, 200)]
        assert seen(qstash, messageIds=ids, state="DELIVERED,FAILED,CANCELLED") == set(ids)


class TestDeadLetters:
    @pytest.fixture(autouse=True)
    def _dlq_messages(self, sandbox):
        add = sandbox.qstash.add_message
        add("a", ["FAILED"], url="https://a.example/x", labels=["one"], response_status=404, queue="q")
        add("b", ["FAILED"], labels=["two"], topic="team", response_body=b"\xff")
        sandbox.clock.advance(10)
        add("c", ["FAILED"], response_body="broken", schedule_id="scd", body="in", headers={"X-Key": "k"})

    def ids(self, client, **params):
        answer = client.get("/v2/dlq", **params)
        assert answer.status_code == 200, answer.text
        return "".join(dlq_message["messageId"] for dlq_message in answer.json()["messages"])

    def dlq_id(self, client, message_id):
        return client.get("/v2/dlq", messageId=message_id).json()["messages"][0]["dlqId"]

    def test_dlq_messages_come_oldest_first(self, qstash):
        assert (self.ids(qstash), self.ids(qstash, order="latestFirst")) == ("abc", "cba")

    def test_dlq_message_shows_the_message_and_the_last_answer(self, qstash):
        dlq_message = qstash.get(f"/v2/dlq/{self.dlq_id(qstash, 'c')}").json()
        assert dlq_message == {
            "messageId": "c",
            "dlqId": f"{START_MS + 10_000}-0",
            "url": "https://example.com/hook",
            "method": "POST",
            "header": {"X-Key": ["k"]},
            "body": "in",
            "maxRetries": 3,
            "createdAt": START_MS + 10_000,
            "notBefore": START_MS + 10_000,
            "scheduleId": "scd",
            "callerIP": "127.0.0.1",
            "responseStatus": 500,
            "responseBody": "broken",
        }

    def test_answer_that_is_no_text_comes_in_base64(self, qstash):
        assert qstash.get(f"/v2/dlq/{self.dlq_id(qstash, 'b')}").json()["responseBodyBase64"] == "/w=="

    @pytest.mark.parametrize(
        ("params", "found"),
        [
            ({"messageId": "a"}, "a"),
            ({"url": "https://a.example/x"}, "a"),
            ({"topicName": "team"}, "b"),
            ({"scheduleId": "scd"}, "c"),
            ({"queueName": "q"}, "a"),
            ({"label": ["one", "two"]}, "ab"),
            ({"responseStatus": 404}, "a"),
            ({"responseStatus": "404,500"}, "abc"),
            ({"fromDate": START_MS + 1}, "c"),
            ({"toDate": START_MS}, "ab"),
            ({"dlqIds": [f"{START_MS}-0", f"{START_MS}-1"]}, "ab"),
            ({"callerIp": "10.0.0.1"}, ""),
        ],
    )
    def test_filters_say_which(self, qstash, params, found):
        assert self.ids(qstash, **params) == found

    def test_dlq_message_can_be_deleted(self, qstash):
        path = f"/v2/dlq/{self.dlq_id(qstash, 'a')}"
        answer = qstash.call("DELETE", path)
        assert (answer.status_code, answer.content) == (200, b"")
        assert [qstash.call(method, path).status_code for method in ("GET", "DELETE")] == [404, 404]
        assert self.ids(qstash) == "bc"

    @pytest.mark.parametrize(
        ("query", "body", "left"),
        [
            ("?label=one", None, "bc"),
            (f"?dlqIds={START_MS}-0&dlqIds={START_MS}-1", None, "c"),
            ("", {"dlqIds": [f"{START_MS}-0"]}, "bc"),
            ("?dlqIds=nobody", None, "abc"),
            ("", {"dlqIds": []}, ""),
            ("", None, ""),
            ("/", None, ""),
        ],
    )
    def test_dlq_messages_can_be_deleted(self, qstash, query, body, left):
        answer = qstash.call("DELETE", f"/v2/dlq{query}", json=body)
        assert answer.json() == {"deleted": 3 - len(left)}
        assert self.ids(qstash) == left

    def test_deletion_of_a_part_answers_with_a_cursor(self, qstash):
        assert qstash.call("DELETE", "/v2/dlq?count=2").json() == {"deleted": 2, "cursor": f"{START_MS}-1"}

    def test_dlq_message_can_be_retried_as_a_new_message(self, sandbox, qstash):
        dlq_id = self.dlq_id(qstash, "c")
        answer = qstash.call("POST", f"/v2/dlq/retry/{dlq_id}")
        assert answer.status_code == 201
        message = sandbox.qstash.get_message(answer.json()["messageId"])
        assert message.id != "c"
        assert (message.options.body, message.options.headers) == (b"in", {"x-key": "k"})
        assert sandbox.qstash.get_message("c").states == ["FAILED"]
        assert self.ids(qstash) == "ab"
        assert qstash.call("POST", f"/v2/dlq/retry/{dlq_id}").status_code == 404

    def test_headers_change_what_is_retried(self, sandbox, qstash):
        sandbox.qstash.plan_delivery("*", [500])
        (old,) = sandbox.qstash.publish(
            HOOK,
            "in",
            {
                "Upstash-Retries": "0",
                "Upstash-Label": "z",
                "Upstash-Forward-A": "1",
                "Upstash-Deduplication-Id": "i",
            },
        )
        overrides = {"Upstash-Retries": "2", "Upstash-Forward-B": "2", "Upstash-Delay": "1m"}
        path = f"/v2/dlq/retry/{self.dlq_id(qstash, old)}"
        answer = qstash.call("POST", path, headers=overrides)
        order = sandbox.qstash.get_message(answer.json()["messageId"]).options
        assert (order.max_retries, order.delay, order.labels, order.body) == (2, 60, ("z",), b"in")
        assert (order.headers, order.deduplication_id) == ({"a": "1", "b": "2"}, None)

    def test_wrong_header_leaves_the_dlq_message_where_it_is(self, qstash):
        path = f"/v2/dlq/retry/{self.dlq_id(qstash, 'a')}"
        assert qstash.call("POST", path, headers={"Upstash-Retries": "99"}).status_code == 400
        assert self.ids(qstash) == "abc"

    def test_dlq_messages_can_be_retried(self, sandbox, qstash):
        answer = qstash.call("POST", "/v2/dlq/retry?label=one&label=two")
        assert answer.status_code == 201
        assert answer.json()["cursor"] == ""
        new = [sandbox.qstash.get_message(one["messageId"]) for one in answer.json()["responses"]]
        assert [message.options.labels for message in new] == [("one",), ("two",)]
        assert self.ids(qstash) == "c"

    def test_retry_of_more_than_a_hundred_takes_several_calls(self, sandbox, qstash):
        for _ in range(100):
            sandbox.qstash.add_message(None, ["FAILED"])
        first, second = (qstash.call("POST", "/v2/dlq/retry").json() for _ in range(2))
        assert (len(first["responses"]), bool(first["cursor"])) == (100, True)
        assert (len(second["responses"]), second["cursor"]) == (3, "")
        assert self.ids(qstash) == ""

    def test_unknown_ids_are_not_found_and_a_filter_may_match_nothing(self, qstash):
        assert qstash.call("POST", "/v2/dlq/retry?dlqIds=nobody").status_code == 404
        answer = qstash.call("POST", "/v2/dlq/retry?label=nobody")
        assert (answer.status_code, answer.json()) == (201, {"cursor": "", "responses": []})

    def test_dlq_messages_expire(self, sandbox, qstash):
        dlq_id = self.dlq_id(qstash, "a")
        sandbox.clock.advance(3 * 86400 - 10)
        assert self.ids(qstash) == "abc"
        sandbox.clock.advance(10)
        assert self.ids(qstash) == "c"
        assert qstash.get(f"/v2/dlq/{dlq_id}").status_code == 404

    def test_faults_omit_dlq_messages(self, sandbox, qstash):
        sandbox.faults.add("omit", task_id="b")
        assert self.ids(qstash) == "ac"
