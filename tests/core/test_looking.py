"""One look at every open task, with trouble that concerns all of them met once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from remote_tasks_provider.core.client import AsyncClient, Client
from remote_tasks_provider.core.endpoint import ConnectionExtras, ConnectionFields
from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.looking import alook, look
from remote_tasks_provider.core.messages import Request, Response
from remote_tasks_provider.core.polling import Wait
from remote_tasks_provider.core.service import Service
from tests.core.build import START, a_call, a_policy, a_response, a_snapshot, an_endpoint

SERVICE: Service[str] = Service(
    name="Example",
    default_base_url="https://api.example.com",
    auth=lambda key: ("API_KEY", key),
    extras=ConnectionExtras,
    get_task=lambda task_id: a_call(lambda response: response.body.decode(), path=f"/{task_id}"),
    snapshot=lambda word: a_snapshot(word),
    probe=a_call,
    explain=lambda *_: None,
)


class Words:
    """A transport that answers a task's id with its word, or with an error status."""

    def __init__(self, **answers: str | int) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.at_once = self.most_at_once = 0

    def send(self, request: Request) -> Response:
        task_id = request.path.removeprefix("/")
        self.asked.append(task_id)
        word = self.answers[task_id]
        return a_response(word, {}) if isinstance(word, int) else a_response(200, word.encode())

    def close(self) -> None: ...


class AsyncWords(Words):
    async def send(self, request: Request) -> Response:  # type: ignore[override]
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        return super().send(request)

    async def aclose(self) -> None: ...


def _clock() -> float:
    return START


@pytest.fixture(params=[False, True], ids=["look", "alook"])
def look_once(request: pytest.FixtureRequest) -> Any:
    def once(wait: Wait, **answers: str | int) -> Words:
        endpoint = an_endpoint(max_attempts=1)
        if not request.param:
            words = Words(**answers)
            look(wait, SERVICE, Client(endpoint, words, SERVICE.explain), _clock)
            return words
        awords = AsyncWords(**answers)
        asyncio.run(alook(wait, SERVICE, AsyncClient(endpoint, awords, SERVICE.explain), _clock))
        return awords

    return once


class TestLook:
    def test_each_open_task_is_asked_for_once(self, look_once: Any) -> None:
        wait = Wait(["a", "b", "a"], a_policy())

        assert look_once(wait, a="completed", b="running").asked == ["a", "b"]
        assert look_once(wait, b="completed").asked == ["b"]
        assert wait.pause(START) is None

    def test_a_failed_look_fails_its_task_alone(self, look_once: Any) -> None:
        wait = Wait(["a", "b", "c"], a_policy(max_failures=1))
        look_once(wait, a="running", b=400, c=500)

        report = wait.report(START)
        assert set(report.errors) == {"b", "c"}
        assert report.records["a"] is not None

    @pytest.mark.parametrize("status", [401, 429])
    def test_trouble_that_all_would_meet_is_met_once(self, look_once: Any, status: int) -> None:
        ids = [f"t{number}" for number in range(30)]
        wait = Wait(ids, a_policy())
        words = look_once(wait, **dict.fromkeys(ids, status))

        # Concurrent calls that were under way when the first failed have been asked already.
        assert len(words.asked) <= 8
        assert len(wait.take_notes()) == 30
        assert (wait.pause(START) is None) is (status == 401)


class TestConcurrency:
    def test_only_a_few_calls_are_under_way_at_once(self) -> None:
        ids = [f"t{number}" for number in range(50)]
        words = AsyncWords(**dict.fromkeys(ids, "running"))
        wait = Wait(ids, a_policy())
        asyncio.run(alook(wait, SERVICE, AsyncClient(an_endpoint(), words, SERVICE.explain), _clock))

        assert len(words.asked) == 50
        assert 1 < words.most_at_once <= 8


class TestService:
    def test_its_endpoint_is_the_connections(self) -> None:
        endpoint = SERVICE.endpoint(ConnectionFields("my_conn", password="key", host="https://h"))

        assert (endpoint.service, endpoint.conn_id, endpoint.base_url) == ("Example", "my_conn", "https://h")
        assert endpoint.auth == ("API_KEY", "key")

    def test_a_connection_that_cannot_be_used_is_refused(self) -> None:
        with pytest.raises(RemoteTaskError, match="password"):
            SERVICE.endpoint(ConnectionFields("my_conn"))
