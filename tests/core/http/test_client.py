"""The clients: the same behaviour with and without ``await``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from remote_tasks_provider.core.clocks import Clocks
from remote_tasks_provider.core.errors import NotFoundError, RateLimitedError, ServerError, TransportError
from remote_tasks_provider.core.http.client import AsyncClient, Client
from remote_tasks_provider.core.http.operation import (
    Idempotency,
    Operation,
    Page,
    Request,
    Response,
    never_sent,
)
from remote_tasks_provider.core.http.rate_limit import RateLimit, RateLimiter
from tests.core.build import a_call, a_config, a_response


class Scripted:
    """A transport that plays answers in turn; an exception is raised."""

    def __init__(self, *answers: Response | Exception) -> None:
        self.left = list(answers)
        self.sent: list[str] = []
        self.timeouts: list[float | None] = []
        self.fresh: list[bool] = []
        self.closed = False

    def send(self, request: Request, *, timeout: float | None = None, fresh: bool = False) -> Response:
        self.sent.append(request.path)
        self.fresh.append(fresh)
        self.timeouts.append(timeout)
        answer = self.left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.closed = True


class AsyncScripted(Scripted):
    async def send(self, request: Request) -> Response:  # type: ignore[override]
        return Scripted.send(self, request)

    async def aclose(self) -> None:
        super().close()


class CallMetrics:
    """Keeps what it counts."""

    def __init__(self) -> None:
        self.counted: list[tuple[str, str, str]] = []

    def called(self, service: str, operation: str) -> None:
        self.counted.append(("called", service, operation))

    def refused(self, service: str, operation: str) -> None:
        self.counted.append(("refused", service, operation))


class Both:
    """A client of either kind, driven the same way."""

    def __init__(self, is_async: bool) -> None:
        self._async = is_async
        self.transport = Scripted()
        self.pauses: list[float] = []

    def play(self, *answers: Response | Exception, metrics: CallMetrics | None = None, **extras: Any) -> Both:
        config = a_config(**extras)
        if self._async:
            transport = AsyncScripted(*answers)

            async def sleep(seconds: float) -> None:
                self.pauses.append(seconds)

            clocks = Clocks(monotonic=lambda: sum(self.pauses), sleep=sleep)
            self.client: Any = AsyncClient(config, transport, lambda *_: None, clocks=clocks, metrics=metrics)
        else:
            transport = Scripted(*answers)  # type: ignore[assignment]
            self.client = Client(
                config, transport, lambda *_: None, sleep=self.pauses.append, metrics=metrics
            )
        self.transport = transport
        return self

    def send(self, operation: Operation[Any]) -> Any:
        return asyncio.run(self.client.send(operation)) if self._async else self.client.send(operation)

    def take(self, operation: Operation[Any], count: int, limit: int | None = None) -> list[Any]:
        """Take so many items of a list, then stop."""
        items = self.client.items(operation, limit)
        return [item for _, item in zip(range(count), items, strict=False)]

    def close(self) -> None:
        if self._async:
            asyncio.run(self.client.aclose())
        else:
            self.client.close()


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def both(request: pytest.FixtureRequest) -> Both:
    return Both(request.param)


def _paged(*sizes: int) -> Operation[Page[int]]:
    """A list with pages of the given sizes; items count up from 0."""

    def page(number: int) -> Operation[Page[int]]:
        def parse(_: Response) -> Page[int]:
            start = sum(sizes[:number])
            items = range(start, start + sizes[number])
            if number + 1 == len(sizes):
                return Page(items)
            return Page(items, f"page {number + 1}", page(number + 1))

        return a_call(parse, path=f"/page/{number}")

    return page(0)


class TestSend:
    def test_client_returns_the_parsed_answer(self, both: Both) -> None:
        operation = replace(a_call(), parse=lambda response: response.status)

        assert both.play(a_response(201)).send(operation) == 201

    def test_client_repeats_idempotent_operations(self, both: Both) -> None:
        both.play(
            a_response(503), TransportError("reset"), a_response(429, {}, retry_after="9"), a_response()
        )

        assert both.send(a_call()) == b"{}"
        assert len(both.transport.sent) == 4
        assert 9 <= both.pauses[2] <= 9.5

    def test_client_raises_the_last_error_once_attempts_are_used_up(self, both: Both) -> None:
        both.play(*[a_response(500)] * 3, a_response(502), max_attempts=4)

        with pytest.raises(ServerError, match="502"):
            both.send(a_call())
        assert len(both.pauses) == 3

    def test_client_raises_final_errors_at_once(self, both: Both) -> None:
        both.play(a_response(404))

        with pytest.raises(NotFoundError):
            both.send(a_call())
        assert both.pauses == []


class TestBackOff:
    def test_back_off_is_what_the_service_asked_for(self, both: Both) -> None:
        both.play(a_response(429, {}, retry_after="60"))
        before = both.client.backs_off_for()

        with pytest.raises(RateLimitedError):
            both.send(a_call())
        assert before == 0
        assert both.client.backs_off_for() == pytest.approx(60, abs=1)

    @pytest.mark.parametrize(("status", "seconds"), [(503, 60), (500, 0)])
    def test_back_off_comes_from_a_503_and_not_from_an_error_of_one_operation(
        self, both: Both, status: int, seconds: float
    ) -> None:
        both.play(a_response(status, {}, retry_after="60"))

        with pytest.raises(ServerError):
            both.send(a_call())
        assert both.client.backs_off_for() == pytest.approx(seconds, abs=1)


class TestPacing:
    """A worker waits for the rate limiter where it is asked to."""

    def _client(
        self, *answers: Response | Exception, calls: int = 1, seconds: float = 20.0
    ) -> tuple[Client, Scripted, list[float]]:
        """A client with room for so many requests in some seconds, whose time passes only in pauses."""
        now = [1000.0]
        pauses: list[float] = []

        def sleep(seconds: float) -> None:
            pauses.append(seconds)
            now[0] += seconds

        transport = Scripted(*answers)
        limiter = RateLimiter({a_call().name: RateLimit(calls, seconds)}, lambda: 0.0)
        client = Client(a_config(), transport, lambda *_: None, limiter, sleep)  # type: ignore[arg-type]
        client._clocks = replace(client._clocks, monotonic=lambda: now[0])
        return client, transport, pauses

    def test_unpaced_request_goes_out_at_once_and_is_counted(self) -> None:
        client, transport, pauses = self._client(*[a_response()] * 3)
        for _ in range(3):
            client.send(a_call())

        assert (len(transport.sent), pauses, client.calls) == (3, [], 3)
        assert client.rate_limiter.reserve(a_call().name, 1000.0) == 20.0

    @pytest.mark.parametrize("kind", Idempotency)
    def test_request_that_acts_gets_a_connection_of_its_own(self, kind: Idempotency) -> None:
        client, transport, _ = self._client(a_response())

        client.send(a_call(idempotency=kind))

        assert transport.fresh == [kind is Idempotency.NOT_IDEMPOTENT]

    def test_longest_send_covers_the_last_repeat(self) -> None:
        client, _, _ = self._client()

        assert client.longest_send == 300 + client.config.extras.total_timeout

    def test_paced_request_waits_for_its_place(self) -> None:
        client, transport, pauses = self._client(*[a_response()] * 3)
        for _ in range(3):
            client.send(a_call(), paced=True)

        assert (len(transport.sent), pauses) == (3, [20.0, 20.0])

    def test_pause_beyond_the_patience_is_an_error_and_sends_nothing(self) -> None:
        client, transport, pauses = self._client(*[a_response()] * 2, seconds=60.0)
        client.send(a_call(), paced=True)

        with pytest.raises(RateLimitedError, match="not sent for 60 s") as caught:
            client.send(a_call(), paced=True)
        assert (len(transport.sent), pauses, caught.value.retry_after) == (1, [], 60.0)
        # The service has not asked for it: other operations go on.
        assert client.backs_off_for() == 0.0

    def test_pause_beyond_the_end_is_an_error_and_sends_nothing(self) -> None:
        client, transport, pauses = self._client(*[a_response()] * 2)
        client.send(a_call(), paced=True)

        with pytest.raises(RateLimitedError, match="not sent for 20 s"):
            client.send(a_call(), paced=True, give_up_at=1019.0)
        assert (len(transport.sent), pauses) == (1, [])
        client.send(a_call(), paced=True, give_up_at=1021.0)
        assert (transport.timeouts, pauses) == ([None, 1.0], [20.0])

    def test_request_after_the_end_is_not_sent(self) -> None:
        client, transport, pauses = self._client(a_response())

        with pytest.raises(TransportError, match="no time is left"):
            client.send(a_call(), paced=True, give_up_at=999.0)
        assert client.calls == 0
        assert (transport.sent, pauses) == ([], [])

    @pytest.mark.parametrize(
        ("give_up_at", "timeout"), [(None, None), (1012.5, 12.5), (1000.5, 1.0), (990.0, 1.0)]
    )
    def test_request_has_until_the_end_to_be_answered(
        self, give_up_at: float | None, timeout: float | None
    ) -> None:
        client, transport, _ = self._client(a_response())
        client.send(a_call(), give_up_at=give_up_at)

        assert transport.timeouts == [timeout]

    @pytest.mark.parametrize(("give_up_at", "attempts"), [(1000.0, 1), (2000.0, 3)])
    def test_request_is_not_repeated_after_the_end(self, give_up_at: float, attempts: int) -> None:
        client, transport, _ = self._client(a_response(500), a_response(500), a_response())
        try:
            client.send(a_call(), give_up_at=give_up_at)
        except ServerError:
            assert attempts == 1

        assert len(transport.sent) == attempts

    def test_limiter_hears_of_refusals_and_of_accepted_requests(self) -> None:
        client, _, pauses = self._client(a_response(429, {}), a_response(), calls=1000)
        client.send(a_call(), paced=True)

        assert len(pauses) >= 1
        assert (client.calls, client.refused, client.taken) == (2, 1, 1)


class TestMetrics:
    def test_requests_and_refusals_are_counted_by_operation(self, both: Both) -> None:
        metrics = CallMetrics()
        both.play(a_response(429, {}), a_response(), metrics=metrics)
        both.send(a_call())

        name = a_call().name
        assert metrics.counted == [
            ("called", both.client.config.service, name),
            ("refused", both.client.config.service, name),
            ("called", both.client.config.service, name),
        ]


class TestAllowance:
    def test_used_up_allowance_is_a_back_off_for_all(self, both: Both) -> None:
        reset = str(time.time() + 1.5)
        both.play(a_response(burst_ratelimit_remaining="0", burst_ratelimit_reset=reset))
        both.send(a_call())

        assert both.client.backs_off_for() == pytest.approx(1.5, abs=0.9)


class TestPatience:
    def test_event_loop_leaves_a_long_retry_after_to_the_next_poll(self) -> None:
        patient, impatient = Both(is_async=False), Both(is_async=True)
        for both in (patient, impatient):
            both.play(a_response(503, {}, retry_after="20"), a_response())

        patient.send(a_call())
        with pytest.raises(ServerError):
            impatient.send(a_call())
        assert (len(patient.pauses), impatient.pauses) == (1, [])


class TestItems:
    @pytest.fixture
    def client(self) -> Both:
        return Both(is_async=False)

    @pytest.mark.parametrize(("count", "pages"), [(0, 0), (1, 1), (2, 1), (3, 2), (9, 3)])
    def test_page_is_requested_when_its_first_item_is_needed(
        self, client: Both, count: int, pages: int
    ) -> None:
        client.play(*[a_response()] * 3)

        assert client.take(_paged(2, 2, 1), count) == list(range(5))[:count]
        assert client.transport.sent == [f"/page/{number}" for number in range(pages)]

    def test_empty_page_is_passed_over(self, client: Both) -> None:
        assert client.play(*[a_response()] * 3).take(_paged(1, 0, 1), 9) == [0, 1]

    def test_limit_counts_items(self, client: Both) -> None:
        assert client.play(*[a_response()] * 3).take(_paged(2, 2, 1), 9, limit=3) == [0, 1, 2]

    def test_pages_are_repeated_one_by_one(self, client: Both) -> None:
        client.play(a_response(500), a_response(), a_response(500), a_response(), max_attempts=2)

        assert client.take(_paged(1, 1), 9) == [0, 1]


class TestClose:
    def test_client_closes_its_transport(self, both: Both) -> None:
        both.play().close()

        assert both.transport.closed


class TestOutsideAnEventLoop:
    def test_blocking_sleep_on_a_loop_is_caught_by_the_guards(self) -> None:
        client = Client(a_config(), Scripted(a_response(500), a_response()), lambda *_: None, sleep=_sleep())

        async def wrong() -> None:
            client.send(a_call())

        with pytest.raises(AssertionError, match="running event loop"):
            asyncio.run(wrong())


def _sleep() -> Callable[[float], None]:
    return time.sleep


class TestSteps:
    @staticmethod
    def _made_of(steps: Any) -> Operation[Any]:
        return Operation.in_steps("several", "their value", steps)

    def test_steps_are_sent_in_turn_and_give_the_value(self, both: Both) -> None:
        def steps(config: Any) -> Any:
            first = yield a_call(lambda response: response.status, path="/first")
            second = yield a_call(lambda response: response.status, path=f"/{first}")
            return config.conn_id, second

        both.play(a_response(201), a_response(202))

        assert both.send(self._made_of(steps)) == ("example_default", 202)
        assert both.transport.sent == ["/first", "/201"]

    def test_steps_may_handle_the_error_of_one(self, both: Both) -> None:
        def steps(_config: Any) -> Any:
            try:
                yield a_call()
            except NotFoundError:
                return (yield a_call(path="/other"))

        both.play(a_response(404), a_response())

        assert both.send(self._made_of(steps)) == b"{}"
        assert both.transport.sent[-1] == "/other"

    def test_error_that_no_step_handles_is_raised(self, both: Both) -> None:
        def steps(_config: Any) -> Any:
            yield a_call()

        with pytest.raises(NotFoundError):
            both.play(a_response(404)).send(self._made_of(steps))

    def test_operation_with_steps_is_never_sent_itself(self) -> None:
        with pytest.raises(AssertionError, match="its steps are sent"):
            never_sent(a_response())
