"""Waits for tasks of real agents: on a worker, and in the triggerer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from remote_tasks_provider.a2a.models import A2ATask
from remote_tasks_provider.a2a.operators import A2ATaskBranchOperator
from remote_tasks_provider.a2a.sensors import A2ATaskSensor
from remote_tasks_provider.a2a.triggers import A2ATaskTrigger
from remote_tasks_provider.core.errors import TaskFailedError
from remote_tasks_provider.core.states import TaskState
from tests.a2a.conftest import Wire
from tests.a2a.operators.test_actions import context


def begin(wire: Wire, text: str) -> str:
    task = wire.hook.send_message(text)
    assert isinstance(task, A2ATask)
    return task.id


class TestSensor:
    def test_finished_tasks_are_returned_in_order(self, wire: Wire) -> None:
        ids = [begin(wire, f"say {number}") for number in range(5)]
        for one in ids:
            wire.until(one, TaskState.COMPLETED)

        found = A2ATaskSensor(task_id="wait", remote_task_id=ids, poke_interval=1).execute(context())

        assert [(one["id"], one["state"]) for one in found] == [(one, "completed") for one in ids]
        assert {one["context_id"] is not None for one in found} == {True}

    @pytest.mark.parametrize("script", ["fail no luck", "reject no luck"])
    def test_failed_task_fails_with_the_agents_text(self, wire: Wire, script: str) -> None:
        task_id = begin(wire, script)
        wire.until(task_id, TaskState.FAILED)

        with pytest.raises(AirflowFailException, match="no luck") as caught:
            A2ATaskSensor(task_id="wait", remote_task_id=task_id).execute(context())
        assert isinstance(caught.value.__cause__, TaskFailedError)

    def test_question_ends_the_wait_if_wanted(self, wire: Wire) -> None:
        task_id = begin(wire, "ask Which?")
        wire.until(task_id, TaskState.WAITING)

        sensor = A2ATaskSensor(task_id="wait", remote_task_id=task_id, on_waiting="return")
        assert sensor.execute(context())["state"] == "waiting"


class TestTrigger:
    def test_trigger_tells_of_all_tasks(self, wire: Wire) -> None:
        ids = [begin(wire, "hold" if number else "say a") for number in range(5)]
        trigger = A2ATaskTrigger(wire.hook.conn_id, ids, poll_interval=0.2)

        async def wait() -> Any:
            events = trigger.run()
            waiting = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0.5)
            for one in ids[1:]:
                await asyncio.to_thread(wire.agent.release, one)
            return (await asyncio.wait_for(waiting, 30)).payload

        records = asyncio.run(wait())["records"]
        assert {one: records[one]["state"] for one in ids} == dict.fromkeys(ids, "completed")


class TestBranch:
    @pytest.mark.parametrize(("script", "branch"), [("say a", "good"), ("reject no", "bad")])
    def test_outcome_chooses_the_branch(
        self, rest: Wire, script: str, branch: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task_id = begin(rest, script)
        rest.until(task_id, TaskState.COMPLETED if branch == "good" else TaskState.FAILED)
        operator = A2ATaskBranchOperator(
            task_id="decide", remote_task_id=task_id, completed="good", failed="bad", cancelled="bad"
        )
        chosen: list[Any] = []
        monkeypatch.setattr(operator, "do_branch", lambda _context, one: chosen.append(one))

        operator.execute(context())

        assert chosen in ([branch], [[branch]])
