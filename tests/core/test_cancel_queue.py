"""The triggerer's queue: it paces, outlives who asked, tells everybody, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

import pytest

from remote_tasks_provider.core import cancel_queue
from remote_tasks_provider.core.cancel_queue import CancelQueue, CancelRequest, request_cancel
from remote_tasks_provider.core.errors import ConnectionConfigError
from remote_tasks_provider.core.http.client import AsyncClient
from remote_tasks_provider.core.http.operation import Request, Response
from remote_tasks_provider.core.http.rate_limit import RateLimit, RateLimiter
from remote_tasks_provider.core.service import TaskType
from tests.core.build import a_call, a_config, a_response
from tests.core.fake_clock import Timekeeper, settle
from tests.core.shared_poller import Log, World

WHY = "this task was marked failed"
ASKED_BY: contextvars.ContextVar[str] = contextvars.ContextVar("ASKED_BY", default="nobody")


def _stop(_extras: Any, ids: Sequence[str]) -> Any:
    return replace(a_call(lambda _: len(ids), path=f"/{','.join(ids)}"), name="POST /stop")


class Signed(Log):
    """Signs what it is told with who has asked, as a triggerer does by context."""

    def info(self, event: str, *arguments: Any) -> None:
        self.infos.append(f"{ASKED_BY.get()}: {event % arguments}")

    def warning(self, event: str, *arguments: Any) -> None:
        self.warnings.append(f"{ASKED_BY.get()}: {event % arguments}")


class Triggerer:
    """One event loop, its clock, a service that stops tasks, and the connection to it.

    :attr answers: by the ids of a request: statuses, or what a test does meanwhile.
    :attr keys: what reading the connection gives each time; an empty one fails.
    """

    def __init__(self, limit: RateLimit | None = None, **task_type: Any) -> None:
        self.time = Timekeeper()
        self.log = Signed()
        self.sent: list[tuple[float, str]] = []
        self.answers: Callable[[str, str], int] = lambda _ids, _key: 200
        self.takes = 0.0
        self.keys = ["key 1"]
        self.opened = self.closed = 0
        self.asked = 0
        self.why: Callable[[], str | None] = lambda: WHY
        world = World()
        limits = {"POST /stop": limit} if limit else {}
        self.limiter = RateLimiter(limits)
        self.task_type: TaskType = replace(
            world.task_type, service=replace(world.service, limits=limits), cancel=_stop, **task_type
        )

    async def connect(self) -> AsyncClient:
        await asyncio.sleep(0)
        key = self.keys.pop(0) if len(self.keys) > 1 else self.keys[0]
        if not key:
            raise ConnectionConfigError("the secrets backend is away")
        self.opened += 1
        config = replace(a_config(max_attempts=1), secret=key)
        transport: Any = Transport(self, key)
        return AsyncClient(config, transport, lambda *_: None, self.limiter, self.time.clocks)

    async def confirm(self) -> str | None:
        self.asked += 1
        await asyncio.sleep(0)
        return self.why()

    def cancel(
        self, *ids: str, confirm: Any = None, by: str = "t1", conn_id: str = "example_default"
    ) -> tuple[CancelRequest, CancelQueue]:
        def request() -> tuple[CancelRequest, CancelQueue]:
            ASKED_BY.set(by)
            return request_cancel(
                ids,
                task_type=self.task_type,
                conn_id=conn_id,
                connect=self.connect,
                clocks=self.time.clocks,
                confirm=confirm or self.confirm,
                log=self.log,
            )

        return contextvars.copy_context().run(request)


class Transport:
    def __init__(self, triggerer: Triggerer, key: str) -> None:
        self.triggerer, self.key = triggerer, key

    async def send(self, request: Request) -> Response:
        ids = request.path[1:]
        self.triggerer.sent.append((self.triggerer.time.monotonic - 1000, ids))
        if self.triggerer.takes:
            await self.triggerer.time.sleep(self.triggerer.takes)
        return a_response(self.triggerer.answers(ids, self.key), b"{}")

    async def aclose(self) -> None:
        self.triggerer.closed += 1
        raise OSError("closed already")


Story = Callable[[Triggerer], Coroutine[Any, Any, None]]


def play(story: Story, **facts: Any) -> Triggerer:
    """Run a story in an event loop of its own; check that it leaves nothing behind."""

    async def run() -> Triggerer:
        made = Triggerer(**facts)
        async with asyncio.timeout(60):
            await story(made)
        await settle()
        assert made.opened == made.closed
        assert len(asyncio.all_tasks()) == 1
        return made

    made = asyncio.run(run())
    gc.collect()
    assert not list(cancel_queue._QUEUES)
    return made


def outcomes(request: CancelRequest) -> dict[str, str]:
    return {task_id: result.outcome.name for task_id, result in request.results.items()}


def test_requests_of_many_triggers_share_one_connection() -> None:
    async def story(triggerer: Triggerer) -> None:
        requests = [triggerer.cancel(f"a{number}", by=f"t{number}")[0] for number in range(20)]
        await triggerer.time.let_pass(0.1)

        assert all(request.done.is_set() for request in requests)
        assert outcomes(requests[7]) == {"a7": "CANCELLED"}

    triggerer = play(story)
    assert triggerer.opened == 1
    assert triggerer.log.infos[7] == f"t7: Example task a7 was cancelled: {WHY}."


def test_request_without_tasks_is_done_at_once() -> None:
    async def story(triggerer: Triggerer) -> None:
        request, _ = triggerer.cancel()
        assert request.done.is_set()

    assert play(story).opened == 0


def test_connections_do_not_share_a_queue() -> None:
    async def story(triggerer: Triggerer) -> None:
        triggerer.cancel("a")
        triggerer.cancel("b", conn_id="another")
        await triggerer.time.let_pass(0.1)

    assert play(story).opened == 2


def test_task_that_two_triggers_ask_for_is_cancelled_once() -> None:
    async def story(triggerer: Triggerer) -> None:
        triggerer.takes = 5.0
        first, _ = triggerer.cancel("a", "a", "b", by="t1")
        await triggerer.time.let_pass(1.0)
        second, _ = triggerer.cancel("a", by="t2")
        await triggerer.time.let_pass(10.0)

        assert outcomes(first) == {"a": "CANCELLED", "b": "CANCELLED"}
        assert outcomes(second) == {"a": "CANCELLED"}

    triggerer = play(story)
    assert [ids for _, ids in triggerer.sent] == ["a", "b"]
    assert f"t2: Example task a was cancelled: {WHY}." in triggerer.log.infos


def test_limit_of_the_service_is_kept_and_everything_cancelled() -> None:
    async def story(triggerer: Triggerer) -> None:
        request, queue = triggerer.cancel(*[f"a{number}" for number in range(50)])
        await triggerer.time.let_pass(30.0)
        assert len(request.results) == 8
        assert queue.outlook(request) == (
            "42 of 50 wait to be cancelled, 0 others come first (limit: 10 requests in 60 s)"
        )
        await triggerer.time.let_pass(600.0)
        assert len(request.results) == 50

    triggerer = play(story, limit=RateLimit(10))
    minutes = [int(at // 60) for at, _ in triggerer.sent]
    assert max(minutes.count(minute) for minute in minutes) == 8
    assert sum("wait to be cancelled" in line for line in triggerer.log.infos) == 6


@pytest.mark.parametrize(("why", "then"), [(WHY, "CANCELLED"), (None, "LEFT")])
def test_outlook_tells_of_cancelling_only_what_is_confirmed(why: str | None, then: str) -> None:
    async def story(triggerer: Triggerer) -> None:
        answered = asyncio.Event()

        async def confirm() -> str | None:
            await answered.wait()
            return why

        request, queue = triggerer.cancel("a", confirm=confirm)
        await triggerer.time.let_pass(60.0)
        assert queue.outlook(request) == (
            "1 of 1 wait until it is known whether to cancel them, 0 others come first"
        )
        answered.set()
        await triggerer.time.let_pass(0.1)
        assert outcomes(request) == {"a": then}

    play(story)


def test_queue_outlives_the_trigger_that_asked() -> None:
    async def story(triggerer: Triggerer) -> None:
        triggerer.takes = 5.0

        async def trigger() -> None:
            request, _ = triggerer.cancel("a", "b")
            await request.done.wait()

        asked = asyncio.ensure_future(trigger())
        await triggerer.time.let_pass(1.0)
        asked.cancel()
        await triggerer.time.let_pass(20.0)

    triggerer = play(story)
    assert triggerer.log.infos == [f"t1: Example task {one} was cancelled: {WHY}." for one in "ab"]


def test_queue_that_has_ended_is_followed_by_another() -> None:
    async def story(triggerer: Triggerer) -> None:
        for task_id in "abc":
            request, queue = triggerer.cancel(task_id)
            await request.done.wait()
            # It is still closing its connection.
            assert not queue.is_open or not request.left

    assert len(play(story).sent) == 3


def test_task_that_is_added_while_the_queue_ends_is_cancelled() -> None:
    async def story(triggerer: Triggerer) -> None:
        _, first = triggerer.cancel("a")
        while first.is_open:  # noqa: ASYNC110 - it is over within a few turns of the event loop
            await asyncio.sleep(0)
        request, second = triggerer.cancel("b")
        await triggerer.time.let_pass(0.1)

        assert second is not first
        assert outcomes(request) == {"b": "CANCELLED"}

    play(story)


def test_batches_gather_the_tasks_of_many_triggers() -> None:
    async def story(triggerer: Triggerer) -> None:
        for number in range(25):
            triggerer.cancel(f"a{number}")
        await triggerer.time.let_pass(0.1)

    triggerer = play(story, cancel_batch_size=10)
    assert [ids.count(",") + 1 for _, ids in triggerer.sent] == [10, 10, 5]


def test_outage_is_outlasted() -> None:
    async def story(triggerer: Triggerer) -> None:
        triggerer.answers = lambda *_: 503 if triggerer.time.monotonic < 2000 else 200
        request, _ = triggerer.cancel(*"abc")
        await triggerer.time.let_pass(1100.0)
        assert outcomes(request) == dict.fromkeys("abc", "CANCELLED")

    triggerer = play(story)
    assert len(triggerer.sent) < 80
    assert [line.split(":")[1] for line in triggerer.log.warnings] == [
        f" Example task {one} is not cancelled yet, another request follows" for one in "abc"
    ]


def test_outage_that_stays_ends_and_names_the_tasks() -> None:
    async def story(triggerer: Triggerer) -> None:
        triggerer.answers = lambda *_: 503
        request, _ = triggerer.cancel("a", "b")
        await triggerer.time.let_pass(4000.0)
        assert outcomes(request) == {"a": "FAILED", "b": "FAILED"}

    assert "t1: Example task b was not cancelled and may still run" in "\n".join(play(story).log.warnings)


class TestConnection:
    def test_connection_that_cannot_be_read_is_outlasted(self) -> None:
        async def story(triggerer: Triggerer) -> None:
            triggerer.keys = ["", "", "key 1"]
            request, _ = triggerer.cancel("a")
            await triggerer.time.let_pass(10.0)
            assert outcomes(request) == {"a": "CANCELLED"}

        assert "the secrets backend is away" in play(story).log.warnings[0]

    def test_changed_key_is_found(self) -> None:
        async def story(triggerer: Triggerer) -> None:
            triggerer.keys = ["old", "", "old", "new"]
            triggerer.answers = lambda _, key: 200 if key == "new" else 401
            request, _ = triggerer.cancel("a", "b")
            await triggerer.time.let_pass(600.0)
            assert outcomes(request) == {"a": "CANCELLED", "b": "CANCELLED"}

        assert play(story).opened == 3

    def test_404_of_an_old_account_is_not_believed(self) -> None:
        async def story(triggerer: Triggerer) -> None:
            triggerer.keys = ["old", "new"]
            triggerer.answers = lambda _, key: 200 if key == "new" else 404
            request, _ = triggerer.cancel("a")
            await triggerer.time.let_pass(200.0)
            assert outcomes(request) == {"a": "CANCELLED"}

        play(story)


class TestConfirmation:
    def test_task_that_was_cleared_is_left_alone(self) -> None:
        async def story(triggerer: Triggerer) -> None:
            triggerer.why = lambda: None
            request, _ = triggerer.cancel(*[f"a{number}" for number in range(30)])
            await triggerer.time.let_pass(0.1)
            assert set(outcomes(request).values()) == {"LEFT"}

        triggerer = play(story)
        assert triggerer.asked == 1
        assert triggerer.sent == []
        assert triggerer.opened == 0

    def test_task_that_is_cleared_while_it_waits_is_left_alone(self) -> None:
        async def story(triggerer: Triggerer) -> None:
            request, _ = triggerer.cancel(*"abcdefghijkl")
            await triggerer.time.let_pass(1.0)
            triggerer.why = lambda: None
            await triggerer.time.let_pass(600.0)
            assert outcomes(request)["l"] == "LEFT"

        triggerer = play(story, limit=RateLimit(1))
        # Those whose request was under way waited for the limit and were not asked for again.
        assert len(triggerer.sent) < 12

    def test_reason_is_not_confirmed_for_each_request(self) -> None:
        async def story(triggerer: Triggerer) -> None:
            triggerer.cancel(*[f"a{number}" for number in range(100)])
            await triggerer.time.let_pass(0.1)

        assert play(story).asked == 1

    def test_doubt_is_outlasted(self) -> None:
        async def story(triggerer: Triggerer) -> None:
            triggerer.why = lambda: WHY if triggerer.time.monotonic > 1020 else str(1 / 0)
            request, _ = triggerer.cancel("a")
            await triggerer.time.let_pass(60.0)
            assert outcomes(request) == {"a": "CANCELLED"}

        triggerer = play(story)
        assert "ZeroDivisionError" in triggerer.log.warnings[0]
        assert len(triggerer.sent) == 1

    def test_doubt_of_one_trigger_does_not_keep_the_others(self) -> None:
        async def doubt() -> str:
            raise TimeoutError("no answer")

        async def story(triggerer: Triggerer) -> None:
            doubted, _ = triggerer.cancel("a", "b", confirm=doubt)
            sure, _ = triggerer.cancel("b", "c", by="t2")
            await triggerer.time.let_pass(60.0)
            assert outcomes(sure) == {"b": "CANCELLED", "c": "CANCELLED"}
            assert outcomes(doubted) == {"b": "CANCELLED"}
            await triggerer.time.let_pass(3600.0)
            assert outcomes(doubted) == {"b": "CANCELLED", "a": "FAILED"}

        play(story, cancel_batch_size=3)

    def test_trigger_that_asks_during_the_confirmation_of_another_is_asked_too(self) -> None:
        async def story(triggerer: Triggerer) -> None:
            late: list[CancelRequest] = []

            async def cleared() -> None:
                late.append(triggerer.cancel("a", by="t2")[0])

            request, _ = triggerer.cancel("a", confirm=cleared)
            await triggerer.time.let_pass(1.0)
            assert outcomes(request) == outcomes(late[0]) == {"a": "CANCELLED"}

        play(story)


def test_bug_that_one_task_meets_is_not_the_others() -> None:
    async def story(triggerer: Triggerer) -> None:
        def cancel(_extras: Any, ids: Sequence[str]) -> Any:
            return _stop(_extras, ids) if ids != ["a"] else replace(a_call(path="/a"), parse=lambda _: 1 / 0)

        triggerer.task_type = replace(triggerer.task_type, cancel=cancel)
        request, _ = triggerer.cancel("a", "b")
        await triggerer.time.let_pass(0.1)
        assert outcomes(request) == {"a": "FAILED", "b": "CANCELLED"}

    assert "ZeroDivisionError" in play(story).log.warnings[0]


class TestEndOfTheLoop:
    def test_tasks_that_are_left_are_named(self) -> None:
        made: list[tuple[Triggerer, CancelRequest]] = []

        async def story() -> None:
            triggerer = Triggerer()
            triggerer.takes = 100.0
            request, _ = triggerer.cancel("a", "b", by="t1")
            made.append((triggerer, request))
            await settle()

        asyncio.run(story())

        ((triggerer, request),) = made
        assert request.done.is_set()
        assert triggerer.log.warnings == [
            f"t1: Example task {one} was not cancelled and may still run: the triggerer stops" for one in "ab"
        ]
        assert triggerer.opened == triggerer.closed == 1

    def test_task_of_a_request_that_never_ran_is_named(self) -> None:
        made: list[Triggerer] = []

        async def story() -> None:
            made.append(Triggerer())
            made[0].cancel("a")

        asyncio.run(story())

        assert len(made[0].log.warnings) == 1

    def test_bug_of_the_queue_names_the_tasks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def story(triggerer: Triggerer) -> None:
            monkeypatch.setattr(cancel_queue.CancelBook, "settle", lambda *_: 1 / 0)
            request, _ = triggerer.cancel("a")
            await triggerer.time.let_pass(0.1)
            assert outcomes(request) == {"a": "FAILED"}

        assert "ExceptionGroup" in play(story).log.warnings[0]

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_closed_loop_is_not_kept_alive(self) -> None:
        loop = asyncio.new_event_loop()

        async def story() -> None:
            triggerer = Triggerer()
            triggerer.takes = 100.0
            triggerer.cancel("a")
            await settle()

        loop.run_until_complete(story())
        loop.close()
        kept = weakref.ref(loop)
        del loop
        gc.collect()

        assert kept() is None
