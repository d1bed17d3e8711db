"""What QStash takes in, what it refuses, and that it takes the same thing in once."""

from __future__ import annotations

import json

import pytest

START = 1_763_501_439
HOOK = "https://example.com/hook"


def publish(client, destination=HOOK, data=b"hi", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.call("POST", f"/v2/publish/{destination}", data=data, headers=named)


def error(answer):
    return answer.status_code, answer.json()["error"]


class TestDestination:
    def test_message_gets_an_id(self, sandbox, qstash):
        answer = publish(qstash)
        assert answer.status_code == 200
        assert answer.json() == {"messageId": sandbox.qstash.messages[0].id}
        assert sandbox.qstash.messages[0].id.startswith("msg_")

    @pytest.mark.parametrize(
        "destination",
        [
            "https://example.com/a/b?x=1&y=https://z/%2F",
            "http://example.com",
            "https://example.com:8443/a%20b//c",
            "https://u@example.com/?q",
        ],
    )
    def test_destination_is_taken_from_the_path_exactly(self, sandbox, qstash, destination):
        publish(qstash, destination)
        assert sandbox.qstash.messages[0].url == destination

    def test_parameters_for_qstash_are_taken_out_of_the_query(self, sandbox, anyone):
        query = "a=1&qstash_token=sandbox-token&upstash-retries=1&b=2"
        assert anyone.call("POST", f"/qstash/v2/publish/{HOOK}?{query}").status_code == 200
        message = sandbox.qstash.messages[0]
        assert (message.url, message.options.max_retries) == (f"{HOOK}?a=1&b=2", 1)
        assert "qstash_token" not in sandbox.qstash.published[0].headers

    @pytest.mark.parametrize(
        "destination",
        [
            "https%3A%2F%2Fexample.com%2Fhook",
            "https%3A//example.com/hook",
            "example.com/hook",
            "ftp://example.com",
            "https:/example.com",
        ],
    )
    @pytest.mark.parametrize("route", ["publish", "enqueue/q", "schedules"])
    def test_destination_without_a_scheme_is_refused(self, sandbox, qstash, destination, route):
        headers = {"Upstash-Cron": "* * * * *"}
        answer = qstash.call("POST", f"/v2/{route}/{destination}", headers=headers)
        assert error(answer) == (400, "invalid destination url: endpoint has invalid scheme")
        assert not sandbox.qstash.messages

    def test_destination_without_a_host_is_refused(self, qstash):
        assert publish(qstash, "https:///hook").status_code == 400

    def test_empty_destination_is_no_route(self, qstash):
        for path in ("/v2/publish", "/v2/publish/", "/v2/enqueue/q", "/v2/enqueue//https://example.com"):
            assert qstash.call("POST", path).status_code == 405

    def test_url_group_gets_one_message_for_each_member(self, sandbox, qstash):
        members = [{"url": "https://a.example/x", "name": "first"}, {"url": "https://b.example/"}]
        qstash.call("POST", "/v2/topics/team/endpoints", json={"endpoints": members})
        body = publish(qstash, "team").json()
        assert [one["url"] for one in body] == ["https://a.example/x", "https://b.example/"]
        assert [one["messageId"] for one in body] == [one.id for one in sandbox.qstash.messages]
        orders = [message.options for message in sandbox.qstash.messages]
        assert [(one.topic, one.endpoint) for one in orders] == [("team", "first"), ("team", None)]

    def test_url_group_can_be_answered_as_the_schema_says(self, sandbox, qstash):
        qstash.call("POST", "/v2/topics/team/endpoints", json={"endpoints": [{"url": HOOK}]})
        sandbox.settings.update({"qstash_groups_as_object": True})
        assert [one["url"] for one in publish(qstash, "team").json()["messages"]] == [HOOK]


class TestHeaders:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("Method", "TRACE"),
            ("Retries", "4"),
            ("Retries", "-1"),
            ("Retries", "x"),
            ("Timeout", "10"),
            ("Timeout", "16m"),
            ("Timeout", "0s"),
            ("Delay", "10"),
            ("Delay", "1 h"),
            ("Delay", "8d"),
            ("Delay", "1.5h"),
            ("Not-Before", str(START + 8 * 86400)),
            ("Not-Before", "tomorrow"),
            ("Retry-Delay", "__import__('os')"),
            ("Retry-Delay", "1 + "),
            ("Retry-Delay", "1 / retried"),
            ("Retry-Delay", "sin(retried)"),
            ("Deduplication-Id", "a:b"),
            ("Deduplication-Id", ""),
            ("Content-Based-Deduplication", "yes"),
            ("Flow-Control-Key", "key"),
            ("Callback", "example.com"),
            ("Failure-Callback", "example.com"),
            ("Redact-Fields", "url"),
            ("Header-Forward", "1"),
        ],
    )
    def test_wrong_value_is_refused_with_a_reason(self, sandbox, qstash, name, value):
        status, reason = error(publish(qstash, **{f"Upstash-{name}": value}))
        assert status == 400
        assert reason.startswith("invalid ")
        assert not sandbox.qstash.messages
        assert not sandbox.qstash.published

    @pytest.mark.parametrize("value", ["size=1", "parallelism=0", "rate=x", "period=1m"])
    def test_wrong_flow_control_is_refused(self, qstash, value):
        answer = publish(qstash, Upstash_Flow_Control_Key="k", Upstash_Flow_Control_Value=value)
        assert error(answer)[0] == 400

    @pytest.mark.parametrize("name", ["Callback", "Failure-Callback"])
    def test_wrong_headers_of_a_callback_are_refused(self, qstash, name):
        headers = {f"Upstash-{name}": HOOK, f"Upstash-{name}-Retries": "99"}
        assert error(publish(qstash, **headers))[0] == 400

    @pytest.mark.parametrize(
        ("name", "value", "field", "found"),
        [
            ("Method", "put", "method", "PUT"),
            ("Retries", "0", "max_retries", 0),
            ("Timeout", "1m30s", "timeout", 90),
            ("Delay", "1d10h", "delay", 122_400),
            ("Not-Before", str(START + 60), "not_before", START + 60),
            (
                "Retry-Delay",
                "max(10, pow(2, retried)) * 1000",
                "retry_delay",
                "max(10, pow(2, retried)) * 1000",
            ),
            ("Label", "a, b", "labels", ("a", "b")),
            ("Deduplication-Id", "a/b c", "deduplication_id", "a/b c"),
            ("Redact-Fields", "body, header[X-Key]", "redact", {"body", "header[x-key]"}),
        ],
    )
    def test_right_value_is_understood(self, sandbox, qstash, name, value, field, found):
        assert publish(qstash, **{f"Upstash-{name}": value}).status_code == 200
        assert getattr(sandbox.qstash.messages[0].options, field) == found

    def test_plan_of_the_account_allows_more(self, sandbox, qstash):
        sandbox.settings.update({"qstash_plan": "payg"})
        headers = {"Upstash-Retries": "5", "Upstash-Delay": "300d", "Upstash-Timeout": "2h"}
        assert publish(qstash, data=b"x" * 2_000_000, **headers).status_code == 200

    def test_body_size_is_limited(self, qstash):
        assert publish(qstash, data=b"x" * 1024 * 1024).status_code == 200
        assert error(publish(qstash, data=b"x" * (1024 * 1024 + 1)))[0] == 413

    def test_header_not_before_overrides_delay(self, sandbox, qstash):
        publish(qstash, Upstash_Delay="1h", Upstash_Not_Before=str(START + 60))
        assert sandbox.qstash.messages[0].not_before == START + 60

    def test_headers_are_passed_on_only_where_asked(self, sandbox, qstash):
        headers = {"Content-Type": "text/plain", "Upstash-Forward-X-Key": "k", "X-Own": "o"}
        publish(qstash, **headers)
        publish(qstash, **headers, **{"Upstash-Header-Forward": "true"})
        plain, all_of_them = (message.options.headers for message in sandbox.qstash.messages)
        assert plain == {"content-type": "text/plain", "x-key": "k"}
        assert all_of_them["x-own"] == "o"
        assert not {"authorization", "host", "upstash-header-forward"} & all_of_them.keys()

    def test_forwarded_key_is_kept_out_of_the_journal(self, sandbox, qstash):
        publish(qstash, Upstash_Forward_Authorization="Bearer deep secret")
        assert sandbox.requests[-1].headers["upstash-forward-authorization"] == "Bearer ***"
        assert sandbox.qstash.messages[0].options.headers["authorization"] == "Bearer deep secret"


class TestDeduplication:
    def test_same_id_is_accepted_once_in_ten_minutes(self, sandbox, qstash):
        first = publish(qstash, Upstash_Deduplication_Id="one")
        sandbox.clock.advance(599)
        again = publish(qstash, "https://example.com/elsewhere", b"other", Upstash_Deduplication_Id="one")
        assert (again.status_code, again.json()) == (202, first.json() | {"deduplicated": True})
        sandbox.clock.advance(1)
        late = publish(qstash, Upstash_Deduplication_Id="one")
        assert (late.status_code, "deduplicated" in late.json()) == (200, False)
        assert late.json() != first.json()
        assert len(sandbox.qstash.messages) == 2
        assert [one.deduplicated for one in sandbox.qstash.published] == [False, True, False]

    def test_failed_message_still_blocks_its_id(self, sandbox, qstash):
        sandbox.qstash.plan_delivery("*", [500])
        first = publish(qstash, Upstash_Deduplication_Id="one", Upstash_Retries="0")
        assert sandbox.qstash.messages[0].state == "FAILED"
        assert (
            publish(qstash, Upstash_Deduplication_Id="one").json()["messageId"] == first.json()["messageId"]
        )

    def test_deduplication_by_content_compares_everything(self, sandbox, qstash):
        by_content = {"Upstash-Content-Based-Deduplication": "True"}
        for _ in range(2):
            publish(qstash, **by_content)
        publish(qstash, data=b"ho", **by_content)
        publish(qstash, "https://example.com/other", **by_content)
        publish(qstash, **by_content, **{"Content-Type": "text/plain"})
        publish(qstash, **by_content, **{"Upstash-Forward-X": "1"})
        assert [one.deduplicated for one in sandbox.qstash.published] == [False, True, *[False] * 4]

    def test_members_of_a_group_are_deduplicated_apart(self, sandbox, qstash):
        def endpoints(*urls):
            return {"endpoints": [{"url": url} for url in urls]}

        qstash.call("POST", "/v2/topics/team/endpoints", json=endpoints("https://a.example"))
        publish(qstash, "team", Upstash_Deduplication_Id="one")
        qstash.call("POST", "/v2/topics/team/endpoints", json=endpoints("https://b.example"))
        answer = publish(qstash, "team", Upstash_Deduplication_Id="one")
        assert answer.status_code == 200
        assert [one.get("deduplicated", False) for one in answer.json()] == [True, False]
        assert len(sandbox.qstash.messages) == 2


class TestBatch:
    def send(self, client, *items):
        return client.call("POST", "/v2/batch", json=list(items))

    def test_batch_element_is_a_message_of_its_own(self, sandbox, qstash):
        answer = self.send(
            qstash,
            {"destination": HOOK, "body": "one", "headers": {"Upstash-Method": "PUT"}},
            {"destination": HOOK, "queue": "q", "body": None},
        )
        assert answer.status_code == 200
        first, second = sandbox.qstash.messages
        assert answer.json() == [{"messageId": first.id}, {"messageId": second.id}]
        assert (first.options.method, first.options.body, first.options.queue) == ("PUT", b"one", None)
        assert (second.options.body, second.options.queue) == (b"", "q")
        assert [one.via for one in sandbox.qstash.published] == ["batch", "batch"]

    def test_refused_element_does_not_stop_the_others(self, sandbox, qstash):
        body = self.send(
            qstash,
            {"destination": "example.com"},
            {"destination": HOOK, "headers": {"Upstash-Retries": "99"}},
            {"destination": HOOK, "headers": {"Upstash-Retries": 1}},
            {"body": "nowhere"},
            {"destination": HOOK},
        ).json()
        assert ["error" in one for one in body] == [True, True, True, True, False]
        assert len(sandbox.qstash.messages) == 1

    def test_duplicates_and_groups_are_answered_as_alone(self, qstash):
        qstash.call("POST", "/v2/topics/team/endpoints", json={"endpoints": [{"url": HOOK}]})
        known = {"destination": HOOK, "headers": {"Upstash-Deduplication-Id": "one"}}
        body = self.send(qstash, known, known, {"destination": "team"}).json()
        assert body[1] == body[0] | {"deduplicated": True}
        assert body[2][0]["url"] == HOOK

    @pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"{"])
    def test_batch_that_is_no_array_is_refused(self, qstash, body):
        assert qstash.call("POST", "/v2/batch", data=body).status_code == 400


class TestEnqueue:
    def test_queue_is_created_by_its_first_message(self, sandbox, qstash):
        answer = qstash.call("POST", f"/v2/enqueue/my-queue/{HOOK}?x=1", data=b"hi")
        assert answer.status_code == 200
        assert sandbox.qstash.messages[0].url == f"{HOOK}?x=1"
        queues = qstash.get("/v2/queues").json()
        assert [(one["name"], one["parallelism"], one["paused"]) for one in queues] == [
            ("my-queue", 1, False)
        ]

    @pytest.mark.parametrize("name", ["Upstash-Delay", "Upstash-Not-Before"])
    def test_delay_is_refused(self, qstash, name):
        value = "10s" if name == "Upstash-Delay" else str(START)
        answer = qstash.call("POST", f"/v2/enqueue/q/{HOOK}", headers={name: value})
        assert error(answer) == (400, "invalid delay: a message in a queue can't be delayed")


class TestTokens:
    def test_read_only_token_may_read_and_change_nothing(self, sandbox, anyone):
        headers = {"Authorization": "Bearer sandbox-read-only-token"}
        for path in ("/v2/logs", "/v2/dlq", "/v2/schedules", "/v2/keys"):
            assert anyone.call("GET", f"/qstash{path}", headers=headers).status_code == 200
        for method, path in (
            ("POST", f"/v2/publish/{HOOK}"),
            ("DELETE", "/v2/messages"),
            ("DELETE", "/v2/dlq"),
            ("POST", "/v2/keys/rotate"),
        ):
            assert error(anyone.call(method, f"/qstash{path}", headers=headers)) == (
                403,
                "this token is read-only",
            )
        assert not sandbox.qstash.published

    def test_token_of_the_other_region_is_not_known(self, anyone):
        answer = anyone.call("GET", "/qstash/v2/logs", headers={"Authorization": "Bearer sandbox-us-token"})
        assert error(answer) == (404, "user not found in this region (eu-central-1)")

    def test_tokens_are_kept_out_of_the_journal(self, sandbox, anyone):
        tokens = ("sandbox-token", "sandbox-read-only-token", "sandbox-us-token")
        for token in tokens:
            anyone.call("GET", f"/qstash/v2/logs?label={token}", headers={"Authorization": f"Bearer {token}"})
        assert not any(
            token in json.dumps([r.headers, r.query]) for r in sandbox.requests for token in tokens
        )


class TestLimits:
    def test_burst_is_limited_per_second_and_publishing_is_not(self, sandbox, qstash):
        sandbox.settings.update({"qstash_burst_limit": 2})
        left = [qstash.get(path).headers["Burst-RateLimit-Remaining"] for path in ("/v2/logs", "/v2/dlq")]
        assert left == ["1", "0"]
        refused = qstash.get("/v2/queues")
        assert error(refused) == (429, "rate limit exceeded")
        assert refused.headers["Burst-RateLimit-Limit"] == "2"
        assert refused.headers["Burst-RateLimit-Reset"] == str(START + 1)
        assert "Retry-After" not in refused.headers
        assert publish(qstash).status_code == 200
        sandbox.clock.advance(1)
        assert qstash.get("/v2/queues").status_code == 200

    def test_messages_are_limited_per_day(self, sandbox, qstash):
        sandbox.settings.update({"qstash_daily_limit": 1})
        assert publish(qstash).status_code == 200
        refused = publish(qstash)
        assert refused.status_code == 429
        reset = int(refused.headers["RateLimit-Reset"])
        assert (refused.headers["RateLimit-Limit"], refused.headers["RateLimit-Remaining"]) == ("1", "0")
        assert reset % 86400 == 0
        assert len(sandbox.qstash.messages) == 1
        sandbox.clock.advance(reset - START)
        assert publish(qstash).status_code == 200


class TestAsATest:
    def test_publish_by_a_test_returns_the_ids(self, sandbox):
        ids = sandbox.qstash.publish(HOOK, "hi", {"Upstash-Label": "a"})
        message = sandbox.qstash.get_message(ids[0])
        assert (message.options.body, message.options.labels) == (b"hi", ("a",))
        record = sandbox.qstash.published[0]
        assert (record.destination, record.body, record.message_ids, record.via) == (
            HOOK,
            b"hi",
            tuple(ids),
            "test",
        )

    def test_publish_by_a_test_is_refused_like_a_client(self, sandbox):
        with pytest.raises(ValueError, match="invalid scheme"):
            sandbox.qstash.publish("nowhere")
