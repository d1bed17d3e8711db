"""Request options are gathered from an operator by the names of their fields."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import SimpleNamespace
from typing import ClassVar

import pytest

from remote_tasks_provider.core.errors import InvalidArgumentError
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


@dataclass(frozen=True)
class _Checked(RequestOptions):
    parameter_names: ClassVar[Mapping[str, str]] = {"retries": "delivery_retries"}

    body: str
    retries: int = 3
    size: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if not self.body or self.retries < 0:
            raise ValueError("body or retries cannot be right")


class TestChecks:
    def test_parameters_have_one_each(self) -> None:
        assert _Checked.checks(body="-").keys() == {"body", "delivery_retries"}

    def test_value_that_the_options_take_is_returned(self) -> None:
        assert _Checked.checks(body="-")["delivery_retries"](5, "delivery_retries") == 5
        assert _Checked.checks(body="-")["body"]("x", "body") == "x"

    @pytest.mark.parametrize("value", [-1, "abc"])
    def test_refusal_names_the_parameter(self, value: object) -> None:
        with pytest.raises(ValueError, match="delivery_retries: "):
            _Checked.checks(body="-")["delivery_retries"](value, "delivery_retries")

    def test_refusal_that_names_the_parameter_is_left_as_it_is(self) -> None:
        with pytest.raises(ValueError, match=r"^body or retries cannot be right$"):
            _Checked.checks(body="-")["body"]("", "body")


def test_options_may_have_the_names_of_the_operator() -> None:
    assert _Options.by_field({"body": "x", "delivery_retries": 5}) == {"body": "x", "retries": 5}


def test_option_that_is_given_by_both_names_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="delivery_retries is given twice: retries is the same"):
        _Options.by_field({"retries": 3, "delivery_retries": 5})
