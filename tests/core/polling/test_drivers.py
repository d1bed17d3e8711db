"""Poll plans over either client, and the loop in which a worker waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from remote_tasks_provider.core.errors import (
    AuthenticationError,
    InvalidRequestError,
    RateLimitedError,
    RemoteTaskError,
    ServerError,
    TransportError,
)
from remote_tasks_provider.core.http.client import AsyncClient, Client
from remote_tasks_provider.core.http.operation import Request, Response
from remote_tasks_provider.core.polling.drivers import arun_plan, poll_until_done, run_plan
from remote_tasks_provider.core.polling.strategy import OneByOne, PollPlan, PollResults
from tests.core.build import START, a_config, a_snapshot
from tests.core.trackers import a_tracker
from tests.core.words import AsyncWords, Words, ask


class Driver:
    """Carries out plans over one of the two clients."""

    def __init__(self, is_async: bool) -> None:
        self.is_async = is_async
        self.words: Words = Words({})

    def __call__(self, plan: PollPlan, **answers: str | int | Exception) -> PollResults:
        config = a_config(max_attempts=1)
        if not self.is_async:
            self.words = Words(answers)
            return run_plan(plan, Client(config, self.words, lambda *_: None))
        self.words = words = AsyncWords(answers)
        return asyncio.run(arun_plan(plan, AsyncClient(config, words, lambda *_: None)))


@pytest.fixture(params=[False, True], ids=["run_plan", "arun_plan"])
def carry_out(request: pytest.FixtureRequest) -> Driver:
    return Driver(request.param)


def one_by_one(*ids: str) -> PollPlan:
    return OneByOne(ask, a_snapshot).plan(ids, ["free"])


def in_batches(*batches: Sequence[str]) -> PollPlan:
    """A plan whose findings are, oddly, the words that each batch was answered with."""
    told: dict[str, Any] = {}
    for batch in batches:
        answers = yield [ask(task_id) for task_id in batch]
        told |= dict(zip(batch, answers, strict=True))
    return told


class TestOneByOne:
    def test_due_tasks_are_fetched_once_each(self, carry_out: Driver) -> None:
        results = carry_out(one_by_one("a", "b"), a="completed")

        assert results == {"a": a_snapshot("completed"), "b": a_snapshot("running")}
        assert carry_out.words.asked == ["a", "b"]

    def test_empty_plan_sends_no_request(self, carry_out: Driver) -> None:
        assert carry_out(one_by_one()) == {}
        assert carry_out.words.asked == []

    def test_failed_call_affects_only_its_task(self, carry_out: Driver) -> None:
        results = carry_out(one_by_one("a", "b", "c", "d"), b=400, c=500, d=TransportError("given up"))

        assert results["a"] == a_snapshot("running")
        assert [type(results[task_id]) for task_id in "bcd"] == [
            InvalidRequestError,
            ServerError,
            TransportError,
        ]


class TestPlans:
    def test_plan_without_calls_is_carried_out(self, carry_out: Driver) -> None:
        assert carry_out(in_batches()) == {}

    def test_batches_and_answers_keep_their_order(self, carry_out: Driver) -> None:
        results = carry_out(in_batches(["a", "b"], [], ["c"]), a="1", b="2", c="3")

        assert results == {"a": "1", "b": "2", "c": "3"}
        assert carry_out.words.asked == ["a", "b", "c"]

    @pytest.mark.parametrize(
        ("trouble", "kind"),
        [
            (401, AuthenticationError),
            (429, RateLimitedError),
            (TransportError("refused", sent=False), TransportError),
        ],
        ids=str,
    )
    def test_error_for_all_calls_is_met_once(
        self, carry_out: Driver, trouble: int | Exception, kind: type[RemoteTaskError]
    ) -> None:
        ids = [f"t{number}" for number in range(40)]
        results = carry_out(in_batches(ids), **dict.fromkeys(ids, trouble))

        assert {type(result) for result in results.values()} == {kind}
        # Calls that were under way when the first failed have been sent already.
        assert len(carry_out.words.asked) <= (8 if carry_out.is_async else 1)

    def test_results_before_the_error_are_kept(self, carry_out: Driver) -> None:
        ids = [f"t{number}" for number in range(30)]
        results = carry_out(in_batches(ids), t20=401)

        assert results["t0"] == "running"
        assert isinstance(results["t29"], AuthenticationError)

    def test_next_batch_tries_again(self, carry_out: Driver) -> None:
        results = carry_out(in_batches(["a"], ["b"]), a=401)

        assert isinstance(results["a"], AuthenticationError)
        assert results["b"] == "running"

    def test_bug_is_not_taken_for_an_answer(self, carry_out: Driver) -> None:
        with pytest.raises(ZeroDivisionError):
            carry_out(in_batches(["a"]), a=ZeroDivisionError())


class TestConcurrency:
    def test_concurrent_calls_are_limited(self) -> None:
        carry_out = Driver(is_async=True)
        carry_out(in_batches([f"t{number}" for number in range(50)]))

        assert len(carry_out.words.asked) == 50
        assert carry_out.words.most_at_once == 8

    def test_worker_starts_no_thread(self) -> None:
        before = threading.active_count()
        carry_out = Driver(is_async=False)
        carry_out(in_batches([f"t{number}" for number in range(50)]))

        assert threading.active_count() == before

    def test_cancelled_plan_leaves_no_call_behind(self) -> None:
        class Silent(AsyncWords):
            async def send(self, request: Request) -> Response:  # type: ignore[override]
                await asyncio.Event().wait()
                raise AssertionError

        async def run() -> None:
            client = AsyncClient(a_config(), Silent({}), lambda *_: None)
            looking = asyncio.ensure_future(arun_plan(in_batches(["a", "b", "c"]), client))
            await asyncio.sleep(0.01)
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            assert len(asyncio.all_tasks()) == 1

        asyncio.run(run())


class TestPollUntilDone:
    def test_loop_polls_and_pauses_until_the_task_is_finished(self) -> None:
        words, now, polls = Words({}), [START], []

        def sleep(seconds: float) -> None:
            now[0] += seconds
            if now[0] >= START + 60:
                words.answers["a"] = "completed"

        result = poll_until_done(
            a_tracker("a"),
            OneByOne(ask, a_snapshot),
            Client(a_config(max_attempts=1), words, lambda *_: None),
            sleep=sleep,
            clock=lambda: now[0],
            on_poll=lambda at, pause: polls.append((at - START, pause)),
        )

        assert result.outcome == "completed"
        assert words.asked == ["a"] * 3
        assert polls == [(0, 30), (30, 30), (60, None)]

    def test_sleep_may_end_the_loop(self) -> None:
        def leave(seconds: float) -> None:
            raise InterruptedError

        client = Client(a_config(max_attempts=1), Words({}), lambda *_: None)
        with pytest.raises(InterruptedError):
            poll_until_done(a_tracker("a"), OneByOne(ask, a_snapshot), client, sleep=leave)

    def test_loop_ends_early_once_every_task_was_read(self) -> None:
        tracker = a_tracker("a", "b")
        words = Words({"a": "running"})

        def sleep(seconds: float) -> None:
            assert tracker.unread_ids == ["b"]
            words.answers["b"] = "running"

        client = Client(a_config(max_attempts=1), words, lambda *_: None)
        result = poll_until_done(
            tracker,
            OneByOne(ask, a_snapshot),
            client,
            sleep=sleep,
            clock=lambda: START,
            is_enough=lambda: not tracker.unread_ids,
        )

        assert [record and record["state"] for record in result.records.values()] == ["running", "running"]
