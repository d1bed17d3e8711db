"""Calls keep under a service's limits, whenever they come."""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from remote_tasks_provider.core.errors import RateLimitedError
from remote_tasks_provider.core.http import rate_limit
from remote_tasks_provider.core.http.client import AsyncClient
from remote_tasks_provider.core.http.operation import Request, Response
from remote_tasks_provider.core.http.rate_limit import RateLimit, RateLimiter, limiter_for
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
                rate_limiter.back_off(20.0, now)
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

    @pytest.mark.parametrize("seed", range(25))
    def test_window_never_holds_more_than_the_share_after_refusals_either(self, seed: int) -> None:
        chance = random.Random(seed)
        limit = RateLimit(chance.randint(1, 40), seconds=chance.choice([1.0, 10.0, 60.0]))
        share = max(1, int(limit.calls * 0.8))
        rate_limiter, now = RateLimiter({LIST: limit}, chance.random), 0.0
        sent: list[float] = []
        stopped_until = 0.0
        for _ in range(2000):
            now += chance.choice([0.0, 0.0, chance.expovariate(1.0), chance.expovariate(0.05)])
            pause = rate_limiter.reserve(LIST, now)
            if chance.random() < 0.5 and pause < 1000:
                now += pause
                pause = rate_limiter.reserve(LIST, now) if pause > 0 else pause
                assert pause < 1e-6
            if pause != 0:
                continue
            assert now >= stopped_until
            sent.append(now)
            if chance.random() < 0.05:
                asked = chance.choice([None, 0.0, 5.0])
                rate_limiter.refuse(LIST, asked, now)
                stopped_until = max(stopped_until, now + (asked or 0.0))
            else:
                rate_limiter.accepted(LIST)

        assert len(sent) > share
        for index, moment in enumerate(sent):
            inside = [other for other in sent[index:] if other < moment + limit.seconds - 1e-6]
            assert len(inside) <= share


class TestStop:
    def test_stop_holds_back_every_call(self) -> None:
        rate_limiter = RateLimiter({})
        rate_limiter.back_off(30.0, 100.0)

        assert [rate_limiter.reserve("GET /any", now) for now in (100.0, 120.0, 130.0)] == [30, 10, 0]

    def test_longest_stop_counts(self) -> None:
        rate_limiter = RateLimiter({})
        rate_limiter.back_off(30.0, 100.0)
        rate_limiter.back_off(5.0, 110.0)

        assert rate_limiter.reserve("GET /any", 110.0) == 20.0

    def test_stop_of_one_operation_leaves_the_others(self) -> None:
        rate_limiter = _limiter()
        rate_limiter.refuse(LIST, 30.0, 100.0)

        assert (rate_limiter.reserve(LIST, 100.0), rate_limiter.reserve("GET /any", 100.0)) == (30, 0)
        rate_limiter.refuse(LIST, 5.0, 100.0)
        assert rate_limiter.reserve(LIST, 100.0) == 30

    def test_reading_is_told_of_what_stops_it_only(self) -> None:
        rate_limiter = RateLimiter(dict.fromkeys(["POST /things", LIST], RateLimit(10)), lambda: 0.0)
        assert rate_limiter.backs_off_for(100.0) == 0
        rate_limiter.refuse("POST /things", 60.0, 100.0)
        assert rate_limiter.backs_off_for(100.0) == 0
        rate_limiter.refuse(LIST, 20.0, 100.0)
        assert rate_limiter.backs_off_for(100.0) == 20
        rate_limiter.back_off(40.0, 100.0)
        assert rate_limiter.backs_off_for(100.0) == 40
        assert rate_limiter.backs_off_for(200.0) == 0


def _limiter(calls: int = 10, seconds: float = 60.0, jitter: float = 0.0) -> RateLimiter:
    limits = {LIST: RateLimit(calls, seconds), "GET /other": RateLimit(calls, seconds)}
    return RateLimiter(limits, lambda: jitter)


def _sent_within(limiter: RateLimiter, start: float, seconds: float, operation: str = LIST) -> list[float]:
    """Send as soon as it is allowed; return the moments from the start."""
    now, sent = start, []
    while now < start + seconds:
        if (pause := limiter.reserve(operation, now)) > 0:
            now += pause
        else:
            sent.append(now - start)
    return sent


class TestShare:
    """Others use the same limit: the share is halved when the service refuses, and grows again."""

    def test_request_sent_without_asking_takes_a_place(self) -> None:
        limiter = _limiter(10)
        for _ in range(8):
            limiter.note(LIST, 0.0)

        assert limiter.reserve(LIST, 15.0) == 45.0

    def test_refusal_halves_the_share_and_spreads_it(self) -> None:
        limiter = _limiter(100)
        limiter.refuse(LIST, 0.0, 0.0)

        assert _sent_within(limiter, 0.0, 3.0) == pytest.approx([0.0, 1.5])

    def test_first_refusal_of_a_crowded_moment_halves_and_the_others_do_not(self) -> None:
        limiter = _limiter(100)
        for _ in range(20):
            limiter.refuse(LIST, 0.0, 0.0)
        limiter.refuse(LIST, 0.0, 29.0)

        assert len(_sent_within(limiter, 29.0, 10.0)) >= 6

    def test_later_refusal_halves_again(self) -> None:
        limiter = _limiter(100)
        limiter.refuse(LIST, 0.0, 0.0)
        limiter.refuse(LIST, 0.0, 60.0)

        assert _sent_within(limiter, 60.0, 4.0) == pytest.approx([0.0, 60 / 25])

    def test_share_never_falls_below_one_request_a_window(self) -> None:
        limiter = _limiter(4, 10.0)
        for moment in range(0, 200, 5):
            limiter.refuse(LIST, 0.0, float(moment))

        assert _sent_within(limiter, 200.0, 10.0) == [0.0]
        assert limiter.reserve(LIST, 200.0) == 10.0
        # So it has grown to two places after three windows.
        assert len(_sent_within(limiter, 230.0, 9.0)) == 2

    def test_share_grows_with_each_window_up_to_the_most(self) -> None:
        limiter = _limiter(100)
        limiter.refuse(LIST, 0.0, 0.0)
        sent = [len(_sent_within(limiter, window * 60.0, 60.0)) for window in range(14)]

        assert 40 <= sent[0] < 50
        assert all(later >= earlier for earlier, later in itertools.pairwise(sent))
        assert all(later - earlier <= 12 for earlier, later in itertools.pairwise(sent[:-2]))
        assert sent[-1] == 80

    def test_share_grows_while_only_unpaced_requests_are_sent(self) -> None:
        limiter = _limiter(100)
        for moment in range(0, 60_000, 6000):
            limiter.note(LIST, float(moment))
            limiter.refuse(LIST, 0.0, float(moment))

        assert _sent_within(limiter, 54_000.0, 4.0) == pytest.approx([1.5, 3.0])

    def test_whole_share_is_not_spread(self) -> None:
        limiter = _limiter(100)
        limiter.refuse(LIST, 0.0, 0.0)

        assert _sent_within(limiter, 6000.0, 1.0)[:80] == [0.0] * 80

    def test_refused_operation_leaves_the_others_their_share(self) -> None:
        limiter = _limiter(10)
        limiter.refuse(LIST, 30.0, 0.0)

        assert limiter.reserve(LIST, 0.0) == 30.0
        assert [limiter.reserve("GET /other", 0.0) for _ in range(8)] == [0.0] * 8

    def test_refused_operation_without_a_limit_stops_the_account(self) -> None:
        limiter = _limiter(10)
        limiter.refuse("POST /things", 30.0, 0.0)

        assert [limiter.reserve(name, 0.0) for name in (LIST, "GET /other", "POST /things")] == [30.0] * 3


class TestBackOffWithoutRetryAfter:
    def _pauses(self, limiter: RateLimiter, times: int, operation: str) -> list[float]:
        pauses, now = [], 0.0
        for _ in range(times):
            limiter.refuse(operation, None, now)
            pauses.append(limiter.backs_off_for(now))
            now += pauses[-1]
        return pauses

    def test_back_off_doubles_up_to_a_minute(self) -> None:
        pauses = self._pauses(_limiter(jitter=0.5), 9, "GET /unlimited")

        assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]

    @pytest.mark.parametrize(("jitter", "pause"), [(0.0, 0.5), (1.0, 1.5)])
    def test_back_off_is_spread(self, jitter: float, pause: float) -> None:
        assert self._pauses(_limiter(jitter=jitter), 1, "GET /unlimited") == [pause]

    @pytest.mark.parametrize("operation", [LIST, "GET /unlimited"])
    def test_accepted_request_ends_the_doubling(self, operation: str) -> None:
        limiter = _limiter(100, jitter=0.5)
        first, *_, last = self._pauses(limiter, 3, operation)
        limiter.accepted(operation)
        # By then the share of the limited operation has grown back.
        limiter.refuse(operation, None, 10_000.0)

        assert last > first
        assert limiter.backs_off_for(10_000.0) == first

    def test_back_off_is_at_least_the_spacing_of_the_share(self) -> None:
        limiter = _limiter(10, 60.0, jitter=0.5)
        limiter.refuse(LIST, None, 0.0)

        assert limiter.reserve(LIST, 0.0) == 15.0

    @pytest.mark.parametrize(("calls", "most"), [(10, 1.0), (1000, 0.15)])
    def test_retry_after_is_kept_and_hardly_spread(self, calls: int, most: float) -> None:
        limiter = _limiter(calls, 60.0, jitter=1.0)
        limiter.refuse(LIST, 7.0, 0.0)

        assert limiter.reserve(LIST, 0.0) == pytest.approx(7.0 + most)


class TestRegistry:
    @pytest.fixture(autouse=True)
    def _empty(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rate_limit, "_LIMITERS", OrderedDict())

    def test_account_has_one_limiter(self) -> None:
        first = limiter_for(a_config().account, {LIST: RateLimit(1)})

        assert limiter_for(a_config(max_attempts=1).account, {LIST: RateLimit(1)}) is first
        assert limiter_for(a_config("https://other.example.com").account, {}) is not first
        first.reserve(LIST, 0.0)
        assert first.reserve(LIST, 0.0) == 60.0

    def test_key_of_another_account_has_its_own(self) -> None:
        config = a_config()

        assert limiter_for(replace(config, secret="another").account, {}) is not limiter_for(
            config.account, {}
        )

    def test_account_not_used_for_longest_is_forgotten(self) -> None:
        first, second = limiter_for(0, {}), limiter_for(1, {})
        for account in range(2, 256):
            limiter_for(account, {})
        assert limiter_for(0, {}) is first
        limiter_for(256, {})

        assert limiter_for(0, {}) is first
        assert limiter_for(1, {}) is not second
        assert len(rate_limit._LIMITERS) == 256


class TestThreads:
    def test_threads_get_no_more_than_the_share_together(self) -> None:
        limiter = _limiter(1000)
        start = threading.Barrier(8)

        def send(number: int) -> int:
            start.wait()
            allowed = 0
            for turn in range(200):
                allowed += limiter.reserve(LIST, 0.0) == 0
                limiter.reserve(f"GET /{number}/{turn}", 0.0)
                limiter.accepted(f"GET /{number}/{turn}/more")
                limiter.backs_off_for(0.0)
            return allowed

        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            with ThreadPoolExecutor(8) as pool:
                assert sum(pool.map(send, range(8))) == 800
        finally:
            sys.setswitchinterval(before)


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
        rate_limiter = RateLimiter({a_call().name: limit for limit in limits.values()}, lambda: 1.0)
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

    @pytest.mark.parametrize(("headers", "pause"), [({"retry_after": "7"}, 7.5), ({}, 0.75)])
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
            assert client.refused == 1

        asyncio.run(run())

    def test_long_pause_is_left_to_the_next_poll(self) -> None:
        async def run() -> None:
            time = Timekeeper()
            transport = _Recording(time, retry_after="40")
            client = self._client(time, transport, limit=RateLimit(2, seconds=0.5))
            calls = [asyncio.ensure_future(client.send(a_call())) for _ in range(3)]
            await settle()
            await time.let_pass(1)
            _, *unsent = await asyncio.gather(*calls, return_exceptions=True)

            assert transport.sent == [0.0]
            assert [str(error) for error in unsent] == [
                "Example GET /v1/things/{id}: HTTP 429: not sent for 40 s, to keep the rate limit."
            ] * 2
            assert [error.retry_after for error in unsent] == [40.5, 40.5]  # type: ignore[union-attr]

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
    def test_back_off_sends_no_request(self) -> None:
        rate_limiter = RateLimiter({})
        rate_limiter.back_off(2.0, 100.0)

        assert (rate_limiter.reserve("GET /any", 100.5), rate_limiter.reserve("GET /any", 102.0)) == (
            1.5,
            0.0,
        )

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
            assert (client.calls, client.refused) == (6, 0)

        asyncio.run(run())
