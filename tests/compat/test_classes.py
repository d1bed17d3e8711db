"""Hook, operators, sensors and triggers, each once for real against the sandbox."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.manus.hooks import ManusHook
from remote_tasks_provider.manus.operators import ManusGetTaskOperator, ManusListTasksOperator
from remote_tasks_provider.manus.sensors import ManusTaskSensor
from remote_tasks_provider.manus.triggers import ManusTaskTrigger
from remote_tasks_provider.qstash.hooks import QStashHook
from remote_tasks_provider.qstash.operators import QStashGetTaskOperator, QStashListMessageTasksOperator
from remote_tasks_provider.qstash.sensors import QStashTaskSensor
from remote_tasks_provider.qstash.triggers import QStashTaskTrigger

if TYPE_CHECKING:
    from collections.abc import Callable

    from remote_tasks_sandbox import SandboxServer


class FakeTaskInstance:
    """As much of a task instance as operators ask for."""

    dag_id, task_id, run_id, map_index, try_number, max_tries = "dag", "task", "run", -1, 1, 0
    start_date = None

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any, **_: Any) -> None:
        self.pushed[key] = value


@pytest.fixture
def context() -> dict[str, Any]:
    instance = FakeTaskInstance()
    return {"ti": instance, "task_instance": instance, "run_id": "run"}


class TestHooks:
    def test_hook_fetches_a_task(self) -> None:
        assert ManusHook().get_task("done").state is TaskState.COMPLETED
        assert QStashHook().get_task("tsk_broken").state is TaskState.FAILED

    def test_hook_lists_tasks(self) -> None:
        assert {task.id for task in ManusHook().iter_tasks()} >= {"done", "broken", "endless"}
        assert len(list(QStashHook().iter_message_tasks("msg_1"))) == 2

    @pytest.mark.parametrize("hook", [ManusHook, QStashHook])
    def test_hook_tests_its_connection(self, hook: Callable[[], Any]) -> None:
        worked, message = hook().test_connection()

        assert worked, message


class TestOperators:
    def test_get_operator_returns_the_task(self, context: dict[str, Any]) -> None:
        manus = ManusGetTaskOperator(task_id="get", remote_task_id="done").execute(context)
        qstash = QStashGetTaskOperator(task_id="get", remote_task_id="tsk_done").execute(context)

        assert (manus["state"], qstash["state"]) == ("completed", "completed")

    def test_list_operator_returns_the_tasks(self, context: dict[str, Any]) -> None:
        manus = ManusListTasksOperator(task_id="list", limit=2).execute(context)
        qstash = QStashListMessageTasksOperator(task_id="list", message_id="msg_1").execute(context)

        assert (len(manus), len(qstash)) == (2, 2)


class TestSensors:
    def test_sensor_succeeds_at_once_on_a_finished_task(self, context: dict[str, Any]) -> None:
        manus = ManusTaskSensor(task_id="wait", remote_task_id="done", deferrable=False).execute(context)
        qstash = QStashTaskSensor(task_id="wait", remote_task_id="tsk_done", deferrable=False).execute(
            context
        )

        assert (manus["state"], qstash["state"]) == ("completed", "completed")

    def test_sensor_defers_on_an_unfinished_task(self, context: dict[str, Any]) -> None:
        sensor = ManusTaskSensor(task_id="wait", remote_task_id="endless", deferrable=True)

        with pytest.raises(TaskDeferred) as deferral:
            sensor.execute(context)

        path, arguments = deferral.value.trigger.serialize()
        assert path.endswith(".ManusTaskTrigger")
        assert ManusTaskTrigger(**json.loads(json.dumps(arguments))).serialize() == (path, arguments)


class TestTriggers:
    @pytest.mark.parametrize(
        ("trigger", "conn_id", "remote_task_id"),
        [
            pytest.param(ManusTaskTrigger, "manus_default", "broken", id="manus"),
            pytest.param(QStashTaskTrigger, "qstash_default", "tsk_broken", id="qstash"),
        ],
    )
    def test_trigger_fires_one_event_for_a_finished_task(
        self, trigger: Callable[..., Any], conn_id: str, remote_task_id: str, server: SandboxServer
    ) -> None:
        async def events() -> list[Any]:
            made = trigger(conn_id=conn_id, remote_task_ids=[remote_task_id], poll_interval=1)
            return [event async for event in made.run()]

        (event,) = asyncio.run(asyncio.wait_for(events(), 30))

        assert "failed" in json.dumps(event.payload)
        assert server.sandbox.settings.manus_key not in json.dumps(event.payload)
