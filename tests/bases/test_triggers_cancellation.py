"""What a wait does when Airflow cancels its trigger, or takes a retry for the rest of the attempt before."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from remote_tasks_provider.bases import operators as operator_module
from remote_tasks_provider.bases import triggers as trigger_module
from remote_tasks_provider.bases import waiting as waiting_module
from remote_tasks_provider.bases.operators import RemoteTaskOperator
from remote_tasks_provider.bases.triggers import RemoteTaskTrigger
from remote_tasks_provider.manus.sensors import ManusTaskSensor
from remote_tasks_provider.manus.service import MANUS_TASK
from remote_tasks_provider.manus.triggers import ManusTaskTrigger
from tests.bases.history import Clock, TaskInstance, install, timeline

SOON = 10.0


class Watched(ManusTaskTrigger):
    """A trigger of a task that a user has ended; notes what it stops."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.stopped: list[str] = []
        self.task_instance = SimpleNamespace(task_id="wait")  # type: ignore[assignment]

    async def _cancel(self, why: str) -> None:
        await asyncio.sleep(0.01)
        self.stopped += self.remote_task_ids


@pytest.fixture
def trigger() -> Watched:
    return Watched("manus_default", ["a"], 15.0, cancel_on_kill=True)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Airflow says that the task failed, but only once this is set."""
    may_answer = threading.Event()

    def slow(_: Any) -> str:
        assert may_answer.wait(SOON)
        return "failed"

    monkeypatch.setattr(trigger_module, "task_state", slow)
    return may_answer


async def cancel_often(work: Coroutine[Any, Any, Any], asked: threading.Event) -> None:
    """Cancel ``work`` again and again, as Airflow does until its trigger has ended."""
    task = asyncio.ensure_future(work)
    for _ in range(3):
        await asyncio.sleep(0.02)
        task.cancel()
    asked.set()
    await asyncio.wait([task], timeout=SOON)


async def cancel_one(trigger: RemoteTaskTrigger) -> None:
    """Cancel the run of the trigger while the event loop runs others."""
    task = asyncio.ensure_future(anext(trigger.run()))
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.wait([task], timeout=SOON)
    assert task.cancelled()


async def leave(trigger: RemoteTaskTrigger, running: list[Any]) -> None:
    """Start the trigger's run, and end the event loop, as a triggerer that shuts down does."""
    running.append(asyncio.ensure_future(anext(trigger.run())))
    await asyncio.sleep(0.02)


def test_cancel_request_completes_however_often_airflow_cancels(
    trigger: Watched, asked: threading.Event
) -> None:
    asyncio.run(cancel_often(trigger.on_kill(), asked))

    assert trigger.stopped == ["a"]


def test_unknown_airflow_state_cancels_no_remote_task(
    trigger: Watched, asked: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trigger_module, "_LONGEST_CANCELLATION", 0.02)
    threading.Timer(0.2, asked.set).start()

    asyncio.run(trigger.on_kill())

    assert trigger.stopped == []


class TestKillDuringTheSubmission:
    """The handler of the signal knows no id yet; when the answer has come, what it has started is known."""

    class Operator(RemoteTaskOperator):
        remote_task_type = MANUS_TASK

        def cancel(self, why: str) -> bool:
            self.stopped = [*getattr(self, "stopped", []), *self._own]
            return True

    @pytest.mark.parametrize(("state", "stopped"), [("failed", ["a"]), ("running", []), ("restarting", [])])
    def test_remote_task_is_cancelled_after_the_submission(
        self, monkeypatch: pytest.MonkeyPatch, state: str, stopped: list[str]
    ) -> None:
        monkeypatch.setattr(operator_module, "task_state", lambda _: state)
        operator = self.Operator(task_id="starts")
        context: Any = {"ti": SimpleNamespace()}

        operator.on_kill()
        operator.own(context, ["a"])
        operator.own(context, ["a"])

        assert getattr(operator, "stopped", []) == stopped


class TestTriggerWithoutOnKill:
    """Airflow below 3.3: a trigger is only cancelled, and has to find out why."""

    @pytest.fixture(autouse=True)
    def _below_3_3(self, monkeypatch: pytest.MonkeyPatch, asked: threading.Event) -> None:
        monkeypatch.setattr(trigger_module, "TRIGGERS_GET_ON_KILL", False)
        install(monkeypatch, Clock(), {"a": timeline((0, "running"))})
        asked.set()

    def test_trigger_cancelled_alone_was_killed(self, trigger: Watched) -> None:
        asyncio.run(cancel_one(trigger))

        assert trigger.stopped == ["a"]

    def test_trigger_cancelled_with_the_triggerer_was_not_killed(
        self, trigger: Watched, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(trigger_module, "task_state", lambda _: pytest.fail("it asked Airflow"))
        running: list[Any] = []

        asyncio.run(leave(trigger, running))

        assert running[0].cancelled()
        assert trigger.stopped == []


class TestResumedDeferral:
    """Airflow 3.0 does not forget what an attempt that failed after its deferral was resumed with."""

    @pytest.fixture
    def context(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        clock = Clock()
        monkeypatch.setattr(waiting_module, "RETRIES_RESUME", True)
        install(monkeypatch, clock, {"a": timeline((0, "running"))})
        return {"ti": TaskInstance(clock)}

    def sensor(self) -> ManusTaskSensor:
        return ManusTaskSensor(
            task_id="wait", remote_task_id="a", deferrable=True, poke_interval=5, timeout=1000
        )

    def test_retry_waits_anew(self, context: dict[str, Any]) -> None:
        with pytest.raises(TaskDeferred):
            self.sensor().execute(context)
        context["ti"].try_number = 2

        with pytest.raises(TaskDeferred):
            self.sensor().resume_execution("__fail__", {"error": "Trigger failure"}, context)

    def test_rest_of_the_same_attempt_does_not_wait_anew(self, context: dict[str, Any]) -> None:
        with pytest.raises(TaskDeferred):
            self.sensor().execute(context)

        with pytest.raises(Exception, match="Trigger failure"):
            self.sensor().resume_execution("__fail__", {"error": "Trigger failure"}, context)
