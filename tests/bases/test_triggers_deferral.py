"""What a deferral carries, what survives a restart, and a wait that the triggerer could not end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferred,
)

from remote_tasks_provider.bases import connection as connection_module
from remote_tasks_provider.bases.triggers import RemoteTaskTrigger
from remote_tasks_provider.core.clocks import Clocks
from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.http.connection import ConnectionFields
from remote_tasks_provider.core.polling import result as result_module
from remote_tasks_provider.manus.sensors import ManusTaskSensor
from remote_tasks_provider.manus.triggers import ManusTaskTrigger
from remote_tasks_provider.qstash.triggers import QStashTaskTrigger
from tests.bases.history import (
    START,
    Answer,
    Clock,
    TaskInstance,
    forget_rate_limits,
    install,
    live_through,
    run_trigger,
    timeline,
)

HOST = "http://127.0.0.1:9"
ONCE = {"max_attempts": 1, "api_version": "v1"}


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
            "checkpoint": [{"trouble_since": START, "doubt": None, "doubt_since": None, "tasks": [[0, 1]]}],
            "max_credits": 100,
            "cancel_on_kill": True,
            "sensor": {"label": "Manus task"},
            "outage_tolerance": 60.0,
            "in_detail": False,
            "back_off_until": START + 300,
            "waiting_timeout": 3600.0,
            "seen": {"state": "running", "credits": 12, "at": 1000.0},
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

    def test_missing_connection_in_the_triggerer_is_named(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        install(monkeypatch, clock, {})

        event = run_trigger(ManusTaskTrigger(conn_id="nowhere", remote_task_ids=["a"], poll_interval=1))

        assert "nowhere" in event["errors"]["a"]["message"]


class TestUnreadableConnections:
    """A secrets backend that fails, in each mode: trouble for as long as the tolerance, and no longer."""

    @pytest.fixture(params=["poke", "reschedule", "deferrable"])
    def mode(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def connection(self, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Callable[[Answer], None]:
        """Let reading the connection fail or succeed as a history says: an exception, or a host."""

        def define(history: Answer) -> None:
            def read(service: Any, conn_id: str) -> Any:
                found = history(clock.now - START)
                if isinstance(found, Exception):
                    raise found
                return service.config(ConnectionFields(conn_id, host=found, password="sk-t", extra=ONCE))

            async def aread(service: Any, conn_id: str) -> Any:
                return read(service, conn_id)

            monkeypatch.setattr(connection_module, "connection_config", read)
            monkeypatch.setattr(connection_module, "async_connection_config", aread)

        return define

    def live(self, mode: str, clock: Clock, **arguments: Any) -> tuple[str, Any]:
        modes = {"deferrable": True} if mode == "deferrable" else {"deferrable": False, "mode": mode}
        return live_through(lambda _: waiting_sensor(**modes, **arguments), mode, clock)

    def test_backend_that_fails_for_a_while_fails_no_wait(
        self, mode: str, connection: Any, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        install(monkeypatch, clock, {"a": timeline((0, "running"), (600, "completed"))})
        connection(timeline((0, OSError("the vault is sealed")), (500, HOST)))

        assert self.live(mode, clock)[0] == "success"
        assert clock.now - START == 600

    def test_backend_that_fails_for_long_is_the_error(
        self, mode: str, connection: Any, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        service = install(monkeypatch, clock, {"a": timeline((0, "running"))})
        connection(timeline((0, OSError("the vault is sealed"))))

        end, text = self.live(mode, clock, outage_tolerance=300)

        assert (end, clock.now - START) == ("retryable", 300)
        assert "ConnectionUnavailableError" in text
        assert "the vault is sealed" in text
        assert service.asked == []

    def test_undefined_connection_is_believed_after_the_grace(
        self, mode: str, connection: Any, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        install(monkeypatch, clock, {"a": timeline((0, "running"))})
        connection(timeline((0, AirflowNotFoundException("nowhere"))))

        end, text = self.live(mode, clock)

        assert (end, clock.now - START) == ("failed", 90)
        assert "ConnectionConfigError" in text

    def test_connection_that_is_defined_meanwhile_is_used(
        self, mode: str, connection: Any, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        install(monkeypatch, clock, {"a": timeline((0, "running"), (100, "completed"))})
        connection(timeline((0, AirflowNotFoundException("nowhere")), (80, HOST)))

        assert self.live(mode, clock)[0] == "success"

    def test_host_that_was_changed_is_followed(
        self, mode: str, connection: Any, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        """The old account still answers, so that no error tells that the connection has changed."""
        moved = "http://127.0.0.1:10"
        service = install(monkeypatch, clock, {"a": timeline((0, "running"))})
        service.histories_at[moved] = {"a": timeline((0, "running"), (650, "completed"))}
        connection(timeline((0, HOST), (310, moved)))

        assert self.live(mode, clock)[0] == "success"
        assert clock.now - START == 660

    def test_task_missing_on_the_old_account_is_looked_up_on_the_new_one(
        self, mode: str, connection: Any, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        moved = "http://127.0.0.1:10"
        service = install(monkeypatch, clock, {"a": timeline((0, "running"), (40, 404))})
        service.histories_at[moved] = {"a": timeline((0, "running"), (200, "completed"))}
        connection(timeline((0, HOST), (50, moved)))

        assert self.live(mode, clock)[0] == "success"
        assert clock.now - START == 210


class TestBackOff:
    def test_retry_after_of_the_first_poll_holds_in_the_triggerer(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        service = install(monkeypatch, clock, {"a": timeline((0, 429), (10, "completed"))}, retry_after=300)
        deferral = deferral_of(waiting_sensor(), {"ti": TaskInstance(clock)})
        assert deferral.trigger.back_off_until == START + 300
        forget_rate_limits(monkeypatch)

        event = run_trigger(deferral.trigger)

        assert event["records"]["a"]["state"] == "completed"
        assert [at for _, at in service.asked] == [0, 300]

    def test_deadline_within_the_back_off_is_kept(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        install(monkeypatch, clock, {"a": timeline((0, 429))}, retry_after=3600)

        end, _ = live_through(lambda _: waiting_sensor(timeout=100), "deferrable", clock)

        assert end == "timeout"
        assert clock.now - START <= 105


class TestManyIds:
    @pytest.fixture
    def _small_events(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let no record fit into an event, as if there were thousands."""
        monkeypatch.setattr(result_module, "_MOST_PLAIN", 100)
        monkeypatch.setattr(result_module, "_MOST_PACKED", 100)

    def test_event_of_many_tasks_holds_them_all(self, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
        ids = [f"task-{number}" for number in range(300)]
        service = install(monkeypatch, clock, dict.fromkeys(ids, timeline((0, "running"), (50, "completed"))))
        context = {"ti": TaskInstance(clock)}
        many = waiting_sensor(remote_task_id=ids)
        event = run_trigger(deferral_of(many, context).trigger)
        service.asked.clear()

        result = many.resume_execution("execute_complete", {"event": event}, context)

        assert len(json.dumps(event)) < 40_000
        assert [record["id"] for record in result] == ids
        assert service.asked == []

    @pytest.mark.usefixtures("_small_events")
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

    @pytest.mark.usefixtures("_small_events")
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

    @pytest.mark.usefixtures("_small_events")
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

        with pytest.raises(RemoteTaskError, match="300 Manus tasks could not be read again"):
            many.resume_execution("execute_complete", {"event": event}, context)

        assert clock.now - began == pytest.approx(many.timeout, abs=60)

    @pytest.mark.usefixtures("_small_events")
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

    @pytest.mark.usefixtures("_small_events")
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
