"""QStash's messages in the control plane, on the page and among the demo tasks."""

from __future__ import annotations

import pytest

HOOK = "https://example.com/hook"
START = 1_763_501_439


def control(client, method, path, body=None):
    return client.call(method, f"/_sandbox/qstash/{path}", json=body)


class TestControl:
    def test_messages_are_added_and_listed(self, anyone):
        items = [{"message_id": "a"}, {"script": [["CREATED", 5], ["FAILED", None]], "labels": ["x"]}]
        answer = control(anyone, "POST", "messages", items)
        assert (answer.status_code, answer.json()["ids"][0]) == (201, "a")
        first, second = control(anyone, "GET", "messages").json()["messages"]
        assert (first["id"], first["state"], first["changes_at"]) == ("a", "ACTIVE", START + 2)
        assert second["entries"] == [{"time": START * 1000, "state": "CREATED"}]
        newest_first = anyone.get("/_sandbox/state").json()["qstash_messages"]
        assert [one["id"] for one in newest_first] == [second["id"], "a"]

    @pytest.mark.parametrize("method", ["PATCH", "POST"])
    def test_message_is_read_and_given_another_state(self, sandbox, anyone, method):
        sandbox.qstash.add_message("a/b")
        assert control(anyone, "GET", "messages/a/b").json()["state"] == "ACTIVE"
        assert control(anyone, method, "messages/a/b", {"state": "FAILED"}).json()["state"] == "FAILED"
        assert anyone.get("/_sandbox/state").json()["dead_letters"][0]["messageId"] == "a/b"
        body = {"script": [["ACTIVE", 1], ["DELIVERED", None]]}
        assert control(anyone, method, "messages/a/b", body).json()["changes_at"] == START + 1

    @pytest.mark.parametrize(
        ("path", "body", "status"),
        [
            ("messages", {"message_id": "a"}, 400),
            ("messages", {"nonsense": 1}, 400),
            ("messages", {"script": []}, 400),
            ("messages/a", {}, 400),
            ("messages/a", {"state": "X", "script": ["Y"]}, 400),
            ("messages/a", {"status": "X"}, 400),
            ("messages/nobody", {"state": "X"}, 404),
            ("publish", {"destination": "nowhere"}, 400),
            ("plans", {"pattern": "*", "outcomes": [99]}, 400),
            ("plans", {"pattern": "*", "outcomes": 1.5}, 400),
        ],
    )
    def test_mistakes_answer_400(self, sandbox, anyone, path, body, status):
        sandbox.qstash.add_message("a")
        answer = control(anyone, "POST", path, body)
        assert (answer.status_code, list(answer.json())) == (status, ["error"])

    def test_unknown_message_is_not_found(self, anyone):
        assert control(anyone, "GET", "messages/nobody").status_code == 404

    def test_published_and_delivered_are_listed(self, sandbox, anyone, qstash):
        plan = {"pattern": "*", "outcomes": [410, "error"], "latency": 1}
        assert control(anyone, "POST", "plans", plan).status_code == 201
        assert control(anyone, "GET", "plans").json()["plans"] == [
            {
                "pattern": "*",
                "outcomes": [
                    {"status": 410, "error": "", "latency": 1.0},
                    {"status": 0, "error": "connection refused", "latency": 1.0},
                ],
            }
        ]
        body = {"destination": HOOK, "body": "hi", "headers": {"Upstash-Retries": "0"}}
        answer = control(anyone, "POST", "publish", body)
        assert answer.status_code == 201
        sandbox.clock.advance(1)
        (published,) = control(anyone, "GET", "published").json()["published"]
        assert (published["destination"], published["body"]) == (HOOK, "hi")
        assert published["message_ids"] == answer.json()["ids"][0]
        (delivery,) = control(anyone, "GET", "deliveries").json()["deliveries"]
        assert (delivery["url"], delivery["status"], delivery["at"]) == (HOOK, 410, START + 1)
        qstash.call("DELETE", "/v2/messages?label=x")
        assert control(anyone, "GET", "bulk-cancels").json()["bulk-cancels"] == [
            {"filters": {"label": ["x"]}, "cancelled": 0, "at": START + 1}
        ]

    def test_reset_empties_the_account(self, sandbox, anyone, qstash):
        sandbox.qstash.plan_delivery("*", [500])
        sandbox.qstash.publish(
            HOOK, headers={"Upstash-Deduplication-Id": "one", "Upstash-Retries": "0"}, queue="q"
        )
        qstash.call("POST", "/v2/topics/team/endpoints", json={"endpoints": [{"url": HOOK}]})
        qstash.call("POST", f"/v2/schedules/{HOOK}", headers={"Upstash-Cron": "* * * * *"})
        qstash.call("DELETE", "/v2/messages")
        anyone.call("POST", "/_sandbox/reset")
        for path in ("queues", "topics", "schedules", "flowControl"):
            assert qstash.get(f"/v2/{path}").json() == []
        assert qstash.get("/v2/logs").json() == {"events": []}
        assert qstash.get("/v2/dlq").json() == {"messages": []}
        account = sandbox.qstash
        assert [account.messages, account.published, account.deliveries, account.bulk_cancels] == [[]] * 4
        sandbox.qstash.publish(HOOK, headers={"Upstash-Deduplication-Id": "one"})
        sandbox.clock.advance(120)
        assert [message.state for message in account.messages] == ["DELIVERED"]


class TestDemo:
    def test_messages_reach_every_terminal_state(self, sandbox, anyone):
        anyone.call("POST", "/_sandbox/reset", json={"seed_demo": True, "seed_seconds": 8})
        sandbox.clock.advance(8)
        assert {message.id: message.state for message in sandbox.qstash.messages} == {
            "msg_demo_delivered": "DELIVERED",
            "msg_demo_retrying": "DELIVERED",
            "msg_demo_failed": "FAILED",
            "msg_demo_orders": "FAILED",
            "msg_demo_down": "FAILED",
        }

    @pytest.mark.parametrize(
        ("url", "state"),
        [("slow", "ACTIVE"), ("flaky/x", "DELIVERED"), ("gone", "FAILED"), ("other", "DELIVERED")],
    )
    def test_destinations_answer_as_their_names_say(self, sandbox, anyone, url, state):
        anyone.call("POST", "/_sandbox/reset", json={"seed_demo": True, "seed_seconds": 8})
        headers = {"Upstash-Retries": "1"}
        (message_id,) = sandbox.qstash.publish(f"https://example.com/{url}", headers=headers)
        sandbox.clock.advance(7)
        assert sandbox.qstash.get_message(message_id).state == state
