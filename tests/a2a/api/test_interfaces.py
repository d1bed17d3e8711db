"""How an agent is found: what its card means, and where nothing is sent."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from remote_tasks_provider.a2a.api import wire
from remote_tasks_provider.a2a.api.interfaces import AGENTS, Interface, interfaces_of
from remote_tasks_provider.a2a.api.messages import outgoing
from remote_tasks_provider.a2a.api.operations import find_agent, send_message
from remote_tasks_provider.a2a.models import A2AAgentCard
from remote_tasks_provider.a2a.service import A2A
from remote_tasks_provider.core.errors import (
    AuthenticationError,
    ConnectionConfigError,
    InvalidRequestError,
    NotFoundError,
    RemoteTaskError,
    ServerError,
)
from remote_tasks_provider.core.http.connection import ConnectionConfig, ConnectionFields
from remote_tasks_provider.core.http.operation import Operation, Page

HOST = "https://agent.example.com"


def config(host: str = HOST, **extra: Any) -> ConnectionConfig:
    return A2A.config(ConnectionFields("mine", host=host, password="token", extra=extra))


def card(*named: dict[str, Any], **more: Any) -> A2AAgentCard:
    listed = [{"protocolVersion": "1.0", "protocolBinding": "JSONRPC", **one} for one in named]
    return A2AAgentCard.model_validate({"name": "Agent", "supportedInterfaces": listed, **more})


def urls(found: list[Interface]) -> list[str]:
    return [one.url for one in found]


class TestInterfacesOf:
    def test_order_is_that_of_the_card(self) -> None:
        found = interfaces_of(
            card(
                {"url": f"{HOST}/grpc", "protocolBinding": "GRPC"},
                {"url": f"{HOST}/rpc"},
                {"url": f"{HOST}/rest", "protocolBinding": "HTTP+JSON", "tenant": "t"},
                {"url": f"{HOST}/old", "protocolVersion": "0.3"},
                {"url": f"{HOST}/new", "protocolVersion": "2.0"},
                {"url": ""},
            ),
            config(),
        )

        assert found == [
            Interface("1.0", "jsonrpc", f"{HOST}/rpc"),
            Interface("1.0", "rest", f"{HOST}/rest", "t"),
            Interface("0.3", "jsonrpc", f"{HOST}/old"),
        ]

    def test_card_of_an_older_version_names_one_url(self) -> None:
        old = A2AAgentCard.model_validate({"url": f"{HOST}/", "protocolVersion": "0.3.0"})

        assert interfaces_of(old, config()) == [Interface("0.3", "jsonrpc", f"{HOST}/")]

    def test_additional_interfaces_of_an_older_version_count(self) -> None:
        more = [{"url": f"{HOST}/rpc", "transport": "JSONRPC"}, {"url": f"{HOST}/g", "transport": "GRPC"}, 5]
        old = A2AAgentCard.model_validate(
            {"url": f"{HOST}/g", "preferredTransport": "GRPC", "additionalInterfaces": more}
        )

        assert urls(interfaces_of(old, config())) == [f"{HOST}/rpc"]

    @pytest.mark.parametrize(
        ("extra", "expected"),
        [
            ({"binding": "rest"}, ["/rest"]),
            ({"protocol_version": "0.3"}, ["/old"]),
            ({"binding": "jsonrpc", "protocol_version": "1.0"}, ["/rpc"]),
        ],
    )
    def test_connection_allows_some(self, extra: dict[str, str], expected: list[str]) -> None:
        named = [
            {"url": f"{HOST}/rest", "protocolBinding": "HTTP+JSON"},
            {"url": f"{HOST}/rpc"},
            {"url": f"{HOST}/old", "protocolVersion": "0.3"},
        ]

        assert urls(interfaces_of(card(*named), config(**extra))) == [f"{HOST}{one}" for one in expected]

    @pytest.mark.parametrize(
        "named", ["http://localhost:8000/rpc", "https://evil.example.com/rpc", "http://agent.example.com/rpc"]
    )
    def test_host_is_that_of_the_connection(self, named: str) -> None:
        assert urls(interfaces_of(card({"url": named}), config())) == [f"{HOST}/rpc"]

    def test_prefix_of_a_gateway_is_tried_first(self) -> None:
        found = interfaces_of(card({"url": "http://0.0.0.0:9000/rpc"}), config(f"{HOST}/agents/a"))

        assert urls(found) == [f"{HOST}/agents/a/rpc", f"{HOST}/rpc"]

    def test_slash_at_the_end_is_kept(self) -> None:
        assert urls(interfaces_of(card({"url": "http://localhost/rpc/"}), config())) == [f"{HOST}/rpc/"]

    def test_url_that_is_none_is_left_out(self) -> None:
        assert interfaces_of(card({"url": "http://[::1"}), config()) == []

    def test_host_of_the_card_is_used_without_the_token(self) -> None:
        own = config(use_card_host=True)
        (found,) = interfaces_of(card({"url": "https://other.example.com/rpc"}), own)

        assert found.url == "https://other.example.com/rpc"
        assert own.auth_for(request_of(found)) is None

    def test_host_of_the_card_must_be_safe(self) -> None:
        with pytest.raises(ConnectionConfigError, match="no https:// URL"):
            interfaces_of(card({"url": "http://other.example.com/rpc"}), config(use_card_host=True))


def request_of(interface: Interface) -> Any:
    return wire.get_task(interface, "a").request


def play(operation: Operation[Any], own: ConnectionConfig, answers: dict[str, Any]) -> tuple[Any, list[str]]:
    """Carry out an operation against answers by URL; return its value and what was asked."""
    asked: list[str] = []
    assert operation.steps is not None

    def walk(steps: Generator[Operation[Any], Any, Any]) -> Any:
        try:
            one = next(steps)
            while True:
                if one.steps is not None:
                    answer = walk(one.steps(own))
                else:
                    url = one.request.url("").split("?")[0]
                    asked.append(f"{one.name} {url}")
                    answer = answers.get(url, NotFoundError("no", status_code=404))
                one = steps.throw(answer) if isinstance(answer, Exception) else steps.send(answer)
        except StopIteration as done:
            return done.value

    return walk(operation.steps(own)), asked


CARD_URL = f"{HOST}/.well-known/agent-card.json"
NO_TASK = NotFoundError("no", status_code=404, code="TASK_NOT_FOUND")


def error(status: int, code: str | None = None) -> RemoteTaskError:
    kind = {401: AuthenticationError, 500: ServerError, 404: NotFoundError}.get(status, InvalidRequestError)
    return kind("no", status_code=status, code=code)


class TestFindAgent:
    def test_older_and_lower_paths_of_the_card_are_tried(self) -> None:
        with pytest.raises(NotFoundError):
            play(find_agent(), config(f"{HOST}/a"), {})

        found, asked = play(
            find_agent(),
            config(f"{HOST}/a"),
            {f"{HOST}/.well-known/agent.json": card({"url": f"{HOST}/rpc"}), f"{HOST}/rpc": Page([])},
        )
        assert found.lists is True
        assert [one.split(" ")[-1].removeprefix(HOST) for one in asked] == [
            "/a/.well-known/agent-card.json",
            "/.well-known/agent-card.json",
            "/a/.well-known/agent.json",
            "/.well-known/agent.json",
            "/rpc",
        ]

    def test_path_of_the_card_may_be_given(self) -> None:
        own = config(card_path="/cards/mine.json")
        answers = {f"{HOST}/cards/mine.json": card({"url": f"{HOST}/rpc"}), f"{HOST}/rpc": Page([])}

        assert play(find_agent(), own, answers)[0].interface.url == f"{HOST}/rpc"

    @pytest.mark.parametrize(
        "refusal",
        [error(404), error(405), error(400, "VERSION_NOT_SUPPORTED"), error(405, "METHOD_NOT_FOUND")],
        ids=str,
    )
    def test_interface_that_is_not_there_gives_way_to_the_next(self, refusal: RemoteTaskError) -> None:
        named = card({"url": f"{HOST}/wrong"}, {"url": f"{HOST}/rpc"})
        answers = {CARD_URL: named, f"{HOST}/wrong": refusal, f"{HOST}/rpc": Page([])}

        assert play(find_agent(), config(), answers)[0].interface.url == f"{HOST}/rpc"

    @pytest.mark.parametrize(
        "refusal", [error(400, "UNSUPPORTED_OPERATION"), error(500), error(404), error(501)], ids=str
    )
    def test_agent_without_a_list_is_known_by_a_task_that_it_does_not_know(
        self, refusal: RemoteTaskError
    ) -> None:
        named = card({"url": f"{HOST}/rest", "protocolBinding": "HTTP+JSON"})

        class Answers(dict[str, Any]):
            def get(self, url: str, default: Any = None) -> Any:  # type: ignore[override]
                return {CARD_URL: named, f"{HOST}/rest/tasks": refusal}.get(url, NO_TASK)

        found, asked = play(find_agent(), config(), Answers())

        assert found.lists is False
        # A refusal that names no reason may have been trouble of a moment.
        again = [] if refusal.code else ["GET /tasks"]  # type: ignore[attr-defined]
        assert [one.split(f" {HOST}")[0] for one in asked[1:]] == [
            "GET /tasks",
            "GET /tasks/{task_id}",
            *again,
        ]

    @pytest.mark.parametrize("trouble", [error(401), error(403)], ids=str)
    def test_refused_token_is_told(self, trouble: RemoteTaskError) -> None:
        answers = {CARD_URL: card({"url": f"{HOST}/rpc"}), f"{HOST}/rpc": trouble}

        with pytest.raises(type(trouble)):
            play(find_agent(), config(), answers)
        assert AGENTS.get(config()) is None

    def test_card_without_a_known_interface_is_told(self) -> None:
        with pytest.raises(ConnectionConfigError, match="names no interface"):
            play(find_agent(), config(), {CARD_URL: card()})

    def test_agent_is_remembered_per_connection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answers = {CARD_URL: card({"url": f"{HOST}/rpc"}), f"{HOST}/rpc": Page([])}

        assert len(play(find_agent(), config(), answers)[1]) == 2
        assert play(find_agent(), config(), answers)[1] == []
        assert len(play(find_agent(afresh=True), config(), answers)[1]) == 2
        assert len(play(find_agent(), config(tenant="t"), answers)[1]) == 2

        monkeypatch.setattr(AGENTS, "seconds", -1.0)
        play(find_agent(afresh=True), config(), answers)
        assert len(play(find_agent(), config(), answers)[1]) == 2


class TestSendMessage:
    def test_agent_that_demands_an_extension_is_sent_nothing(self) -> None:
        demands = {"extensions": [{"uri": "urn:x", "required": True}, {"uri": "urn:y"}]}
        answers = {CARD_URL: card({"url": f"{HOST}/rpc"}, capabilities=demands), f"{HOST}/rpc": Page([])}

        with pytest.raises(ConnectionConfigError, match=r"know: urn:x\. Nothing was sent"):
            play(send_message(outgoing("hello")), config(), answers)

    def test_agent_that_has_moved_is_looked_for_again(self) -> None:
        answers = {CARD_URL: card({"url": f"{HOST}/rpc"}), f"{HOST}/rpc": Page([])}
        play(find_agent(), config(), answers)

        with pytest.raises(NotFoundError):
            play(send_message(outgoing("hello")), config(), {})
        assert AGENTS.get(config()) is None
