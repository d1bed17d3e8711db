"""One poll loop for all waits on a connection: who joins, who leaves, who is told what, and when."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest

from remote_tasks_provider.core.polling import shared
from tests.core.build import START
from tests.core.fake_clock import settle
from tests.core.shared_poller import Log, World, play


@pytest.fixture(autouse=True)
def _no_gathering(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first look come at once, but where it is the matter."""
    if request.cls is not TestGathering:
        monkeypatch.setattr(shared, "GATHERING", 0.0)


class TestGathering:
    def test_first_poll_waits_a_moment_for_more_waits(self) -> None:
        async def story(world: World) -> None:
            waits = []
            for task_id in "abcd":
                waits.append(world.wait(task_id))
                await world.time.let_pass(0.05)
            await world.time.let_pass(1)
            await world.end(*waits)

        (run_plan,) = play(story).polls
        assert sorted(run_plan[1] + run_plan[2]) == ["a", "b", "c", "d"]

    def test_later_waits_are_polled_at_once(self) -> None:
        async def story(world: World) -> None:
            waits = [world.wait("a")]
            await world.time.let_pass(10)
            waits.append(world.wait("b"))
            await world.time.let_pass(0.01)
            assert world.asked == [(0.25, "a"), (10, "b")]
            await world.end(*waits)

        play(story)


class TestPollCycle:
    def test_waits_are_all_served_by_one_poll(self) -> None:
        async def story(world: World) -> None:
            waits = [world.wait(f"t{number}") for number in range(50)]
            await world.time.let_pass(31)
            assert world.asked == [
                (0, ",".join(sorted(world.words))),
                (30, ",".join(sorted(world.words))),
            ]
            world.words = dict.fromkeys(world.words, "completed")
            await world.time.let_pass(30)

            reports = await asyncio.gather(*waits)
            assert [report.outcome for report in reports] == ["completed"] * 50

        world = play(story)
        assert len(world.polls) == 3
        assert len(world.transports) == world.strategies == 1

    def test_task_of_many_waits_is_polled_once(self) -> None:
        async def story(world: World) -> None:
            waits = [world.wait("a"), world.wait("a", "b"), world.wait("b", "a", "b")]
            await world.time.let_pass(1)
            assert world.asked == [(0, "a,b")]
            await world.end(*waits)

        play(story)

    def test_waits_are_polled_with_the_most_impatient_one_and_never_later_than_they_ask(self) -> None:
        async def story(world: World) -> None:
            world.tells_free = False
            waits = [world.wait("quick", poll_interval=10), world.wait("slow", poll_interval=25)]
            await world.time.let_pass(51)
            assert world.asked == [
                (0, "quick,slow"),
                (10, "quick"),
                (20, "quick,slow"),
                (30, "quick"),
                (40, "quick,slow"),
                (50, "quick"),
            ]
            await world.end(*waits)

        play(story)

    def test_wait_served_for_free_is_not_polled_in_between(self) -> None:
        async def story(world: World) -> None:
            waits = [world.wait("quick", poll_interval=10), world.wait("slow", poll_interval=25)]
            await world.time.let_pass(101)
            assert {due for _, due in world.asked[1:]} == {"quick"}
            assert all(free == ["slow"] for _, _, free in world.polls[1:])
            world.words["slow"] = "completed"
            await world.time.let_pass(10)
            assert (await waits[1]).outcome == "completed"
            await world.end(*waits)

        play(story)

    def test_due_task_is_not_free_too(self) -> None:
        async def story(world: World) -> None:
            waits = [world.wait("a"), world.wait("a", "b", first_poll_in=20)]
            await world.time.let_pass(1)
            assert world.polls[0][1:] == (["a"], ["b"])
            await world.end(*waits)

        play(story)

    def test_first_poll_comes_when_requested(self) -> None:
        async def story(world: World) -> None:
            waits = [world.wait("a", first_poll_in=12), world.wait("b", first_poll_in=-5, poll_interval=1000)]
            world.tells_free = False
            await world.time.let_pass(20)
            assert world.asked == [(0, "b"), (12, "a")]
            await world.end(*waits)

        play(story)

    def test_finished_tasks_are_not_polled_again(self) -> None:
        async def story(world: World) -> None:
            wait = world.wait("a", "b")
            world.words["a"] = "completed"
            await world.time.let_pass(31)
            assert world.asked == [(0, "a,b"), (30, "b")]
            await world.end(wait)

        play(story)


class TestJoining:
    def test_wait_that_joins_during_a_pause_is_polled_at_once_and_then_with_the_others(self) -> None:
        async def story(world: World) -> None:
            world.tells_free = False
            first = world.wait("a")
            await world.time.let_pass(7)
            second = world.wait("b")
            await world.time.let_pass(60)
            assert world.asked == [(0, "a"), (7, "b"), (30, "a,b"), (60, "a,b")]
            await world.end(first, second)

        play(story)

    def test_waits_that_trickle_in_do_not_cost_a_poll_each(self) -> None:
        async def story(world: World) -> None:
            waits = []
            for number in range(100):
                waits.append(world.wait(f"t{number}", poll_interval=5))
                await world.time.let_pass(0.2)
            assert len(world.polls) <= 21
            await world.end(*waits)

        play(story)

    def test_wait_that_joins_during_a_poll_gets_the_next_one(self) -> None:
        async def story(world: World) -> None:
            world.takes = 6
            first = world.wait("a")
            await world.time.let_pass(2)
            second = world.wait("b")
            await world.time.let_pass(5)
            assert world.asked == [(0, "a"), (6, "b")]
            await world.end(first, second)

        play(story)

    def test_wait_that_becomes_due_during_a_poll_gets_the_next_one(self) -> None:
        async def story(world: World) -> None:
            world.tells_free = False
            world.takes = 40
            waits = [world.wait("a", poll_interval=300), world.wait("b", first_poll_in=31)]
            await world.time.let_pass(46)
            assert world.asked == [(0, "a"), (40, "b")]
            await world.end(*waits)

        play(story)

    def test_deadline_that_passes_during_a_foreign_poll_has_its_last_poll(self) -> None:
        async def story(world: World) -> None:
            world.tells_free = False
            world.takes = 4
            waits = [world.wait("a"), world.wait("b", first_poll_in=3, deadline=START + 3.5)]
            world.words["b"] = "completed"
            await world.time.let_pass(11)
            assert (await waits[1]).outcome == "completed"
            await world.end(*waits)

        play(story)

    def test_deadline_is_not_delayed_by_a_request_that_hangs(self) -> None:
        async def story(world: World) -> None:
            world.takes = 300
            waits = [world.wait("a", deadline=START + 3), world.wait("b", deadline=START + 60)]
            await world.time.let_pass(8.1)
            assert (await waits[0]).outcome == "timeout"
            await world.time.let_pass(57)
            assert (await waits[1]).outcome == "timeout"

        play(story)

    def test_deadline_of_a_late_wait_is_kept_although_others_end_later(self) -> None:
        async def story(world: World) -> None:
            world.takes = 300
            late = world.wait("a", deadline=START + 500)
            await world.time.let_pass(10)
            soon = world.wait("b", deadline=START + 20)
            await world.time.let_pass(15.1)
            assert (await soon).waited == pytest.approx(25)
            await world.end(late)

        play(story)

    def test_deadline_is_not_delayed_by_a_back_off(self) -> None:
        async def story(world: World) -> None:
            world.refusals = [(429, {"retry_after": "3600"})]
            wait = world.wait("a", deadline=START + 100)
            await world.time.let_pass(105.1)
            assert (await wait).outcome == "timeout"

        assert len(play(story).transports[0].sent_at) == 1

    def test_wait_joins_in_the_tick_in_which_the_last_one_finishes(self) -> None:
        async def story(world: World) -> None:
            world.words["a"] = "completed"
            first = world.wait("a")
            joined: list[asyncio.Task[Any]] = []
            first.add_done_callback(lambda _: joined.append(world.wait("b")))
            await world.time.let_pass(1)
            assert first.done()
            assert [due for _, due in world.asked] == ["a", "b"]
            assert world.open_transports == 1
            await world.end(*joined)

        play(story)

    def test_wait_joins_between_the_end_of_the_loop_and_the_last_leave(self) -> None:
        async def story(world: World) -> None:
            ended = asyncio.Event()

            async def late() -> None:
                await ended.wait()
                await world.join("b")

            joining = asyncio.ensure_future(late())
            world.metrics.on_end = ended.set
            world.words |= {"a": "completed", "b": "running"}
            await asyncio.gather(world.wait("a"), world.time.let_pass(40))
            assert [due for _, due in world.asked][:2] == ["a", "b"]
            assert world.strategies == len(world.transports) == 1
            world.metrics.on_end = lambda: None
            world.words["b"] = "completed"
            await world.time.let_pass(30)
            assert joining.done()

        play(story)

    @pytest.mark.parametrize("ticks", range(12))
    def test_leave_and_join_may_interleave_anyhow(self, ticks: int) -> None:
        async def story(world: World) -> None:
            world.words["a"] = "completed"
            first = world.wait("a")
            for _ in range(ticks):
                await asyncio.sleep(0)
            second = world.wait("b")
            await world.time.let_pass(40)
            assert first.result().outcome == "completed"
            assert not second.done()
            assert world.asked[-1] == (world.asked[-1][0], "b")
            world.words["b"] = "failed"
            await world.time.let_pass(31)
            assert (await second).outcome == "failed"

        assert len(play(story).polls) <= 4

    def test_new_poller_begins_once_all_have_left(self) -> None:
        async def story(world: World) -> None:
            for _ in range(3):
                wait = world.wait("a")
                await world.time.let_pass(1)
                assert world.open_transports == 1
                await world.end(wait)

        world = play(story)
        assert len(world.transports) == world.strategies == 3


class TestLeaving:
    def test_cancelled_wait_disappears_at_once(self) -> None:
        async def story(world: World) -> None:
            stays, leaves = world.wait("a"), world.wait("b")
            await world.time.let_pass(1)
            leaves.cancel()
            await world.time.let_pass(30)
            assert world.polls[-1][1:] == (["a"], [])
            assert leaves.cancelled()
            await world.end(stays)

        play(story)

    def test_wait_cancelled_during_a_poll_gets_no_result(self) -> None:
        async def story(world: World) -> None:
            log = Log()
            world.takes = 5
            stays, leaves = world.wait("a"), world.wait("b", log=log)
            await world.time.let_pass(2)
            leaves.cancel()
            await world.time.let_pass(10)
            assert log.infos == []
            await world.end(stays)

        play(story)

    @pytest.mark.parametrize("after", [2.0, 20.0], ids=["looking", "resting"])
    def test_last_cancelled_wait_closes_the_connections(self, after: float) -> None:
        async def story(world: World) -> None:
            world.takes = 5
            wait = world.wait("a")
            await world.time.let_pass(after)
            assert world.open_transports == 1
            wait.cancel()
            await settle()
            assert wait.cancelled()
            assert world.transports[0].closed == 1

        play(story)

    @pytest.mark.parametrize("ticks", range(12))
    def test_last_cancelled_wait_closes_the_connections_at_any_moment(self, ticks: int) -> None:
        async def story(world: World) -> None:
            world.good_key = "another"
            wait = world.wait("a")
            for _ in range(ticks):
                await asyncio.sleep(0)
            wait.cancel()
            await settle()
            assert wait.cancelled()
            assert all(transport.closed == 1 for transport in world.transports)

        play(story)

    def test_last_finished_wait_closes_the_connections(self) -> None:
        async def story(world: World) -> None:
            waits = [world.wait("a"), world.wait("b")]
            world.words["a"] = "completed"
            await world.time.let_pass(1)
            assert waits[0].done()
            assert world.open_transports == 1
            world.words["b"] = "completed"
            await world.time.let_pass(30)
            assert waits[1].done()
            assert world.transports[0].closed == 1

        play(story)

    def test_wait_cancelled_twice_still_closes_the_connections(self) -> None:
        async def story(world: World) -> None:
            wait = world.wait("a")
            await world.time.let_pass(1)
            wait.cancel()
            await asyncio.sleep(0)
            wait.cancel()
            await settle()
            assert wait.cancelled()

        play(story)

    def test_event_loop_shutdown_closes_the_connections(self) -> None:
        world = None

        async def run() -> None:
            nonlocal world
            world = World()
            world.wait("a")
            await world.time.let_pass(1)

        asyncio.run(run())
        assert world is not None
        assert world.open_transports == 0


class TestKeepingApart:
    def test_connections_do_not_mix(self) -> None:
        async def story(world: World) -> None:
            waits = [world.wait("a", conn_id="one"), world.wait("b", conn_id="two")]
            await world.time.let_pass(1)
            assert sorted(world.asked) == [(0, "a"), (0, "b")]
            assert world.open_transports == world.strategies == 2
            waits[0].cancel()
            await settle()
            assert world.open_transports == 1
            await world.end(*waits)

        play(story)

    def test_services_do_not_mix(self) -> None:
        async def story(world: World) -> None:
            other = replace(world.task_type, service=replace(world.service, name="Other"))
            waits = [world.wait("a"), world.wait("b", task_type=other)]
            await world.time.let_pass(1)
            assert sorted(world.asked) == [(0, "a"), (0, "b")]
            await world.end(*waits)

        play(story)

    def test_event_loops_do_not_mix(self) -> None:
        worlds: dict[int, World] = {}
        both = threading.Barrier(2, timeout=10)

        def live(number: int) -> None:
            async def story(world: World) -> None:
                worlds[number] = world
                wait = world.wait(f"t{number}")
                await world.time.let_pass(1)
                await asyncio.to_thread(both.wait)
                await world.time.let_pass(60)
                await asyncio.to_thread(both.wait)
                await world.end(wait)

            play(story)

        threads = [threading.Thread(target=live, args=(number,)) for number in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)

        assert {number: {due for _, due in world.asked} for number, world in worlds.items()} == {
            1: {"t1"},
            2: {"t2"},
        }
        assert [len(world.transports) for world in worlds.values()] == [1, 1]


class TestTaskTypes:
    def test_task_types_of_one_service_do_not_share_a_loop(self) -> None:
        async def story(world: World) -> None:
            messages = replace(world.task_type, label="Example message")
            waits = [
                world.wait("a"),
                world.wait("b", task_type=messages),
                world.wait("c", task_type=messages),
            ]
            await world.time.let_pass(1)
            assert sorted(run_plan[1] for run_plan in world.polls) == [["a"], ["b", "c"]]
            await world.end(*waits)

        play(story)
