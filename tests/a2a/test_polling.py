"""How many tasks are polled with few requests, against the official server; its blind spots are real."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import pytest

from remote_tasks_provider.a2a import polling
from remote_tasks_provider.a2a.models import A2ATask
from remote_tasks_provider.a2a.polling import A2APollStrategy
from remote_tasks_provider.core.polling.drivers import run_plan
from remote_tasks_provider.core.polling.strategy import PollRequest, PollResult
from remote_tasks_provider.core.states import TaskState
from tests.a2a.conftest import Wire
from tests.poll_driver import word


class Polls:
    """A poll strategy over a wire; :attr:`asked` are the requests of the last poll."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.strategy = A2APollStrategy()
        self.now = 0.0
        self.asked: list[str] = []

    def __call__(self, due: Iterable[str], free: Iterable[str] = ()) -> dict[str, str]:
        before = len(self.wire.requests())
        results: dict[str, PollResult] = {}
        request = PollRequest(list(due), list(free), (), self.now)
        run_plan(self.strategy.plan(request), self.wire.hook.client.send, deliver=results.update)
        self.asked = self.wire.requests()[before:]
        return {task_id: word(result) for task_id, result in results.items()}


@pytest.fixture
def polls(rest: Wire) -> Polls:
    rest.hook.find_agent()
    return Polls(rest)


def begin(wire: Wire, count: int, text: str = "hold") -> list[str]:
    found = [wire.hook.send_message(text) for _ in range(count)]
    ids = [task.id for task in found if isinstance(task, A2ATask)]
    state = TaskState.RUNNING if text == "hold" else TaskState.WAITING
    for task_id in ids:
        wire.until(task_id, state)
    return ids


class TestPlan:
    def test_list_of_changes_answers_for_all(self, polls: Polls) -> None:
        ids = begin(polls.wire, 5)
        assert polls(ids) == dict.fromkeys(ids, "running")

        polls.wire.agent.release(ids[2])
        polls.wire.until(ids[2], TaskState.COMPLETED)
        found = polls(ids)

        assert found == {**dict.fromkeys(ids, found[ids[0]]), ids[2]: "completed"}
        assert polls.asked == ["/rest/tasks"]

    def test_tasks_that_have_not_changed_are_said_to_be_so(
        self, polls: Polls, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(polling, "_OVERLAP", timedelta(0))
        ids = begin(polls.wire, 5)
        polls(ids)

        assert sorted(polls(ids).values()) == ["running", *["unchanged"] * 4]
        assert polls.asked == ["/rest/tasks"]

    def test_few_tasks_are_asked_for_by_themselves(self, polls: Polls) -> None:
        ids = begin(polls.wire, 2)

        assert polls(ids) == dict.fromkeys(ids, "running")
        assert polls.asked == [f"/rest/tasks/{one}" for one in ids]

    def test_agent_without_a_list_is_asked_for_each(self, make_wire: Callable[..., Wire]) -> None:
        polls = Polls(make_wire("0.3"))
        ids = begin(polls.wire, 5, "ask what?")

        assert polls(ids) == dict.fromkeys(ids, "waiting")
        assert polls.asked[-5:] == ["tasks/get"] * 5

    def test_unknown_task_is_not_found_and_spoils_no_other(self, polls: Polls) -> None:
        ids = begin(polls.wire, 4)

        assert polls([*ids, "nobody"]) == {**dict.fromkeys(ids, "running"), "nobody": "NotFoundError"}

    def test_new_task_is_asked_for_by_itself_while_the_list_is_known(self, polls: Polls) -> None:
        ids = begin(polls.wire, 4)
        polls(ids)
        (new,) = begin(polls.wire, 1, "ask what?")

        assert polls([*ids, new])[new] == "waiting"

    def test_full_listing_follows_after_ten_polls_and_a_minute(self, polls: Polls) -> None:
        ids = begin(polls.wire, 4)
        polls(ids)
        for _ in range(11):
            polls.now += 10
            polls(ids)
        assert polls.strategy._listed_at == 110.0

    def test_refused_list_is_replaced_by_single_requests(self, polls: Polls) -> None:
        ids = begin(polls.wire, 4)
        body = {"error": {"code": 400, "message": "no", "details": [{"reason": "UNSUPPORTED_OPERATION"}]}}
        polls.wire.agent.control("faults", {"match": "/rest/tasks", "status": 400, "body": body})

        assert polls(ids) == dict.fromkeys(ids, "running")
        polls(ids)
        assert "/rest/tasks" not in polls.asked

    def test_list_that_fails_for_now_is_replaced_for_now(self, polls: Polls) -> None:
        ids = begin(polls.wire, 4)
        polls.wire.agent.control("faults", {"match": "/rest/tasks", "status": 500, "times": 2})

        assert polls(ids) == dict.fromkeys(ids, "running")
        polls(ids)
        assert "/rest/tasks" in polls.asked

    def test_trouble_of_the_whole_service_is_told_once(self, polls: Polls) -> None:
        ids = begin(polls.wire, 4)
        polls.wire.agent.control("faults", {"match": "/rest/tasks", "status": 401})

        assert polls(ids) == dict.fromkeys(ids, "AuthenticationError")
        assert polls.asked == ["/rest/tasks"]

    def test_agent_that_cannot_be_found_is_told(self, polls: Polls) -> None:
        from remote_tasks_provider.a2a.api.interfaces import AGENTS

        AGENTS.forget()
        polls.wire.agent.control("faults", {"match": "agent-card.json", "status": 401})

        assert polls(["a", "b"]) == {"a": "AuthenticationError", "b": "AuthenticationError"}


def row(task_id: str, state: str = "WORKING", second: int | None = 0) -> dict[str, Any]:
    status = {"state": f"TASK_STATE_{state}"}
    if second is not None:
        status["timestamp"] = f"2026-11-01T09:00:{second:02}Z"
    return {"id": task_id, "status": status}


class TestDistrust:
    """Lists as no official server gives them on command."""

    IDS = ("a", "b", "c", "d")

    @pytest.fixture
    def listed(self, polls: Polls) -> Callable[..., dict[str, str]]:
        def listed(*rows: dict[str, Any], total: int | None = None) -> dict[str, str]:
            """Poll while the list is of these rows, once, and single tasks are unknown."""
            body = {"tasks": list(rows), "totalSize": len(rows) if total is None else total}
            polls.wire.agent.control("faults", {"match": "/rest/tasks", "status": 200, "body": body})
            return polls(self.IDS)

        listed(*(row(one, second=30) for one in self.IDS))
        return listed

    def test_change_list_without_changes_proves_that_nothing_changed(
        self, listed: Callable[..., dict[str, str]]
    ) -> None:
        assert listed(row("d", second=30)) == {**dict.fromkeys(self.IDS, "unchanged"), "d": "running"}

    def test_change_list_without_the_latest_change_proves_nothing(
        self, listed: Callable[..., dict[str, str]], polls: Polls
    ) -> None:
        """An agent that keeps its tasks in memory was started again."""
        assert listed() == dict.fromkeys(self.IDS, "NotFoundError")
        assert polls.asked[:2] == ["/rest/tasks"] * 2

    def test_list_that_ended_early_proves_nothing(
        self, listed: Callable[..., dict[str, str]], polls: Polls
    ) -> None:
        found = listed(row("a", "COMPLETED", 40), total=6)

        assert found["a"] == "completed"
        assert "unchanged" not in found.values()
        assert polls.asked[:2] == ["/rest/tasks"] * 2

    def test_change_while_a_list_is_read_does_not_make_it_partial(
        self, listed: Callable[..., dict[str, str]], polls: Polls
    ) -> None:
        first = {"tasks": [row("a", second=40)], "totalSize": 2, "nextPageToken": "2"}
        polls.wire.agent.control("faults", {"match": "/rest/tasks", "status": 200, "body": first})

        found = listed(row("b", second=35), total=3)

        assert found == {"a": "running", "b": "running", "c": "unchanged", "d": "unchanged"}

    def test_list_that_ignores_the_filter_is_read_whole_from_then_on(
        self, listed: Callable[..., dict[str, str]], polls: Polls
    ) -> None:
        listed(*(row(one, second=(one == "a" and 40) or 0) for one in self.IDS))

        assert polls.strategy._filters is False

    def test_task_without_a_time_is_never_said_to_be_unchanged(
        self, listed: Callable[..., dict[str, str]], polls: Polls
    ) -> None:
        listed(row("a", second=None))

        assert "a" not in {task_id for task_id, one in listed().items() if one == "unchanged"}
        assert "/rest/tasks/a" in polls.asked
