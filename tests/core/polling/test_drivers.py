"""Poll plans over either client, and the loop in which a worker waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from remote_tasks_provider.core.errors import (
    AuthenticationError,
    ConnectionUnavailableError,
    RateLimitedError,
    RemoteTaskError,
    TransportError,
)
from remote_tasks_provider.core.http.client import AsyncClient, Client
from remote_tasks_provider.core.http.connection import ConnectionConfig
from remote_tasks_provider.core.http.operation import Request, Response
from remote_tasks_provider.core.polling.drivers import (
    AsyncLink,
    Link,
    arun_plan,
    poll_until_done,
    results_of,
    run_plan,
)
from remote_tasks_provider.core.polling.result import WaitResult
from remote_tasks_provider.core.polling.session import PollSession, ReadConnection, UseConnection
from remote_tasks_provider.core.polling.strategy import OneByOne, Plan, PollPlan, PollRequest, PollResults
from remote_tasks_provider.core.polling.tracker import PollTracker
from tests.core.build import START, a_config, a_snapshot
from tests.core.shared_poller import World
from tests.core.trackers import a_tracker
from tests.core.words import AsyncWords, Words, ask


class Driver:
    """Carries out plans over one of the two clients; returns everything that they deliver."""

    def __init__(self, is_async: bool) -> None:
        self.is_async = is_async
        self.words: Words = Words({})
        self.delivered: list[PollResults] = []

    def __call__(self, plan: Plan[Any], **answers: str | int | Exception) -> dict[str, Any]:
        config = a_config(max_attempts=1)
        self.delivered = []

        async def deliver(results: PollResults) -> None:
            self.delivered.append(results)

        if not self.is_async:
            self.words = words = Words(answers)
            client = Client(config, words, lambda *_: None)  # type: ignore[arg-type]
            self.returned = run_plan(plan, client.send, deliver=self.delivered.append)
        else:
            self.words = words = AsyncWords(answers)
            aclient = AsyncClient(config, words, lambda *_: None)  # type: ignore[arg-type]
            self.returned = asyncio.run(arun_plan(plan, aclient.send, deliver=deliver))
        return {task_id: one for results in self.delivered for task_id, one in results.items()}

    def bare(self, plan: Plan[Any]) -> Any:
        """Carry out a plan with nobody who takes results or controls a connection."""
        if not self.is_async:
            return run_plan(plan, lambda operation: operation)

        async def send(operation: Any) -> Any:
            return operation

        return asyncio.run(arun_plan(plan, send))

    def controlled(self, plan: Plan[Any]) -> Any:
        """Carry out a plan whose steps for the connection are answered with their names."""
        if not self.is_async:
            return run_plan(plan, lambda operation: operation, control=lambda step: type(step).__name__)

        async def send(operation: Any) -> Any:
            return operation

        async def control(step: Any) -> str:
            return type(step).__name__

        return asyncio.run(arun_plan(plan, send, control=control))


@pytest.fixture(params=[False, True], ids=["run_plan", "arun_plan"])
def carry_out(request: pytest.FixtureRequest) -> Driver:
    return Driver(request.param)


def in_batches(*batches: Sequence[str]) -> Plan[str]:
    """A plan whose results are, oddly, the words that each batch was answered with."""
    for batch in batches:
        answers = yield [ask(task_id) for task_id in batch]
        yield dict(zip(batch, answers, strict=True))
    return "the end"


class TestSteps:
    def test_batch_is_delivered_before_the_next_operation(self, carry_out: Driver) -> None:
        carry_out(in_batches(["a"], ["b", "c"]))

        assert carry_out.delivered == [{"a": "running"}, {"b": "running", "c": "running"}]
        assert carry_out.returned == "the end"

    def test_results_before_a_fault_were_delivered(self, carry_out: Driver) -> None:
        with pytest.raises(ZeroDivisionError):
            carry_out(in_batches(["a"], ["b"]), b=ZeroDivisionError())

        assert carry_out.delivered == [{"a": "running"}]

    def test_plan_goes_on_after_steps_that_nobody_takes(self, carry_out: Driver) -> None:
        def plan() -> Plan[list[Any]]:
            return [(yield {"a": a_snapshot()}), (yield ReadConnection()), (yield [1, 2])]  # type: ignore[list-item]

        assert carry_out.bare(plan()) == [None, None, [1, 2]]

    def test_step_for_the_connection_is_answered_by_who_controls_it(self, carry_out: Driver) -> None:
        def plan() -> Plan[list[Any]]:
            return [(yield ReadConnection()), (yield UseConnection(a_config()))]

        assert carry_out.controlled(plan()) == ["ReadConnection", "UseConnection"]

    def test_results_of_a_plan_are_collected(self) -> None:
        plan = OneByOne(lambda task_id: task_id, lambda _: a_snapshot()).plan(  # type: ignore[arg-type, return-value]
            PollRequest(["a", "b"])
        )

        assert results_of(plan, lambda operation: operation) == {"a": a_snapshot(), "b": a_snapshot()}


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
            client = AsyncClient(a_config(), Silent({}), lambda *_: None)  # type: ignore[arg-type]
            looking = asyncio.ensure_future(arun_plan(in_batches(["a", "b", "c"]), client.send))
            await asyncio.sleep(0.01)
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            assert len(asyncio.all_tasks()) == 1

        asyncio.run(run())


class Clock:
    """Time that passes only in pauses."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.meanwhile: Callable[[], Any] = lambda: None

    def sleep(self, seconds: float) -> None:
        self.passed += seconds
        self.meanwhile()

    def wall(self) -> float:
        return START + self.passed

    def monotonic(self) -> float:
        return 1000.0 + self.passed


class Worker:
    """A worker that waits, over a link whose transports answer with words."""

    def __init__(self, **answers: str | int | Exception) -> None:
        self.words = Words(answers)
        self.clock = Clock()
        self.config: ConnectionConfig | RemoteTaskError = a_config(max_attempts=1)
        self.opened = 0
        self.polls: list[tuple[float, float | None]] = []
        self.link = Link(self._read, self._open)

    def _read(self) -> ConnectionConfig:
        if isinstance(self.config, RemoteTaskError):
            raise self.config
        return self.config

    def _open(self, config: ConnectionConfig) -> Client:
        self.opened += 1
        client = Client(config, self.words, lambda *_: None, sleep=self.clock.sleep)  # type: ignore[arg-type]
        client._clocks = replace(client._clocks, monotonic=self.clock.monotonic)
        return client

    def wait(self, tracker: PollTracker, **options: Any) -> WaitResult:
        task_type = replace(World().task_type, poll_strategy=lambda _: OneByOne(ask, a_snapshot))
        options = {"sleep": self.clock.sleep, "clock": self.clock.wall} | options
        return poll_until_done(
            tracker,
            PollSession(task_type, now=1000.0),
            self.link,
            monotonic=self.clock.monotonic,
            on_poll=lambda at, pause: self.polls.append((at - START, pause)),
            **options,
        )


class TestPollUntilDone:
    def test_loop_polls_and_pauses_until_the_task_is_finished(self) -> None:
        worker = Worker()

        def meanwhile() -> None:
            if worker.clock.passed >= 60:
                worker.words.answers["a"] = "completed"

        worker.clock.meanwhile = meanwhile
        result = worker.wait(a_tracker("a"))

        assert result.outcome == "completed"
        assert worker.words.asked == ["a"] * 3
        assert worker.polls == [(0, 30), (30, 30), (60, None)]
        assert worker.opened == 1

    def test_sleep_may_end_the_loop(self) -> None:
        def leave(seconds: float) -> None:
            raise InterruptedError

        with pytest.raises(InterruptedError):
            Worker().wait(a_tracker("a"), sleep=leave)

    def test_loop_ends_early_once_every_task_was_read(self) -> None:
        tracker, worker = a_tracker("a", "b"), Worker(b=TransportError("reset"))

        def meanwhile() -> None:
            assert tracker.unread_ids == ["b"]
            worker.words.answers["b"] = "running"

        worker.clock.meanwhile = meanwhile
        result = worker.wait(tracker, is_enough=lambda: not tracker.unread_ids)

        assert [record and record["state"] for record in result.records.values()] == ["running", "running"]

    def test_outage_is_survived_and_a_doubt_is_believed_after_its_time(self) -> None:
        worker = Worker(a=500, b=404)

        def meanwhile() -> None:
            if worker.clock.passed > 600:
                worker.words.answers["a"] = "completed"

        worker.clock.meanwhile = meanwhile
        result = worker.wait(a_tracker("a", "b", outage_tolerance=900, not_found_grace=90))

        assert result.records["a"] is not None
        assert result.records["a"]["state"] == "completed"
        assert result.errors["b"]["type"] == "NotFoundError"

    def test_unreadable_connection_is_waited_for(self) -> None:
        worker = Worker(a="completed")
        worker.config = ConnectionUnavailableError("down")

        def meanwhile() -> None:
            assert worker.link.client is None
            worker.config = a_config(max_attempts=1)

        worker.clock.meanwhile = meanwhile

        assert worker.wait(a_tracker("a")).outcome == "completed"

    def test_loop_pauses_as_the_service_asks(self) -> None:
        worker = Worker(a=429)
        worker.words.headers["retry_after"] = "100"

        def meanwhile() -> None:
            worker.words.answers["a"] = "completed"

        worker.clock.meanwhile = meanwhile
        worker.wait(a_tracker("a"))

        (_, first_pause), *_ = worker.polls
        assert first_pause == pytest.approx(100, abs=1.1)

    def test_last_poll_at_the_deadline_has_its_time_and_no_more(self) -> None:
        worker = Worker()
        worker.wait(a_tracker("a", deadline=START + 70))

        assert worker.polls == [(0, 30), (30, 30), (60, 10), (70, None)]
        assert worker.words.timeouts == [75.0, 45.0, 15.0, 5.0]

    def test_wait_without_a_deadline_keeps_the_timeout_of_the_connection(self) -> None:
        worker = Worker(a="completed")
        worker.wait(a_tracker("a"))

        assert worker.words.timeouts == [None]

    @pytest.mark.parametrize("in_detail", [True, False])
    def test_strategy_is_told_whether_details_are_wanted(self, in_detail: bool) -> None:
        requests: list[PollRequest] = []

        class Recording(OneByOne):
            def plan(self, request: PollRequest) -> PollPlan:
                requests.append(request)
                return super().plan(request)

        worker = Worker(a="completed")
        task_type = replace(World().task_type, poll_strategy=lambda _: Recording(ask, a_snapshot))
        session = PollSession(task_type)
        clocks: Any = {"clock": lambda: START, "monotonic": lambda: 7.0}
        poll_until_done(a_tracker("a", in_detail=in_detail), session, worker.link, **clocks)

        assert requests == [PollRequest(["a"], (), ["a"] if in_detail else (), 7.0, START)]


class StandIn:
    """Stands in for a client that is opened and closed."""

    def __init__(self, config: ConnectionConfig, on_close: Exception | None = None) -> None:
        self.config = config
        self.closed = 0
        self._on_close = on_close

    def close(self) -> None:
        self.closed += 1
        if self._on_close is not None:
            raise self._on_close

    async def aclose(self) -> None:
        self.close()

    def backs_off_for(self) -> float:
        return 7.0

    def send(self, operation: Any, **options: Any) -> Any:
        return operation, options

    async def asend(self, operation: Any) -> Any:
        return operation


class Links:
    """A link of either kind, driven the same way."""

    def __init__(self, is_async: bool) -> None:
        self.is_async = is_async
        self.opened: list[StandIn] = []
        self.error: Exception | None = None
        self.on_close: Exception | None = None
        self.link: Any = AsyncLink(self._aread, self._aopen) if is_async else Link(self._read, self._open)  # type: ignore[arg-type]

    def _read(self) -> ConnectionConfig:
        if self.error is not None:
            raise self.error
        return a_config()

    def _open(self, config: ConnectionConfig) -> StandIn:
        if self.error is not None:
            raise self.error
        self.opened.append(StandIn(config, self.on_close))
        return self.opened[-1]

    async def _aread(self) -> ConnectionConfig:
        return self._read()

    async def _aopen(self, config: ConnectionConfig) -> StandIn:
        client = self._open(config)
        client.send = client.asend  # type: ignore[method-assign]
        return client

    def control(self, step: Any) -> Any:
        return asyncio.run(self.link.control(step)) if self.is_async else self.link.control(step)

    def close(self) -> None:
        asyncio.run(self.link.aclose()) if self.is_async else self.link.close()

    def send(self, operation: Any) -> Any:
        return asyncio.run(self.link.send(operation)) if self.is_async else self.link.send(operation)


@pytest.fixture(params=[False, True], ids=["Link", "AsyncLink"])
def links(request: pytest.FixtureRequest) -> Links:
    return Links(request.param)


class TestLink:
    def test_link_reads_the_connection(self, links: Links) -> None:
        assert links.control(ReadConnection()) == a_config()
        assert links.opened == []

    def test_link_opens_a_client_and_closes_the_one_before(self, links: Links) -> None:
        other = a_config("https://other.example.com")
        assert links.control(UseConnection(a_config())) is None
        assert links.control(UseConnection(other)) is None

        assert [client.config for client in links.opened] == [a_config(), other]
        assert [client.closed for client in links.opened] == [1, 0]
        assert links.link.client is links.opened[1]

    @pytest.mark.parametrize("step", [ReadConnection(), UseConnection(a_config())], ids=["read", "use"])
    def test_error_is_the_answer_and_the_old_client_stays(self, links: Links, step: Any) -> None:
        links.control(UseConnection(a_config()))
        links.error = ConnectionUnavailableError("down")

        assert links.control(step) is links.error
        assert links.link.client is links.opened[0]
        assert links.opened[0].closed == 0

    def test_client_that_cannot_be_closed_is_replaced_and_forgotten_all_the_same(
        self, links: Links, caplog: pytest.LogCaptureFixture
    ) -> None:
        links.on_close = RuntimeError("already gone")
        links.control(UseConnection(a_config()))

        assert links.control(UseConnection(a_config("https://other.example.com"))) is None
        assert links.link.client is links.opened[1]
        links.close()
        assert caplog.text.count("connections were not closed: RuntimeError('already gone')") == 2

    def test_fault_is_no_answer(self, links: Links) -> None:
        links.error = ZeroDivisionError()

        with pytest.raises(ZeroDivisionError):
            links.control(ReadConnection())

    def test_link_closes_its_client(self, links: Links) -> None:
        links.close()
        links.control(UseConnection(a_config()))
        links.close()

        assert links.opened[0].closed == 1

    def test_link_sends_over_its_client(self, links: Links) -> None:
        links.control(UseConnection(a_config()))

        # A worker waits for the rate limiter when it polls.
        expected = "x" if links.is_async else ("x", {"paced": True, "give_up_at": None})
        assert links.send("x") == expected

    def test_back_off_is_that_of_the_client(self) -> None:
        links = Links(is_async=False)
        before = links.link.backs_off_for
        links.control(UseConnection(a_config()))

        assert (before, links.link.backs_off_for) == (0.0, 7.0)
