"""What a wait does when Airflow cancels its trigger, or takes a retry for the rest of the attempt before."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from remote_tasks_provider.bases import operators as operator_module
from remote_tasks_provider.bases import triggers as trigger_module
from remote_tasks_provider.bases import waiting as waiting_module
from remote_tasks_provider.bases.operators import RemoteTaskOperator
from remote_tasks_provider.bases.triggers import RemoteTaskTrigger
from remote_tasks_provider.manus.api import v2
from remote_tasks_provider.manus.sensors import ManusTaskSensor
from remote_tasks_provider.manus.service import MANUS_TASK
from remote_tasks_provider.manus.triggers import ManusTaskTrigger
from tests.bases.history import Clock, Service, TaskInstance, install, timeline

SOON = 10.0


class Watched(ManusTaskTrigger):
    """A trigger of a task that a user has ended; its service notes what it stops."""

    remote_task_type = replace(MANUS_TASK, cancel=lambda _extras, task_ids: v2.stop_task(*task_ids))

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.task_instance = SimpleNamespace(task_id="wait")  # type: ignore[assignment]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, set_connection: Any) -> Service:
    set_connection("manus_default", conn_type="manus", password="sk-1")
    return install(monkeypatch, Clock(), {"a": timeline((0, "running"))})


@pytest.fixture
def trigger(service: Service) -> Watched:
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


def states(monkeypatch: pytest.MonkeyPatch, *answers: str | Exception | None) -> list[str | Exception | None]:
    """Let Airflow answer so when it is asked for the state of the task, the last answer for ever."""
    asked: list[str | Exception | None] = []

    def answer(_: Any) -> str | None:
        asked.append(answers[min(len(asked), len(answers) - 1)])
        if isinstance(asked[-1], Exception):
            raise asked[-1]
        return asked[-1]

    monkeypatch.setattr(trigger_module, "task_state", answer)
    return asked


async def cancel_often(work: Coroutine[Any, Any, Any], asked: threading.Event) -> None:
    """Cancel ``work`` again and again, as Airflow does until its trigger has ended."""
    task = asyncio.ensure_future(work)
    for _ in range(3):
        await asyncio.sleep(0.02)
        task.cancel()
    asked.set()
    await asyncio.wait([task], timeout=SOON)


async def stopped_before_an_answer(
    trigger: RemoteTaskTrigger, service: Service, asked: threading.Event
) -> list[str]:
    """Return what is stopped when Airflow has no more time for a kill; then let Airflow answer."""
    await trigger.on_kill()
    stopped = list(service.stopped)
    asked.set()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.wait(others, timeout=SOON)
    return stopped


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


async def leave_in_the_cancellation(trigger: RemoteTaskTrigger) -> None:
    """Kill the trigger, and end the event loop before Airflow has answered."""
    task = asyncio.ensure_future(trigger.on_kill())
    await asyncio.sleep(0.02)
    assert not task.done()


class TestOnKill:
    def test_cancel_request_completes_however_often_airflow_cancels(
        self, trigger: Watched, service: Service, asked: threading.Event
    ) -> None:
        asyncio.run(cancel_often(trigger.on_kill(), asked))

        assert service.stopped == ["a"]

    def test_kill_goes_on_when_airflow_has_no_more_time(
        self,
        trigger: Watched,
        service: Service,
        asked: threading.Event,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr(trigger_module, "_LONGEST_CANCELLATION", 0.02)

        assert asyncio.run(stopped_before_an_answer(trigger, service, asked)) == []
        assert service.stopped == ["a"]
        assert "1 of 1 wait until it is known whether to cancel them, 0 others come first. The triggerer" in (
            caplog.text
        )

    def test_trigger_that_moves_says_nothing_of_cancelling(
        self,
        trigger: Watched,
        service: Service,
        asked: threading.Event,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """The triggerer wakes up with many triggers to give away: Airflow's answer takes its time."""
        monkeypatch.setattr(trigger_module, "_LONGEST_CANCELLATION", 0.02)
        monkeypatch.setattr(trigger_module, "task_state", lambda _: asked.wait(SOON) and "deferred")

        assert asyncio.run(stopped_before_an_answer(trigger, service, asked)) == []
        assert service.stopped == []
        assert "to be cancelled" not in caplog.text
        assert caplog.messages[-1] == "The Manus tasks are left as they are: this task is deferred."

    def test_airflow_state_that_cannot_be_read_is_asked_for_again(
        self, trigger: Watched, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = states(monkeypatch, RuntimeError("the API server restarts"), TimeoutError(), "failed")

        asyncio.run(trigger.on_kill())

        assert len(asked) == 3
        assert service.stopped == ["a"]

    @pytest.mark.parametrize("state", ["deferred", "queued", "scheduled", "up_for_retry", "restarting", None])
    def test_trigger_of_a_task_that_is_not_over_cancels_nothing(
        self, trigger: Watched, service: Service, monkeypatch: pytest.MonkeyPatch, state: str | None
    ) -> None:
        """It was cleared, or its trigger moves to another triggerer, which Airflow also calls a kill."""
        asked = states(monkeypatch, state)

        asyncio.run(trigger.on_kill())

        assert asked == [state]
        assert service.stopped == []

    def test_task_cleared_while_it_waits_for_its_turn_keeps_its_remote_task(
        self, trigger: Watched, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        service.stop_answers = [503, 503, 503]
        states(monkeypatch, "failed", "queued")

        asyncio.run(trigger.on_kill())

        assert service.stopped == []

    def test_remote_tasks_that_are_left_at_the_end_of_the_triggerer_are_named(
        self, trigger: Watched, service: Service, asked: threading.Event, caplog: pytest.LogCaptureFixture
    ) -> None:
        threading.Timer(0.1, asked.set).start()

        asyncio.run(leave_in_the_cancellation(trigger))

        assert service.stopped == []
        assert "Manus task a was not cancelled and may still run: the triggerer stops" in caplog.text


class TestKillDuringTheSubmission:
    """The handler of the signal knows no id yet; when the answer has come, what it has started is known."""

    class Operator(RemoteTaskOperator):
        remote_task_type = MANUS_TASK

        def _cancel(self, confirm: Any, rules: Any) -> Any:
            if confirm():
                self.stopped = [*getattr(self, "stopped", []), *self._own]

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
        asked.set()

    def test_trigger_cancelled_alone_was_killed(self, trigger: Watched, service: Service) -> None:
        asyncio.run(cancel_one(trigger))

        assert service.stopped == ["a"]

    def test_trigger_cancelled_with_the_triggerer_was_not_killed(
        self, trigger: Watched, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(trigger_module, "task_state", lambda _: pytest.fail("it asked Airflow"))
        running: list[Any] = []

        asyncio.run(leave(trigger, running))

        assert running[0].cancelled()
        assert service.stopped == []


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
