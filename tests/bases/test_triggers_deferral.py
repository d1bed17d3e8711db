"""What a deferral carries, what survives a restart, and a wait that the triggerer could not end."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferred,
)

from remote_tasks_provider.bases.triggers import RemoteTaskTrigger
from remote_tasks_provider.core.clocks import Clocks
from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.manus.sensors import ManusTaskSensor
from remote_tasks_provider.manus.triggers import ManusTaskTrigger
from remote_tasks_provider.qstash.triggers import QStashTaskTrigger
from tests.bases.history import START, Clock, TaskInstance, install, live_through, run_trigger, timeline


def deferral_of(sensor: ManusTaskSensor, context: dict[str, Any]) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(context)
    return deferred.value


def waiting_sensor(**arguments: Any) -> ManusTaskSensor:
    arguments = {"poke_interval": 30, "timeout": 1000, "deferrable": True, **arguments}
    return ManusTaskSensor(task_id="wait", **{"remote_task_id": "a", **arguments})


class TestSerialization:
    @pytest.mark.parametrize("kind", [ManusTaskTrigger, QStashTaskTrigger])
    def test_trigger_arguments_survive_a_round_trip(self, kind: type[RemoteTaskTrigger]) -> None:
        arguments = {
            "conn_id": "c",
            "remote_task_ids": ["a", "b"],
            "poll_interval": 7.5,
            "started_at": START,
            "deadline": START + 10,
            "execution_deadline": START + 20,
            "on_waiting": "return",
            "max_poll_failures": 3,
            "not_found_grace": 4.0,
            "max_poll_interval": 60.0,
            "first_poll_at": START + 1,
            "checkpoint": {"a": {"failures": 2, "missing_since": None}},
            "max_credits": 100,
            "cancel_on_kill": True,
            "sensor": {"label": "Manus task"},
        }

        path, stored = kind(**arguments).serialize()

        assert stored == arguments
        assert json.loads(json.dumps(stored)) == stored
        assert path == f"{kind.__module__}.{kind.__name__}"

    def test_three_arguments_are_enough(self, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
        install(monkeypatch, clock, {"a": timeline((0, "running"), (20, "completed"))})

        event = run_trigger(
            ManusTaskTrigger(conn_id="manus_default", remote_task_ids=["a"], poll_interval=15)
        )

        assert event["records"]["a"]["state"] == "completed"

    def test_trigger_stores_no_key_and_follows_a_first_poll_by_the_worker(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        service = install(monkeypatch, clock, {"a": timeline((0, "running"))})

        deferral = deferral_of(waiting_sensor(), {"ti": TaskInstance(clock)})

        assert service.asked == [("a", 0.0)]
        assert "sk-t" not in repr(deferral.trigger.serialize())
        assert deferral.method_name == "execute_complete"
        assert deferral.timeout == timedelta(seconds=1000, minutes=5)


class TestRestarts:
    def test_restarted_triggerer_keeps_the_deadline(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        install(monkeypatch, clock, {"a": timeline((0, "running"))})
        deferral = deferral_of(waiting_sensor(), {"ti": TaskInstance(clock)})
        _, stored = deferral.trigger.serialize()

        clock.now = START + 700
        event = run_trigger(ManusTaskTrigger(**json.loads(json.dumps(stored))))

        assert event["timed_out"] == "timeout"
        assert clock.now == START + 1000

    def test_cancelled_trigger_closes_its_connections(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        from remote_tasks_provider.bases import triggers as module

        install(monkeypatch, clock, {"a": timeline((0, "running"))})
        closed: list[bool] = []

        class Watched(module.HttpxTransport):  # type: ignore[misc,name-defined]
            async def aclose(self) -> None:
                closed.append(True)

        monkeypatch.setattr(module, "HttpxTransport", Watched)

        async def cancel_while_it_waits() -> None:
            trigger = ManusTaskTrigger(conn_id="manus_default", remote_task_ids=["a"], poll_interval=5)
            started = asyncio.Event()

            async def sleep(seconds: float) -> None:
                if seconds < 1:  # the pause before the first look
                    return
                started.set()
                await asyncio.Event().wait()

            monkeypatch.setattr(ManusTaskTrigger, "clocks", Clocks(sleep=sleep))
            waiting = asyncio.ensure_future(anext(trigger.run()))
            await started.wait()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

        asyncio.run(cancel_while_it_waits())

        assert closed == [True]


class TestAirflowTimeouts:
    def test_execution_timeout_ends_a_deferred_attempt(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        install(monkeypatch, clock, {"a": timeline((0, "running"))})

        def make(_: str) -> ManusTaskSensor:
            return waiting_sensor(execution_timeout=timedelta(seconds=100), soft_fail=True)

        end, text = live_through(make, "deferrable", clock)

        assert (end, clock.now - START) == ("attempt timeout", 100)
        assert "execution_timeout" in text

    @pytest.mark.parametrize(
        ("soft_fail", "expected"), [(False, AirflowSensorTimeout), (True, AirflowSkipException)]
    )
    def test_deferral_timeout_is_a_timeout(self, soft_fail: bool, expected: type[Exception]) -> None:
        sensor = waiting_sensor(soft_fail=soft_fail)

        with pytest.raises(expected, match="no triggerer"):
            sensor.resume_execution("__fail__", {"error": "Trigger timeout"}, {})

    def test_deferral_cut_short_by_execution_timeout_ends_only_the_attempt(self) -> None:
        sensor = waiting_sensor(execution_timeout=timedelta(seconds=100), soft_fail=True)

        with pytest.raises(AirflowTaskTimeout):
            sensor.resume_execution("__fail__", {"error": "Trigger timeout"}, {})

    @pytest.mark.parametrize("soft_fail", [False, True])
    def test_crashed_trigger_is_a_failure_even_under_soft_fail(self, soft_fail: bool) -> None:
        sensor = waiting_sensor(soft_fail=soft_fail)

        with pytest.raises(Exception, match="Trigger failure") as crash:
            sensor.resume_execution("__fail__", {"error": "Trigger failure", "traceback": ["Boom"]}, {})

        assert not isinstance(crash.value, AirflowSkipException)

    @pytest.mark.parametrize("event", [None, {}, {"status": "success"}, "done"])
    def test_event_of_another_shape_fails_with_advice(self, event: Any) -> None:
        with pytest.raises(AirflowFailException, match="clear the task"):
            waiting_sensor().resume_execution("execute_complete", {"event": event}, {})


class TestDeadline:
    class Store(dict[str, Any]):
        def set(self, key: str, value: Any) -> None:
            self[key] = json.loads(json.dumps(value))

    def end_of(self, clock: Clock, context: dict[str, Any], **arguments: Any) -> float:
        deferral = deferral_of(waiting_sensor(retries=2, **arguments), context)
        return float(deferral.trigger.deadline) - START

    def test_retry_does_not_move_the_deadline(self, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
        install(monkeypatch, clock, {"a": timeline((0, "running"))})
        ti, store = TaskInstance(clock), self.Store()
        ti.max_tries = 2
        first = self.end_of(clock, {"ti": ti, "task_state_store": store})
        clock.now += 400

        assert (first, self.end_of(clock, {"ti": ti, "task_state_store": store})) == (1000, 1000)

    def test_cleared_task_gets_a_new_deadline(self, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
        install(monkeypatch, clock, {"a": timeline((0, "running"))})
        ti, store = TaskInstance(clock), self.Store()
        ti.max_tries = 2
        self.end_of(clock, {"ti": ti, "task_state_store": store})
        clock.now += 400
        ti.max_tries = 5

        assert self.end_of(clock, {"ti": ti, "task_state_store": store}) == 1400

    def test_deadline_without_a_store_counts_from_this_attempt(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        install(monkeypatch, clock, {"a": timeline((0, "running"))})
        clock.now += 400

        assert self.end_of(clock, {"ti": TaskInstance(clock)}) == 1400

    def test_execution_deadline_counts_from_the_start_of_the_attempt(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        install(monkeypatch, clock, {"a": timeline((0, "running"))})
        ti = TaskInstance(clock)
        ti.start_date = datetime.fromtimestamp(START - 40, UTC)

        deferral = deferral_of(waiting_sensor(execution_timeout=timedelta(seconds=100)), {"ti": ti})

        assert deferral.trigger.execution_deadline == START + 60


class TestBadConnections:
    def test_connection_broken_while_deferred_fails_the_task(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        install(monkeypatch, clock, {"a": timeline((0, "running"))})
        context = {"ti": TaskInstance(clock)}
        deferral = deferral_of(waiting_sensor(), context)
        broken = {"conn_type": "manus", "host": "http://manus.example", "password": "sk-t"}
        monkeypatch.setenv("AIRFLOW_CONN_MANUS_DEFAULT", json.dumps(broken))

        event = run_trigger(deferral.trigger)

        with pytest.raises(AirflowFailException, match="'manus_default', field host: uses http://"):
            waiting_sensor().resume_execution("execute_complete", {"event": event}, context)

    def test_missing_connection_in_the_triggerer_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        event = run_trigger(ManusTaskTrigger(conn_id="nowhere", remote_task_ids=["a"], poll_interval=1))

        assert "nowhere" in event["errors"]["a"]["message"]


class TestManyIds:
    def test_event_of_many_tasks_is_small_and_the_worker_polls_again(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        ids = [f"task-{number}" for number in range(300)]
        histories = dict.fromkeys(ids, timeline((0, "running"), (50, "completed")))
        histories["task-7"] = timeline((0, "running"), (50, "failed"))
        service = install(monkeypatch, clock, histories)
        context = {"ti": TaskInstance(clock)}
        many = waiting_sensor(remote_task_id=ids, raise_on_failure=False)
        event = run_trigger(deferral_of(many, context).trigger)
        service.asked.clear()

        result = many.resume_execution("execute_complete", {"event": event}, context)

        assert event["records"] == {}
        assert [record["id"] for record in result] == ids
        assert [record["id"] for record in result if record["state"] == "failed"] == ["task-7"]
        assert [what for what, _ in service.asked] == ["list"]

    def test_task_resumed_meanwhile_is_not_awaited_again(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        ids = [f"task-{number}" for number in range(300)]
        histories = dict.fromkeys(ids, timeline((0, "running"), (50, "completed")))
        histories["task-7"] = timeline((0, "running"), (50, "completed"), (100, "running"))
        install(monkeypatch, clock, histories)
        context = {"ti": TaskInstance(clock)}
        many = waiting_sensor(remote_task_id=ids)
        event = run_trigger(deferral_of(many, context).trigger)
        clock.now = began = START + 200

        result = many.resume_execution("execute_complete", {"event": event}, context)

        assert [record["id"] for record in result if record["state"] == "running"] == ["task-7"]
        assert clock.now == began

    def test_unreadable_tasks_are_left_to_a_retry_when_the_time_is_up(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        ids = [f"task-{number}" for number in range(300)]
        histories = dict.fromkeys(ids, timeline((0, "running"), (50, "completed"), (100, 429)))
        install(monkeypatch, clock, histories)
        context = {"ti": TaskInstance(clock)}
        many = waiting_sensor(remote_task_id=ids)
        event = run_trigger(deferral_of(many, context).trigger)
        clock.now = began = START + 200

        with pytest.raises(RemoteTaskError, match="300 finished tasks could not be read"):
            many.resume_execution("execute_complete", {"event": event}, context)

        assert clock.now - began == pytest.approx(many.timeout, abs=60)

    def test_unfinished_tasks_stay_in_the_event_of_a_timeout(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        ids = [f"task-{number}" for number in range(300)]
        histories = dict.fromkeys(ids, timeline((0, "running"), (50, "completed")))
        histories["task-7"] = timeline((0, "running"))
        install(monkeypatch, clock, histories)
        context = {"ti": TaskInstance(clock)}
        many = waiting_sensor(remote_task_id=ids)
        event = run_trigger(deferral_of(many, context).trigger)

        with pytest.raises(AirflowSensorTimeout, match=r"task-7 \(running\)"):
            many.resume_execution("execute_complete", {"event": event}, context)

    def test_connection_broken_before_the_resumption_is_final(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        ids = [f"task-{number}" for number in range(300)]
        install(monkeypatch, clock, dict.fromkeys(ids, timeline((0, "running"), (50, "completed"))))
        context = {"ti": TaskInstance(clock)}
        event = run_trigger(deferral_of(waiting_sensor(remote_task_id=ids), context).trigger)
        broken = {"conn_type": "manus", "host": "http://manus.example", "password": "sk-t"}
        monkeypatch.setenv("AIRFLOW_CONN_MANUS_DEFAULT", json.dumps(broken))

        with pytest.raises(AirflowFailException, match="field host"):
            waiting_sensor(remote_task_id=ids).resume_execution("execute_complete", {"event": event}, context)
