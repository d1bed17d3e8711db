"""Calls keep under a service's limits, whenever they come."""

from __future__ import annotations

import asyncio
import random

import pytest

from remote_tasks_provider.core.errors import RateLimitedError
from remote_tasks_provider.core.http.client import AsyncClient
from remote_tasks_provider.core.http.operation import Request, Response
from remote_tasks_provider.core.http.rate_limit import RateLimit, RateLimiter
from tests.core.build import a_call, a_config, a_response
from tests.core.fake_clock import Timekeeper, settle

LIST = "GET /list"


class TestLimits:
    def test_calls_go_out_at_once_while_there_is_room(self) -> None:
        rate_limiter = RateLimiter({LIST: RateLimit(10)})

        assert [rate_limiter.reserve(LIST, 5.0) for _ in range(8)] == [0.0] * 8

    def test_share_is_left_to_other_users_of_the_account(self) -> None:
        rate_limiter = RateLimiter({LIST: RateLimit(10, seconds=60)})
        for _ in range(8):
            rate_limiter.reserve(LIST, 5.0)

        assert rate_limiter.reserve(LIST, 15.0) == 50.0

    def test_tiny_limit_still_lets_one_call_through(self) -> None:
        rate_limiter = RateLimiter({LIST: RateLimit(1, seconds=10)})

        assert [rate_limiter.reserve(LIST, now) for now in (0.0, 0.0, 4.0, 10.0, 11.0)] == [0, 10, 6, 0, 9]

    def test_postponed_call_takes_no_place(self) -> None:
        rate_limiter = RateLimiter({LIST: RateLimit(1, seconds=10)})
        rate_limiter.reserve(LIST, 0.0)
        for _ in range(5):
            rate_limiter.reserve(LIST, 1.0)

        assert rate_limiter.reserve(LIST, 10.0) == 0.0

    def test_operation_without_a_limit_is_not_slowed(self) -> None:
        rate_limiter = RateLimiter({LIST: RateLimit(1)})

        assert {rate_limiter.reserve("GET /other", 3.0) for _ in range(1000)} == {0.0}

    def test_operations_are_counted_apart(self) -> None:
        rate_limiter = RateLimiter({LIST: RateLimit(1), "GET /other": RateLimit(1)})
        rate_limiter.reserve(LIST, 0.0)

        assert rate_limiter.reserve("GET /other", 0.0) == 0.0

    @pytest.mark.parametrize("seed", range(25))
    def test_window_never_holds_more_than_the_share(self, seed: int) -> None:
        chance = random.Random(seed)
        limit = RateLimit(chance.randint(1, 40), seconds=chance.choice([1.0, 10.0, 60.0]))
        share = max(1, int(limit.calls * 0.8))
        rate_limiter, now, stopped_until = RateLimiter({LIST: limit}), 0.0, 0.0
        sent: list[float] = []
        for _ in range(2000):
            now += chance.choice([0.0, 0.0, chance.expovariate(1.0), chance.expovariate(0.05)])
            if chance.random() < 0.02:
                stopped_until = max(stopped_until, now + 20)
                rate_limiter.back_off(20.0, now, refused=True)
            pause = rate_limiter.reserve(LIST, now)
            if chance.random() < 0.5:
                now += pause
                pause = rate_limiter.reserve(LIST, now) if pause > 0 else pause
                assert pause < 1e-6
            if pause == 0:
                sent.append(now)
                assert now >= stopped_until

        assert len(sent) > share
        for index, moment in enumerate(sent):
            # Half open, with room for what floats lose.
            inside = [other for other in sent[index:] if other < moment + limit.seconds - 1e-6]
            assert len(inside) <= share


class TestStop:
    def test_stop_holds_back_every_call(self) -> None:
        rate_limiter = RateLimiter({})
        rate_limiter.back_off(30.0, 100.0, refused=True)

        assert (rate_limiter.reserve("GET /any", 100.0), rate_limiter.reserve("GET /any", 120.0)) == (
            30.0,
            10.0,
        )
        assert rate_limiter.reserve("GET /any", 130.0) == 0.0

    def test_longest_stop_counts(self) -> None:
        rate_limiter = RateLimiter({})
        rate_limiter.back_off(30.0, 100.0, refused=True)
        rate_limiter.back_off(5.0, 110.0, refused=True)

        assert rate_limiter.reserve("GET /any", 110.0) == 20.0

    def test_limiter_counts_calls_and_refusals(self) -> None:
        rate_limiter = RateLimiter({})
        rate_limiter.reserve(LIST, 0.0)
        rate_limiter.reserve(LIST, 0.0)
        rate_limiter.back_off(1.0, 0.0, refused=True)
        rate_limiter.reserve(LIST, 0.5)

        assert (rate_limiter.calls, rate_limiter.refused) == (2, 1)


class _Recording:
    """A transport that notes when it is asked, and refuses the first call as one too many."""

    def __init__(self, time: Timekeeper, **headers: str) -> None:
        self.time, self.headers = time, headers
        self.sent: list[float] = []

    async def send(self, request: Request) -> Response:
        self.sent.append(self.time.monotonic - 1000)
        return a_response(429, {}, **self.headers) if len(self.sent) == 1 else a_response()

    async def aclose(self) -> None: ...


class TestClient:
    def _client(self, time: Timekeeper, transport: _Recording, **limits: RateLimit) -> AsyncClient:
        rate_limiter = RateLimiter({a_call().name: limit for limit in limits.values()})
        return AsyncClient(a_config(max_attempts=1), transport, lambda *_: None, rate_limiter, time.clocks)

    @pytest.mark.parametrize(("seconds", "lines"), [(0.5, set()), (7.0, {"waits 7 s"})])
    def test_call_backs_off_until_there_is_room_and_logs_a_long_wait(
        self, seconds: float, lines: set[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        async def run() -> None:
            time = Timekeeper()
            transport = _Recording(time)
            transport.sent.append(-1)
            client = self._client(time, transport, limit=RateLimit(1, seconds=seconds))
            calls = [asyncio.ensure_future(client.send(a_call())) for _ in range(4)]
            await time.let_pass(60)

            assert transport.sent[1:] == [0, seconds, 2 * seconds, 3 * seconds]
            await asyncio.gather(*calls)

        with caplog.at_level("INFO"):
            asyncio.run(run())
        assert {line.rpartition(": ")[2].partition(" to keep")[0] for line in caplog.messages} == lines

    @pytest.mark.parametrize(("headers", "pause"), [({"retry_after": "40"}, 40.0), ({}, 1.0)])
    def test_response_429_stops_every_call_even_a_scheduled_one(
        self, headers: dict[str, str], pause: float
    ) -> None:
        async def run() -> None:
            time = Timekeeper()
            transport = _Recording(time, **headers)
            client = self._client(time, transport, limit=RateLimit(2, seconds=0.5))
            calls = [asyncio.ensure_future(client.send(a_call())) for _ in range(3)]
            await settle()
            await time.let_pass(100)

            assert transport.sent == [0.0, pause, pause + 0.5]
            refused, *good = await asyncio.gather(*calls, return_exceptions=True)
            assert isinstance(refused, RateLimitedError)
            assert good == [b"{}", b"{}"]

        asyncio.run(run())


class _Metered:
    """A transport whose answers say how many calls are left of two a second."""

    def __init__(self, time: Timekeeper) -> None:
        self.time = time
        self.sent: list[float] = []

    async def send(self, request: Request) -> Response:
        self.sent.append(self.time.monotonic - 1000)
        left = len(self.sent) % 2
        reset = str(self.time.wall + 1)
        return a_response(burst_ratelimit_remaining=str(left), burst_ratelimit_reset=reset)

    async def aclose(self) -> None: ...


class TestBackOff:
    def test_back_off_sends_no_request_and_counts_no_refusal(self) -> None:
        rate_limiter = RateLimiter({})
        rate_limiter.back_off(2.0, 100.0)

        assert (rate_limiter.reserve("GET /any", 100.5), rate_limiter.reserve("GET /any", 102.0)) == (
            1.5,
            0.0,
        )
        assert rate_limiter.refused == 0

    def test_shorter_back_off_does_not_end_a_longer_stop(self) -> None:
        rate_limiter = RateLimiter({})
        rate_limiter.back_off(30.0, 100.0, refused=True)
        rate_limiter.back_off(1.0, 100.0)

        assert rate_limiter.reserve("GET /any", 110.0) == 20.0
        assert rate_limiter.refused == 1

    def test_client_backs_off_at_the_end_of_the_allowance_and_is_never_refused(self) -> None:
        async def run() -> None:
            time = Timekeeper()
            transport, rate_limiter = _Metered(time), RateLimiter({})
            client = AsyncClient(a_config(), transport, lambda *_: None, rate_limiter, time.clocks)

            async def one_after_the_other() -> None:
                for _ in range(6):
                    await client.send(a_call())

            sending = asyncio.ensure_future(one_after_the_other())
            await settle()
            await time.let_pass(10)
            await sending
            assert transport.sent == pytest.approx([0, 0, 1, 1, 2, 2])
            assert rate_limiter.refused == 0

        asyncio.run(run())
