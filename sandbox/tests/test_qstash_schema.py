"""Every answer of the sandbox is one that the vendor's schema describes, but for what is known to differ.

The exceptions stand here, one by one.
"""

from __future__ import annotations

import re

import pytest

from tests.specs.published import published

HOOK = "https://example.com/hook"
SPEC = published("qstash-v2")

#: What live accounts, the vendor's clients or its older pages show, and the schema does not have.
BEYOND = {
    "GET /v2/events",  # every client's name for the log
    "PATCH /v2/schedules/{scheduleId}/pause",  # as the clients send it
    "PATCH /v2/schedules/{scheduleId}/resume",
}


@pytest.fixture
def account(sandbox, qstash):
    """An account with one of each thing."""
    qstash.call("POST", "/v2/topics/team/endpoints", json={"endpoints": [{"url": HOOK, "name": "a"}]})
    qstash.call("POST", "/v2/queues", json={"queueName": "q", "parallelism": 1})
    headers = {
        **{"Content-Type": "text/plain", "Upstash-Label": "a,b", "Upstash-Timeout": "10s"},
        **{"Upstash-Callback": HOOK, "Upstash-Failure-Callback": HOOK, "Upstash-Retries": "1"},
        **{"Upstash-Flow-Control-Key": "k", "Upstash-Flow-Control-Value": "rate=3,period=1m,parallelism=2"},
        **{"Upstash-Retry-Delay": "1000", "Upstash-Callback-Forward-X": "y"},
    }
    sandbox.qstash.plan_delivery(
        "https://bad.example/*", [{"status": 503, "body": "no", "headers": {"a": "b"}}]
    )
    sandbox.qstash.publish("https://bad.example/", "x", headers)
    sandbox.qstash.publish("team", "x", queue="q")
    cron = {"Upstash-Cron": "*/10 * * * *", "Upstash-Schedule-Id": "mine", "Upstash-Delay": "5s"}
    qstash.call("POST", f"/v2/schedules/{HOOK}", data=b"x", headers=headers | cron)
    sandbox.clock.advance(700)
    sandbox.qstash.publish(HOOK, "x", headers | {"Upstash-Delay": "1h"})
    return sandbox.qstash


#: Upstash Workflow has a schema of its own, on the same host.
OF_WORKFLOWS = re.compile(r"/v2/(trigger|workflows|notify|waiters)")


def operations(sandbox):
    return {name: found for name, found in sandbox.vendors["qstash"].api.operations.items() if "/v2/" in name}


class TestOperations:
    def test_operations_are_those_of_the_schema(self, sandbox):
        served = {name for name in operations(sandbox) if not OF_WORKFLOWS.search(name)}
        assert served - BEYOND == {f"{method} {path}" for method, path in SPEC.operations}
        assert served >= BEYOND


class TestAnswers:
    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/v2/messages/{message}", 200),
            ("GET", "/v2/messages/nobody", 404),
            ("DELETE", "/v2/messages/nobody", 404),
            ("DELETE", "/v2/messages", 200),
            ("GET", "/v2/queues", 200),
            ("GET", "/v2/queues/q", 200),
            ("GET", "/v2/queues/x", 404),
            ("POST", "/v2/queues/x/pause", 400),
            ("GET", "/v2/schedules", 200),
            ("GET", "/v2/schedules/mine", 200),
            ("GET", "/v2/schedules/x", 404),
            ("GET", "/v2/topics", 200),
            ("GET", "/v2/topics/team", 200),
            ("GET", "/v2/dlq", 200),
            ("GET", "/v2/dlq/{dlq_message}", 200),
            ("GET", "/v2/dlq/x", 404),
            ("DELETE", "/v2/dlq/x", 404),
            ("DELETE", "/v2/dlq", 200),
            ("POST", "/v2/dlq/retry/{dlq_message}", 201),
            ("POST", "/v2/dlq/retry/x", 404),
            ("POST", "/v2/dlq/retry", 201),
            ("POST", "/v2/dlq/retry?dlqIds=x", 404),
            ("GET", "/v2/flowControl", 200),
            ("GET", "/v2/flowControl/k", 200),
            ("GET", "/v2/flowControl/x", 404),
            ("POST", "/v2/flowControl/x/pin", 400),
            ("GET", "/v2/globalParallelism", 200),
            ("GET", "/v2/keys", 200),
            ("POST", "/v2/keys/rotate", 200),
            ("GET", "/v2/logs", 200),
            ("GET", "/v2/logs?cursor=x", 400),
        ],
    )
    def test_answer_fits_the_schema(self, account, qstash, method, path, status):
        message = next(one for one in account.messages if not one.finished)
        path = path.format(message=message.id, dlq_message=account.dlq_messages[0].id)
        answer = qstash.call(method, path)
        assert answer.status_code == status
        if path.endswith("cursor=x"):  # the schema has no refusal for it; all others look alike
            assert list(answer.json()) == ["error"]
        else:
            assert SPEC.faults(method, path.partition("?")[0], status, answer.json()) == []

    @pytest.mark.parametrize("status", [200, 400])
    def test_answer_to_a_batch_fits_the_schema(self, account, qstash, status):
        body = [{"destination": HOOK}] if status == 200 else {}
        answer = qstash.call("POST", "/v2/batch", json=body)
        assert SPEC.faults("POST", "/v2/batch", status, answer.json()) == []

    def test_answer_to_a_publish_fits_the_schema(self, account, qstash):
        known = {"Upstash-Deduplication-Id": "one"}
        answers = [qstash.call("POST", f"/v2/publish/{HOOK}", headers=known) for _ in range(2)]
        assert [set(answer.json()) for answer in answers] == [{"messageId"}, {"messageId", "deduplicated"}]
        refused = qstash.call("POST", f"/v2/publish/{HOOK}", headers={"Upstash-Retries": "99"})
        assert SPEC.faults("POST", "/v2/publish/x", 400, refused.json()) == []

    def test_answer_for_a_group_is_a_list(self, account, sandbox, qstash):
        (member,) = qstash.call("POST", "/v2/publish/team").json()
        sandbox.settings.update({"qstash_groups_as_object": True})
        (other,) = qstash.call("POST", "/v2/publish/team").json()["messages"]
        assert set(member) == set(other) == {"messageId", "url"}

    def test_log_has_every_field_and_two_by_another_name(self, account, qstash):
        known = set(SPEC.answer_schema("GET", "/v2/logs")["properties"]["logs"]["items"]["properties"])
        shown = {name for entry in qstash.get("/v2/logs").json()["events"] for name in entry}
        assert shown - known == {"retryDelayExpr", "flowControlKey", "rate", "period", "parallelism"}
        assert known - shown == {"retryDelayExpression", "failureCallbackHeaders"}

    def test_log_entries_fit_the_schema(self, account, sandbox, qstash):
        sandbox.settings.update({"qstash_logs_key": "logs"})
        body = qstash.get("/v2/logs").json()
        assert {entry["state"] for entry in body["logs"]} >= {
            "CREATED",
            "RETRY",
            "ERROR",
            "FAILED",
            "DELIVERED",
        }
        assert SPEC.faults("GET", "/v2/logs", 200, body) == []

    def test_operations_without_an_answer_have_no_body(self, account, qstash):
        for method, path in (
            ("POST", "/v2/queues/q/pause"),
            ("POST", "/v2/queues/q/resume"),
            ("DELETE", "/v2/queues/q"),
            ("POST", "/v2/schedules/mine/pause"),
            ("POST", "/v2/schedules/mine/resume"),
            ("DELETE", "/v2/schedules/mine"),
            ("DELETE", "/v2/topics/team"),
            ("POST", "/v2/flowControl/k/pause"),
            ("POST", "/v2/flowControl/k/resume"),
            ("POST", "/v2/flowControl/k/unpin"),
            ("POST", "/v2/flowControl/k/resetRate"),
            ("DELETE", f"/v2/dlq/{account.dlq_messages[0].id}"),
        ):
            answer = qstash.call(method, path)
            assert (answer.status_code, answer.content) == (200, b""), path
            assert "content" not in SPEC.operation(method, path)["responses"]["200"]


def test_dlq_message_has_what_the_schema_lacks(account, qstash):
    (dlq_message,) = qstash.get("/v2/dlq").json()["messages"]
    known = SPEC.answer_schema("GET", "/v2/dlq/x")["properties"]
    assert set(dlq_message) - set(known) == {"dlqId", "retryDelayExpression", "callbackHeader"}
