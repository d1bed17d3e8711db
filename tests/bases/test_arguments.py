"""Parameters of every operator: what can be read only once is read once."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import pytest

from remote_tasks_provider.bases.arguments import CheckedOperator, _parameters
from remote_tasks_provider.manus import operators as manus
from remote_tasks_provider.manus.decorators import _ManusDecoratedOperator
from remote_tasks_provider.manus.sensors import ManusTaskSensor
from remote_tasks_provider.qstash import operators as qstash
from remote_tasks_provider.qstash import sensors as qstash_sensors
from tests.bases.history import Clock, TaskInstance, install, timeline

CLASSES = [
    one
    for module in (manus, qstash, qstash_sensors)
    for name in module.__all__
    if inspect.isclass(one := getattr(module, name)) and hasattr(one, "task_type")
]


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_sensor_takes_a_generator_of_ids(mode: str, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    install(monkeypatch, clock, dict.fromkeys("ab", timeline((0, "completed"))))
    sensor = ManusTaskSensor(task_id="wait", remote_task_id=(one for one in "ab"), mode=mode)

    records: Any = sensor.execute({"ti": TaskInstance(clock)})

    assert [record["id"] for record in records] == ["a", "b"]


@pytest.mark.parametrize("operator", CLASSES, ids=lambda one: one.__name__)
def test_operator_keeps_what_a_generator_gives(operator: type[Any]) -> None:
    assert issubclass(operator, CheckedOperator)


class TestUnknownParameter:
    @pytest.mark.parametrize(
        ("kind", "name", "meant"),
        [
            (ManusTaskSensor, "poll_interval", "poke_interval"),
            (qstash_sensors.QStashMessageSensor, "poll_interval", "poke_interval"),
            (manus.ManusTaskOperator, "poke_interval", "poll_interval"),
            (manus.ManusTaskBranchOperator, "poke_interval", "poll_interval"),
            (manus.ManusPublishWebsiteOperator, "poke_interval", "poll_interval"),
            (qstash.QStashPublishOperator, "poke_interval", "poll_interval"),
            (_ManusDecoratedOperator, "poke_interval", "poll_interval"),
            (manus.ManusTaskOperator, "mode", "deferrable"),
            (ManusTaskSensor, "max_poll_failures", "outage_tolerance"),
            (ManusTaskSensor, "remote_task_ids", "remote_task_id"),
            (ManusTaskSensor, "conn_id", "manus_conn_id"),
            (qstash_sensors.QStashMessageSensor, "conn_id", "qstash_conn_id"),
            (qstash_sensors.QStashMessageSensor, "remote_task_id", "message_id"),
            (qstash.QStashWorkflowBranchOperator, "remote_task_id", "workflow_run_id"),
            (manus.ManusTaskOperator, "output_path", "result_path"),
            (manus.ManusListTasksOperator, "result_path", "output_path"),
            (manus.ManusTaskOperator, "retrys", "retries"),
            (manus.ManusTaskOperator, "prompts", "prompt"),
        ],
    )
    def test_hint_names_what_may_be_meant(self, kind: Any, name: str, meant: str) -> None:
        for use in (kind, kind.partial):
            with pytest.raises(TypeError, match=rf"has no parameter {name}\. Did you mean {meant}\?"):
                use(task_id="t", **{name: 5})

    @pytest.mark.parametrize("kind", [*CLASSES, ManusTaskSensor], ids=lambda one: one.__name__)
    def test_parameter_that_a_class_names_itself_is_known(self, kind: Any) -> None:
        own = {
            name
            for name, one in inspect.signature(kind.__init__).parameters.items()
            if name != "self" and one.kind is one.KEYWORD_ONLY
        }
        assert own <= _parameters(kind)[0]

    def test_class_of_a_user_may_take_words_of_its_own(self) -> None:
        class Ask(manus.ManusTaskOperator):
            def __init__(self, **kwargs: Any) -> None:
                topic = kwargs.pop("topic")
                super().__init__(prompt=f"What is new about {topic}?", **kwargs)

        assert Ask(task_id="t", topic="cheese").prompt == "What is new about cheese?"

    def test_word_like_no_parameter_has_no_hint(self) -> None:
        with pytest.raises(TypeError, match=r"ManusTaskOperator has no parameter zzz\.$"):
            manus.ManusTaskOperator(task_id="t", prompt="p", zzz=5)

    def test_parameters_of_airflow_are_taken_also_where_a_task_is_mapped(self) -> None:
        given = {"task_id": "t", "retries": 2, "pool": "slow", "doc_md": "What it does."}

        assert ManusTaskSensor(remote_task_id="a", mode="reschedule", **given).retries == 2
        assert ManusTaskSensor.partial(mode="reschedule", **given).expand(remote_task_id=["a"]).retries == 2

    def test_copy_of_an_operator_is_made_without_parameters(self) -> None:
        asked = manus.ManusTaskOperator(task_id="t", prompt="p")

        assert copy.copy(asked).prompt == copy.deepcopy(asked).prompt == "p"
