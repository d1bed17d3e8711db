"""What a wait hands over, how long it pauses, and what it says."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from remote_tasks_provider.core.errors import TaskNeedsInputError, WaitTimeoutError
from remote_tasks_provider.core.polling.strategy import PollResult, Unchanged
from remote_tasks_provider.core.polling.tracker import PollTracker
from remote_tasks_provider.core.states import TaskState
from tests.core.build import START, a_policy, a_snapshot
from tests.core.trackers import BROKEN, FORBIDDEN, MISSING, RESET, a_tracker, failure_of, limited


class TestSeen:
    def test_tracker_that_was_not_answered_has_seen_nothing(self) -> None:
        tracker = a_tracker("t1")
        tracker.update({"t1": RESET}, START)
        assert tracker.seen is None
        tracker.update({"t1": Unchanged.UNCHANGED}, START)

        assert tracker.seen is None

    def test_seen_is_the_last_answer_and_when_it_came(self) -> None:
        tracker = a_tracker("t1")
        tracker.update({"t1": a_snapshot(state=TaskState.RUNNING, credit_usage=7)}, START)
        tracker.update({"t1": RESET}, START + 30)

        assert tracker.seen == {"state": "running", "credits": 7, "at": START}
        tracker.update({"t1": Unchanged.UNCHANGED}, START + 60)
        assert tracker.seen == {"state": "running", "credits": 7, "at": START + 60}

    def test_seen_of_several_tasks_is_the_state_that_most_needs_a_look_and_what_all_cost(self) -> None:
        tracker = a_tracker("a", "b", "c", "d")
        states = {
            "a": a_snapshot(state=TaskState.COMPLETED, credit_usage=5),
            "b": a_snapshot(state=TaskState.WAITING, credit_usage=2),
            "c": a_snapshot(state=TaskState.RUNNING),
        }
        tracker.update(states, START)

        assert tracker.seen == {"state": "waiting", "credits": 7, "at": START}

    def test_seen_has_no_credits_where_the_service_names_none(self) -> None:
        tracker = a_tracker("t1")
        tracker.update({"t1": a_snapshot(state=TaskState.PENDING)}, START)

        assert tracker.seen == {"state": "pending", "credits": None, "at": START}


class TestCheckpoint:
    def test_checkpoint_holds_only_trouble(self) -> None:
        tracker = a_tracker("fine", "failing", "missing", "new", "limited")
        tracker.record_snapshot("fine", a_snapshot())
        tracker.record_error("failing", RESET, START)
        tracker.record_error("missing", MISSING, START + 1)
        tracker.record_error("limited", limited(), START + 1)

        assert tracker.checkpoint() == [
            {"trouble_since": START, "doubt": None, "doubt_since": None, "tasks": [[1, 2]]},
            {
                "trouble_since": START + 1,
                "doubt": "NotFoundError",
                "doubt_since": START + 1,
                "tasks": [[2, 3]],
            },
        ]

    def test_checkpoint_without_trouble_is_empty(self) -> None:
        tracker = a_tracker()
        assert tracker.checkpoint() == []
        tracker.record_snapshot("t1", a_snapshot())

        assert tracker.checkpoint() == []

    def test_outage_of_all_tasks_is_one_line(self) -> None:
        ids = [f"task-{number}" for number in range(5000)]
        tracker = a_tracker(*ids)
        tracker.update(dict.fromkeys(ids, RESET), START)

        assert tracker.checkpoint() == [
            {"trouble_since": START, "doubt": None, "doubt_since": None, "tasks": [[0, 5000]]}
        ]

    def test_troubles_find_their_tasks_again(self) -> None:
        ids = ["a", "b", "a", "c", "d", "e"]
        tracker = a_tracker(*ids, outage_tolerance=900, not_found_grace=90)
        for task_id in ("a", "c", "d"):
            tracker.record_error(task_id, RESET, START)
        tracker.record_error("e", MISSING, START)
        checkpoint = json.loads(json.dumps(tracker.checkpoint()))

        assert [entry["tasks"] for entry in checkpoint] == [[[0, 1], [2, 4]], [[4, 5]]]
        resumed = a_tracker(*ids, outage_tolerance=900, not_found_grace=90, checkpoint=checkpoint)
        assert resumed.checkpoint() == checkpoint
        assert resumed.state == "3 in trouble, 1 not seen, 1 not visible"
        resumed.update(dict.fromkeys(ids, RESET), START + 900)
        assert resumed.unfinished_ids == ["b"]

    def test_lost_task_is_polled_once_more_and_lost_again(self) -> None:
        tracker = a_tracker(outage_tolerance=100)
        tracker.record_error("t1", RESET, START)
        tracker.record_error("t1", RESET, START + 100)
        resumed = a_tracker(outage_tolerance=100, checkpoint=tracker.checkpoint())

        assert resumed.unfinished_ids == ["t1"]
        resumed.record_error("t1", RESET, START + 100)
        assert resumed.pause(START) is None

    def test_earlier_form_is_still_read(self) -> None:
        checkpoint = {
            "failing": {"failures": 4, "missing_since": None},
            "missing": {"failures": 0, "missing_since": START},
            "another": {"failures": 0, "missing_since": START},
        }
        tracker = a_tracker("failing", "missing", checkpoint=checkpoint, not_found_grace=90)
        assert [(entry["doubt_since"], entry["tasks"]) for entry in tracker.checkpoint()] == [
            (START, [[1, 2]])
        ]
        tracker.update({"failing": MISSING, "missing": MISSING}, START + 90)

        assert tracker.unfinished_ids == ["failing"]


class TestOnWaiting:
    def _asked(self, on_waiting: str) -> PollTracker:
        tracker = a_tracker("a", "b", on_waiting=on_waiting)
        tracker.record_snapshot("a", a_snapshot("waiting"))
        tracker.record_snapshot("b", a_snapshot("completed"))
        return tracker

    def test_wait_continues_on_a_waiting_task(self) -> None:
        tracker = self._asked("wait")

        assert tracker.pause(START) == 30
        assert tracker.unfinished_ids == ["a"]

    def test_return_finishes_the_wait_with_the_state(self) -> None:
        tracker = self._asked("return")

        assert failure_of(tracker, START) is None
        record = tracker.result(START).records["a"]
        assert record is not None
        assert record["state"] == "waiting"

    def test_fail_finishes_the_wait_with_an_error(self) -> None:
        assert isinstance(failure_of(self._asked("fail"), START), TaskNeedsInputError)

    @pytest.mark.parametrize("on_waiting", ["return", "fail"])
    def test_waiting_task_may_continue_while_others_run(self, on_waiting: str) -> None:
        tracker = a_tracker("a", "b", on_waiting=on_waiting)
        tracker.record_snapshot("a", a_snapshot("waiting"))
        tracker.record_snapshot("b", a_snapshot("running"))

        assert tracker.pause(START) == 30
        assert tracker.unfinished_ids == ["a", "b"]
        tracker.record_snapshot("a", a_snapshot("completed"))
        tracker.record_snapshot("b", a_snapshot("completed"))
        assert failure_of(tracker, START) is None

    def test_unanswered_question_ends_the_wait(self) -> None:
        tracker = a_tracker(waiting_timeout=3600)
        asked = a_snapshot("waiting", url="https://example.com/t1")
        tracker.update({"t1": asked}, START + 100)
        tracker.update({"t1": Unchanged.UNCHANGED}, START + 100 + 3599)
        assert tracker.unfinished_ids == ["t1"]
        tracker.update({"t1": Unchanged.UNCHANGED}, START + 100 + 3600)

        error = failure_of(tracker, START + 3700)

        assert isinstance(error, TaskNeedsInputError)
        words = ("t1", "https://example.com/t1", "waiting_timeout (3600 s)", "clear the Airflow task")
        assert all(word in str(error) for word in words)
        assert not error.retry_helps

    def test_question_is_as_old_as_the_service_says(self) -> None:
        updated_at = datetime.fromtimestamp(START + 100, UTC)
        tracker = a_tracker(waiting_timeout=3600)

        tracker.update({"t1": a_snapshot("waiting", updated_at=updated_at)}, START + 3700)

        assert isinstance(failure_of(tracker, START + 3700), TaskNeedsInputError)

    def test_question_from_before_the_wait_has_its_whole_time(self) -> None:
        updated_at = datetime.fromtimestamp(START - 90_000, UTC)
        tracker = a_tracker(waiting_timeout=3600)

        tracker.update({"t1": a_snapshot("waiting", updated_at=updated_at)}, START)

        assert tracker.unfinished_ids == ["t1"]

    def test_answered_question_ends_no_wait(self) -> None:
        tracker = a_tracker(waiting_timeout=3600)
        for at, state in ((0, "waiting"), (3000, "running"), (3500, "waiting"), (7000, "waiting")):
            tracker.update({"t1": a_snapshot(state)}, START + at)

        assert tracker.unfinished_ids == ["t1"]

    @pytest.mark.parametrize("policy", [{}, {"waiting_timeout": 3600, "on_waiting": "return"}])
    def test_question_may_stand_for_any_time(self, policy: dict[str, Any]) -> None:
        tracker = a_tracker(**policy)
        tracker.update({"t1": a_snapshot("waiting")}, START)
        tracker.update({"t1": Unchanged.UNCHANGED}, START + 1e6)

        assert tracker.unfinished_ids == ["t1"]

    def test_question_is_reported_once(self) -> None:
        tracker = a_tracker(waiting_timeout=3600)
        tracker.update({"t1": MISSING}, START)
        tracker.take_warnings()
        for at in (1, 2, 3):
            tracker.update({"t1": a_snapshot("waiting")}, START + at)

        (warning,) = tracker.take_warnings()
        assert "waits for a person" in warning
        assert "given up at" in warning

    def test_failed_poll_is_repeated_before_the_return(self) -> None:
        tracker = a_tracker(on_waiting="return")
        tracker.record_snapshot("t1", a_snapshot("waiting"))
        tracker.record_error("t1", RESET, START)

        assert tracker.pause(START) == 30

    def test_waiting_task_at_the_deadline_is_a_timeout_only_under_wait(self) -> None:
        assert self._asked("return").result(START).timed_out is None
        late = a_tracker(deadline=START)
        late.record_snapshot("t1", a_snapshot("waiting"))

        assert late.result(START).timed_out == "timeout"


class TestUnknownWord:
    def test_unknown_word_is_reported_once_and_waited_through(self) -> None:
        tracker = a_tracker("a", "b", deadline=START + 100)
        for task_id in ("a", "b", "a"):
            tracker.record_snapshot(task_id, a_snapshot(TaskState.UNKNOWN, status="dreaming"))

        (note,) = tracker.take_warnings()
        assert note == (
            "Task a has status 'dreaming', which this provider does not know; "
            "the wait continues as if it were running."
        )
        assert tracker.pause(START) == 30
        assert isinstance(failure_of(tracker, START + 100), WaitTimeoutError)

    def test_second_unknown_word_is_reported_too(self) -> None:
        tracker = a_tracker()
        tracker.record_snapshot("t1", a_snapshot(TaskState.UNKNOWN, status="dreaming"))
        tracker.record_snapshot("t1", a_snapshot(TaskState.UNKNOWN, status="waking"))

        assert [note.split("'")[1] for note in tracker.take_warnings()] == ["dreaming", "waking"]


class TestPause:
    def test_pause_is_the_interval(self) -> None:
        assert a_tracker(poll_interval=5).pause(START + 10_000) == 5

    def test_pause_is_at_least_a_second(self) -> None:
        assert a_tracker(poll_interval=0).pause(START) == 1

    @pytest.mark.parametrize(("waited", "pause"), [(0, 5), (4, 5), (20, 20), (60, 60), (10_000, 60)])
    def test_pause_grows_up_to_the_longest_interval(self, waited: float, pause: float) -> None:
        assert a_tracker(poll_interval=5, max_poll_interval=60).pause(START + waited) == pause

    def test_longest_interval_below_the_interval_is_ignored(self) -> None:
        assert a_tracker(poll_interval=30, max_poll_interval=10).pause(START + 1000) == 30


class TestWarnings:
    def test_failed_poll_is_logged_once_with_its_tolerance(self) -> None:
        tracker = a_tracker(outage_tolerance=900)
        for second in (0, 100, 900):
            tracker.record_error("t1", RESET, START + second)

        assert tracker.take_warnings() == [
            "Task t1: the poll failed; tolerated for 900 s without a good answer: reset",
            "Task t1: giving up: reset",
        ]
        assert tracker.take_warnings() == []

    def test_rate_limit_is_logged_as_no_failure(self) -> None:
        tracker = a_tracker()
        tracker.record_error("t1", limited(), START)
        tracker.record_error("t1", limited(), START + 30)

        assert tracker.take_warnings() == ["Task t1: not polled, which is no failure: HTTP 429: no."]

    def test_missing_task_is_logged_once_with_its_grace(self) -> None:
        tracker = a_tracker(not_found_grace=90)
        tracker.record_error("t1", MISSING, START)
        tracker.record_error("t1", MISSING, START + 30)

        assert tracker.take_warnings() == ["Task t1 is not visible (yet); believed after 90 s: HTTP 404: no."]

    def test_doubtful_error_is_logged_with_the_grace(self) -> None:
        tracker = a_tracker(not_found_grace=90)
        tracker.record_error("t1", FORBIDDEN, START)

        assert tracker.take_warnings() == ["Task t1: the poll failed; believed after 90 s: HTTP 401: no."]

    def test_change_of_the_kind_is_logged(self) -> None:
        tracker = a_tracker()
        for error in (RESET, RESET, BROKEN, BROKEN, MISSING, RESET):
            tracker.record_error("t1", error, START)

        assert len(tracker.take_warnings()) == 4

    def test_trouble_that_comes_again_is_logged_again(self) -> None:
        tracker = a_tracker()
        for _ in range(2):
            tracker.record_error("t1", RESET, START)
            tracker.record_snapshot("t1", a_snapshot())

        assert len(tracker.take_warnings()) == 2

    def test_rate_limit_that_comes_again_after_unchanged_is_logged_again(self) -> None:
        tracker = a_tracker()
        for _ in range(2):
            tracker.update({"t1": limited()}, START)
            tracker.update({"t1": Unchanged.UNCHANGED}, START)

        assert len(tracker.take_warnings()) == 2

    @pytest.mark.parametrize(("tasks", "last"), [(10, "Task t9"), (11, "and 1 more"), (500, "and 490 more")])
    def test_outage_of_many_tasks_names_ten(self, tasks: int, last: str) -> None:
        ids = [f"t{number}" for number in range(tasks)]
        tracker = a_tracker(*ids)
        tracker.update(dict.fromkeys(ids, RESET), START)
        warnings = tracker.take_warnings()

        assert warnings[9].startswith("Task t9:")
        assert len(warnings) == min(tasks, 11)
        assert warnings[-1].startswith(last)


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
    def test_single_task_is_described_with_time_and_next_poll(self, waited: float, text: str) -> None:
        tracker = a_tracker()
        tracker.record_snapshot("t1", a_snapshot(url="https://x/t1"))

        assert tracker.summary(START + waited, 30) == f"Task t1 is running for {text}, next poll in 30 s"

    def test_waiting_task_is_described_with_its_url(self) -> None:
        tracker = a_tracker()
        tracker.record_snapshot("t1", a_snapshot("waiting", url="https://x/t1"))

        assert tracker.summary(START, 30) == "Task t1 is waiting for 0 s (https://x/t1), next poll in 30 s"

    def test_tasks_are_called_what_their_type_is_called(self) -> None:
        one, two = (PollTracker(ids, a_policy(), label="QStash message") for ids in (["m1"], ["m1", "m2"]))
        one.record_error("m1", RESET, START)

        assert one.summary(START, 30).startswith("QStash message m1 is in trouble")
        assert two.summary(START, 30).startswith("2 QStash messages after 0 s: 2 not seen")
        assert [text.split(":")[0] for text in one.take_warnings()] == ["QStash message m1"]

    def test_several_tasks_are_counted_by_state(self) -> None:
        tracker = a_tracker("a", "b", "c", "d", "e", "f", outage_tolerance=900)
        tracker.record_snapshot("a", a_snapshot("running"))
        tracker.record_snapshot("b", a_snapshot("running"))
        tracker.record_error("c", RESET, START - 900)
        tracker.record_error("c", RESET, START)
        tracker.record_error("d", MISSING, START)
        tracker.record_error("f", FORBIDDEN, START)

        assert tracker.summary(START + 60, 90) == (
            "6 Tasks after 1 m: 1 given up, 1 in trouble, 1 not seen, 1 not visible, 2 running; "
            "next poll in 1 m 30 s"
        )


class TestFirstUrl:
    def test_first_url_is_that_of_the_first_task_with_one(self) -> None:
        tracker = a_tracker("a", "b", "c")
        assert tracker.first_url is None
        tracker.record_snapshot("a", a_snapshot())
        tracker.record_snapshot("c", a_snapshot(url="https://x/c"))

        assert tracker.first_url == "https://x/c"


class TestStretchedInterval:
    """While bells come, a wait is polled less often, unless only polls can end it in time."""

    def test_interval_of_answered_tasks_is_stretched(self) -> None:
        tracker = PollTracker(["t1"], a_policy(poll_interval=30))
        tracker.update({"t1": a_snapshot("running")}, START)

        assert tracker.interval(START, 300) == 300
        assert tracker.pause(START, stretched=300) == 300

    def test_interval_that_is_longer_stays(self) -> None:
        tracker = PollTracker(["t1"], a_policy(poll_interval=400))
        tracker.update({"t1": a_snapshot("running")}, START)

        assert tracker.interval(START, 300) == 400

    def test_finished_task_does_not_hinder(self) -> None:
        tracker = PollTracker(["t1", "t2"], a_policy(poll_interval=30))
        tracker.update({"t1": a_snapshot("running"), "t2": a_snapshot("failed", "t2")}, START)

        assert tracker.interval(START, 300) == 300

    @pytest.mark.parametrize(
        ("result", "policy"),
        [
            (None, {}),
            (a_snapshot("waiting"), {}),
            (a_snapshot("running"), {"max_credits": 100}),
            (MISSING, {}),
            (RESET, {}),
        ],
        ids=["not_seen", "waits_for_a_person", "may_cost_no_more", "not_found", "no_answer"],
    )
    def test_interval_is_not_stretched_where_only_polls_can_end_the_wait(
        self, result: PollResult | None, policy: dict[str, Any]
    ) -> None:
        tracker = PollTracker(["t1"], a_policy(poll_interval=30, **policy))
        tracker.update({} if result is None else {"t1": result}, START)

        assert tracker.interval(START, 300) == 30
