"""Operations on many messages: a filter is known or refused, and a count is spent on what it is for."""

from __future__ import annotations

import pytest

HOOK = "https://example.com/hook"
DLQ = (("GET", "/v2/dlq"), ("DELETE", "/v2/dlq"), ("POST", "/v2/dlq/retry"))
CANCEL = (("DELETE", "/v2/messages"),)


def fill(sandbox, letters="abc"):
    """Give the account a DLQ message and a message on its way for each letter."""
    for letter in letters:
        sandbox.qstash.add_message(f"failed-{letter}", ["FAILED"], labels=[letter])
        sandbox.qstash.add_message(f"open-{letter}", [("CREATED", None)], labels=[letter])


def left(sandbox):
    """Return how many DLQ messages there are, and how many messages nobody cancelled."""
    cancelled = ("CANCEL_REQUESTED", "CANCELLED")
    kept = [one for one in sandbox.qstash.messages if one.state not in (*cancelled, "FAILED")]
    return len(sandbox.qstash.dlq_messages), len(kept)


class TestFilters:
    @pytest.mark.parametrize("name", ["labell", "Label", "queue", "messageid", "dlqId", "fromdate", "state"])
    @pytest.mark.parametrize(
        ("method", "path", "where"),
        [(*one, "params") for one in DLQ + CANCEL] + [(*one, "json") for one in DLQ[1:] + CANCEL],
    )
    def test_unknown_filter_is_refused_and_nothing_happens(self, sandbox, qstash, name, method, path, where):
        fill(sandbox)
        before = left(sandbox)
        answer = qstash.call(method, path, **{where: {name: "a"}})
        assert (answer.status_code, left(sandbox)) == (400, before)
        assert answer.json() == {"error": f"invalid filter: {name!r} is not known here"}

    @pytest.mark.parametrize("name", ["host", "path"])
    @pytest.mark.parametrize(("method", "path"), DLQ)
    def test_dlq_refuses_host_and_path(self, sandbox, qstash, name, method, path):
        fill(sandbox)
        assert qstash.call(method, path, params={name: "example.com"}).status_code == 400
        assert left(sandbox) == (3, 3)

    @pytest.mark.parametrize("name", ["host", "path"])
    def test_cancellation_knows_host_and_path(self, sandbox, qstash, name):
        fill(sandbox)
        value = {"host": "example.com", "path": "/hook"}[name]
        assert qstash.call("DELETE", "/v2/messages", params={name: value}).json() == {"cancelled": 3}

    @pytest.mark.parametrize(("method", "path"), DLQ)
    def test_source_of_the_dlq_is_a_filter(self, sandbox, qstash, method, path):
        fill(sandbox)
        answer = qstash.call(method, path, params={"source": "workflow"})
        assert (answer.ok, left(sandbox)[0]) == (True, 3)

    def test_filters_of_query_and_body_must_all_fit(self, sandbox, qstash):
        fill(sandbox)
        both = {"params": {"label": "a"}, "json": {"messageIds": ["open-b"]}}
        assert qstash.call("DELETE", "/v2/messages", **both).json() == {"cancelled": 0}

    def test_body_is_read_where_the_query_has_filters(self, sandbox, qstash):
        fill(sandbox)
        answer = qstash.call("DELETE", "/v2/dlq", params={"label": "a"}, json={"lable": "b"})
        assert (answer.status_code, left(sandbox)) == (400, (3, 3))


class TestCount:
    def test_retry_takes_as_many_as_were_asked_for(self, sandbox, qstash):
        fill(sandbox)
        answer = qstash.call("POST", "/v2/dlq/retry", params={"count": 1})
        assert (answer.status_code, len(answer.json()["responses"])) == (201, 1)
        assert answer.json()["cursor"]
        assert left(sandbox)[0] == 2

    def test_retry_and_delete_refuse_a_count_that_is_none(self, sandbox, qstash):
        fill(sandbox)
        for method, path in DLQ:
            assert qstash.call(method, path, params={"count": 0}).status_code == 400
        assert left(sandbox)[0] == 3

    def test_cancellation_spends_its_count_on_messages_that_are_not_being_cancelled(self, sandbox, qstash):
        sandbox.settings.update({"qstash_cancel_seconds": None})
        for _ in range(3):
            sandbox.qstash.publish(HOOK, headers={"Upstash-Delay": "1h"})
        answers = [qstash.call("DELETE", "/v2/messages", params={"count": 1}).json() for _ in range(4)]
        assert [one["cancelled"] for one in answers] == [1, 1, 1, 0]

    def test_cancellation_can_ignore_its_count(self, sandbox, qstash):
        sandbox.settings.update({"qstash_ignores_cancel_count": True})
        fill(sandbox)
        assert qstash.call("DELETE", "/v2/messages", params={"count": 1}).json() == {"cancelled": 3}
        fill(sandbox, "d")
        assert qstash.call("DELETE", "/v2/messages", params={"count": "x"}).status_code == 400


class TestFlowControl:
    def test_period_is_reported_with_parallelism_alone(self, qstash):
        headers = {"Upstash-Flow-Control-Key": "user:1", "Upstash-Flow-Control-Value": "parallelism=2"}
        answer = qstash.call("POST", f"/v2/publish/{HOOK}", headers=headers | {"Upstash-Delay": "1h"})
        message = qstash.get(f"/v2/messages/{answer.json()['messageId']}").json()
        assert (message["flowControlKey"], message["parallelism"], message["period"]) == ("user:1", 2, 1)
        assert "rate" not in message
