"""The rules of a wait, with the time passed in. See the docstring of the module under test."""

from __future__ import annotations

import json
from typing import Any

import pytest

from remote_tasks_provider.core.errors import (
    AuthenticationError,
    ConnectionConfigError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RedirectError,
    RemoteTaskError,
    ServerError,
    TransportError,
    WaitTimeoutError,
)
from remote_tasks_provider.core.polling.strategy import Unchanged
from remote_tasks_provider.core.polling.tracker import PollTracker
from tests.core.build import START, a_policy, a_snapshot, an_api_error
from tests.core.trackers import BROKEN, FORBIDDEN, MISSING, RESET, a_tracker, failure_of, limited


class TestFinish:
    @pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
    def test_terminal_state_finishes_the_wait(self, state: str) -> None:
        tracker = a_tracker()
        tracker.record_snapshot("t1", a_snapshot(state))

        assert tracker.pause(START) is None
        assert tracker.unfinished_ids == []
        assert tracker.result(START).timed_out is None

    @pytest.mark.parametrize("state", ["pending", "running", "waiting", "unknown"])
    def test_unfinished_state_continues_the_wait(self, state: str) -> None:
        tracker = a_tracker()
        tracker.record_snapshot("t1", a_snapshot(state))

        assert tracker.pause(START) == 30
        assert tracker.unfinished_ids == ["t1"]

    def test_wait_is_not_finished_before_the_first_poll(self) -> None:
        assert a_tracker().pause(START) == 30

    def test_tasks_must_all_be_finished(self) -> None:
        tracker = a_tracker("a", "b", "c")
        tracker.record_snapshot("a", a_snapshot("completed"))
        tracker.record_snapshot("b", a_snapshot("failed"))

        assert tracker.pause(START) == 30
        assert tracker.unfinished_ids == ["c"]
        tracker.record_snapshot("c", a_snapshot("cancelled"))
        assert tracker.pause(START) is None

    def test_task_given_twice_is_polled_once(self) -> None:
        tracker = a_tracker("b", "a", "b")

        assert tracker.ids == ["b", "a", "b"]
        assert tracker.unfinished_ids == ["b", "a"]

    def test_record_is_kept_under_the_given_id(self) -> None:
        tracker = a_tracker("alias")
        tracker.record_snapshot("alias", a_snapshot("completed", task_id="canonical"))

        record = tracker.result(START).records["alias"]
        assert record is not None
        assert record["id"] == "canonical"

    def test_empty_wait_is_finished_at_once(self) -> None:
        assert PollTracker([], a_policy()).pause(START) is None


class TestDeadline:
    @pytest.mark.parametrize("name", ["deadline", "execution_deadline"])
    def test_last_poll_is_at_the_deadline(self, name: str) -> None:
        tracker = a_tracker(**{name: START + 70})
        tracker.record_snapshot("t1", a_snapshot())

        assert tracker.pause(START + 60) == 10
        assert tracker.pause(START + 69.9) == pytest.approx(0.1)
        assert isinstance(failure_of(tracker, START + 70), WaitTimeoutError)

    def test_task_that_finishes_in_the_last_poll_is_no_timeout(self) -> None:
        tracker = a_tracker(deadline=START + 70)
        tracker.record_snapshot("t1", a_snapshot("completed"))

        assert failure_of(tracker, START + 75) is None

    def test_result_says_which_deadline_passed(self) -> None:
        assert a_tracker(deadline=START).result(START).timed_out == "timeout"
        assert a_tracker(execution_deadline=START).result(START).timed_out == "execution_timeout"
        assert a_tracker(deadline=START, execution_deadline=START).result(START).timed_out == "timeout"
        assert (
            a_tracker(deadline=START + 9, execution_deadline=START).result(START).timed_out
            == "execution_timeout"
        )
        assert a_tracker().result(START + 10**9).timed_out is None

    def test_failures_before_the_deadline_do_not_hide_the_timeout(self) -> None:
        tracker = a_tracker(deadline=START + 70)
        tracker.record_error("t1", RESET, START)

        assert isinstance(failure_of(tracker, START + 70), WaitTimeoutError)

    def test_clock_set_back_does_not_make_the_waited_time_negative(self) -> None:
        assert a_tracker().result(START - 5).waited == 0
        assert a_tracker().result(START + 5).waited == 5


class TestTrouble:
    """Trouble that passes is measured in time, whatever it is and however often it is met."""

    def test_task_is_given_up_after_the_tolerance_with_its_last_error(self) -> None:
        tracker = a_tracker(outage_tolerance=900)
        for second in range(900):
            tracker.record_error("t1", RESET, START + second)
            assert tracker.pause(START + second) is not None
        tracker.record_error("t1", BROKEN, START + 900)

        assert isinstance(failure_of(tracker, START + 900), ServerError)

    @pytest.mark.parametrize("interval", [1, 30, 3600])
    def test_errors_far_apart_end_the_wait_whatever_the_interval(self, interval: float) -> None:
        tracker = a_tracker(outage_tolerance=900, poll_interval=interval)
        tracker.record_error("t1", RESET, START)
        tracker.record_error("t1", RESET, START + 899)
        assert not tracker.is_over
        tracker.record_error("t1", RESET, START + 901)

        assert isinstance(failure_of(tracker, START + 901), TransportError)

    @pytest.mark.parametrize("good", [a_snapshot(), Unchanged.UNCHANGED])
    def test_good_answer_ends_the_trouble(self, good: Any) -> None:
        tracker = a_tracker(outage_tolerance=900)
        for second in range(0, 9000, 600):
            tracker.record_error("t1", RESET, START + second)
            tracker.update({"t1": good}, START + second + 300)

        assert tracker.pause(START + 9000) == 30
        assert tracker.checkpoint() == []

    def test_unchanged_keeps_what_was_known(self) -> None:
        tracker = a_tracker()
        tracker.record_snapshot("t1", a_snapshot(title="Sums"))
        tracker.record_error("t1", RESET, START)

        assert tracker.update({"t1": Unchanged.UNCHANGED}, START) == 1
        assert tracker.state == "running"
        assert tracker.result(START).records["t1"]["title"] == "Sums"  # type: ignore[index]

    def test_lost_task_does_not_finish_the_others(self) -> None:
        tracker = a_tracker("a", "b", outage_tolerance=0)
        tracker.record_error("a", RESET, START)

        assert tracker.unfinished_ids == ["b"]
        assert tracker.unread_ids == ["b"]
        assert tracker.pause(START) == 30
        tracker.record_snapshot("b", a_snapshot("completed"))
        assert isinstance(failure_of(tracker, START), TransportError)

    def test_earlier_record_stays_in_the_result(self) -> None:
        tracker = a_tracker(outage_tolerance=0)
        tracker.record_snapshot("t1", a_snapshot(title="Sums"))
        tracker.record_error("t1", RESET, START)

        record = tracker.result(START).records["t1"]
        assert record is not None
        assert record["title"] == "Sums"

    @pytest.mark.parametrize(("now", "over"), [(START + 899, False), (START + 900, True)])
    def test_trouble_continues_in_another_process(self, now: float, over: bool) -> None:
        tracker = a_tracker(outage_tolerance=900)
        tracker.record_error("t1", RESET, START)
        resumed = a_tracker(outage_tolerance=900, checkpoint=json.loads(json.dumps(tracker.checkpoint())))
        resumed.record_error("t1", RESET, now)

        assert resumed.is_over is over

    def test_trouble_noted_by_a_clock_that_is_ahead_begins_now(self) -> None:
        tracker = a_tracker(outage_tolerance=900)
        tracker.record_error("t1", MISSING, START + 5000)
        resumed = a_tracker(outage_tolerance=900, checkpoint=tracker.checkpoint())
        resumed.record_error("t1", MISSING, START)

        assert resumed.checkpoint()[0]["trouble_since"] == START
        assert resumed.checkpoint()[0]["doubt_since"] == START

    def test_poll_comes_when_the_tolerance_ends(self) -> None:
        tracker = a_tracker(outage_tolerance=900, poll_interval=3600)
        tracker.record_error("t1", RESET, START)

        assert tracker.pause(START) == 900
        assert tracker.pause(START + 950) == 1

    def test_end_of_the_tolerance_does_not_break_a_back_off(self) -> None:
        tracker = a_tracker(outage_tolerance=900, poll_interval=3600)
        tracker.record_error("t1", RESET, START)

        assert tracker.pause(START + 880, back_off=100) == 100


class TestDue:
    """Trouble is charged to a wait only for its own polls."""

    @pytest.mark.parametrize("error", [RESET, MISSING, limited()], ids=repr)
    def test_error_of_a_foreign_poll_is_not_charged(self, error: RemoteTaskError) -> None:
        tracker = a_tracker(outage_tolerance=0, not_found_grace=0)

        assert tracker.update({"t1": error}, START, is_due=False) == 0
        assert (tracker.unfinished_ids, tracker.checkpoint(), tracker.take_warnings()) == (["t1"], [], [])
        assert tracker.update({"t1": error}, START) == 1

    def test_good_answer_of_a_foreign_poll_is_taken(self) -> None:
        tracker = a_tracker("t1", "t2", "t3")
        tracker.record_error("t2", RESET, START)

        answers = {"t1": a_snapshot("completed"), "t2": Unchanged.UNCHANGED, "other": a_snapshot()}
        assert tracker.update(answers, START, is_due=False) == 2
        assert tracker.unfinished_ids == ["t2", "t3"]
        assert tracker.checkpoint() == []

    def test_finished_task_takes_nothing_more(self) -> None:
        tracker = a_tracker("t1", "t2")
        tracker.record_snapshot("t1", a_snapshot("completed"))

        assert tracker.update({"t1": a_snapshot("failed")}, START) == 0
        assert tracker.result(START).records["t1"]["state"] == "completed"  # type: ignore[index]


class TestRateLimit:
    def test_rate_limit_is_no_trouble(self) -> None:
        tracker = a_tracker(outage_tolerance=0, not_found_grace=0)
        for second in range(100):
            tracker.record_error("t1", limited(), START + second)

        assert tracker.pause(START) == 30
        assert not tracker.checkpoint()

    def test_rate_limit_does_not_end_the_trouble(self) -> None:
        tracker = a_tracker(outage_tolerance=900)
        tracker.record_error("t1", RESET, START)
        tracker.record_error("t1", limited(), START + 500)
        tracker.record_error("t1", RESET, START + 900)

        assert tracker.pause(START + 900) is None

    def test_long_rate_limit_gives_no_task_up_by_itself(self) -> None:
        tracker = a_tracker(outage_tolerance=900)
        tracker.record_error("t1", RESET, START)
        tracker.record_error("t1", limited(), START + 5000)

        assert not tracker.is_over

    def test_next_poll_comes_when_the_service_asked_for_it(self) -> None:
        assert a_tracker().pause(START + 20, back_off=100) == 100

    def test_back_off_holds_no_wait_that_is_answered(self) -> None:
        tracker = a_tracker("t1", "t2")
        tracker.record_snapshot("t1", a_snapshot(task_id="t1"))
        tracker.record_error("t2", limited(3600), START)
        assert tracker.pause(START, back_off=3600) == 30

        tracker.record_error("t1", limited(3600), START)
        assert tracker.pause(START, back_off=3600) == 3600

    def test_back_off_is_not_shortened_by_the_spread(self) -> None:
        assert a_tracker().pause(START, spread=0.5, back_off=100) == 100

    def test_back_off_below_the_interval_changes_nothing(self) -> None:
        assert a_tracker().pause(START, back_off=5) == 30

    def test_deadline_is_not_missed_for_a_back_off(self) -> None:
        assert a_tracker(deadline=START + 50).pause(START, back_off=3600) == 50


DOUBTFUL = [
    MISSING,
    FORBIDDEN,
    an_api_error(PermissionDeniedError, 403),
    an_api_error(InvalidRequestError, 400),
    RedirectError("moved"),
    ConnectionConfigError("no password"),
]


class TestDoubt:
    """An error that would be final is believed when it has stood for ``not_found_grace``."""

    @pytest.mark.parametrize("error", DOUBTFUL, ids=lambda error: type(error).__name__)
    def test_doubtful_error_is_believed_after_the_grace(self, error: RemoteTaskError) -> None:
        tracker = a_tracker(not_found_grace=90)
        tracker.record_error("t1", error, START)
        tracker.record_error("t1", error, START + 89)
        assert not tracker.is_over
        tracker.record_error("t1", error, START + 90)

        assert type(failure_of(tracker, START + 90)) is type(error)

    @pytest.mark.parametrize("error", DOUBTFUL, ids=lambda error: type(error).__name__)
    def test_good_answer_ends_the_doubt(self, error: RemoteTaskError) -> None:
        tracker = a_tracker(not_found_grace=90)
        tracker.record_error("t1", error, START)
        tracker.record_snapshot("t1", a_snapshot())
        tracker.record_error("t1", error, START + 200)

        assert tracker.pause(START + 200) == 30

    def test_doubtful_error_without_a_grace_is_believed_at_once(self) -> None:
        tracker = a_tracker(not_found_grace=0)
        tracker.record_error("t1", MISSING, START)

        assert tracker.pause(START) is None

    def test_poll_comes_when_the_grace_ends(self) -> None:
        tracker = a_tracker(poll_interval=600, not_found_grace=90)
        tracker.record_error("t1", MISSING, START)

        assert tracker.pause(START) == 90
        assert tracker.pause(START + 80) == 10
        assert tracker.pause(START + 95) == 1
        assert tracker.pause(START, back_off=200) == 200

    @pytest.mark.parametrize("other", [RESET, FORBIDDEN], ids=["failure", "other class"])
    def test_error_of_another_class_restarts_the_grace(self, other: RemoteTaskError) -> None:
        tracker = a_tracker(not_found_grace=90)
        tracker.record_error("t1", MISSING, START)
        tracker.record_error("t1", other, START + 50)
        tracker.record_error("t1", MISSING, START + 90)

        assert tracker.pause(START + 90) == 30

    def test_changing_doubts_end_with_the_tolerance(self) -> None:
        tracker = a_tracker(not_found_grace=90, outage_tolerance=300)
        for second in range(0, 300, 10):
            tracker.record_error("t1", (MISSING, FORBIDDEN)[second // 10 % 2], START + second)
            assert not tracker.is_over
        tracker.record_error("t1", MISSING, START + 300)

        assert isinstance(failure_of(tracker, START + 300), NotFoundError)

    def test_rate_limit_does_not_restart_the_grace(self) -> None:
        tracker = a_tracker(not_found_grace=90)
        tracker.record_error("t1", MISSING, START)
        tracker.record_error("t1", limited(), START + 50)
        tracker.record_error("t1", MISSING, START + 90)

        assert tracker.pause(START + 90) is None

    def test_finished_grace_shortens_no_pause_of_other_tasks(self) -> None:
        tracker = a_tracker("a", "b", not_found_grace=0)
        tracker.record_error("a", MISSING, START)

        assert tracker.pause(START) == 30

    @pytest.mark.parametrize(("now", "over"), [(START + 89, False), (START + 90, True)])
    def test_grace_continues_in_another_process(self, now: float, over: bool) -> None:
        tracker = a_tracker(not_found_grace=90)
        tracker.record_error("t1", MISSING, START)
        resumed = a_tracker(not_found_grace=90, checkpoint=json.loads(json.dumps(tracker.checkpoint())))
        resumed.record_error("t1", MISSING, now)

        assert (resumed.pause(now) is None) is over


class TestMaxCredits:
    @pytest.mark.parametrize("state", ["running", "waiting", "pending", "unknown"])
    def test_task_over_the_limit_finishes_the_wait(self, state: str) -> None:
        tracker = a_tracker(max_credits=100, deadline=START + 1000)
        tracker.record_snapshot("t1", a_snapshot(state, credit_usage=101))

        assert tracker.pause(START) is None
        assert tracker.result(START + 2000).timed_out is None

    @pytest.mark.parametrize("used", [None, 0, 100])
    def test_task_within_the_limit_continues_the_wait(self, used: int | None) -> None:
        tracker = a_tracker(max_credits=100)
        tracker.record_snapshot("t1", a_snapshot(credit_usage=used))

        assert tracker.pause(START) == 30

    def test_cost_without_a_limit_is_ignored(self) -> None:
        tracker = a_tracker()
        tracker.record_snapshot("t1", a_snapshot(credit_usage=10**9))

        assert tracker.pause(START) == 30

    def test_task_over_the_limit_waits_for_the_others(self) -> None:
        tracker = a_tracker("a", "b", max_credits=100)
        tracker.record_snapshot("a", a_snapshot(credit_usage=101))
        tracker.record_snapshot("b", a_snapshot(credit_usage=1))

        assert tracker.pause(START) == 30
        assert tracker.unfinished_ids == ["a", "b"]

    def test_cost_before_a_failed_poll_is_judged_by_the_next_good_one(self) -> None:
        tracker = a_tracker(max_credits=100)
        tracker.record_snapshot("t1", a_snapshot(credit_usage=101))
        tracker.record_error("t1", RESET, START)

        assert tracker.pause(START) == 30

    @pytest.mark.parametrize("limit", [0, -1, 1.5, True, "many"])
    def test_invalid_limit_is_refused(self, limit: Any) -> None:
        with pytest.raises(ValueError, match="max_credits"):
            a_policy(max_credits=limit)


class TestSilence:
    """A doubt counts while it is seen; what polls missed in between proves nothing."""

    def test_doubt_that_was_not_seen_for_long_begins_anew(self) -> None:
        tracker = a_tracker()
        tracker.record_error("t1", FORBIDDEN, START)
        tracker.record_error("t1", FORBIDDEN, START + 30)
        tracker.record_error("t1", FORBIDDEN, START + 150)

        assert tracker.pause(START + 150) == 30
        tracker.record_error("t1", FORBIDDEN, START + 240)
        assert isinstance(failure_of(tracker, START + 240), AuthenticationError)

    def test_rate_limits_between_two_sightings_prove_nothing(self) -> None:
        tracker = a_tracker()
        tracker.record_error("t1", FORBIDDEN, START)
        for seconds in (30, 60, 90, 120):
            tracker.record_error("t1", limited(), START + seconds)
        tracker.record_error("t1", FORBIDDEN, START + 140)

        assert tracker.pause(START + 140) == 30

    def test_doubt_of_a_patient_wait_stands_between_its_polls(self) -> None:
        tracker = a_tracker(poll_interval=600.0, not_found_grace=1000.0, outage_tolerance=10_000.0)
        for seconds in (0, 600, 1000):
            tracker.record_error("t1", FORBIDDEN, START + seconds)

        assert isinstance(failure_of(tracker, START + 1000), AuthenticationError)
