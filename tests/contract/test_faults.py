"""Trouble on the way, for each vendor over both transports; the sandbox's journal is the witness."""

from __future__ import annotations

import re
import socket
import time
from typing import Any

import pytest

from remote_tasks_provider.a2a.api import operations
from remote_tasks_provider.a2a.api.interfaces import AGENTS
from remote_tasks_provider.a2a.api.messages import outgoing
from remote_tasks_provider.core.errors import (
    ApiError,
    AuthenticationError,
    InvalidResponseError,
    NotFoundError,
    PaginationError,
    RateLimitedError,
    RedirectError,
    RemoteTaskError,
    ServerError,
    TransportError,
)
from remote_tasks_provider.core.http import transport
from remote_tasks_provider.core.http.connection import ConnectionConfig
from remote_tasks_provider.core.http.operation import Idempotency, Operation, Request
from tests.contract.conftest import LISTING, Vendor
from tests.core.connections import Over
from tests.core.raw_server import RawServer, answer, free_port, hang_up, reset

listing = pytest.mark.parametrize("vendor", LISTING, indirect=True)


def _asked(vendor: Vendor) -> int:
    return len(vendor.sandbox.requests)


def _error(
    over: Over, vendor: Vendor, operation: Operation[Any] | None = None, **config: Any
) -> RemoteTaskError:
    found = vendor.config(**config)
    with pytest.raises(RemoteTaskError) as caught:
        over.operation(operation or vendor.get, found, vendor.task_type.service.explain)
    assert vendor.key not in str(caught.value)
    assert found.secret not in str(caught.value)
    return caught.value


class TestTransientFaults:
    @pytest.mark.parametrize(
        "fault",
        [
            {"kind": "status", "status": 503},
            {"kind": "status", "status": 429},
            {"kind": "drop_before"},
            {"kind": "drop_after"},
        ],
        ids=str,
    )
    def test_bad_answers_are_retried_until_a_good_one(
        self, fault: dict[str, Any], over: Over, vendor: Vendor
    ) -> None:
        vendor.sandbox.faults.add(**fault, times=2)

        assert vendor.tells(over.operation(vendor.get, vendor.config()))
        assert _asked(vendor) == 3
        # After a 429 the triggerer's rate limiter backs off, too.
        assert len(over.pauses) >= 2

    def test_silence_ends_with_the_read_timeout(self, over: Over, vendor: Vendor) -> None:
        vendor.sandbox.faults.add("hang", times=1)

        assert vendor.tells(over.operation(vendor.get, vendor.config(read_timeout=0.3)))
        assert _asked(vendor) == 2

    def test_retry_after_sets_the_pause(self, over: Over, vendor: Vendor) -> None:
        vendor.sandbox.faults.add("status", status=429, headers={"Retry-After": "7"}, times=1)

        assert vendor.tells(over.operation(vendor.get, vendor.config()))
        assert 7 <= over.pauses[0] <= 7.5

    def test_rate_limit_reset_sets_the_pause(self, over: Over, vendor: Vendor) -> None:
        reset_at = {"Burst-RateLimit-Reset": str(int(time.time()) + 10)}
        vendor.sandbox.faults.add("status", status=429, headers=reset_at, times=1)

        assert vendor.tells(over.operation(vendor.get, vendor.config()))
        assert 5 <= over.pauses[0] <= 10.5

    @listing
    def test_fault_on_the_second_page_repeats_only_that_page(self, over: Over, vendor: Vendor) -> None:
        for number in range(2, 104):
            vendor.add_task(f"t{number}")
        vendor.sandbox.faults.add("status", status=503, times=1, after=1)
        items = over.items(vendor.list, vendor.config(), limit=101 if vendor.name == "qstash" else 3)

        assert len({vendor.snapshot(item).id for item in items}) == len(items)
        assert _asked(vendor) == 3


class TestLastingFaults:
    def test_max_attempts_limits_the_requests(self, over: Over, vendor: Vendor) -> None:
        vendor.sandbox.faults.add("status", status=503)

        assert isinstance(_error(over, vendor, max_attempts=4), ServerError)
        assert _asked(vendor) == 4

    def test_long_retry_after_is_not_waited_for(self, over: Over, vendor: Vendor) -> None:
        vendor.sandbox.faults.add("status", status=429, headers={"Retry-After": "120"})
        error = _error(over, vendor)

        assert isinstance(error, RateLimitedError)
        assert error.retry_after == 120
        assert _asked(vendor) == 1

    @pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
    def test_broken_connection_is_a_transport_error(self, kind: str, over: Over, vendor: Vendor) -> None:
        vendor.sandbox.faults.add(kind)

        assert isinstance(_error(over, vendor), TransportError)
        assert _asked(vendor) == 3

    def test_silence_is_a_transport_error(self, over: Over, vendor: Vendor) -> None:
        vendor.sandbox.faults.add("hang")
        error = _error(over, vendor, read_timeout=0.2, max_attempts=2)

        assert isinstance(error, TransportError)
        assert "silent for 0.2 s" in str(error)

    @pytest.mark.parametrize("status", [400, 404])
    def test_refusal_is_not_repeated(self, status: int, over: Over, vendor: Vendor) -> None:
        vendor.sandbox.faults.add("status", status=status)
        error = _error(over, vendor)

        assert isinstance(error, ApiError)
        assert error.status_code == status
        assert _asked(vendor) == 1


class TestUnreadableAnswers:
    @pytest.mark.parametrize("form", ["html", "truncated", "list", "string", "null", "empty"])
    def test_garbage_is_reported_with_operation_expectation_and_host(
        self, form: str, over: Over, vendor: Vendor
    ) -> None:
        vendor.sandbox.faults.add("garbage", form=form)
        error = _error(over, vendor)

        assert isinstance(error, InvalidResponseError)
        service = vendor.task_type.service.name
        assert re.match(rf"{service} {re.escape(vendor.asks)}: expected an? {service} task", str(error))
        assert vendor.url in str(error)
        assert _asked(vendor) == 1

    @listing
    def test_garbage_in_a_list_is_reported(self, over: Over, vendor: Vendor) -> None:
        vendor.sandbox.faults.add("garbage", form="truncated")

        assert isinstance(_error(over, vendor, vendor.list), InvalidResponseError)

    def test_answer_over_the_size_cap_is_dropped(
        self, over: Over, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transport, "_MAX_BODY_BYTES", 1 << 20)
        vendor.sandbox.faults.add("huge", size=3 << 20)

        assert "exceeds 1 MiB" in str(_error(over, vendor))

    def test_answer_below_the_size_cap_is_read(self, over: Over, vendor: Vendor) -> None:
        vendor.sandbox.faults.add("huge", size=2 << 20)

        assert "field required" in str(_error(over, vendor))


class TestRedirect:
    def test_key_is_not_sent_to_the_other_host(self, over: Over, vendor: Vendor) -> None:
        with RawServer(answer()) as elsewhere:
            vendor.sandbox.faults.add("redirect", location=f"{elsewhere.url}/v1/tasks/t1?token=x")
            error = _error(over, vendor)

        assert isinstance(error, RedirectError)
        assert f"a redirect to {elsewhere.url}/v1/tasks/t1." in str(error)
        assert elsewhere.requests == []
        assert _asked(vendor) == 1


class TestPagination:
    @listing
    def test_repeated_cursor_ends_the_listing(self, over: Over, vendor: Vendor) -> None:
        vendor.sandbox.faults.add("repeat_cursor")
        with pytest.raises(PaginationError, match="already read"):
            over.items(vendor.list, vendor.config())

        assert _asked(vendor) == 2


class TestConnection:
    def test_key_is_carried_by_exactly_one_header(self, over: Over, vendor: Vendor) -> None:
        with RawServer(answer()) as server:
            _error(over, vendor, url=server.url)

        carrying = [(name, value) for name, value in server.header_lines() if vendor.key in value]
        scheme = "" if vendor.name == "manus" else "Bearer "
        assert carrying == [(vendor.auth_header, f"{scheme}{vendor.key}")]
        assert b"sandbox" not in server.requests[0].split(b"\r\n")[0]
        over.operation(vendor.get, vendor.config())
        sent = vendor.sandbox.requests[0].auth
        assert [name for name, was_sent in sent.items() if was_sent] == [vendor.auth_header]

    def test_wrong_key_names_the_field(self, over: Over, vendor: Vendor) -> None:
        error = _error(over, vendor, key="not-the-key-1")

        assert isinstance(error, AuthenticationError)
        assert "Check the password" in str(error)
        assert "'my_conn'" in str(error)
        assert _asked(vendor) == 1

    def test_wrong_path_prefix_is_an_error(self, over: Over, vendor: Vendor) -> None:
        error = _error(over, vendor, url=f"{vendor.url}/prefix")

        assert isinstance(error, ApiError)
        assert error.status_code in (404, 405)
        assert vendor.sandbox.requests[0].path == f"/{vendor.name}/prefix{vendor.place}"

    def test_unreachable_host_is_named(self, over: Over, vendor: Vendor) -> None:
        error = _error(over, vendor, url=f"http://127.0.0.1:{free_port()}")

        assert isinstance(error, TransportError)
        assert error.sent is False
        assert len(over.pauses) == 2

    @pytest.mark.parametrize("vendor", ["qstash"], indirect=True)
    def test_token_of_another_region_is_not_a_missing_task(self, over: Over, vendor: Vendor) -> None:
        vendor.sandbox.settings.update({"wrong_region": True})
        error = _error(over, vendor)

        assert isinstance(error, AuthenticationError)
        assert "https://qstash-us-east-1.upstash.io" in str(error)

    def test_missing_task_is_not_found(self, over: Over, vendor: Vendor) -> None:
        assert type(_error(over, vendor, vendor.get_task("t9"))) is NotFoundError


def _start(path: str = "/v1/tasks", idempotency: Idempotency = Idempotency.NOT_IDEMPOTENT) -> Operation[int]:
    """A call that would act twice if it were sent twice."""
    request = Request("POST", path, json={"prompt": "spend credits"})
    return Operation("POST /v1/tasks", request, "a task", lambda response: response.status, idempotency)


class TestIdempotency:
    @pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
    def test_operation_that_may_have_arrived_is_sent_once(
        self, kind: str, over: Over, vendor: Vendor
    ) -> None:
        vendor.sandbox.faults.add(kind, method="POST")

        assert isinstance(_error(over, vendor, _start()), TransportError)
        assert [record.method for record in vendor.sandbox.requests] == ["POST"]

    @pytest.mark.parametrize("handler", [hang_up, reset, answer(200, b"{", content_length="99"), answer(503)])
    def test_operation_with_a_lost_answer_is_sent_once(
        self, handler: Any, over: Over, vendor: Vendor
    ) -> None:
        with RawServer(handler) as server:
            _error(over, vendor, _start(), url=server.url)

        assert len(server.requests) == 1

    def test_operation_with_a_silent_answer_is_sent_once(self, over: Over, vendor: Vendor) -> None:
        vendor.sandbox.faults.add("hang", method="POST")
        _error(over, vendor, _start(), read_timeout=0.2)

        assert _asked(vendor) == 1

    def test_operation_on_a_refused_connection_is_sent_again(self, over: Over, vendor: Vendor) -> None:
        port = free_port()
        late: list[RawServer] = []

        def open_up() -> None:
            late.append(RawServer(answer(201), port=port))
            late[0].__enter__()

        over.meanwhile = open_up
        try:
            assert over.operation(_start(), vendor.config(url=f"http://127.0.0.1:{port}")) == 201
        finally:
            for server in late:
                server.__exit__(None, None, None)
        assert len(late[0].requests) == 1
        assert late[0].requests[0].endswith(b'{"prompt": "spend credits"}') or late[0].requests[0].endswith(
            b'{"prompt":"spend credits"}'
        )

    def test_operation_refused_with_429_is_sent_again(self, over: Over, vendor: Vendor) -> None:
        with RawServer(answer(429), answer(201)) as server:
            assert over.operation(_start(), vendor.config(url=server.url)) == 201

        assert len(server.requests) == 2

    @pytest.mark.parametrize("handler", [hang_up, reset, answer(503)])
    def test_operation_with_a_deduplication_id_is_repeated(
        self, handler: Any, over: Over, vendor: Vendor
    ) -> None:
        with RawServer(handler, answer(201)) as server:
            assert over.operation(_start(idempotency=Idempotency.KEYED), vendor.config(url=server.url)) == 201

        assert len(server.requests) == 2


class TestKeptConnection:
    def test_closed_pooled_connection_does_not_lose_a_submission(self, over: Over, vendor: Vendor) -> None:
        """The server closes after each answer without saying so: a call must find out before it is sent."""

        def answer_then_close(connection: socket.socket) -> None:
            connection.sendall(b"HTTP/1.1 201 X\r\ncontent-length: 2\r\n\r\n{}")
            connection.close()

        with RawServer(answer_then_close) as server:
            config = vendor.config(url=server.url)
            statuses = over.calls([_start()] * 3, config)

        assert statuses == [201, 201, 201]
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("vendor", "extras"),
    [
        ("A2A 1.0 REST", {"binding": "rest"}),
        ("A2A 1.0 JSON-RPC", {"binding": "jsonrpc", "protocol_version": "1.0"}),
        ("A2A 0.3 JSON-RPC", {"protocol_version": "0.3"}),
    ],
    indirect=["vendor"],
)
class TestAgentThatIsNotKnownYet:
    @pytest.fixture
    def config(self, vendor: Vendor, extras: dict[str, str]) -> ConnectionConfig:
        found = vendor.config(**extras)
        AGENTS.forget(found)
        return found

    @pytest.mark.parametrize(
        "fault",
        [{"kind": "status", "status": 503}, {"kind": "status", "status": 429}, {"kind": "drop_after"}],
        ids=str,
    )
    @pytest.mark.parametrize("after", [0, 1, 2], ids=["card", "proof", "task"])
    def test_request_is_repeated_by_itself(
        self, fault: dict[str, Any], after: int, over: Over, vendor: Vendor, config: ConnectionConfig
    ) -> None:
        vendor.sandbox.faults.add(**fault, times=2, after=after)

        assert vendor.tells(over.operation(vendor.get, config))
        assert _asked(vendor) == 5

    @pytest.mark.parametrize("after", [0, 1], ids=["card", "proof"])
    def test_token_is_not_sent_to_another_host(
        self, after: int, over: Over, vendor: Vendor, config: ConnectionConfig
    ) -> None:
        with RawServer(answer()) as elsewhere:
            vendor.sandbox.faults.add("redirect", location=f"{elsewhere.url}/x", after=after)
            with pytest.raises(RedirectError, match="a redirect to"):
                over.operation(vendor.get, config)

        assert elsewhere.requests == []
        assert AGENTS.get(config) is None

    @pytest.mark.parametrize("form", ["html", "truncated", "list", "string", "null", "empty"])
    @pytest.mark.parametrize("after", [0, 1], ids=["card", "proof"])
    def test_garbage_is_reported(
        self, form: str, after: int, over: Over, vendor: Vendor, config: ConnectionConfig
    ) -> None:
        vendor.sandbox.faults.add("garbage", form=form, after=after)
        with pytest.raises(InvalidResponseError, match=r"expected .* A2A"):
            over.operation(vendor.get, config)

        assert AGENTS.get(config) is None

    def test_lost_proof_does_not_end_in_another_interface(
        self, over: Over, vendor: Vendor, config: ConnectionConfig
    ) -> None:
        vendor.sandbox.faults.add("drop_before", after=1)
        with pytest.raises(TransportError):
            over.operation(vendor.get, config)

        assert _asked(vendor) == 4

    def test_message_whose_answer_is_lost_is_sent_once(
        self, over: Over, vendor: Vendor, config: ConnectionConfig
    ) -> None:
        vendor.sandbox.faults.add("drop_after", after=2)
        with pytest.raises(TransportError):
            over.operation(operations.send_message(outgoing("hello")), config)

        assert _asked(vendor) == 3
        assert len(vendor.sandbox.a2a.agent.tasks) == 2
