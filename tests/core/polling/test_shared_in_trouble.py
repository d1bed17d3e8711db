"""One poll loop for all waits on a connection: when something goes wrong, and what it tells of itself."""

from __future__ import annotations

import asyncio
import contextvars
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from remote_tasks_provider.core.errors import ConnectionConfigError, ConnectionUnavailableError
from remote_tasks_provider.core.http.rate_limit import RateLimit
from remote_tasks_provider.core.polling import shared
from remote_tasks_provider.core.polling.metrics import REPORT_EVERY
from remote_tasks_provider.core.polling.tracker import PollTracker
from tests.core.build import START
from tests.core.fake_clock import Timekeeper, settle
from tests.core.shared_poller import Log, World, play


@pytest.fixture(autouse=True)
def _no_gathering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first look come at once."""
    monkeypatch.setattr(shared, "GATHERING", 0.0)


class TestErrors:
    @pytest.mark.filterwarnings("error")
    def test_bug_of_the_poller_fails_every_wait_loudly_and_the_next_gets_a_fresh_one(self) -> None:
        async def story(world: World) -> None:
            world.no_connection = ZeroDivisionError("oh")
            waits = [world.wait("a"), world.wait("b"), world.wait("c", first_poll_in=500)]
            await world.time.let_pass(1)
            assert [type(wait.exception()) for wait in waits] == [ZeroDivisionError] * 3
            assert world.open_transports == 0

            world.no_connection = None
            again = world.wait("a")
            await world.time.let_pass(1)
            assert world.strategies == 1
            assert world.open_transports == 1
            await world.end(again)

        play(story)

    def test_wait_cancelled_while_a_bug_ends_the_poller_is_just_cancelled(self) -> None:
        async def story(world: World) -> None:
            waits = [world.wait("a"), world.wait("b")]
            world.no_connection = ZeroDivisionError("oh")
            world.on_read = waits[0].cancel
            await world.time.let_pass(30)
            assert waits[0].cancelled()
            assert isinstance(waits[1].exception(), ZeroDivisionError)

        play(story)

    def test_wait_that_joins_while_a_bug_ends_the_poller_is_not_lost(self) -> None:
        async def story(world: World) -> None:
            world.no_connection = ZeroDivisionError("oh")
            first = world.wait("a")
            joined: list[asyncio.Task[Any]] = []

            def join(_: Any) -> None:
                world.no_connection = None
                joined.append(world.wait("b"))

            first.add_done_callback(join)
            await world.time.let_pass(1)
            assert isinstance(first.exception(), ZeroDivisionError)
            assert not joined[0].done()
            await world.end(*joined)

        play(story)

    def test_wait_that_joins_before_failed_waits_have_left_gets_a_fresh_poller(self) -> None:
        async def story(world: World) -> None:
            failed = asyncio.Event()

            async def late() -> None:
                await failed.wait()
                world.no_connection = None
                await world.join("b")

            joining = asyncio.ensure_future(late())
            world.words["b"] = "running"
            world.no_connection = ZeroDivisionError("oh")
            world.on_read = failed.set
            first = world.wait("a")
            await world.time.let_pass(1)
            assert isinstance(first.exception(), ZeroDivisionError)
            assert [due for _, due in world.asked] == ["b"]
            await world.end(joining)  # type: ignore[arg-type]

        play(story)

    def test_bug_of_a_strategy_is_trouble_that_may_pass(self) -> None:
        async def story(world: World) -> None:
            log = Log()
            waits = [world.wait("a", log=log), world.wait("b", outage_tolerance=60)]
            await world.time.let_pass(1)
            world.bug = ZeroDivisionError("oh")
            await world.time.let_pass(100)
            assert (await waits[1]).outcome == "error"
            assert "fault of this provider: ZeroDivisionError" in log.warnings[0]
            world.bug = None
            world.words["a"] = "completed"
            await world.time.let_pass(30)
            assert (await waits[0]).outcome == "completed"

        play(story)

    def test_bug_of_one_wait_ends_no_other(self, monkeypatch: pytest.MonkeyPatch) -> None:
        record_snapshot = PollTracker.record_snapshot

        def odd(tracker: PollTracker, task_id: str, snapshot: Any) -> None:
            if task_id == "a":
                raise ZeroDivisionError("oh")
            record_snapshot(tracker, task_id, snapshot)

        async def story(world: World) -> None:
            monkeypatch.setattr(PollTracker, "record_snapshot", odd)
            waits = [world.wait("a"), world.wait("b")]
            await world.time.let_pass(1)
            assert isinstance(waits[0].exception(), ZeroDivisionError)
            world.words["b"] = "completed"
            await world.time.let_pass(30)
            assert (await waits[1]).outcome == "completed"

        play(story)

    def test_log_that_fails_ends_no_other_wait(self) -> None:
        class Broken(Log):
            def info(self, event: str, *arguments: Any) -> None:
                raise OSError("no space left")

        async def story(world: World) -> None:
            waits = [world.wait("a", log=Broken()), world.wait("b")]
            await world.time.let_pass(1)
            assert isinstance(waits[0].exception(), OSError)
            world.words["b"] = "completed"
            await world.time.let_pass(30)
            assert (await waits[1]).outcome == "completed"

        play(story)

    def test_metrics_that_fail_cost_no_result_and_no_deadline(self) -> None:
        def fail() -> None:
            raise OSError("statsd")

        async def story(world: World) -> None:
            world.metrics.on_end = fail
            world.words["a"] = "completed"
            waits = [world.wait("a"), *[world.wait(one, deadline=START + 20) for one in ("b", "c")]]
            await world.time.let_pass(10)
            assert (await waits[0]).outcome == "completed"
            world.gate.clear()
            await world.time.let_pass(20)
            assert [(await wait).outcome for wait in waits[1:]] == ["timeout"] * 2
            world.gate.set()

        play(story)

    def test_connections_that_cannot_be_closed_end_no_wait_when_they_are_replaced(self) -> None:
        async def story(world: World) -> None:
            waits = [world.wait("a"), world.wait("b")]
            await world.time.let_pass(1)
            world.on_close = RuntimeError("already gone")
            world.good_key = world.key = "key 2"
            world.words |= {"a": "completed", "b": "completed"}
            await world.time.let_pass(30)
            assert [(await wait).outcome for wait in waits] == ["completed"] * 2

        play(story)

    def test_results_survive_connections_that_cannot_be_closed(self) -> None:
        async def story(world: World) -> None:
            world.words["a"] = "completed"
            world.on_close = RuntimeError("already gone")
            wait = world.wait("a")
            await world.time.let_pass(1)
            assert (await wait).outcome == "completed"

        play(story)

    def test_closed_event_loops_are_forgotten(self) -> None:
        async def story(world: World) -> None:
            assert len(shared._POLLERS) == 1

        async def left_open() -> None:
            World().wait("a")
            await settle()

        asyncio.run(left_open())
        asyncio.run(left_open())
        play(story)

    def test_unusable_connection_is_believed_when_it_has_stood_for_its_grace(self) -> None:
        async def story(world: World) -> None:
            world.no_connection = ConnectionConfigError("no password")
            waits = [world.wait("a"), world.wait("b", not_found_grace=300)]
            await world.time.let_pass(91)
            assert (await waits[0]).errors["a"]["message"] == "no password"
            world.no_connection = None
            world.words["b"] = "completed"
            await world.time.let_pass(31)
            assert (await waits[1]).outcome == "completed"

        assert len(play(story).polls) == 1

    def test_connection_that_cannot_be_read_is_trouble_judged_by_time(self) -> None:
        async def story(world: World) -> None:
            world.no_connection = ConnectionUnavailableError("the vault is sealed")
            waits = [world.wait("a", outage_tolerance=300), world.wait("b")]
            await world.time.let_pass(301)
            assert (await waits[0]).errors["a"]["type"] == "ConnectionUnavailableError"
            world.no_connection = None
            world.words["b"] = "completed"
            await world.time.let_pass(31)
            assert (await waits[1]).outcome == "completed"

        play(story)

    def test_impatient_wait_does_not_decide_about_the_patient_ones(self) -> None:
        async def story(world: World) -> None:
            world.no_answer = True
            slow = [world.wait(f"t{number}", poll_interval=60) for number in range(49)]
            quick = world.wait("quick", poll_interval=1)
            await world.time.let_pass(30)
            world.no_answer = False
            await world.time.let_pass(60)
            assert not any(wait.done() for wait in [*slow, quick])
            await world.end(*slow, quick)

        play(story)

    def test_changed_key_is_read_again(self) -> None:
        async def story(world: World) -> None:
            waits = [world.wait("a"), world.wait("b")]
            await world.time.let_pass(1)
            world.good_key = world.key = "key 2"
            world.words["b"] = "completed"
            await world.time.let_pass(30)
            assert (await waits[1]).outcome == "completed"
            assert [transport.closed for transport in world.transports] == [1, 0]
            await world.time.let_pass(30)
            assert len(world.transports) == 2
            await world.end(*waits)

        world = play(story)
        assert [at for at, _ in world.asked] == [0, 30, 30, 60]

    @pytest.mark.parametrize(
        "change",
        [{"key": "key 2"}, {"extras": {"max_attempts": 2}}, {"base_url": "https://other.example.com"}],
    )
    def test_changed_connection_is_noticed_while_the_old_one_works(self, change: dict[str, Any]) -> None:
        async def story(world: World) -> None:
            world.good_key = ""
            wait = world.wait("a")
            await world.time.let_pass(299)
            vars(world).update(change)
            await world.time.let_pass(40)
            assert world.strategies == 2
            assert [transport.closed for transport in world.transports] == [1, 0]
            await world.end(wait)

        world = play(story)
        assert world.reads == [0, 300]

    def test_task_of_the_new_account_is_not_missed_in_the_old_one(self) -> None:
        async def story(world: World) -> None:
            world.good_key = ""
            old = world.wait("a")
            await world.time.let_pass(10)
            world.key = "key 2"
            world.missing_for["key 1"] = {"b"}
            new = world.wait("b", not_found_grace=0)
            await world.time.let_pass(21)
            assert not new.done()
            await world.end(old, new)

        assert len(play(story).transports) == 2

    def test_404_of_the_new_account_is_not_believed_for_what_the_old_one_has_said(self) -> None:
        async def story(world: World) -> None:
            wait = world.wait("a")
            await world.time.let_pass(1)
            world.missing_for = {"key 1": {"a"}, "key 2": {"a"}}
            await world.time.let_pass(85)
            world.good_key = world.key = "key 2"
            await world.time.let_pass(60)
            assert not wait.done()
            world.missing_for = {}
            world.words["a"] = "completed"
            await world.time.let_pass(30)
            assert (await wait).outcome == "completed"

        play(story)

    def test_connection_that_cannot_be_read_again_is_used_as_it_was(self) -> None:
        async def story(world: World) -> None:
            wait = world.wait("a")
            await world.time.let_pass(299)
            world.no_connection = ConnectionUnavailableError("the vault is sealed")
            await world.time.let_pass(2000)
            world.words["a"] = "completed"
            await world.time.let_pass(31)
            assert (await wait).outcome == "completed"

        world = play(story)
        assert len(world.transports) == 1
        assert [read for read in world.reads if 290 < read < 500] == [300, 360, 420, 480]

    @pytest.mark.parametrize("status", [401, 403, 302, 400])
    def test_final_error_that_passes_within_its_grace_fails_no_wait(self, status: int) -> None:
        async def story(world: World) -> None:
            world.refusals = [(status, {})]
            waits = [world.wait(f"t{number}") for number in range(20)]
            await world.time.let_pass(1)
            world.words = dict.fromkeys(world.words, "completed")
            await world.time.let_pass(30)
            assert {(await wait).outcome for wait in waits} == {"completed"}

        play(story)

    def test_wrong_key_that_stands_fails_every_wait_after_its_grace(self) -> None:
        async def story(world: World) -> None:
            world.good_key = "another"
            waits = [world.wait(f"t{number}") for number in range(20)]
            await world.time.let_pass(89)
            assert not any(wait.done() for wait in waits)
            await world.time.let_pass(2)
            reports = await asyncio.gather(*waits)
            kinds = {error["type"] for report in reports for error in report.errors.values()}
            assert kinds == {"AuthenticationError"}
            assert {report.outcome for report in reports} == {"error"}

        world = play(story)
        assert [at for at, _ in world.asked] == world.reads[1:] == [0, 30, 60, 90]

    def test_retry_after_of_a_429_pauses_the_whole_poller(self) -> None:
        async def story(world: World) -> None:
            world.tells_free = False
            world.refusals = [(429, {"retry_after": "100"})]
            waits = [world.wait("a"), world.wait("b", first_poll_in=10)]
            await world.time.let_pass(99)
            assert world.transports[0].sent_at == [0]
            world.words = {"a": "completed", "b": "completed"}
            await world.time.let_pass(40)
            assert min(world.transports[0].sent_at[1:]) == 100
            assert [(await wait).outcome for wait in waits] == ["completed", "completed"]

        play(story)

    def test_worker_s_back_off_holds_in_the_triggerer(self) -> None:
        async def story(world: World) -> None:
            wait = world.wait("a", back_off=300)
            await world.time.let_pass(320)
            await world.end(wait)

        assert [at for at, _ in play(story).asked] == [300]

    def test_rate_limits_slow_the_poller_down(self) -> None:
        async def story(world: World) -> None:
            world.tells_free = False
            wait = world.wait("a", poll_interval=1)
            await world.time.let_pass(101)
            assert world.transports[0].sent_at == list(range(0, 101, 10))
            await world.end(wait)

        play(story, limits={"GET /tasks": RateLimit(1, seconds=10)})

    def test_outage_is_tolerated_for_so_long_as_each_wait_says(self) -> None:
        async def story(world: World) -> None:
            world.refusals = [(500, {})] * 5
            log = Log()
            waits = [world.wait("a", log=log), world.wait("b", outage_tolerance=60)]
            await world.time.let_pass(61)
            assert (await waits[1]).outcome == "error"
            assert [line.partition(" without")[0] for line in log.warnings] == [
                "Task a: the poll failed; tolerated for 900 s"
            ]
            world.words["a"] = "completed"
            await world.time.let_pass(100)
            assert (await waits[0]).outcome == "completed"

        play(story)

    def test_unchanged_result_ends_the_trouble(self) -> None:
        async def story(world: World) -> None:
            wait = world.wait("a", outage_tolerance=70)
            world.words["a"] = "unchanged"
            for _ in range(4):
                world.refusals = [(500, {})] * 2
                await world.time.let_pass(90)
            assert not wait.done()
            await world.end(wait)

        play(story)

    def test_uncovered_task_is_polled_once_an_interval(self) -> None:
        async def story(world: World) -> None:
            wait = world.wait("a", deadline=START + 100)
            del world.words["a"]
            await world.time.let_pass(101)
            assert (await wait).outcome == "timeout"

        assert [at for at, _ in play(story).asked] == [0, 30, 60, 90, 100]


class TestClocks:
    def test_wait_finishes_with_a_poll_at_its_deadline(self) -> None:
        async def story(world: World) -> None:
            wait = world.wait("a", deadline=START + 100)
            await world.time.let_pass(101)
            report = await wait
            assert (report.outcome, report.waited) == ("timeout", 100)

        assert [at for at, _ in play(story).asked] == [0, 30, 60, 90, 100]

    @pytest.mark.parametrize("deadline", [30, 60, 70, 300])
    @pytest.mark.parametrize("policy", [{}, {"max_poll_interval": 300.0}])
    def test_jitter_shortens_pauses_and_never_moves_the_poll_at_a_deadline(
        self, deadline: int, policy: dict[str, Any]
    ) -> None:
        async def story(world: World) -> None:
            wait = world.wait("a", deadline=START + deadline, **policy)
            await world.time.let_pass(deadline + 1)
            assert (await wait).outcome == "timeout"

        times = [at for at, _ in play(story, time=Timekeeper(spread=0.9)).asked]
        pauses = [after - before for before, after in pairwise(times)]
        assert times[-1] == pytest.approx(deadline, abs=1e-3)
        assert pauses[0] == pytest.approx(27)
        if not policy:
            assert pauses[:-1] == pytest.approx([27.0] * (len(pauses) - 1))

    def test_jitter_never_shortens_a_requested_back_off(self) -> None:
        async def story(world: World) -> None:
            world.refusals = [(503, {"retry_after": "50"})]
            wait = world.wait("a")
            await world.time.let_pass(60)
            assert [at for at, _ in world.asked] == [0, 50]
            await world.end(wait)

        play(story, time=Timekeeper(spread=0.9))

    def test_jitter_does_not_poll_twice_for_a_deadline(self) -> None:
        async def story(world: World) -> None:
            wait = world.wait("a", deadline=START + 20)
            await world.time.let_pass(25)
            await wait

        assert [at for at, _ in play(story, time=Timekeeper(spread=0.9)).asked] == [0, 20]

    @pytest.mark.parametrize("jump", [3600, -36_000])
    def test_clock_that_is_set_changes_neither_deadline_nor_interval(self, jump: int) -> None:
        async def story(world: World) -> None:
            world.refusals = [(503, {"retry_after": "40"})]
            wait = world.wait("a", deadline=START + 600)
            await world.time.let_pass(41)
            world.time.wall_offset += jump
            await world.time.let_pass(560)
            times = [at for at, _ in world.asked]
            pauses = [after - before for before, after in pairwise(times)]
            assert all(30 <= pause <= 40 for pause in pauses[:-1])
            assert times[-1] == 600
            assert (await wait).outcome == "timeout"
            assert (await wait).waited == 600

        play(story)

    def test_clock_set_back_does_not_prolong_the_grace_of_a_404(self) -> None:
        async def story(world: World) -> None:
            world.refusals = [(404, {})] * 50
            wait = world.wait("a", not_found_grace=90.0)
            await world.time.let_pass(31)
            world.time.wall_offset -= 36_000
            await world.time.let_pass(130)
            assert (await wait).outcome == "error"

        play(story)

    def test_clock_that_jumps_to_and_fro_causes_no_busy_loop(self) -> None:
        async def story(world: World) -> None:
            waits = [world.wait(f"t{number}", deadline=START + 10_000) for number in range(5)]
            for number in range(20):
                world.time.wall_offset += 7000 if number % 2 else -7000
                await world.time.let_pass(30)
            assert len(world.polls) <= 22
            await world.end(*waits)

        play(story)

    def test_interval_of_zero_is_a_second(self) -> None:
        async def story(world: World) -> None:
            wait = world.wait("a", poll_interval=0)
            await world.time.let_pass(60.5)
            assert len(world.polls) == 61
            await world.end(wait)

        play(story)


class TestLog:
    def test_lines_go_to_the_log_of_their_own_wait(self) -> None:
        async def story(world: World) -> None:
            logs = {task_id: Log() for task_id in "ab"}
            waits = [world.wait(task_id, log=log) for task_id, log in logs.items()]
            world.words["a"] = "unknown"
            await world.time.let_pass(1)
            assert logs["a"].infos == ["Task a is unknown for 0 s, next poll in 30 s"]
            assert "'unknown'" in logs["a"].warnings[0]
            assert logs["b"].infos == ["Task b is running for 0 s, next poll in 30 s"]
            assert logs["b"].warnings == []
            await world.end(*waits)

        play(story)

    def test_lines_are_written_in_the_context_of_their_own_wait(self) -> None:
        whose: contextvars.ContextVar[str] = contextvars.ContextVar("whose", default="nobody's")

        class ContextLog(Log):
            def info(self, event: str, *arguments: Any) -> None:
                self.infos.append(whose.get())

            def warning(self, event: str, *arguments: Any) -> None:
                self.warnings.append(whose.get())

        async def story(world: World) -> None:
            logs = {task_id: ContextLog() for task_id in "ab"}
            waits = []
            for task_id, log in logs.items():
                world.words[task_id] = "unknown"
                whose.set(task_id)
                waits.append(world.wait(task_id, log=log))
            await world.time.let_pass(1)
            assert {name: (log.infos, log.warnings) for name, log in logs.items()} == {
                name: ([name], [name]) for name in "ab"
            }
            await world.end(*waits)

        play(story)

    def test_poller_itself_logs_outside_the_context_of_a_wait(self) -> None:
        whose: contextvars.ContextVar[str] = contextvars.ContextVar("whose", default="nobody's")
        seen = []

        async def story(world: World) -> None:
            connect = world.connect

            async def noting(config: Any) -> Any:
                seen.append(whose.get())
                return await connect(config)

            world.connect = noting  # type: ignore[method-assign]
            whose.set("mine")
            wait = world.wait("a")
            await world.time.let_pass(1)
            await world.end(wait)

        play(story)
        assert seen == ["nobody's"]

    def test_unchanged_wait_is_logged_ever_more_rarely(self) -> None:
        async def story(world: World) -> None:
            log = Log()
            wait = world.wait("a", log=log, poll_interval=10)
            await world.time.let_pass(9_000)
            assert 10 < len(log.infos) < 30
            assert log.infos[1].startswith("Task a is running for 30 s")
            before = len(log.infos)
            world.words["a"] = "pending"
            await world.time.let_pass(10)
            assert len(log.infos) == before + 1
            await world.end(wait)

        play(story)


class TestMetrics:
    def test_poll_counts_calls_and_savings(self) -> None:
        async def story(world: World) -> None:
            waits = [world.wait("a", "b"), world.wait("c"), world.wait("d")]
            del world.words["d"]
            await world.time.let_pass(1)
            assert world.metrics.polls == [{"calls": 1, "saved": 2}]
            await world.end(*waits)

        play(story)

    def test_polls_are_counted_by_themselves_with_savings_of_at_least_zero(self) -> None:
        async def story(world: World) -> None:
            world.refusals = [(429, {"retry_after": "1"})]
            waits = [world.wait("a"), world.wait("b")]
            del world.words["a"], world.words["b"]
            await world.time.let_pass(31)
            assert world.metrics.polls == [{"calls": 1, "saved": 1}, {"calls": 1, "saved": 0}]
            await world.end(*waits)

        play(story)

    def test_requests_of_another_task_type_are_not_counted(self) -> None:
        async def story(world: World) -> None:
            world.takes = 5.0
            messages = replace(world.task_type, label="Example message")
            waits = [world.wait("a"), world.wait("b", task_type=messages)]
            await world.time.let_pass(100)
            sent = sum(len(transport.sent_at) for transport in world.transports)
            assert sum(poll["calls"] for poll in world.metrics.polls) == sent == 8
            await world.end(*waits)

        play(story)

    def test_outcomes_are_counted_once(self) -> None:
        async def story(world: World) -> None:
            waits = [world.wait(task_id, deadline=START + 45) for task_id in "abc"]
            world.words |= {"a": "completed", "b": "failed"}
            await world.time.let_pass(46)
            await asyncio.gather(*waits)

        assert sorted(play(story).metrics.ends) == [("completed", 0), ("failed", 0), ("timeout", 45)]

    def test_report_has_the_states_and_the_age_of_the_oldest_wait(self) -> None:
        async def story(world: World) -> None:
            waits = [world.wait("a", "b"), world.wait("c", started_at=START - 500), world.wait("d")]
            world.words |= {"b": "pending", "c": "completed"}
            del world.words["d"]
            await world.time.let_pass(1)
            (report,) = world.metrics.reports
            assert {state.value: count for state, count in report["states"].items()} == {
                "pending": 1,
                "running": 1,
                "waiting": 0,
                "unknown": 1,
            }
            assert (report["oldest"], report["unanswered"]) == (0, 0)
            await world.end(*waits)
            assert set(world.metrics.reports[-1]["states"].values()) == {0}

        play(story)

    def test_report_ages_while_the_service_refuses_and_the_poller_rests(self) -> None:
        async def story(world: World) -> None:
            wait = world.wait("a")
            await world.time.let_pass(1)
            world.refusals = [(429, {"retry_after": "100"})]
            await world.time.let_pass(120)
            ages = [(report["oldest"], report["unanswered"]) for report in world.metrics.reports]
            assert max(unanswered for _, unanswered in ages) > 100
            assert max(after[0] - before[0] for before, after in pairwise(ages)) <= REPORT_EVERY
            await world.end(wait)

        play(story)


class TestManyWaits:
    def test_collector_is_spared_once_and_gets_back_what_it_was_spared(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls: list[str] = []
        monkeypatch.setattr(shared, "_MANY_WAITS", 3)
        monkeypatch.setattr(shared.gc, "freeze", lambda: calls.append(f"freeze {len(waits)}"))
        monkeypatch.setattr(shared.gc, "unfreeze", lambda: calls.append("unfreeze"))
        waits: list[Any] = []

        async def story(world: World) -> None:
            for number in range(20):
                waits.append(world.wait(f"t{number}"))
                await settle()
            await world.end(*waits)

        play(story)

        assert calls == ["freeze 3", "unfreeze"]

    def test_jitter_is_drawn_once_for_all(self) -> None:
        async def story(world: World) -> None:
            draws = iter([1.0, 0.9, 0.95, 0.93, 1.0])
            world.spread = lambda: next(draws)
            waits = [world.wait(f"t{number}") for number in range(300)]
            await world.time.let_pass(110)
            await world.end(*waits)

        assert [at for at, _ in play(story).asked] == pytest.approx([0, 30, 57, 85.5])

    def test_delivery_of_results_yields_to_other_coroutines(self) -> None:
        turns = 0

        async def story(world: World) -> None:
            nonlocal turns
            waits = [world.wait(f"t{number}") for number in range(2000)]
            told = 0

            class Counting(Log):
                def info(self, event: str, *arguments: Any) -> None:
                    nonlocal told
                    told += 1

            log = Counting()
            late = [world.wait(f"u{number}", log=log) for number in range(2000)]

            async def others() -> None:
                nonlocal turns
                seen = 0
                while told < 2000:
                    await asyncio.sleep(0)
                    turns += told > seen
                    seen = told

            counting = asyncio.ensure_future(others())
            await world.time.let_pass(1)
            await counting
            await world.end(*waits, *late)

        play(story)
        assert turns >= 9
