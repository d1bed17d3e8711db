"""What requests that carry a body of their own need of the core: bytes, headers, regions, and rests."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from remote_tasks_provider.core.errors import ConnectionConfigError, InvalidResponseError, TransportError
from remote_tasks_provider.core.http.client import AsyncClient
from remote_tasks_provider.core.http.connection import ConnectionExtras, ConnectionFields, connect
from remote_tasks_provider.core.http.operation import Request, Response
from remote_tasks_provider.core.http.rate_limit import RateLimiter
from remote_tasks_provider.core.http.response import used_up_for
from tests.core.build import SECRET, START, a_call, a_config, a_response
from tests.core.connections import Over
from tests.core.fake_clock import Timekeeper, settle
from tests.core.raw_server import RawServer, answer, hang_up
from tests.core.shared_poller import World, play

WHATEVER = bytes(range(256))


@pytest.fixture(params=["requests", "httpx"])
def over(request: pytest.FixtureRequest) -> Over:
    return Over(request.param)


def _post(over: Over, *headers: tuple[str, str], **request: object) -> tuple[list[tuple[str, str]], bytes]:
    """Send a request; return the headers and the body that arrive."""
    made = Request("POST", "/publish", headers=headers, **request)  # type: ignore[arg-type]
    with RawServer(answer()) as server:
        over.send(made, a_config(server.url))
    return server.header_lines(), server.requests[0].partition(b"\r\n\r\n")[2]


class TestContent:
    def test_bytes_are_sent_unchanged(self, over: Over) -> None:
        headers, body = _post(over, content=WHATEVER)

        assert body == WHATEVER
        assert ("content-length", "256") in headers

    @pytest.mark.parametrize("content", [None, b""])
    def test_empty_body_has_length_zero(self, over: Over, content: bytes | None) -> None:
        headers, body = _post(over, content=content)

        assert body == b""
        assert ("content-length", "0") in headers

    def test_json_is_still_json(self, over: Over) -> None:
        headers, body = _post(over, json={"a": 1})

        assert json.loads(body) == {"a": 1}
        assert dict(headers)["content-type"] == "application/json"


class TestHeaders:
    def test_request_headers_stand_beside_the_common_ones(self, over: Over) -> None:
        headers, _ = _post(over, ("Upstash-Delay", "5s"), ("Upstash-Forward-X", "a, b"), content=b"x")

        assert {("upstash-delay", "5s"), ("upstash-forward-x", "a, b"), ("api_key", SECRET)} <= set(headers)
        assert dict(headers)["user-agent"].startswith("airflow-provider-remote-tasks/")

    @pytest.mark.parametrize("name", ["Content-Type", "content-type"])
    def test_request_headers_replace_common_ones_of_the_same_name(self, over: Over, name: str) -> None:
        headers, _ = _post(over, (name, "text/plain"), content=b"x")

        assert [value for key, value in headers if key == "content-type"] == ["text/plain"]

    def test_request_headers_stay_with_their_request(self, over: Over) -> None:
        first = a_call(method="POST", headers=(("Upstash-Delay", "5s"),), content=b"x")
        with RawServer(answer()) as server:
            over.calls([first, a_call()], a_config(server.url))

        assert [("upstash-delay", "5s") in server.header_lines(number) for number in (0, 1)] == [True, False]

    def test_headers_and_body_are_in_no_repr(self) -> None:
        request = Request("POST", "/x", content=b"hidden body", headers=(("X", "hidden header"),))

        assert "hidden" not in repr(request)


class TestRedaction:
    """A destination stands in the path, and its query often holds a key."""

    def test_lost_answer_does_not_show_the_query_of_a_path(self, over: Over) -> None:
        request = Request("POST", "/v2/publish/https://example.com/hook?token=hush")
        with RawServer(hang_up) as server, pytest.raises(TransportError) as caught:
            over.send(request, a_config(server.url))

        assert "/v2/publish/https://example.com/hook" in str(caught.value)
        assert "hush" not in str(caught.value)

    def test_oversized_answer_does_not_show_the_query_of_a_path(
        self, over: Over, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("remote_tasks_provider.core.http.transport._MAX_BODY_BYTES", 10)
        request = Request("POST", "/v2/publish/https://example.com/hook?token=hush")
        with (
            RawServer(answer(200, b"x" * 11)) as server,
            pytest.raises(InvalidResponseError, match="exceeds") as caught,
        ):
            over.send(request, a_config(server.url))

        assert "hush" not in str(caught.value)


class TestRegions:
    @staticmethod
    def _url(**fields: object) -> str:
        class Extras(ConnectionExtras):
            region: str = "eu"

        return connect(
            ConnectionFields("my_conn", password=SECRET, **fields),  # type: ignore[arg-type]
            service="Example",
            default_base_url=lambda extras: f"https://{extras.region}.example.com",
            auth=lambda key, _extras: ("X-Key", key),
            extras=Extras,
        ).base_url

    def test_extras_choose_the_region(self) -> None:
        assert self._url() == "https://eu.example.com"
        assert self._url(extra={"region": "us"}) == "https://us.example.com"

    def test_host_overrides_the_region(self) -> None:
        assert self._url(extra={"region": "us"}, host="https://h.example.com") == "https://h.example.com"

    def test_errors_name_the_field_of_the_region(self) -> None:
        with pytest.raises(ConnectionConfigError, match=r"expected something like https://us\.example\.com"):
            self._url(extra={"region": "us"}, host="ftp://h")


class TestUsedUp:
    @pytest.mark.parametrize(
        ("left", "reset", "seconds"),
        [
            ("0", START + 1, 1.0),
            ("0", START + 0.25, 0.25),
            ("0.0", START + 1, 1.0),
            ("0", START - 5, 0.0),
            ("1", START + 1, None),
            ("99", START + 1, None),
            ("-1", START + 1, None),
            ("none", START + 1, None),
            (None, START + 1, None),
            ("0", None, None),
            ("0", "soon", None),
        ],
    )
    def test_good_answer_may_announce_the_end_of_the_allowance(
        self, left: str | None, reset: object, seconds: float | None
    ) -> None:
        told = {"burst-ratelimit-remaining": left, "burst-ratelimit-reset": reset}
        headers = {name: str(value) for name, value in told.items() if value is not None}

        assert used_up_for(headers, START) == (None if seconds is None else pytest.approx(seconds))

    def test_clock_far_ahead_of_ours_is_not_believed(self) -> None:
        headers = {"burst-ratelimit-remaining": "0", "burst-ratelimit-reset": str(START + 10**9)}

        found = used_up_for(headers, START)
        assert found is not None
        assert found <= 3600


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


class TestTaskTypes:
    def test_task_types_of_one_service_do_not_share_a_loop(self) -> None:
        async def story(world: World) -> None:
            messages = replace(world.service, kind="messages")
            waits = [world.wait("a"), world.wait("b", service=messages), world.wait("c", service=messages)]
            await world.time.let_pass(1)
            assert sorted(run_plan[1] for run_plan in world.looks) == [["a"], ["b", "c"]]
            await world.end(*waits)

        play(story)
