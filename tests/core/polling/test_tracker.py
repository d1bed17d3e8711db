"""The rules of a wait, with the time passed in. See the docstring of the module under test."""

from __future__ import annotations

import json
from typing import Any

import pytest

from remote_tasks_provider.core.errors import (
    AuthenticationError,
    NotFoundError,
    ServerError,
    TransportError,
    WaitTimeoutError,
)
from remote_tasks_provider.core.polling.tracker import PollTracker
from tests.core.build import START, a_policy, a_snapshot
from tests.core.trackers import BROKEN, FORBIDDEN, MISSING, RESET, a_wait, limited, the_end


class TestFinish:
    @pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
    def test_terminal_state_finishes_the_wait(self, state: str) -> None:
        wait = a_wait()
        wait.record_snapshot("t1", a_snapshot(state))

        assert wait.pause(START) is None
        assert wait.unfinished_ids == []
        assert wait.result(START).timed_out is None

    @pytest.mark.parametrize("state", ["pending", "running", "waiting", "unknown"])
    def test_unfinished_state_continues_the_wait(self, state: str) -> None:
        wait = a_wait()
        wait.record_snapshot("t1", a_snapshot(state))

        assert wait.pause(START) == 30
        assert wait.unfinished_ids == ["t1"]

    def test_wait_is_not_finished_before_the_first_poll(self) -> None:
        assert a_wait().pause(START) == 30

    def test_tasks_must_all_be_finished(self) -> None:
        wait = a_wait("a", "b", "c")
        wait.record_snapshot("a", a_snapshot("completed"))
        wait.record_snapshot("b", a_snapshot("failed"))

        assert wait.pause(START) == 30
        assert wait.unfinished_ids == ["c"]
        wait.record_snapshot("c", a_snapshot("cancelled"))
        assert wait.pause(START) is None

    def test_task_given_twice_is_polled_once(self) -> None:
        wait = a_wait("b", "a", "b")

        assert wait.ids == ["b", "a", "b"]
        assert wait.unfinished_ids == ["b", "a"]

    def test_record_is_kept_under_the_given_id(self) -> None:
        wait = a_wait("alias")
        wait.record_snapshot("alias", a_snapshot("completed", task_id="canonical"))

        record = wait.result(START).records["alias"]
        assert record is not None
        assert record["id"] == "canonical"

    def test_empty_wait_is_finished_at_once(self) -> None:
        assert PollTracker([], a_policy()).pause(START) is None


class TestDeadline:
    @pytest.mark.parametrize("name", ["deadline", "execution_deadline"])
    def test_last_poll_is_at_the_deadline(self, name: str) -> None:
        wait = a_wait(**{name: START + 70})
        wait.record_snapshot("t1", a_snapshot())

        assert wait.pause(START + 60) == 10
        assert wait.pause(START + 69.9) == pytest.approx(0.1)
        assert isinstance(the_end(wait, START + 70), WaitTimeoutError)

    def test_task_that_finishes_in_the_last_poll_is_no_timeout(self) -> None:
        wait = a_wait(deadline=START + 70)
        wait.record_snapshot("t1", a_snapshot("completed"))

        assert the_end(wait, START + 75) is None

    def test_result_says_which_deadline_passed(self) -> None:
        assert a_wait(deadline=START).result(START).timed_out == "timeout"
        assert a_wait(execution_deadline=START).result(START).timed_out == "execution_timeout"
        assert a_wait(deadline=START, execution_deadline=START).result(START).timed_out == "timeout"
        assert (
            a_wait(deadline=START + 9, execution_deadline=START).result(START).timed_out
            == "execution_timeout"
        )
        assert a_wait().result(START + 10**9).timed_out is None

    def test_failures_before_the_deadline_do_not_hide_the_timeout(self) -> None:
        wait = a_wait(deadline=START + 70)
        wait.record_error("t1", RESET, START)

        assert isinstance(the_end(wait, START + 70), WaitTimeoutError)

    def test_clock_set_back_does_not_make_the_waited_time_negative(self) -> None:
        assert a_wait().result(START - 5).waited == 0
        assert a_wait().result(START + 5).waited == 5


class TestFailures:
    def test_last_consecutive_failure_finishes_the_wait_with_its_error(self) -> None:
        wait = a_wait(max_poll_failures=3)
        for _ in range(2):
            wait.record_error("t1", RESET, START)
            assert wait.pause(START) == 30
        wait.record_error("t1", BROKEN, START)

        assert isinstance(the_end(wait, START), ServerError)

    def test_good_poll_resets_the_consecutive_failures(self) -> None:
        wait = a_wait(max_poll_failures=2)
        for _ in range(5):
            wait.record_error("t1", RESET, START)
            wait.record_snapshot("t1", a_snapshot())

        assert wait.pause(START) == 30

    def test_final_error_finishes_the_wait_at_once(self) -> None:
        wait = a_wait()
        wait.record_error("t1", FORBIDDEN, START)

        assert isinstance(the_end(wait, START), AuthenticationError)

    def test_lost_task_does_not_finish_the_others(self) -> None:
        wait = a_wait("a", "b", max_poll_failures=1)
        wait.record_error("a", RESET, START)

        assert wait.unfinished_ids == ["b"]
        assert wait.pause(START) == 30
        wait.record_snapshot("b", a_snapshot("completed"))
        assert isinstance(the_end(wait, START), TransportError)

    def test_earlier_record_stays_in_the_result(self) -> None:
        wait = a_wait(max_poll_failures=1)
        wait.record_snapshot("t1", a_snapshot(title="Sums"))
        wait.record_error("t1", RESET, START)

        record = wait.result(START).records["t1"]
        assert record is not None
        assert record["title"] == "Sums"

    def test_consecutive_failures_continue_in_another_process(self) -> None:
        wait = a_wait(max_poll_failures=3)
        wait.record_error("t1", RESET, START)
        wait.record_error("t1", RESET, START)
        heir = a_wait(max_poll_failures=3, checkpoint=json.loads(json.dumps(wait.checkpoint())))
        assert heir.pause(START) == 30
        heir.record_error("t1", RESET, START)

        assert heir.pause(START) is None


class TestRateLimit:
    def test_rate_limit_is_no_failure(self) -> None:
        wait = a_wait(max_poll_failures=1)
        for _ in range(100):
            wait.record_error("t1", limited(), START)

        assert wait.pause(START) == 30
        assert not wait.needs_checkpoint

    def test_rate_limit_does_not_reset_the_consecutive_failures(self) -> None:
        wait = a_wait(max_poll_failures=2)
        wait.record_error("t1", RESET, START)
        wait.record_error("t1", limited(), START)
        wait.record_error("t1", RESET, START)

        assert wait.pause(START) is None

    def test_next_poll_comes_when_the_service_asked_for_it(self) -> None:
        assert a_wait().pause(START + 20, back_off=100) == 100

    def test_back_off_is_not_shortened_by_the_spread(self) -> None:
        assert a_wait().pause(START, spread=0.5, back_off=100) == 100

    def test_back_off_below_the_interval_changes_nothing(self) -> None:
        assert a_wait().pause(START, back_off=5) == 30

    def test_deadline_is_not_missed_for_a_back_off(self) -> None:
        assert a_wait(deadline=START + 50).pause(START, back_off=3600) == 50


class TestNotFound:
    def test_task_may_become_visible_within_the_grace(self) -> None:
        wait = a_wait(not_found_grace=90)
        wait.record_error("t1", MISSING, START)
        wait.record_error("t1", MISSING, START + 89)
        assert wait.pause(START + 89) is not None
        wait.record_snapshot("t1", a_snapshot("running"))

        assert not wait.needs_checkpoint
        wait.record_snapshot("t1", a_snapshot("completed"))
        assert the_end(wait, START + 120) is None

    def test_missing_task_fails_after_the_grace(self) -> None:
        wait = a_wait(not_found_grace=90)
        wait.record_error("t1", MISSING, START)
        wait.record_error("t1", MISSING, START + 90)

        assert isinstance(the_end(wait, START + 90), NotFoundError)

    def test_missing_task_without_a_grace_fails_at_once(self) -> None:
        wait = a_wait(not_found_grace=0)
        wait.record_error("t1", MISSING, START)

        assert wait.pause(START) is None

    def test_poll_comes_when_the_grace_ends(self) -> None:
        wait = a_wait(poll_interval=600, not_found_grace=90)
        wait.record_error("t1", MISSING, START)

        assert wait.pause(START) == 90
        assert wait.pause(START + 80) == 10
        assert wait.pause(START + 95) == 1

    def test_missing_task_is_no_failed_poll(self) -> None:
        wait = a_wait(max_poll_failures=1, not_found_grace=90)
        for second in range(89):
            wait.record_error("t1", MISSING, START + second)

        assert wait.pause(START + 89) == 1

    def test_grace_starts_again_after_the_task_was_seen(self) -> None:
        wait = a_wait(not_found_grace=90)
        wait.record_error("t1", MISSING, START)
        wait.record_snapshot("t1", a_snapshot())
        wait.record_error("t1", MISSING, START + 200)

        assert wait.pause(START + 200) == 30

    def test_rate_limit_does_not_restart_the_grace(self) -> None:
        wait = a_wait(not_found_grace=90)
        wait.record_error("t1", MISSING, START)
        wait.record_error("t1", limited(), START + 50)
        wait.record_error("t1", MISSING, START + 90)

        assert wait.pause(START + 90) is None

    def test_failure_restarts_the_grace(self) -> None:
        wait = a_wait(not_found_grace=90)
        wait.record_error("t1", MISSING, START)
        wait.record_error("t1", RESET, START + 50)
        wait.record_error("t1", MISSING, START + 90)

        assert wait.pause(START + 90) == 30

    def test_finished_grace_shortens_no_pause_of_other_tasks(self) -> None:
        wait = a_wait("a", "b", not_found_grace=0)
        wait.record_error("a", MISSING, START)

        assert wait.pause(START) == 30

    @pytest.mark.parametrize(("now", "over"), [(START + 89, False), (START + 90, True)])
    def test_grace_continues_in_another_process(self, now: float, over: bool) -> None:
        wait = a_wait(not_found_grace=90)
        wait.record_error("t1", MISSING, START)
        heir = a_wait(not_found_grace=90, checkpoint=json.loads(json.dumps(wait.checkpoint())))
        heir.record_error("t1", MISSING, now)

        assert (heir.pause(now) is None) is over


class TestMaxCredits:
    @pytest.mark.parametrize("state", ["running", "waiting", "pending", "unknown"])
    def test_task_over_the_limit_finishes_the_wait(self, state: str) -> None:
        wait = a_wait(max_credits=100, deadline=START + 1000)
        wait.record_snapshot("t1", a_snapshot(state, credit_usage=101))

        assert wait.pause(START) is None
        assert wait.result(START + 2000).timed_out is None

    @pytest.mark.parametrize("used", [None, 0, 100])
    def test_task_within_the_limit_continues_the_wait(self, used: int | None) -> None:
        wait = a_wait(max_credits=100)
        wait.record_snapshot("t1", a_snapshot(credit_usage=used))

        assert wait.pause(START) == 30

    def test_cost_without_a_limit_is_ignored(self) -> None:
        wait = a_wait()
        wait.record_snapshot("t1", a_snapshot(credit_usage=10**9))

        assert wait.pause(START) == 30

    def test_task_over_the_limit_waits_for_the_others(self) -> None:
        wait = a_wait("a", "b", max_credits=100)
        wait.record_snapshot("a", a_snapshot(credit_usage=101))
        wait.record_snapshot("b", a_snapshot(credit_usage=1))

        assert wait.pause(START) == 30
        assert wait.unfinished_ids == ["a", "b"]

    def test_cost_before_a_failed_poll_is_judged_by_the_next_good_one(self) -> None:
        wait = a_wait(max_credits=100)
        wait.record_snapshot("t1", a_snapshot(credit_usage=101))
        wait.record_error("t1", RESET, START)

        assert wait.pause(START) == 30

    @pytest.mark.parametrize("limit", [0, -1, 1.5, True, "many"])
    def test_invalid_limit_is_refused(self, limit: Any) -> None:
        with pytest.raises(ValueError, match="max_credits"):
            a_policy(max_credits=limit)
