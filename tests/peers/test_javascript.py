"""The server of ``@a2a-js/sdk``, over three wire forms: a second opinion on A2A 1.0."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from dev.a2a.peers import Agent
from remote_tasks_provider.a2a.api import operations
from remote_tasks_provider.a2a.api.filters import TaskFilter
from remote_tasks_provider.a2a.models import A2ATask
from remote_tasks_provider.a2a.operators import A2ACancelTaskOperator, A2ADownloadArtifactsOperator
from remote_tasks_provider.a2a.polling import A2APollStrategy
from remote_tasks_provider.core.polling.drivers import run_plan
from remote_tasks_provider.core.polling.strategy import PollRequest, PollResult
from remote_tasks_provider.core.states import TaskState
from tests.a2a.conftest import Wire
from tests.a2a.operators.test_actions import context
from tests.poll_driver import word

WIRES: dict[str, dict[str, str]] = {
    "1.0 REST": {"binding": "rest"},
    "1.0 JSON-RPC": {"binding": "jsonrpc", "protocol_version": "1.0"},
    "0.3": {"protocol_version": "0.3"},
}


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    with Agent("javascript") as running:
        yield running


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest, agent: Agent, connect: Callable[..., Wire]) -> Wire:
    return connect(agent, **WIRES[request.param])


@pytest.fixture
def rest(agent: Agent, connect: Callable[..., Wire]) -> Wire:
    return connect(agent, **WIRES["1.0 REST"])


def begin(wire: Wire, count: int = 1) -> list[str]:
    """Begin tasks that hold; return their ids, each newer than the one before."""
    ids = []
    for _ in range(count):
        task = wire.hook.send_message("hold")
        assert isinstance(task, A2ATask)
        wire.until(task.id, TaskState.RUNNING)
        ids.append(task.id)
    return ids


def poll(wire: Wire, strategy: A2APollStrategy, due: list[str], send: Any = None) -> dict[str, str]:
    results: dict[str, PollResult] = {}
    plan = strategy.plan(PollRequest(due, [], (), 0.0))
    run_plan(plan, send or wire.hook.client.send, deliver=results.update)
    return {task_id: word(result) for task_id, result in results.items()}


def test_connection_test_names_the_agent(wire: Wire) -> None:
    worked, told = wire.hook.test_connection()
    assert (worked, "Scripted agent in JavaScript" in told) == (True, True)


def test_result_is_awaited(wire: Wire, attempt: Callable[..., Any]) -> None:
    result = attempt("status on it; say hello; file a.txt content")

    assert (result["state"], result["text"]) == ("completed", "hello")
    assert [file["name"] for file in result["files"]] == ["a.txt"]


def test_failure_has_the_agents_text(wire: Wire, attempt: Callable[..., Any]) -> None:
    with pytest.raises(AirflowFailException, match="no luck"):
        attempt("fail no luck")


def test_question_is_answered_in_airflow(wire: Wire, attempt: Callable[..., Any]) -> None:
    result = attempt("ask Which colour?; say {answer}", ("Send", {"answer": "blue"}), on_waiting="human")

    assert (result["text"], wire.runs()[1:]) == ("blue", ["blue"])


def test_running_task_is_cancelled(wire: Wire) -> None:
    (task_id,) = begin(wire)
    found = A2ACancelTaskOperator(task_id="stop", remote_task_id=task_id).execute(context())

    assert (found["id"], found["state"]) == (task_id, "cancelled")


def test_waiting_task_is_cancelled(wire: Wire) -> None:
    task = wire.hook.send_message("ask Which?")
    assert isinstance(task, A2ATask)
    wire.until(task.id, TaskState.WAITING)

    assert wire.hook.cancel_task(task.id).state is TaskState.CANCELLED


def test_file_is_saved(wire: Wire, attempt: Callable[..., Any], tmp_path: Any) -> None:
    task_id = attempt("file a.txt content")["id"]
    collect = A2ADownloadArtifactsOperator(
        task_id="collect", remote_task_id=task_id, output_path=f"file://{tmp_path}/files"
    )
    (saved,) = collect.execute(context())

    assert (saved["name"], (tmp_path / "files" / "a.txt").read_text()) == ("a.txt", "content")


def test_context_of_ours_finds_a_task(rest: Wire) -> None:
    context_id = "7d5f2ad4-2f0c-5d7c-9f0e-6a4b1f4f6a11"
    task = rest.hook.send_message("say hello", context_id=context_id)
    assert isinstance(task, A2ATask)

    assert [one.id for one in rest.hook.iter_tasks(context_id=context_id)] == [task.id]


def test_changes_are_newer_than_the_moment_and_no_wait_misses_one(rest: Wire) -> None:
    ids = begin(rest, 5)
    newest = rest.hook.get_task(ids[-1]).updated_at
    assert newest
    page = rest.hook.client.send(operations.list_tasks(TaskFilter(updated_after=newest.isoformat())))
    assert ids[-1] not in [task.id for task in page.items]
    # The hook asks for whole seconds, so it does list it.
    assert ids[-1] in [task.id for task in rest.hook.iter_tasks(updated_after=newest)]

    strategy = A2APollStrategy()
    assert poll(rest, strategy, ids) == dict.fromkeys(ids, "running")
    rest.agent.release(ids[2])
    rest.until(ids[2], TaskState.COMPLETED)
    before = len(rest.requests())
    found = poll(rest, strategy, ids)
    assert found[ids[2]] == "completed"
    assert {found[one] for one in ids if one != ids[2]} <= {"running", "unchanged"}
    assert set(rest.requests()[before:]) == {"/rest/tasks"}


def test_cursor_that_ends_early_hides_no_task(rest: Wire) -> None:
    ids = begin(rest, 105)
    oldest, pages = ids[:4], []

    def send(operation: Any) -> Any:
        answer = rest.hook.client.send(operation)
        if hasattr(answer, "items") and hasattr(answer, "next"):
            pages.append(len(answer.items))
            if len(pages) == 1:
                # The cursor is the last row's; it changes, and moves to the front.
                last = answer.items[-1].id
                rest.agent.release(last)
                rest.until(last, TaskState.COMPLETED)
        return answer

    assert poll(rest, A2APollStrategy(), oldest, send) == dict.fromkeys(oldest, "running")
    assert pages[:2] == [100, 0]


def test_cursor_that_ends_early_hides_no_task_from_the_hook(rest: Wire) -> None:
    ids = begin(rest, 6)
    listed = rest.hook.iter_tasks(page_size=2)
    found = [next(listed).id, next(listed).id]
    rest.agent.release(found[1])
    rest.until(found[1], TaskState.COMPLETED)
    found += [task.id for task in listed]

    assert set(ids) <= set(found)
    assert len(found) == len(set(found))
