"""A bell lets the shared poller poll at once; everything else stays as it is without one."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from remote_tasks_provider.core.errors import ConnectionUnavailableError
from remote_tasks_provider.core.http.rate_limit import RateLimit
from remote_tasks_provider.core.polling import shared
from tests.core.shared_poller import World, play

PUSH = {"push": True}


@pytest.fixture(autouse=True)
def _no_gathering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first poll come at once."""
    monkeypatch.setattr(shared, "GATHERING", 0.0)


def moments(world: World) -> list[float]:
    return [moment for moment, _ in world.asked]


class TestBells:
    def test_bell_polls_for_every_wait_at_once(self) -> None:
        async def story(world: World) -> None:
            world.extras, world.tells_free = PUSH, False
            waits = [world.wait("a", poll_interval=60), world.wait("b", poll_interval=3600)]
            await world.time.let_pass(10)
            world.words["b"] = "completed"
            world.bells.ring()
            await world.time.let_pass(0.01)
            assert world.asked == [(0, "a,b"), (10, "a,b")]
            assert (await waits[1]).outcome == "completed"
            await world.end(*waits)

        assert play(story).metrics.bells == 1

    def test_bell_that_shows_nothing_is_followed_by_two_polls(self) -> None:
        async def story(world: World) -> None:
            world.extras = PUSH
            wait = world.wait("a", poll_interval=60)
            await world.time.let_pass(10)
            world.bells.ring()
            await world.time.let_pass(30)
            assert moments(world) == [0, 10, 15, 30]
            await world.end(wait)

        play(story)

    def test_bell_that_shows_a_change_is_followed_by_one_poll_for_what_comes_late(self) -> None:
        async def story(world: World) -> None:
            world.extras = PUSH
            waits = [world.wait("a", poll_interval=60), world.wait("late", poll_interval=60)]
            await world.time.let_pass(10)
            world.words["a"] = "completed"
            world.bells.ring()
            await world.time.let_pass(10)
            world.words["late"] = "completed"
            await world.time.let_pass(11)
            assert moments(world) == [0, 10, 30]
            assert [(await wait).outcome for wait in waits] == ["completed", "completed"]

        play(story)

    def test_flood_of_bells_polls_every_two_seconds_at_most(self) -> None:
        async def story(world: World) -> None:
            world.extras = PUSH
            wait = world.wait("a", poll_interval=60)
            await world.time.let_pass(10)
            for _ in range(99):
                world.bells.ring()
                await world.time.let_pass(0.1)
            assert moments(world) == [0, 10, 12, 14, 16, 18]
            await world.end(wait)

        play(story)

    def test_bells_keep_the_rate_limit(self) -> None:
        async def story(world: World) -> None:
            world.extras = PUSH
            wait = world.wait("a", poll_interval=60)
            await world.time.let_pass(5)
            for _ in range(110):
                world.bells.ring()
                await world.time.let_pass(1)
            sent = [moment for transport in world.transports for moment in transport.sent_at]
            assert len([moment for moment in sent if 5 <= moment < 65]) <= 10
            await world.end(wait)

        play(story, limits={"GET /tasks": RateLimit(10)})

    def test_bell_waits_for_as_long_as_the_service_asked(self) -> None:
        async def story(world: World) -> None:
            world.extras = PUSH
            wait = world.wait("a", poll_interval=60)
            await world.time.let_pass(1)
            waits = [wait, world.wait("b", back_off=30, first_poll_in=30, poll_interval=60)]
            world.bells.ring()
            await world.time.let_pass(29)
            assert moments(world) == [0]
            await world.time.let_pass(2)
            assert moments(world) == [0, 31]
            await world.end(*waits)

        play(story)

    def test_bell_during_a_poll_is_followed_by_another(self) -> None:
        async def story(world: World) -> None:
            world.extras = PUSH
            wait = world.wait("a", poll_interval=60)
            await world.time.let_pass(10)
            world.takes = 3
            world.bells.ring()
            await world.time.let_pass(1)
            world.bells.ring()
            await world.time.let_pass(2.5)
            assert moments(world)[:3] == [0, 10, 13]
            await world.end(wait)

        play(story)

    def test_note_that_was_there_before_costs_one_poll(self) -> None:
        async def story(world: World) -> None:
            world.extras, world.bells.baseline = PUSH, True
            wait = world.wait("a", poll_interval=60, first_poll_in=57)
            await world.time.let_pass(59)
            assert moments(world) == [0]
            await world.end(wait)

        assert play(story).metrics.bells == 0


class TestJoining:
    def test_bell_that_rang_before_the_wait_began_is_not_lost(self) -> None:
        async def story(world: World) -> None:
            world.extras = PUSH
            waits = [world.wait("a", poll_interval=60)]
            await world.time.let_pass(100)
            # A worker polls "b" at 100, which ends at 101; the bell rings; the wait joins at 103.
            await world.time.let_pass(1)
            world.words["b"] = "completed"
            world.bells.ring()
            await world.time.let_pass(2)
            waits.append(world.wait("b", poll_interval=60, first_poll_in=57))
            await world.time.let_pass(3)
            assert (await waits[1]).outcome == "completed"
            await world.end(*waits)

        play(story)

    def test_wait_that_joins_long_after_the_bell_is_polled_when_it_asks(self) -> None:
        async def story(world: World) -> None:
            world.extras, world.tells_free = PUSH, False
            waits = [world.wait("a", poll_interval=3600)]
            await world.time.let_pass(10)
            world.bells.ring()
            await world.time.let_pass(90)
            waits.append(world.wait("b", poll_interval=60, first_poll_in=57))
            await world.time.let_pass(56)
            assert moments(world) == [0, 10, 15, 30]
            await world.end(*waits)

        play(story)


class TestStretching:
    def test_interval_grows_while_bells_come_and_is_normal_again_when_they_stop(self) -> None:
        async def story(world: World) -> None:
            world.extras = PUSH
            wait = world.wait("a", poll_interval=60)
            await world.time.let_pass(10)
            world.bells.ring()
            await world.time.let_pass(1100)
            assert moments(world) == [0, 10, 15, 30, 330, 630, 690, 750, 810, 870, 930, 990, 1050, 1110]
            await world.end(wait)

        play(story)

    def test_interval_is_never_shortened(self) -> None:
        async def story(world: World) -> None:
            world.extras = PUSH
            wait = world.wait("a", poll_interval=400)
            await world.time.let_pass(10)
            world.bells.ring()
            await world.time.let_pass(421)
            assert moments(world) == [0, 10, 15, 30, 430]
            await world.end(wait)

        play(story)

    def test_interval_is_normal_where_bells_can_no_longer_be_heard(self) -> None:
        async def story(world: World) -> None:
            world.extras = PUSH
            wait = world.wait("a", poll_interval=60)
            await world.time.let_pass(10)
            world.bells.ring()
            world.bells.poll_interval = 0.0
            await world.time.let_pass(81)
            assert moments(world) == [0, 10, 15, 30, 90]
            await world.end(wait)

        play(story)

    def test_lost_bell_costs_the_stretched_interval_at_most(self) -> None:
        async def story(world: World) -> None:
            world.extras = PUSH
            waits = [world.wait("a", poll_interval=60), world.wait("b", poll_interval=60)]
            await world.time.let_pass(10)
            world.words["a"] = "completed"
            world.bells.ring()
            await world.time.let_pass(21)
            world.words["b"] = "completed"
            await world.time.let_pass(300)
            assert [(await wait).outcome for wait in waits] == ["completed", "completed"]

        play(story)

    def test_task_in_trouble_is_polled_as_without_bells(self) -> None:
        async def story(world: World) -> None:
            world.extras = PUSH
            wait = world.wait("a", poll_interval=60, outage_tolerance=200)
            await world.time.let_pass(10)
            world.bells.ring()
            await world.time.let_pass(21)
            world.no_answer = True
            world.bells.ring()
            await world.time.let_pass(190)
            assert not wait.done()
            # The polls after the bell, then the interval that was asked for.
            assert moments(world)[4:] == [32, 36, 51, 111, 171]
            world.no_answer = False
            await world.time.let_pass(100)
            assert not wait.done()
            await world.end(wait)

        play(story)

    def test_silence_while_the_interval_is_stretched_is_no_outage(self) -> None:
        async def story(world: World) -> None:
            world.extras = PUSH
            wait = world.wait("a", poll_interval=60, outage_tolerance=100)
            await world.time.let_pass(10)
            world.bells.ring()
            await world.time.let_pass(319)
            world.refusals.append((500, {}))
            await world.time.let_pass(100)
            assert not wait.done()
            await world.end(wait)

        play(story)

    def test_deadline_comes_in_time(self) -> None:
        async def story(world: World) -> None:
            world.extras = PUSH
            start = world.time.wall
            wait = world.wait("a", poll_interval=60, deadline=start + 100)
            await world.time.let_pass(10)
            world.bells.ring()
            await world.time.let_pass(91)
            assert (await wait).timed_out == "timeout"

        assert moments(play(story)) == [0, 10, 15, 30, 100]


class TestWithout:
    def test_connection_without_push_hears_nothing(self) -> None:
        async def story(world: World) -> None:
            wait = world.wait("a", poll_interval=60)
            await world.time.let_pass(10)
            assert not world.bells.listeners
            await world.end(wait)

        play(story)

    def test_push_can_be_switched_on_and_off_while_tasks_wait(self) -> None:
        async def story(world: World) -> None:
            wait = world.wait("a", poll_interval=60)
            await world.time.let_pass(10)
            world.extras = PUSH
            await world.time.let_pass(350)
            assert [listener[:2] for listener in world.bells.listeners] == [("example", "example_default")]
            world.extras = {}
            await world.time.let_pass(360)
            assert not world.bells.listeners
            await world.end(wait)

        play(story)

    def test_task_that_no_webhook_tells_of_hears_nothing(self) -> None:
        async def story(world: World) -> None:
            world.extras = PUSH
            wait = world.wait("a", task_type=replace(world.task_type, has_bell=False))
            await world.time.let_pass(10)
            assert not world.bells.listeners
            await asyncio.sleep(0)
            await world.end(wait)

        play(story)

    def test_connection_is_not_read_before_the_first_poll_where_no_bell_can_be_heard(self) -> None:
        async def story(world: World) -> None:
            wait = world.wait(
                "a",
                task_type=replace(world.task_type, has_bell=False),
                first_poll_in=3600,
                poll_interval=3600,
            )
            await world.time.let_pass(100)
            assert world.reads == []
            await world.end(wait)

        play(story)


class TestLongIntervals:
    def test_bell_is_heard_before_the_first_poll(self) -> None:
        async def story(world: World) -> None:
            world.extras = PUSH
            wait = world.wait("a", first_poll_in=3600, poll_interval=3600)
            await world.time.let_pass(100)
            assert moments(world) == []
            world.words["a"] = "completed"
            world.bells.ring()
            await world.time.let_pass(1)
            assert (await wait).outcome == "completed"

        play(story)

    def test_connection_that_cannot_be_read_early_is_read_with_the_first_poll(self) -> None:
        async def story(world: World) -> None:
            world.extras = PUSH
            world.no_connection = ConnectionUnavailableError("no backend")
            wait = world.wait("a", first_poll_in=60, poll_interval=60)
            await world.time.let_pass(30)
            assert not wait.done()
            world.no_connection = None
            await world.time.let_pass(31)
            assert moments(world) == [60]
            assert world.bells.listeners
            await world.end(wait)

        play(story)
