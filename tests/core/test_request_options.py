"""Request options are gathered from an operator by the names of their fields."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import SimpleNamespace
from typing import ClassVar

import pytest

from remote_tasks_provider.core.request_options import RequestOptions
from remote_tasks_provider.manus.api.options import TaskOptions
from remote_tasks_provider.manus.operators import ManusTaskOperator
from remote_tasks_provider.qstash.api.options import PublishOptions
from remote_tasks_provider.qstash.operators import QStashPublishOperator


@dataclass(frozen=True)
class _Options(RequestOptions):
    parameter_names: ClassVar[Mapping[str, str]] = {"retries": "delivery_retries"}

    body: str = ""
    retries: int = 3
    label: str = "none"
    size: int = field(default=0, init=False)


def test_values_come_from_attributes_of_the_same_or_the_mapped_name() -> None:
    operator = SimpleNamespace(body="x", retries="Airflow's", delivery_retries=5, size=9, other=1)

    assert _Options.values_of(operator) == {"body": "x", "retries": 5}


@pytest.mark.parametrize(
    ("options", "operator"),
    [(TaskOptions, ManusTaskOperator), (PublishOptions, QStashPublishOperator)],
    ids=lambda one: one.__name__,
)
def test_values_are_the_operators_own_parameters(options: type[RequestOptions], operator: type) -> None:
    """An option that is called like an attribute of Airflow's base operator must be mapped."""
    parameters = inspect.signature(operator).parameters
    made = operator(
        task_id="t", **{"prompt" if operator is ManusTaskOperator else "destination": "https://x.test"}
    )
    names = {one.name: options.parameter_names.get(one.name, one.name) for one in fields(options)}  # type: ignore[arg-type]

    assert {names[name] for name in options.values_of(made)} <= parameters.keys()
