"""The settings of a running sandbox: each is an attribute, checked by its annotation when it is changed.

A vendor's settings are a subclass of :class:`Settings`; a sandbox has those of all vendors in one object.
``docs/reference/sandbox.md`` says what each one does. Imports nothing of the sandbox.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin, get_type_hints

__all__ = ["Positive", "Secret", "Settings"]

#: A key or token that a client sends and the journal must not hold.
Secret = Annotated[str, "secret"]
Positive = Annotated[float, "positive"]


@dataclass
class Settings:
    """The settings that all vendors share.

    :cvar endpoints: what ``rate_limits`` may name, with the calls per minute that the vendor documents
    """

    endpoints: ClassVar[Mapping[str, int | None]] = {}

    rate_limits: dict[str, int] = field(default_factory=dict)
    rate_limit_retry_after: bool = False

    @classmethod
    def all_endpoints(cls) -> dict[str, int | None]:
        """Return the endpoints of all vendors in this object."""
        found: dict[str, int | None] = {}
        for base in reversed(cls.__mro__):
            found |= vars(base).get("endpoints", {})
        return found

    def secrets(self) -> list[str]:
        """Return the keys and tokens in force, the longest first."""
        found = [getattr(self, name) for name, kind in _kinds(type(self)).items() if kind == Secret]
        return sorted(found, key=len, reverse=True)

    def update(self, changes: Mapping[str, Any]) -> None:
        """Change several settings, all or none.

        :param changes: setting name to new value
        """
        kinds = _kinds(type(self))
        if unknown := sorted(set(changes) - set(kinds)):
            raise ValueError(f"unknown settings {unknown}; known are {sorted(kinds)}")
        checked = {name: self._checked(name, kinds[name], value) for name, value in changes.items()}
        for name, value in checked.items():
            setattr(self, name, value)

    def _checked(self, name: str, kind: Any, value: Any) -> Any:
        if name == "rate_limits":
            return self._checked_rate_limits(value)
        try:
            return _converted(kind, value)
        except ValueError as error:
            raise ValueError(f"{name} is {error}") from None

    def _checked_rate_limits(self, value: Any) -> dict[str, int]:
        endpoints = self.all_endpoints()
        if value == "documented":
            return {name: calls for name, calls in endpoints.items() if calls is not None}
        if not isinstance(value, Mapping) or not set(value) <= set(endpoints):
            raise ValueError(f"rate_limits maps endpoints, some of {list(endpoints)}, to calls per minute")
        return {name: _converted(int, calls) for name, calls in value.items()}


def _kinds(settings: type[Settings]) -> dict[str, Any]:
    hints = get_type_hints(settings, include_extras=True)
    return {item.name: hints[item.name] for item in fields(settings)}


def _converted(kind: Any, value: Any) -> Any:
    """Return a value as a setting keeps it."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if get_origin(kind) is UnionType:
        return None if value is None else _converted(get_args(kind)[0], value)
    if get_origin(kind) is Literal:
        # ``0 == False`` and ``1 == True`` in Python.
        if not any(type(value) is type(one) and value == one for one in get_args(kind)):
            raise ValueError(f"one of {list(get_args(kind))}")
        return value
    if get_origin(kind) is tuple:
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise ValueError("a list")
        return tuple(_converted(get_args(kind)[0], item) for item in value)
    if kind is bool and not isinstance(value, bool):
        raise ValueError("true or false")
    if kind is int and (not is_number or isinstance(value, float) or value < 0):
        raise ValueError("a whole number from 0 on")
    if kind in (float, Positive):
        if not is_number or not 0 <= value < float("inf") or (kind is Positive and value == 0):
            raise ValueError(f"a number {'above 0' if kind is Positive else 'of seconds from 0 on'}")
        return float(value)
    if kind in (str, Secret) and (not isinstance(value, str) or not value):
        raise ValueError("a text that is not empty")
    return value
