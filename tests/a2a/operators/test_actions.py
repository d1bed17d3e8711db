"""Operators that act on a task of an agent, over each wire form."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from remote_tasks_provider.a2a.models import A2ATask
from remote_tasks_provider.a2a.operators import (
    A2ACancelTaskOperator,
    A2AGetTaskOperator,
    A2AListTasksOperator,
    A2ASendMessageOperator,
)
from remote_tasks_provider.core.errors import OrphanedActionError, TaskFailedError
from remote_tasks_provider.core.states import TaskState
from tests.a2a.conftest import Wire


class TaskInstance:
    dag_id, run_id, task_id, map_index, max_tries = "dag", "run", "act", -1, 2
    start_date = None

    def __init__(self, try_number: int) -> None:
        self.try_number = try_number

    def xcom_push(self, key: str, value: Any) -> None: ...


class Store(dict[str, Any]):
    def set(self, key: str, value: Any) -> None:
        self[key] = value


def context(try_number: int = 1, store: Store | None = None) -> Any:
    return {"ti": TaskInstance(try_number), "task_state_store": store}


def begin(wire: Wire, text: str, state: TaskState) -> A2ATask:
    task = wire.hook.send_message(text)
    assert isinstance(task, A2ATask)
    found: A2ATask = wire.until(task.id, state)
    return found


class TestSendMessage:
    def test_answer_continues_the_task(self, wire: Wire) -> None:
        task = begin(wire, "ask Which?; say {answer}", TaskState.WAITING)

        A2ASendMessageOperator(task_id="act", remote_task_id=task.id, text="blue").execute(context())

        wire.until(task.id, TaskState.COMPLETED)
        assert wire.hook.get_result(task.id).text == "blue"

    def test_answer_is_sent_once_whatever_is_lost(self, wire: Wire) -> None:
        task = begin(wire, "ask Which?; say {answer}", TaskState.WAITING)
        for match in ("/message:send", "SendMessage", "message/send"):
            wire.agent.control("faults", {"match": match, "when": "after"})

        A2ASendMessageOperator(task_id="act", remote_task_id=task.id, text="blue").execute(context())

        assert [run["text"] for run in wire.agent.control("requests")["runs"]].count("blue") == 1

    def test_later_attempt_does_not_send_it_again(self, rest: Wire) -> None:
        task = begin(rest, "ask Which?; ask And?; say {answer}", TaskState.WAITING)
        operator = A2ASendMessageOperator(task_id="act", remote_task_id=task.id, text="blue", retries=1)
        operator.execute(context())

        # Below Airflow 3.3 no record is left, and the task waits again.
        with pytest.raises(AirflowFailException) as caught:
            operator.execute(context(try_number=3))
        assert isinstance(caught.value.__cause__, OrphanedActionError)

    def test_task_that_does_not_wait_gets_no_message(self, rest: Wire) -> None:
        task = begin(rest, "say a", TaskState.COMPLETED)

        with pytest.raises(AirflowFailException) as caught:
            A2ASendMessageOperator(task_id="act", remote_task_id=task.id, text="blue").execute(context())
        assert isinstance(caught.value.__cause__, TaskFailedError)


class TestCancel:
    def test_task_is_cancelled_and_returned(self, wire: Wire) -> None:
        task = begin(wire, "hold", TaskState.RUNNING)

        found = A2ACancelTaskOperator(task_id="act", remote_task_id=task.id).execute(context())

        assert found["state"] == "cancelled"


class TestGet:
    def test_task_is_returned_with_its_artifacts(self, wire: Wire) -> None:
        task = begin(wire, "say a", TaskState.COMPLETED)

        found = A2AGetTaskOperator(task_id="act", remote_task_id=task.id).execute(context())

        assert (found["state"], found["artifacts"][0]["parts"][0]["text"]) == ("completed", "a")
        assert "history" not in found

    def test_conversation_comes_if_asked_for(self, rest: Wire) -> None:
        task = begin(rest, "say a", TaskState.COMPLETED)
        operator = A2AGetTaskOperator(task_id="act", remote_task_id=task.id, include_history=True)

        assert operator.execute(context())["history"][0]["parts"][0]["text"] == "say a"


class TestList:
    def test_tasks_of_a_context_are_listed(self, rest: Wire) -> None:
        task = begin(rest, "say a", TaskState.COMPLETED)
        operator = A2AListTasksOperator(task_id="act", context_id=task.context_id, status="completed")

        assert [one["id"] for one in operator.execute(context())] == [task.id]
