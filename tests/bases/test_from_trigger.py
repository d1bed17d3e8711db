"""Waits that begin or end in the triggerer: what is handed over, and that each ends as on a worker."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, TaskDeferred
from airflow.triggers.base import TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent
from jinja2 import Undefined, UndefinedError
from jinja2.exceptions import SecurityError
from packaging.version import Version

from remote_tasks_provider.a2a.sensors import A2ATaskSensor
from remote_tasks_provider.bases import from_trigger
from remote_tasks_provider.bases import sensors as sensor_module
from remote_tasks_provider.bases.compat import STARTS_FROM_TRIGGER
from remote_tasks_provider.bases.from_trigger import TaskEnd
from remote_tasks_provider.bases.sensors import RemoteTaskSensor
from remote_tasks_provider.manus.sensors import ManusTaskSensor
from remote_tasks_provider.manus.triggers import ManusTaskTrigger
from remote_tasks_provider.qstash.sensors import QStashMessageSensor, QStashTaskSensor, QStashWorkflowSensor
from tests.bases.history import START, Clock, TaskInstance, install, run_trigger, timeline

SENSORS = [
    A2ATaskSensor,
    ManusTaskSensor,
    QStashMessageSensor,
    QStashTaskSensor,
    QStashWorkflowSensor,
]
PAGE = "https://manus.im/app/a"
rendered_in_the_triggerer = pytest.mark.skipif(
    not STARTS_FROM_TRIGGER, reason="this Airflow's triggers render no templates, so no wait begins there"
)


XComs = dict[str, Any]


@pytest.fixture(autouse=True)
def xcoms(monkeypatch: pytest.MonkeyPatch) -> XComs:
    """The newest Airflow, and what is written into its XComs."""
    written: XComs = {}

    class XCom:
        @staticmethod
        def set(key: str, value: Any, **place: Any) -> None:
            assert place == {"dag_id": "dag", "task_id": "wait", "run_id": "run", "map_index": -1}
            written[key] = json.loads(json.dumps(value))

    monkeypatch.setattr(from_trigger, "XCom", XCom)
    monkeypatch.setattr(sensor_module, "STARTS_FROM_TRIGGER", True)
    return written


def sensor(**arguments: Any) -> ManusTaskSensor:
    arguments = {
        "task_id": "wait",
        "remote_task_id": "a",
        "deferrable": True,
        "end_from_trigger": True,
        "poke_interval": 30,
        "timeout": 1000,
        **arguments,
    }
    return ManusTaskSensor(**arguments)


def event_of(trigger: Any) -> TriggerEvent:
    _, kwargs = trigger.serialize()
    revived = ManusTaskTrigger(**json.loads(json.dumps(kwargs)))
    revived.timeout_after = getattr(trigger, "timeout_after", None)
    revived.task_instance = TaskInstance(Clock())

    async def events() -> list[TriggerEvent]:
        return [event async for event in revived.run()]

    (event,) = asyncio.run(events())
    return event


def deferred(clock: Clock, **arguments: Any) -> TriggerEvent:
    with pytest.raises(TaskDeferred) as deferral:
        sensor(**arguments).execute({"ti": TaskInstance(clock)})
    return event_of(deferral.value.trigger)


def with_page(status: str) -> dict[str, Any]:
    return {
        "id": "a",
        "status": status,
        "error": "no" if status == "failed" else None,
        "metadata": {"task_url": PAGE},
    }


class TestEndFromTrigger:
    def test_success_leaves_the_same_xcoms_as_a_worker(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock, xcoms: XComs
    ) -> None:
        install(monkeypatch, clock, {"a": timeline((0, with_page("running")), (50, with_page("completed")))})

        event = deferred(clock)

        assert isinstance(event, TaskSuccessEvent)
        assert xcoms["remote_task_url"] == PAGE
        assert xcoms["return_value"]["state"] == "completed"

    def test_list_of_ids_gives_a_list(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock, xcoms: XComs
    ) -> None:
        install(monkeypatch, clock, dict.fromkeys("ab", timeline((0, "running"), (50, "completed"))))

        event = deferred(clock, remote_task_id=["b", "a", "b"])

        assert isinstance(event, TaskSuccessEvent)
        assert [record["id"] for record in xcoms["return_value"]] == ["b", "a", "b"]

    @pytest.mark.parametrize(
        ("history", "arguments", "expected"),
        [
            (timeline((0, "running"), (50, "failed")), {}, TaskFailedEvent),
            (timeline((0, "running"), (50, "failed")), {"raise_on_failure": False}, TaskSuccessEvent),
            (timeline((0, "running"), (50, "failed")), {"soft_fail": True}, TaskFailedEvent),
            (timeline((0, "running"), (50, "failed")), {"never_fail": True}, TaskSkippedEvent),
            (timeline((0, "running"), (50, "pending")), {"on_waiting": "fail"}, TaskFailedEvent),
            (timeline((0, "running"), (50, "pending")), {"on_waiting": "return"}, TaskSuccessEvent),
            (timeline((0, "running")), {}, TaskFailedEvent),
            (timeline((0, "running")), {"soft_fail": True}, TaskSkippedEvent),
            # Airflow retries a task that fails in the triggerer: only a worker can fail it for good.
            (timeline((0, "running"), (50, "failed")), {"retries": 2}, TriggerEvent),
            (timeline((0, "running")), {"retries": 2}, TriggerEvent),
            # Where a retry helps, the triggerer's failure is just right.
            (timeline((0, "running"), (50, 503)), {"retries": 2}, TaskFailedEvent),
            (
                timeline((0, "running")),
                {"retries": 2, "execution_timeout": timedelta(seconds=60)},
                TaskFailedEvent,
            ),
        ],
    )
    def test_outcomes_are_reported_to_airflow_as_their_events(
        self,
        history: Any,
        arguments: dict[str, Any],
        expected: type[TriggerEvent],
        monkeypatch: pytest.MonkeyPatch,
        clock: Clock,
    ) -> None:
        install(monkeypatch, clock, {"a": history})

        assert type(deferred(clock, **arguments)) is expected

    def test_failure_pushes_its_text(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock, xcoms: XComs
    ) -> None:
        install(monkeypatch, clock, {"a": timeline((0, "running"), (50, "failed"))})

        event = deferred(clock)

        assert isinstance(event, TaskFailedEvent)
        assert "the agent gave up" in xcoms["remote_task_error"]

    def test_waits_that_end_together_end_one_after_another(self, monkeypatch: pytest.MonkeyPatch) -> None:
        written: list[str] = []
        monkeypatch.setattr(
            from_trigger, "XCom", SimpleNamespace(set=lambda key, task_id, **_: written.append(task_id))
        )

        async def end() -> None:
            task_end = TaskEnd(TaskSuccessEvent(), {"remote_task_url": PAGE, "return_value": {}})
            instances = [
                SimpleNamespace(dag_id="dag", task_id=str(number), run_id="run", map_index=-1)
                for number in range(20)
            ]
            await asyncio.gather(*(task_end.write(one, None) for one in instances))

        asyncio.run(end())

        assert len(written) == 40
        assert written.index("2") > 1, "the first waits have ended before the third begins to"
        assert written.index("19") > 33

    def test_dag_test_without_a_task_instance_ends_on_a_worker(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        install(monkeypatch, clock, {"a": timeline((0, "running"), (50, "completed"))})
        context = {"ti": TaskInstance(clock)}
        with pytest.raises(TaskDeferred) as deferral:
            sensor().execute(context)

        event = run_trigger(deferral.value.trigger)

        assert sensor().execute_complete(context, event)["state"] == "completed"


class TestStartFromTrigger:
    def started(self, **arguments: Any) -> ManusTaskTrigger:
        made = sensor(start_from_trigger=True, **arguments)
        assert made.start_from_trigger is True
        assert made.start_trigger_args is not None
        assert made.start_trigger_args.trigger_cls == f"{ManusTaskTrigger.__module__}.ManusTaskTrigger"
        return ManusTaskTrigger(**json.loads(json.dumps(made.start_trigger_args.trigger_kwargs)))

    @pytest.mark.parametrize("sensor_class", SENSORS)
    def test_sensor_hands_its_connection_over(self, sensor_class: type[RemoteTaskSensor]) -> None:
        names = {sensor_class.remote_task_type.id_param: "a", sensor_class.hook_class.conn_name_attr: "other"}
        begins = {"deferrable": True, "start_from_trigger": True, "end_from_trigger": True}

        made = sensor_class(task_id="wait", **begins, **names)

        assert made.start_trigger_args is not None
        assert (made.start_trigger_args.trigger_kwargs or {})["conn_id"] == "other"

    def test_wait_needs_no_worker(self, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
        service = install(monkeypatch, clock, {"a": timeline((0, "running"), (50, "completed"))})

        event = event_of(self.started())

        assert isinstance(event, TaskSuccessEvent)
        assert [round(at) for _, at in service.asked] == [0, 30, 60]

    @rendered_in_the_triggerer
    def test_templates_are_rendered(self) -> None:
        trigger = self.started(remote_task_id="{{ params.one }}", manus_conn_id="{{ params.conn }}")

        trigger.render_template_fields({"params": {"one": "a", "conn": "manus_default"}})

        assert (trigger.remote_task_ids, trigger.conn_id) == ("a", "manus_default")

    @rendered_in_the_triggerer
    def test_rendered_on_waiting_decides_the_outcome(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        install(monkeypatch, clock, {"a": timeline((0, "pending"))})
        trigger = self.started(on_waiting="{{ params.then }}")
        trigger.render_template_fields({"params": {"then": "fail"}})

        assert type(event_of(trigger)) is TaskFailedEvent

    @rendered_in_the_triggerer
    def test_list_of_templates_is_rendered(self) -> None:
        trigger = self.started(remote_task_id=["{{ params.one }}", "b"])

        trigger.render_template_fields({"params": {"one": "a"}})

        assert trigger.remote_task_ids == ["a", "b"]

    @pytest.mark.parametrize("execution_timeout", [None, timedelta(seconds=400), timedelta(days=1)])
    def test_restarted_triggerer_keeps_the_deadline(
        self, execution_timeout: timedelta | None, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        install(monkeypatch, clock, {"a": timeline((0, "running"))})
        trigger = self.started(execution_timeout=execution_timeout, end_from_trigger=False)
        # As Airflow's scheduler computes it when the wait begins.
        lengths = [timedelta(seconds=1000, minutes=5), execution_timeout or timedelta.max]
        trigger.timeout_after = datetime.fromtimestamp(START, UTC) + min(lengths)
        clock.now = START + 300

        event = event_of(trigger)

        expected = 400 if execution_timeout == timedelta(seconds=400) else 1000
        assert clock.now - START == pytest.approx(expected)
        assert event.payload["timed_out"] == ("execution_timeout" if expected == 400 else "timeout")

    @rendered_in_the_triggerer
    def test_empty_rendered_id_fails_only_its_own_wait(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        install(monkeypatch, clock, {})
        trigger = self.started(remote_task_id="{{ none }}")
        trigger.render_template_fields({})

        with pytest.raises(ValueError, match="remote_task_id is 'None', which is no id"):
            event_of(trigger)

    def test_worker_that_ends_the_wait_pushes_the_link(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        install(monkeypatch, clock, {"a": timeline((0, with_page("completed")))})
        made = sensor(start_from_trigger=True, end_from_trigger=False)
        event = event_of(self.started(end_from_trigger=False))
        ti = TaskInstance(clock)

        made.execute_complete({"ti": ti}, event.payload)

        assert ti.xcoms["remote_task_url"] == PAGE


class TestLateArguments:
    """What Airflow reads when it serializes the DAG, after everybody had a say."""

    def settings(self, made: ManusTaskSensor) -> dict[str, Any]:
        assert made.start_trigger_args is not None
        assert made.start_trigger_args.trigger_kwargs is not None
        return {**made.start_trigger_args.trigger_kwargs, "timeout": made.start_trigger_args.timeout}

    def test_change_after_the_constructor_counts(self) -> None:
        made = sensor(start_from_trigger=True)
        # As a cluster policy does.
        made.execution_timeout = timedelta(seconds=60)
        made.retries = 2
        made.remote_task_id = ["b", "c"]
        made.manus_conn_id = "other"

        found = self.settings(made)

        assert (found["remote_task_ids"], found["conn_id"]) == (["b", "c"], "other")
        assert found["sensor"]["execution_timeout"] == 60
        assert found["sensor"]["has_retries"] is True
        assert found["sensor"]["single"] is False

    def test_default_arguments_of_the_dag_count(self) -> None:
        with DAG("late", schedule=None, default_args={"execution_timeout": timedelta(seconds=60)}):
            made = sensor(start_from_trigger=True)

        assert self.settings(made)["sensor"]["execution_timeout"] == 60

    @rendered_in_the_triggerer
    def test_serialized_dag_has_the_late_arguments(self) -> None:
        from airflow.serialization.serialized_objects import DagSerialization

        with DAG("late", schedule=None) as dag:
            made = sensor(start_from_trigger=True)
            ManusTaskSensor.partial(task_id="mapped", deferrable=True, start_from_trigger=True).expand(
                remote_task_id=["a", "b"]
            )
        made.execution_timeout = timedelta(seconds=60)

        found = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))

        task = found.get_task("wait")
        assert task.start_from_trigger is True
        assert "60.0" in json.dumps(task.start_trigger_args.trigger_kwargs)
        assert found.get_task("mapped").start_trigger_args is None

    def test_class_itself_starts_on_a_worker(self) -> None:
        assert ManusTaskSensor.start_from_trigger is False
        assert ManusTaskSensor.start_trigger_args is None

    @pytest.mark.parametrize("own", [{"user_defined_macros": {"f": str}}, {"template_undefined": Undefined}])
    @pytest.mark.parametrize(("ids", "begins"), [("{{ f(1) }}", False), ("a", True)])
    def test_dag_with_templates_of_its_own_kind_renders_them_on_a_worker(
        self, own: dict[str, Any], ids: str, begins: bool
    ) -> None:
        with DAG("late", schedule=None, **own):
            made = sensor(start_from_trigger=True, remote_task_id=ids)

        assert made.start_from_trigger is begins

    def test_reason_names_the_template_that_a_worker_has_rendered(self, clock: Clock) -> None:
        made = sensor(start_from_trigger=True, remote_task_id="{{ ti.xcom_pull('ask') }}")
        ti: Any = TaskInstance(clock)
        ti.xcom_pull = lambda _: "a"

        made.render_template_fields({"ti": ti})

        assert made.remote_task_id == "a"
        assert made._starts_on_a_worker == "a template with xcom_pull can be rendered on a worker only"


@rendered_in_the_triggerer
class TestRenderingInTheTriggerer:
    def rendered(self, context: dict[str, Any], **arguments: Any) -> ManusTaskTrigger:
        made = sensor(start_from_trigger=True, **arguments)
        assert made.start_trigger_args is not None
        trigger = ManusTaskTrigger(**json.loads(json.dumps(made.start_trigger_args.trigger_kwargs)))
        trigger.render_template_fields(context)
        return trigger

    @pytest.mark.parametrize("of_the_dag", [True, False])
    def test_native_template_gives_a_list(
        self, of_the_dag: bool, monkeypatch: pytest.MonkeyPatch, clock: Clock, xcoms: XComs
    ) -> None:
        install(monkeypatch, clock, dict.fromkeys("ab", timeline((0, "completed"))))
        with DAG("native", schedule=None, render_template_as_native_obj=of_the_dag):
            trigger = self.rendered(
                {"params": {"ids": ["a", "b"]}},
                remote_task_id="{{ params.ids }}",
                **({} if of_the_dag else {"render_template_as_native_obj": True}),
            )

        assert trigger.remote_task_ids == ["a", "b"]
        assert isinstance(event_of(trigger), TaskSuccessEvent)
        assert [record["id"] for record in xcoms["return_value"]] == ["a", "b"]

    def test_name_that_is_not_defined_fails_as_on_a_worker(self) -> None:
        with pytest.raises(UndefinedError, match="'typo' is undefined"):
            self.rendered({}, remote_task_id="task-{{ typo }}")

    @pytest.mark.parametrize("native", [True, False])
    def test_sandbox_stays_closed(self, native: bool) -> None:
        with pytest.raises(SecurityError):
            self.rendered(
                {"params": {}},
                remote_task_id="{{ params.__class__.__mro__ }}",
                render_template_as_native_obj=native,
            )

    @pytest.mark.parametrize("tasks", [200, 201])
    def test_dag_is_let_go_of_with_a_warning_if_it_is_large(
        self, tasks: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        trigger = ManusTaskTrigger("manus_default", "a", 30.0)
        dag = SimpleNamespace(task_dict=dict.fromkeys(range(tasks)))
        trigger.task_instance = SimpleNamespace(
            task_id="wait", task=SimpleNamespace(dag=dag, template_ext=())
        )
        context = {"dag": dag}

        trigger.render_template_fields(context)

        assert (context, dag.task_dict, trigger.task) == ({}, {}, None)
        assert ("this DAG has 201 tasks" in caplog.text) is (tasks > 200)

    def test_wait_that_a_worker_began_is_not_rendered_again(self) -> None:
        trigger = ManusTaskTrigger("manus_default", ["{{ a }}"], 30.0, started_at=START)

        trigger.render_template_fields({})

        assert trigger.remote_task_ids == ["{{ a }}"]


class TestUnsupported:
    def test_start_from_trigger_without_deferrable_is_refused(self) -> None:
        with pytest.raises(ValueError, match="need deferrable=True"):
            sensor(deferrable=False)

    @pytest.mark.parametrize("field", ["remote_task_id", "manus_conn_id", "on_waiting"])
    def test_template_that_pulls_an_xcom_starts_on_a_worker(self, field: str) -> None:
        made = sensor(start_from_trigger=True, **{field: "{{ ti.xcom_pull(task_ids='ask') }}"})

        assert made.start_from_trigger is False

    def test_output_of_another_task_starts_on_a_worker(self) -> None:
        class Output:
            def resolve(self, context: Any) -> str:
                raise AssertionError("only Airflow resolves it")

        made = sensor(start_from_trigger=True, remote_task_id=[Output()])

        assert made.start_from_trigger is False

    def test_older_airflow_defers_normally(self, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
        monkeypatch.setattr(sensor_module, "STARTS_FROM_TRIGGER", False)
        install(monkeypatch, clock, {"a": timeline((0, "running"), (50, "completed"))})

        made = sensor(start_from_trigger=True)

        assert made.start_from_trigger is False
        assert type(deferred(clock, start_from_trigger=True)) is TriggerEvent

    def test_version_gate_is_airflow_3_3(self) -> None:
        import airflow

        assert (Version(airflow.__version__).release >= (3, 3)) is STARTS_FROM_TRIGGER
