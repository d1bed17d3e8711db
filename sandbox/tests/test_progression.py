from __future__ import annotations

import pytest

from remote_tasks_sandbox.clock import ManualClock, WallClock
from remote_tasks_sandbox.progression import Timeline, parse_script


class TestScript:
    def test_spelling_of_a_step_is_understood(self):
        raw = ["a", ["b"], ("c", 1), {"status": "d", "seconds": 2}, {"status": "e"}]
        assert parse_script(raw) == (("a", None), ("b", None), ("c", 1.0), ("d", 2.0), ("e", None))

    @pytest.mark.parametrize(
        "raw", [[], "a", [""], [[]], [None], [["a", "1"]], [["a", True]], [["a", 1, 2]]], ids=str
    )
    def test_step_of_another_form_is_refused(self, raw):
        with pytest.raises(ValueError, match=r"step|script"):
            parse_script(raw)


class TestTimeline:
    def test_step_without_length_is_passed_but_remembered(self):
        timeline = Timeline([("running", 0), ("completed", None)], now=100.0)
        assert timeline.word(100.0) == "completed"
        assert timeline.visited(timeline.index(100.0)) == [(100.0, "running"), (100.0, "completed")]

    def test_first_status_may_have_begun_earlier(self):
        timeline = Timeline([("running", 5), ("completed", None)], now=100.0, began_at=40.0)
        assert timeline.since(100.0) == 40.0
        assert timeline.next_change(100.0) == 105.0

    def test_new_script_forgets_what_was_to_come(self):
        timeline = Timeline([("running", 5), ("completed", None)], now=100.0)
        timeline.run([("pending", None)], 102.0)
        assert timeline.word(200.0) == "pending"
        assert timeline.next_change(200.0) is None

    def test_bad_script_changes_nothing(self):
        timeline = Timeline([("running", 5), ("completed", None)], now=100.0)
        with pytest.raises(ValueError, match="last one"):
            timeline.run([("a", None), ("b", None)], 101.0)
        assert timeline.word(105.0) == "completed"

    def test_seconds_mean_nothing_when_going_by_reads(self):
        timeline = Timeline([("running", None), ("completed", 1)], now=100.0, advance_after_reads=1)
        assert (timeline.word(999.0), timeline.next_word(999.0), timeline.reads_left()) == (
            "running",
            "completed",
            1,
        )
        timeline.note_read(999.0)
        assert (timeline.word(999.0), timeline.next_word(999.0), timeline.reads_left()) == (
            "completed",
            None,
            None,
        )

    def test_word_that_holds_may_last_for_ever_before_others(self):
        script = [("running", 5), ("waiting", None), ("running", 3), ("stopped", None)]
        timeline = Timeline(script, now=100.0, holds=frozenset({"waiting"}))
        assert (timeline.word(9999.0), timeline.next_change(9999.0)) == ("waiting", None)
        timeline.go_on(["unused"], 9999.0)
        assert (timeline.word(9999.0), timeline.word(10001.0), timeline.word(10002.0)) == (
            "running",
            "running",
            "stopped",
        )

    def test_go_on_begins_the_next_step_before_its_time(self):
        timeline = Timeline([("waiting", 50), ("running", 5), ("stopped", None)], now=100.0)
        timeline.go_on(["unused"], 110.0)
        assert (timeline.word(110.0), timeline.next_change(110.0)) == ("running", 115.0)

    def test_go_on_without_a_next_step_takes_the_default(self):
        timeline = Timeline(["waiting"], now=100.0)
        timeline.go_on([("running", 2), "stopped"], 110.0)
        assert (timeline.word(110.0), timeline.next_change(110.0)) == ("running", 112.0)

    def test_go_on_by_reads_takes_the_next_word(self):
        timeline = Timeline(["waiting", "running", "stopped"], now=100.0, advance_after_reads=2)
        timeline.go_on(["unused"], 100.0)
        assert (timeline.word(100.0), timeline.next_word(100.0), timeline.reads_left()) == (
            "running",
            "stopped",
            2,
        )

    def test_new_script_forgets_what_was_held_back(self):
        holds = frozenset({"waiting"})
        timeline = Timeline([("waiting", None), ("failed", None)], now=100.0, holds=holds)
        timeline.run([("waiting", None)], 101.0)
        timeline.go_on(["stopped"], 102.0)
        assert timeline.word(102.0) == "stopped"


class TestClock:
    def test_wall_clock_can_be_advanced_and_set_right_again(self):
        clock = WallClock()
        began = clock.now()
        clock.advance(3600)
        assert 3600 <= clock.now() - began < 3660
        clock.reset()
        assert clock.now() - began < 60

    @pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
    def test_time_goes_forward_by_finite_steps(self, seconds):
        with pytest.raises(ValueError, match="forward"):
            ManualClock().advance(seconds)
