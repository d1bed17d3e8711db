"""Parameters of every operator: what can be read only once is read once."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from remote_tasks_provider.bases.arguments import CheckedOperator
from remote_tasks_provider.manus import operators as manus
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
