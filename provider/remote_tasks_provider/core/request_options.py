"""Request options, which hook, operator and decorator share and which are checked before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from typing import Any, ClassVar

from remote_tasks_provider.core.errors import InvalidArgumentError
from remote_tasks_provider.core.validation import Check

__all__ = ["RequestOptions"]


class RequestOptions:
    """Base of a dataclass whose fields are the options of a request, and which checks itself."""

    __slots__ = ()

    parameter_names: ClassVar[Mapping[str, str]] = {}
    """Field → the operator's parameter, where Airflow's operators use the field's name for their own."""

    @classmethod
    def values_of(cls, operator: object) -> dict[str, Any]:
        """Return the options that ``operator`` holds as attributes; an option that it lacks is left out."""
        parameters = {
            one.name: cls.parameter_names.get(one.name, one.name)
            for one in fields(cls)  # type: ignore[arg-type]  # each subclass is a dataclass
            if one.init
        }
        return {
            field: getattr(operator, name) for field, name in parameters.items() if hasattr(operator, name)
        }

    @classmethod
    def by_field(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return options by the names of their fields, or of the operator's parameters."""
        fields_of = {parameter: field for field, parameter in cls.parameter_names.items()}
        found: dict[str, Any] = {}
        for name, value in given.items():
            field = fields_of.get(name, name)
            if field in found:
                other = field if name != field else cls.parameter_names[field]
                raise InvalidArgumentError(f"{name} is given twice: {other} is the same")
            found[field] = value
        return found

    @classmethod
    def checks(cls, **others: Any) -> dict[str, Check]:
        """Return a check for each parameter: that the options take it, whatever the others are.

        :param others: values with which all options that are not checked are taken.
        """
        return {
            cls.parameter_names.get(one.name, one.name): partial(cls._check, one.name, others)
            for one in fields(cls)  # type: ignore[arg-type]  # each subclass is a dataclass
            if one.init
        }

    @classmethod
    def _check(cls, field: str, others: Mapping[str, Any], value: Any, name: str) -> Any:
        try:
            cls(**{**others, field: value})
        except (TypeError, ValueError) as error:
            text = str(error)
            raise InvalidArgumentError(text if name in text else f"{name}: {text}") from None
        return value
