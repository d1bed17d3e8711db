"""How QStash messages are polled: what a poll costs, and that every terminal state is found once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from remote_tasks_provider.core.polling.tracker import PollTracker
from remote_tasks_provider.core.states import TaskSnapshot
from remote_tasks_provider.qstash.service import QSTASH_MESSAGE
from remote_tasks_sandbox import Sandbox, SandboxServer
from tests.conftest import QSTASH_TOKEN
from tests.core.build import a_policy
from tests.poll_driver import PollDriver

WAITING = [("CREATED", 0.0), ("ACTIVE", None)]
LOGS, DLQ = "/qstash/v2/logs", "/qstash/v2/dlq"


def add(sandbox: Sandbox, count: int, prefix: str = "m", script: Any = WAITING, **facts: Any) -> list[str]:
    return [sandbox.qstash.add_message(f"{prefix}{number}", script, **facts) for number in range(count)]


def asked(driver: PollDriver, path: str = LOGS) -> int:
    return sum(record.path == path for record in driver.calls)


def record(driver: PollDriver, message_id: str) -> dict[str, Any]:
    found = driver([message_id])[message_id]
    assert isinstance(found, TaskSnapshot)
    return found.to_record()


class TestSingleMessage:
    @pytest.mark.parametrize(
        ("script", "state"),
        [
            ([("CREATED", None)], "pending"),
            ([("CREATED", 0.0), ("ACTIVE", None)], "running"),
            ([("CREATED", 0.0), ("ACTIVE", 0.0), ("ERROR", None)], "running"),
            ([("CREATED", 0.0), ("ACTIVE", 0.0), ("ERROR", 0.0), ("RETRY", None)], "running"),
            ([("CREATED", 0.0), ("CANCEL_REQUESTED", None)], "running"),
            ([("CREATED", 0.0), ("ACTIVE", 0.0), ("DELIVERED", None)], "completed"),
            ([("CREATED", 0.0), ("ACTIVE", 0.0), ("ERROR", 0.0), ("FAILED", None)], "failed"),
            ([("CREATED", 0.0), ("CANCELLED", None)], "cancelled"),
            ([("CREATED", 0.0), ("CANCELED", None)], "cancelled"),
            ([("CREATED", 0.0), ("IN_LIMBO", None)], "unknown"),
        ],
    )
    def test_state_follows_the_log(
        self, message_driver: PollDriver, sandbox: Sandbox, script: Any, state: str
    ) -> None:
        sandbox.qstash.add_message("m", script)

        assert message_driver.words(["m"]) == {"m": state}
        assert asked(message_driver) == 1

    @pytest.mark.parametrize(
        "settings",
        [
            {"qstash_logs_key": "logs"},
            {"qstash_lower_case_states": True, "qstash_times_as_strings": True},
            {"cursor_end": None},
            {"cursor_end": ""},
        ],
        ids=str,
    )
    @pytest.mark.parametrize(("word", "state"), [("ERROR", "running"), ("CANCELED", "cancelled")])
    def test_log_is_read_in_every_spelling(
        self, message_driver: PollDriver, sandbox: Sandbox, settings: dict[str, Any], word: str, state: str
    ) -> None:
        sandbox.settings.update(settings)
        sandbox.qstash.add_message("m", [("CREATED", 0.0), (word, None)])

        assert message_driver.words(["m"]) == {"m": state}
        assert asked(message_driver) == 1

    def test_terminal_state_outweighs_later_entries(
        self, message_driver: PollDriver, sandbox: Sandbox
    ) -> None:
        sandbox.qstash.add_message("m", [("DELIVERED", 0.0), ("ACTIVE", None)])

        assert message_driver.words(["m"]) == {"m": "completed"}

    def test_failed_message_has_dlq_id_status_and_answer(
        self, message_driver: PollDriver, sandbox: Sandbox
    ) -> None:
        script = [("CREATED", 0.0), ("ERROR", 0.0), ("FAILED", None)]
        sandbox.qstash.add_message("m", script, response_status=503, response_body='{"token": "hush"}\nbusy')
        (dlq_message,) = sandbox.qstash.dlq_messages
        found = record(message_driver, "m")

        assert (found["state"], found["dlq_id"], found["response_status"]) == ("failed", dlq_message.id, 503)
        assert found["error"] == 'HTTP status 503: {"token": ***} busy'
        assert [one.path for one in message_driver.calls] == [LOGS, DLQ]

    @pytest.mark.parametrize(
        "trouble", [{"kind": "status", "status": 500}, {"kind": "garbage"}, {"kind": "omit"}]
    )
    def test_failed_message_without_its_dlq_message_is_failed(
        self, message_driver: PollDriver, sandbox: Sandbox, trouble: dict[str, Any]
    ) -> None:
        sandbox.qstash.add_message("m", ["FAILED"])
        sandbox.faults.add(**trouble, path=DLQ)
        found = record(message_driver, "m")

        assert (found["state"], found["dlq_id"]) == ("failed", None)

    def test_retried_message_has_next_delivery_and_error(
        self, message_driver: PollDriver, sandbox: Sandbox
    ) -> None:
        sandbox.qstash.add_message("m", [("CREATED", 0.0), ("ERROR", 0.0), ("RETRY", 60.0), "DELIVERED"])
        message_driver(["m"])
        outcome = message_driver.strategy.outcome("m")

        assert (outcome.status, outcome.error, outcome.state) == ("RETRY", "HTTP status 500", "running")
        assert outcome.next_delivery_at is not None


class TestNotSeen:
    def test_message_without_an_entry_is_pending_until_one_appears(
        self, message_driver: PollDriver, sandbox: Sandbox
    ) -> None:
        sandbox.settings.update({"qstash_log_lag": 60})
        add(sandbox, 1)
        assert [message_driver.words(["m0"]) for _ in range(3)] == [{"m0": "pending"}] * 3
        sandbox.clock.advance(61)

        assert message_driver.words(["m0"]) == {"m0": "running"}

    @pytest.mark.parametrize("others", [0, 30])
    def test_missing_message_fails_after_the_grace(
        self, message_driver: PollDriver, sandbox: Sandbox, others: int
    ) -> None:
        ids = [*add(sandbox, others), "never-sent"]
        start = sandbox.clock.now()
        wait = PollTracker(ids, a_policy(started_at=start, not_found_grace=300.0))
        for after in (0, 100, 299):
            wait.update(message_driver(wait.unfinished_ids), start + after)
            assert "never-sent" in wait.unfinished_ids
        wait.update(message_driver(wait.unfinished_ids), start + 300)

        assert wait.unfinished_ids == ids[:-1]
        error = wait.result(start + 300).errors["never-sent"]
        assert (error["type"], error["status_code"]) == ("NotFoundError", 404)
        assert "the logs have no entry of message never-sent" in error["message"]
        assert "region of the connection's host" in error["hint"]

    @pytest.mark.parametrize("others", [0, 30])
    def test_message_with_expired_entries_is_still_known(
        self, message_driver: PollDriver, sandbox: Sandbox, others: int
    ) -> None:
        ids = add(sandbox, others + 1)
        first = message_driver.words(ids)
        sandbox.clock.advance(4 * 86400)

        # So many at a time are asked for by themselves.
        assert message_driver.words(ids) | message_driver.words(ids) == first

    @pytest.mark.parametrize("count", [1, 30])
    def test_message_delayed_beyond_the_logs_is_known_after_a_restart(
        self, make_message_driver: Callable[..., PollDriver], sandbox: Sandbox, count: int
    ) -> None:
        """No strategy that had seen the messages is left, and neither has the log an entry of them."""
        facts = {"Upstash-Delay": "6d"}
        ids = [sandbox.qstash.publish("https://example.com", "x", facts)[0] for _ in range(count)]
        assert set(make_message_driver().words(ids).values()) == {"pending"}
        sandbox.clock.advance(4 * 86400)

        restarted = make_message_driver()
        told = restarted.words(ids) | restarted.words(ids)

        assert told == dict.fromkeys(ids, "pending")
        sandbox.clock.advance(2 * 86400 + 60)
        assert restarted.words(ids) == dict.fromkeys(ids, "completed")

    def test_partially_read_listing_does_not_report_missing_messages(
        self, message_driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = [*add(sandbox, 2), "never-sent"]
        sandbox.qstash.set_message_script("m0", [("RETRY", 1.0)] * 600)
        sandbox.clock.advance(600)

        assert "never-sent" not in message_driver(ids)


class TestCost:
    """One call for a hundred messages and poll."""

    def test_thousand_messages_cost_ten_calls(self, message_driver: PollDriver, sandbox: Sandbox) -> None:
        ids = add(sandbox, 950)
        left = [*ids, *[f"unseen{number}" for number in range(50)]]
        missing: set[str] = set()
        for cycle in range(8):
            ending = ids[cycle * 40 : cycle * 40 + 40]
            sandbox.clock.advance(15)
            for one in ending:
                sandbox.qstash.set_message_state(one, "DELIVERED" if cycle % 2 else "CANCELLED")
            before = len(left)
            found = message_driver.words(left)

            assert asked(message_driver) <= -(-before // 100)
            missing |= {one for one in left if found.get(one) == "NotFoundError"}
            left = [one for one in left if found.get(one) not in ("completed", "cancelled")]

        sandbox.clock.advance(15)
        found = message_driver.words(left)
        left = [one for one in left if found.get(one) not in ("completed", "cancelled")]
        assert asked(message_driver) <= 10
        # Every terminal state was seen, one poll later at most, and unsent messages were reported missing.
        assert left == [*ids[320:], *[f"unseen{number}" for number in range(50)]]
        assert missing == {f"unseen{number}" for number in range(50)}

    @pytest.mark.parametrize("count", [1, 20, 21, 100])
    def test_hundred_messages_cost_one_call(
        self, message_driver: PollDriver, sandbox: Sandbox, count: int
    ) -> None:
        ids = add(sandbox, count)
        for _ in range(3):
            found = message_driver.words(ids)
            assert (set(found), len(message_driver.calls)) == (set(ids), 1)

    def test_messages_with_many_attempts_cost_one_call(
        self, message_driver: PollDriver, sandbox: Sandbox
    ) -> None:
        attempt = [("ACTIVE", 1.0), ("ERROR", 1.0), ("RETRY", 10.0)]
        ids = add(sandbox, 20, script=[("CREATED", 1.0), *attempt * 6, ("ACTIVE", None)])
        sandbox.clock.advance(40)
        for _ in range(3):
            assert message_driver.words(ids) == dict.fromkeys(ids, "running")
            assert len(message_driver.calls) == 1

    def test_terminal_entry_far_down_is_found(self, message_driver: PollDriver, sandbox: Sandbox) -> None:
        done = sandbox.qstash.add_message("done", ["DELIVERED"])
        sandbox.clock.advance(60)
        attempt = [("ACTIVE", 1.0), ("ERROR", 1.0), ("RETRY", 10.0)]
        ids = add(sandbox, 10, script=[("CREATED", 1.0), *attempt * 5, ("ACTIVE", None)])
        sandbox.clock.advance(200)

        assert message_driver.words([done, *ids])[done] == "completed"
        assert len(message_driver.calls) == 2

    def test_terminal_entry_hidden_by_newer_ones_is_found_later(
        self, message_driver: PollDriver, sandbox: Sandbox
    ) -> None:
        done = sandbox.qstash.add_message("done", ["DELIVERED"])
        sandbox.clock.advance(60)
        ids = add(sandbox, 99, script=[("CREATED", 1.0), ("DELIVERED", None)])
        sandbox.clock.advance(60)
        found: dict[str, str] = {}
        left = [done, *ids]
        for _ in range(3):
            states = message_driver.words(left)
            assert len(message_driver.calls) <= 1
            found |= states
            left = [one for one in left if one not in found]

        assert found == dict.fromkeys([done, *ids], "completed")

    def test_hundred_failed_messages_cost_two_calls(
        self, message_driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = add(sandbox, 100, script=["FAILED"])
        found = message_driver(ids)

        assert (asked(message_driver), asked(message_driver, DLQ)) == (1, 1)
        dlq_messages = {dlq_message.message.id: dlq_message.id for dlq_message in sandbox.qstash.dlq_messages}
        assert {one: found[one].to_record()["dlq_id"] for one in ids} == dlq_messages  # type: ignore[union-attr]

    def test_deleted_dlq_messages_are_fetched_a_few_at_a_time(
        self, message_driver: PollDriver, sandbox: Sandbox
    ) -> None:
        left = add(sandbox, 100, script=["FAILED"])
        sandbox.settings.update({"qstash_dlq_retention": 0})
        sandbox.clock.advance(60)
        for count in (40, 40, 20):
            found = message_driver.words(left)
            assert list(found.values()) == ["failed"] * count
            assert len(message_driver.calls) <= 43
            left = [one for one in left if one not in found]
        assert left == []

    def test_messages_that_are_not_due_come_along_for_free(
        self, message_driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = add(sandbox, 150)
        found = message_driver(ids[:30], ids[30:])

        assert (len(found), len(message_driver.calls)) == (100, 1)
        assert set(ids[:30]) <= set(found)
        assert message_driver([], ids) == {}
        assert message_driver.calls == []


class TestRateLimit:
    def test_rate_limiter_keeps_within_the_burst_limit(self, server: SandboxServer, sandbox: Sandbox) -> None:
        sandbox.settings.update({"qstash_burst_limit": 4})
        ids = add(sandbox, 500)
        with PollDriver("arun_plan", QSTASH_MESSAGE, server.qstash_url, QSTASH_TOKEN, sandbox) as driver:
            assert set(driver.words(ids).values()) == {"pending"}

        assert [record.status for record in sandbox.requests] == [200] * 5


class TestErrors:
    def test_error_affects_only_the_messages_of_its_call(
        self, message_driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = add(sandbox, 300)
        sandbox.qstash.set_message_state(ids[0], "DELIVERED")
        sandbox.faults.add("status", status=429, after=1)
        found = message_driver.words(ids)

        assert found[ids[0]] == "completed"
        assert set(found.values()) == {"completed", "pending", "RateLimitedError"}
        assert [one for one, word in found.items() if word == "completed"] == [ids[0]]
        assert sum(word == "RateLimitedError" for word in found.values()) == 200
        assert len(message_driver.calls) == 2

    def test_messages_take_turns_where_each_poll_is_refused_after_one_call(
        self, message_driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = add(sandbox, 500)
        read: set[str] = set()
        for _ in range(5):
            sandbox.faults.clear()
            sandbox.faults.add("status", status=429, after=1)
            read |= {one for one, state in message_driver.words(ids).items() if state == "pending"}

        assert read == set(ids)

    def test_results_of_a_call_are_told_before_the_next_one_is_sent(
        self, message_driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = add(sandbox, 300)
        message_driver(ids)

        assert [len(delivered) for delivered in message_driver.deliveries] == [100, 100, 100]

    def test_failed_message_gets_its_dlq_id_later(self, message_driver: PollDriver, sandbox: Sandbox) -> None:
        ids = add(sandbox, 150)
        sandbox.qstash.set_message_state(ids[0], "FAILED")
        sandbox.faults.add("status", status=429, after=1, times=1)

        assert ids[0] not in message_driver.words(ids)
        found = message_driver(ids)[ids[0]]
        assert found.to_record()["dlq_id"]  # type: ignore[union-attr]

    @pytest.mark.parametrize(("status", "kind"), [(401, "AuthenticationError"), (500, "ServerError")])
    def test_error_for_all_is_reported_to_all(
        self, message_driver: PollDriver, sandbox: Sandbox, status: int, kind: str
    ) -> None:
        ids = add(sandbox, 250)
        sandbox.faults.add("status", status=status)

        assert message_driver.words(ids) == dict.fromkeys(ids, kind)

    def test_token_of_another_region_is_an_authentication_error(
        self, message_driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = add(sandbox, 3)
        sandbox.settings.update({"wrong_region": True})

        assert message_driver.words(ids) == dict.fromkeys(ids, "AuthenticationError")

    def test_read_only_token_is_enough(
        self, make_message_driver: Callable[..., PollDriver], sandbox: Sandbox
    ) -> None:
        driver = make_message_driver(key=sandbox.settings.qstash_read_only_token)
        ids = [*add(sandbox, 30), *add(sandbox, 1, "f", ["FAILED"])]

        assert driver.words(ids)["f0"] == "failed"
        assert record(driver, "f0")["dlq_id"]

    def test_circular_pages_end(self, message_driver: PollDriver, sandbox: Sandbox) -> None:
        ids = add(sandbox, 30)
        sandbox.faults.add("repeat_cursor", path=LOGS)

        for chosen in (ids, ids[:5]):
            assert set(message_driver.words(chosen).values()) <= {"pending", "running"}
            assert len(message_driver.calls) <= 5
