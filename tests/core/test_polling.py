"""The rules of a wait, with the time passed in. See the docstring of the module under test."""

from __future__ import annotations

import json
from typing import Any

import pytest

from remote_tasks_provider.core.errors import (
    AuthenticationError,
    NotFoundError,
    RateLimitedError,
    RemoteTaskError,
    ServerError,
    TaskNeedsInputError,
    TransportError,
    WaitTimeoutError,
)
from remote_tasks_provider.core.polling import Wait, WaitPolicy
from remote_tasks_provider.core.states import TaskState
from tests.core.build import START, a_policy, a_snapshot, an_api_error

RESET = TransportError("reset")
MISSING = an_api_error(NotFoundError, 404)
BROKEN = an_api_error(ServerError, 500)
FORBIDDEN = an_api_error(AuthenticationError, 401)


def _limited(retry_after: float | None = None) -> RateLimitedError:
    error = an_api_error(RateLimitedError, 429, retry_after=retry_after)
    assert isinstance(error, RateLimitedError)
    return error


def _wait(*ids: str, memory: Any = None, **policy: Any) -> Wait:
    return Wait(ids or ["t1"], a_policy(**policy), memory)


def _end(wait: Wait, now: float) -> RemoteTaskError | None:
    """Return the error that the wait ends in at ``now``; the wait must be over."""
    assert wait.pause(now) is None
    on_waiting = wait.policy.on_waiting
    return wait.report(now).failure("Example task", raise_on_failure=True, on_waiting=on_waiting)


class TestEnd:
    @pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
    def test_a_terminal_state_ends_the_wait(self, state: str) -> None:
        wait = _wait()
        wait.saw("t1", a_snapshot(state))

        assert wait.pause(START) is None
        assert wait.open_ids == []
        assert wait.report(START).timed_out is None

    @pytest.mark.parametrize("state", ["pending", "running", "waiting", "unknown"])
    def test_any_other_state_does_not(self, state: str) -> None:
        wait = _wait()
        wait.saw("t1", a_snapshot(state))

        assert wait.pause(START) == 30
        assert wait.open_ids == ["t1"]

    def test_it_is_not_over_before_the_first_look(self) -> None:
        assert _wait().pause(START) == 30

    def test_of_many_tasks_all_must_end(self) -> None:
        wait = _wait("a", "b", "c")
        wait.saw("a", a_snapshot("completed"))
        wait.saw("b", a_snapshot("failed"))

        assert wait.pause(START) == 30
        assert wait.open_ids == ["c"]
        wait.saw("c", a_snapshot("cancelled"))
        assert wait.pause(START) is None

    def test_a_task_asked_for_twice_is_looked_at_once(self) -> None:
        wait = _wait("b", "a", "b")

        assert wait.ids == ["b", "a", "b"]
        assert wait.open_ids == ["b", "a"]

    def test_a_record_stands_under_the_id_that_was_asked_for(self) -> None:
        wait = _wait("alias")
        wait.saw("alias", a_snapshot("completed", task_id="canonical"))

        record = wait.report(START).records["alias"]
        assert record is not None
        assert record["id"] == "canonical"

    def test_waiting_for_nothing_is_over_at_once(self) -> None:
        assert Wait([], a_policy()).pause(START) is None


class TestDeadline:
    @pytest.mark.parametrize("name", ["deadline", "execution_deadline"])
    def test_the_last_look_is_at_the_deadline_itself(self, name: str) -> None:
        wait = _wait(**{name: START + 70})
        wait.saw("t1", a_snapshot())

        assert wait.pause(START + 60) == 10
        assert wait.pause(START + 69.9) == pytest.approx(0.1)
        assert isinstance(_end(wait, START + 70), WaitTimeoutError)

    def test_a_task_that_ends_in_the_last_look_is_no_timeout(self) -> None:
        wait = _wait(deadline=START + 70)
        wait.saw("t1", a_snapshot("completed"))

        assert _end(wait, START + 75) is None

    def test_the_report_says_which_deadline_it_was(self) -> None:
        assert _wait(deadline=START).report(START).timed_out == "timeout"
        assert _wait(execution_deadline=START).report(START).timed_out == "execution_timeout"
        assert _wait(deadline=START, execution_deadline=START).report(START).timed_out == "timeout"
        assert (
            _wait(deadline=START + 9, execution_deadline=START).report(START).timed_out == "execution_timeout"
        )
        assert _wait().report(START + 10**9).timed_out is None

    def test_failures_before_the_deadline_do_not_hide_the_timeout(self) -> None:
        wait = _wait(deadline=START + 70)
        wait.failed("t1", RESET, START)

        assert isinstance(_end(wait, START + 70), WaitTimeoutError)

    def test_a_clock_that_was_set_back_does_not_make_the_wait_negative(self) -> None:
        assert _wait().report(START - 5).waited == 0
        assert _wait().report(START + 5).waited == 5


class TestFailures:
    def test_the_last_of_so_many_in_a_row_ends_the_wait_with_its_error(self) -> None:
        wait = _wait(max_failures=3)
        for _ in range(2):
            wait.failed("t1", RESET, START)
            assert wait.pause(START) == 30
        wait.failed("t1", BROKEN, START)

        assert isinstance(_end(wait, START), ServerError)

    def test_a_good_look_starts_the_count_anew(self) -> None:
        wait = _wait(max_failures=2)
        for _ in range(5):
            wait.failed("t1", RESET, START)
            wait.saw("t1", a_snapshot())

        assert wait.pause(START) == 30

    def test_an_error_where_no_retry_helps_ends_the_wait_at_once(self) -> None:
        wait = _wait()
        wait.failed("t1", FORBIDDEN, START)

        assert isinstance(_end(wait, START), AuthenticationError)

    def test_one_lost_task_of_many_does_not_end_the_others(self) -> None:
        wait = _wait("a", "b", max_failures=1)
        wait.failed("a", RESET, START)

        assert wait.open_ids == ["b"]
        assert wait.pause(START) == 30
        wait.saw("b", a_snapshot("completed"))
        assert isinstance(_end(wait, START), TransportError)

    def test_what_was_seen_before_stays_in_the_report(self) -> None:
        wait = _wait(max_failures=1)
        wait.saw("t1", a_snapshot(title="Sums"))
        wait.failed("t1", RESET, START)

        record = wait.report(START).records["t1"]
        assert record is not None
        assert record["title"] == "Sums"

    def test_the_count_goes_on_in_another_process(self) -> None:
        wait = _wait(max_failures=3)
        wait.failed("t1", RESET, START)
        wait.failed("t1", RESET, START)
        heir = _wait(max_failures=3, memory=json.loads(json.dumps(wait.memory())))
        assert heir.pause(START) == 30
        heir.failed("t1", RESET, START)

        assert heir.pause(START) is None


class TestRateLimit:
    def test_it_is_no_failure(self) -> None:
        wait = _wait(max_failures=1)
        for _ in range(100):
            wait.failed("t1", _limited(), START)

        assert wait.pause(START) == 30
        assert wait.is_settled

    def test_it_does_not_reset_the_count_of_failures(self) -> None:
        wait = _wait(max_failures=2)
        wait.failed("t1", RESET, START)
        wait.failed("t1", _limited(), START)
        wait.failed("t1", RESET, START)

        assert wait.pause(START) is None

    @pytest.mark.parametrize("kind", [RateLimitedError, ServerError])
    def test_the_next_look_comes_when_the_service_asked_for_it(self, kind: Any) -> None:
        wait = _wait()
        wait.failed("t1", an_api_error(kind, 429, retry_after=120), START)

        assert wait.pause(START + 20) == 100
        assert wait.pause(START + 200) == 30

    def test_a_wish_for_less_than_the_interval_changes_nothing(self) -> None:
        wait = _wait()
        wait.failed("t1", _limited(retry_after=5), START)

        assert wait.pause(START) == 30

    def test_of_two_wishes_the_later_counts(self) -> None:
        wait = _wait("a", "b")
        wait.failed("a", _limited(retry_after=120), START)
        wait.failed("b", _limited(retry_after=60), START + 1)

        assert wait.pause(START) == 120

    def test_the_deadline_comes_first_nevertheless(self) -> None:
        wait = _wait(deadline=START + 50)
        wait.failed("t1", _limited(retry_after=3600), START)

        assert wait.pause(START) == 50


class TestNotFound:
    def test_it_heals_when_the_task_becomes_visible_within_the_grace(self) -> None:
        wait = _wait(not_found_grace=90)
        wait.failed("t1", MISSING, START)
        wait.failed("t1", MISSING, START + 89)
        assert wait.pause(START + 89) is not None
        wait.saw("t1", a_snapshot("running"))

        assert wait.is_settled
        wait.saw("t1", a_snapshot("completed"))
        assert _end(wait, START + 120) is None

    def test_it_is_believed_when_it_has_stood_for_the_grace(self) -> None:
        wait = _wait(not_found_grace=90)
        wait.failed("t1", MISSING, START)
        wait.failed("t1", MISSING, START + 90)

        assert isinstance(_end(wait, START + 90), NotFoundError)

    def test_without_a_grace_it_is_believed_at_once(self) -> None:
        wait = _wait(not_found_grace=0)
        wait.failed("t1", MISSING, START)

        assert wait.pause(START) is None

    def test_there_is_a_look_when_the_grace_ends(self) -> None:
        wait = _wait(interval=600, not_found_grace=90)
        wait.failed("t1", MISSING, START)

        assert wait.pause(START) == 90
        assert wait.pause(START + 80) == 10
        assert wait.pause(START + 95) == 1

    def test_it_is_no_failed_look(self) -> None:
        wait = _wait(max_failures=1, not_found_grace=90)
        for second in range(89):
            wait.failed("t1", MISSING, START + second)

        assert wait.pause(START + 89) == 1

    def test_each_disappearance_has_its_own_grace(self) -> None:
        wait = _wait(not_found_grace=90)
        wait.failed("t1", MISSING, START)
        wait.saw("t1", a_snapshot())
        wait.failed("t1", MISSING, START + 200)

        assert wait.pause(START + 200) == 30

    def test_a_rate_limit_meanwhile_does_not_restart_the_grace(self) -> None:
        wait = _wait(not_found_grace=90)
        wait.failed("t1", MISSING, START)
        wait.failed("t1", _limited(), START + 50)
        wait.failed("t1", MISSING, START + 90)

        assert wait.pause(START + 90) is None

    def test_another_failure_meanwhile_does(self) -> None:
        wait = _wait(not_found_grace=90)
        wait.failed("t1", MISSING, START)
        wait.failed("t1", RESET, START + 50)
        wait.failed("t1", MISSING, START + 90)

        assert wait.pause(START + 90) == 30

    def test_a_grace_that_is_over_shortens_no_pause_of_the_others(self) -> None:
        wait = _wait("a", "b", not_found_grace=0)
        wait.failed("a", MISSING, START)

        assert wait.pause(START) == 30

    @pytest.mark.parametrize(("now", "over"), [(START + 89, False), (START + 90, True)])
    def test_the_grace_goes_on_in_another_process(self, now: float, over: bool) -> None:
        wait = _wait(not_found_grace=90)
        wait.failed("t1", MISSING, START)
        heir = _wait(not_found_grace=90, memory=json.loads(json.dumps(wait.memory())))
        heir.failed("t1", MISSING, now)

        assert (heir.pause(now) is None) is over


class TestMemory:
    def test_it_holds_only_what_looking_again_would_not_tell(self) -> None:
        wait = _wait("fine", "failing", "missing", "new")
        wait.saw("fine", a_snapshot())
        wait.failed("failing", RESET, START)
        wait.failed("missing", MISSING, START + 1)

        assert wait.memory() == {
            "failing": {"failures": 1, "missing_since": None},
            "missing": {"failures": 0, "missing_since": START + 1},
        }
        assert not wait.is_settled

    def test_a_wait_without_trouble_needs_none(self) -> None:
        wait = _wait()
        assert wait.is_settled
        wait.saw("t1", a_snapshot())

        assert (wait.is_settled, wait.memory()) == (True, {})

    def test_a_task_that_was_given_up_is_looked_at_once_more_and_given_up_again(self) -> None:
        wait = _wait(max_failures=2)
        wait.failed("t1", RESET, START)
        wait.failed("t1", RESET, START)
        heir = _wait(max_failures=2, memory=wait.memory())

        assert heir.open_ids == ["t1"]
        heir.failed("t1", RESET, START)
        assert heir.pause(START) is None


class TestOnWaiting:
    def _asked(self, on_waiting: str) -> Wait:
        wait = _wait("a", "b", on_waiting=on_waiting)
        wait.saw("a", a_snapshot("waiting"))
        wait.saw("b", a_snapshot("completed"))
        return wait

    def test_wait_goes_on_waiting(self) -> None:
        wait = self._asked("wait")

        assert wait.pause(START) == 30
        assert wait.open_ids == ["a"]

    def test_return_ends_the_wait_with_the_state(self) -> None:
        wait = self._asked("return")

        assert _end(wait, START) is None
        record = wait.report(START).records["a"]
        assert record is not None
        assert record["state"] == "waiting"

    def test_fail_ends_it_with_an_error(self) -> None:
        assert isinstance(_end(self._asked("fail"), START), TaskNeedsInputError)

    @pytest.mark.parametrize("on_waiting", ["return", "fail"])
    def test_others_that_still_run_are_waited_for_and_the_asking_one_may_go_on(self, on_waiting: str) -> None:
        wait = _wait("a", "b", on_waiting=on_waiting)
        wait.saw("a", a_snapshot("waiting"))
        wait.saw("b", a_snapshot("running"))

        assert wait.pause(START) == 30
        assert wait.open_ids == ["a", "b"]
        wait.saw("a", a_snapshot("completed"))
        wait.saw("b", a_snapshot("completed"))
        assert _end(wait, START) is None

    def test_a_look_that_failed_since_is_repeated_first(self) -> None:
        wait = _wait(on_waiting="return")
        wait.saw("t1", a_snapshot("waiting"))
        wait.failed("t1", RESET, START)

        assert wait.pause(START) == 30

    def test_an_asking_task_at_the_deadline_is_no_timeout_unless_it_was_waited_for(self) -> None:
        assert self._asked("return").report(START).timed_out is None
        late = _wait(deadline=START)
        late.saw("t1", a_snapshot("waiting"))

        assert late.report(START).timed_out == "timeout"


class TestUnknownWord:
    def test_it_is_reported_once_and_waited_through(self) -> None:
        wait = _wait("a", "b", deadline=START + 100)
        for task_id in ("a", "b", "a"):
            wait.saw(task_id, a_snapshot(TaskState.UNKNOWN, status="dreaming"))

        (note,) = wait.take_notes()
        assert note == (
            "Task a has status 'dreaming', which this provider does not know; "
            "waiting on as if it were running."
        )
        assert wait.pause(START) == 30
        assert isinstance(_end(wait, START + 100), WaitTimeoutError)

    def test_another_unknown_word_is_reported_too(self) -> None:
        wait = _wait()
        wait.saw("t1", a_snapshot(TaskState.UNKNOWN, status="dreaming"))
        wait.saw("t1", a_snapshot(TaskState.UNKNOWN, status="waking"))

        assert [note.split("'")[1] for note in wait.take_notes()] == ["dreaming", "waking"]


class TestPause:
    def test_it_is_the_interval(self) -> None:
        assert _wait(interval=5).pause(START + 10_000) == 5

    def test_a_service_is_not_asked_more_often_than_once_a_second(self) -> None:
        assert _wait(interval=0).pause(START) == 1

    @pytest.mark.parametrize(("waited", "pause"), [(0, 5), (4, 5), (20, 20), (60, 60), (10_000, 60)])
    def test_it_grows_with_the_time_waited_when_a_longest_one_is_given(
        self, waited: float, pause: float
    ) -> None:
        assert _wait(interval=5, max_interval=60).pause(START + waited) == pause

    def test_a_longest_one_below_the_interval_does_not_shorten_it(self) -> None:
        assert _wait(interval=30, max_interval=10).pause(START + 1000) == 30


class TestPolicy:
    @pytest.mark.parametrize(
        ("wrong", "name"),
        [
            ({"on_waiting": "explode"}, "on_waiting"),
            ({"max_failures": 0}, "max_poll_failures"),
            ({"interval": -1}, "poll_interval"),
            ({"not_found_grace": -1}, "not_found_grace"),
        ],
    )
    def test_what_cannot_be_done_is_refused_under_the_users_name_for_it(
        self, wrong: dict[str, Any], name: str
    ) -> None:
        with pytest.raises(ValueError, match=name):
            a_policy(**wrong)

    def test_defaults_wait_patiently(self) -> None:
        policy = WaitPolicy(started_at=START, interval=30)

        assert (policy.deadline, policy.on_waiting, policy.max_failures) == (None, "wait", 5)
        assert (policy.not_found_grace, policy.max_interval) == (90, None)


class TestNotes:
    def test_a_failed_look_is_told_with_its_count(self) -> None:
        wait = _wait(max_failures=2)
        wait.failed("t1", RESET, START)
        wait.failed("t1", RESET, START)

        assert wait.take_notes() == [
            "Task t1: a look failed (1 of 2 in a row): reset",
            "Task t1: giving up: reset",
        ]
        assert wait.take_notes() == []

    def test_a_rate_limit_is_told_without_a_count(self) -> None:
        wait = _wait()
        wait.failed("t1", _limited(), START)

        assert wait.take_notes() == ["Task t1: a look failed: HTTP 429: no."]

    def test_a_404_is_told_once_with_its_grace(self) -> None:
        wait = _wait(not_found_grace=90)
        wait.failed("t1", MISSING, START)
        wait.failed("t1", MISSING, START + 30)

        assert wait.take_notes() == ["Task t1 is not visible (yet); believed after 90 s: HTTP 404: no."]

    def test_a_404_that_is_believed_is_told_again(self) -> None:
        wait = _wait(not_found_grace=90)
        wait.failed("t1", MISSING, START)
        wait.failed("t1", MISSING, START + 90)

        assert wait.take_notes()[1:] == ["Task t1: giving up: HTTP 404: no."]


class TestSummary:
    @pytest.mark.parametrize(
        ("waited", "text"),
        [
            (0, "0 s"),
            (59.4, "59 s"),
            (59.6, "1 m"),
            (60, "1 m"),
            (150, "2 m 30 s"),
            (599, "9 m 59 s"),
            (630, "10 m"),
            (3599, "59 m"),
            (3600, "1 h 0 m"),
            (7380, "2 h 3 m"),
        ],
    )
    def test_one_task_is_told_with_time_and_next_look(self, waited: float, text: str) -> None:
        wait = _wait()
        wait.saw("t1", a_snapshot(url="https://x/t1"))

        assert wait.summary(START + waited, 30) == f"task t1 is running for {text}, next look in 30 s"

    def test_a_task_that_asks_is_told_with_its_place(self) -> None:
        wait = _wait()
        wait.saw("t1", a_snapshot("waiting", url="https://x/t1"))

        assert wait.summary(START, 30) == "task t1 is waiting for 0 s (https://x/t1), next look in 30 s"

    def test_many_are_counted_by_state(self) -> None:
        wait = _wait("a", "b", "c", "d", "e", max_failures=1)
        wait.saw("a", a_snapshot("running"))
        wait.saw("b", a_snapshot("running"))
        wait.failed("c", RESET, START)
        wait.failed("d", MISSING, START)

        assert wait.summary(START + 60, 90) == (
            "5 tasks after 1 m: 1 lost, 1 not seen, 1 not visible, 2 running; next look in 1 m 30 s"
        )


class TestFirstUrl:
    def test_it_is_the_first_tasks_that_has_one(self) -> None:
        wait = _wait("a", "b", "c")
        assert wait.first_url is None
        wait.saw("a", a_snapshot())
        wait.saw("c", a_snapshot(url="https://x/c"))

        assert wait.first_url == "https://x/c"
