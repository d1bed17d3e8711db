"""The server of ``fasta2a``: JSON-RPC alone, no list, and a new task for each message."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from dev.a2a.peers import Agent
from remote_tasks_provider.a2a.models import A2ATask
from remote_tasks_provider.a2a.operators import A2ACancelTaskOperator
from remote_tasks_provider.core.errors import ConnectionConfigError, TaskFailedError
from remote_tasks_provider.core.states import TaskState
from tests.a2a.conftest import Wire
from tests.a2a.operators.test_actions import context


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    with Agent("fasta2a") as running:
        yield running


@pytest.fixture
def wire(agent: Agent, connect: Callable[..., Wire]) -> Wire:
    return connect(agent)


def asked(wire: Wire) -> str:
    """Begin a task that waits for an answer; return its id."""
    task = wire.hook.send_message("ask Which?")
    assert isinstance(task, A2ATask)
    wire.until(task.id, TaskState.WAITING)
    return task.id


def test_connection_test_says_that_it_lists_nothing(wire: Wire) -> None:
    worked, told = wire.hook.test_connection()
    assert (worked, "It lists no tasks" in told) == (True, True)


@pytest.mark.usefixtures("wire")
def test_result_is_awaited(attempt: Callable[..., Any]) -> None:
    result = attempt("say hello")
    assert (result["state"], result["text"]) == ("completed", "hello")


@pytest.mark.usefixtures("wire")
def test_failure_fails_the_operator(attempt: Callable[..., Any]) -> None:
    with pytest.raises(AirflowFailException, match="failed"):
        attempt("fail no luck")


def test_listing_is_refused_for_good(wire: Wire) -> None:
    with pytest.raises(ConnectionConfigError):
        list(wire.hook.iter_tasks())


def test_waiting_task_is_cancelled(wire: Wire) -> None:
    found = A2ACancelTaskOperator(task_id="stop", remote_task_id=asked(wire)).execute(context())
    assert found["state"] == "cancelled"


def test_finished_task_is_cancelled_without_an_error(wire: Wire, attempt: Callable[..., Any]) -> None:
    task_id = attempt("say hello")["id"]
    assert wire.hook.cancel_task(task_id).state is TaskState.COMPLETED


def test_answer_that_begins_another_task_is_an_error_with_both_ids(wire: Wire) -> None:
    task_id = asked(wire)
    with pytest.raises(TaskFailedError) as caught:
        wire.hook.send_message("say blue", task_id=task_id)

    found = re.search(rf"task {task_id} began another task, (\S+):", str(caught.value))
    assert found
    assert wire.hook.get_task(found[1]).id == found[1] != task_id


@pytest.mark.usefixtures("wire")
def test_answer_of_a_person_that_begins_another_task_fails_the_operator(attempt: Callable[..., Any]) -> None:
    with pytest.raises(AirflowFailException, match="began another task"):
        attempt("ask Which?", ("Send", {"answer": "blue"}), on_waiting="human")
