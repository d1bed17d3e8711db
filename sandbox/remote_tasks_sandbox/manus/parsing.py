"""The checks of parameters and bodies that both versions of the emulated Manus API share.

A refusal is neutral here; ``v1_api`` and ``v2_api`` each write it in their own form.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from remote_tasks_sandbox.calls import Call, Refused

__all__ = ["check_fields", "choice", "flag", "integer", "json_body", "limit", "required", "single"]

#: What a field may hold: a type, a list with the type of its items, or the words to choose from.
Shape = type | list[type] | tuple[str, ...]

_NAMES = {str: "string", bool: "boolean", dict: "object", list: "array"}


def json_body(call: Call) -> dict[str, Any]:
    """Return the body as a JSON object.

    :raises Refused: when it is none
    """
    try:
        body = json.loads(call.body)
    except ValueError:
        raise Refused(400, "the request body is not valid JSON") from None
    if not isinstance(body, dict):
        raise Refused(400, "the request body must be a JSON object")
    return body


def check_fields(
    given: Any, shapes: Mapping[str, Shape], required: Iterable[str] = (), where: str = ""
) -> dict[str, Any]:
    """Return the fields of a JSON object that are set, each of its shape.

    :param where: prefix of the names in error texts, such as ``message.``
    :raises Refused: for a missing field, one that is not in ``shapes``, or one of another shape
    """
    if not isinstance(given, dict):
        raise Refused(400, f"{where.rstrip('.') or 'the request body'} must be an object")
    # proto3 JSON reads null as "not sent".
    found = {name: value for name, value in given.items() if value is not None}
    for name in required:
        if name not in found:
            raise Refused(400, f"{where}{name} is required")
    for name, value in found.items():
        if name not in shapes:
            raise Refused(400, f"unknown field {where + name!r}")
        _check_shape(f"{where}{name}", value, shapes[name])
    return found


def _check_shape(name: str, value: Any, shape: Shape) -> None:
    if isinstance(shape, tuple):
        if value not in shape:
            raise Refused(400, f"{name} must be one of: {', '.join(shape)}")
    elif isinstance(shape, list):
        if not isinstance(value, list) or not all(isinstance(item, shape[0]) for item in value):
            raise Refused(400, f"{name} must be an array of {_NAMES[shape[0]]}s")
    elif not isinstance(value, shape):
        raise Refused(400, f"{name} must be a{'n' if shape in (dict, list) else ''} {_NAMES[shape]}")


def single(call: Call, *names: str) -> str | None:
    """Return the one value of a parameter; an empty one counts as not sent: proto3 can't tell them apart."""
    values = call.values(*names)
    if len(values) > 1:
        raise Refused(400, f"too many values for field {names[0]!r}")
    return (values[0] or None) if values else None


def required(call: Call, name: str) -> str:
    """Return the value of a parameter that must be sent."""
    value = single(call, name)
    if value is None:
        raise Refused(400, f"{name} is required")
    return value


def choice(call: Call, allowed: tuple[str, ...], *names: str) -> str:
    """Return the value of a parameter that has a fixed set of words; the first is its default."""
    value = single(call, *names) or allowed[0]
    if value not in allowed:
        raise Refused(400, f"{names[0]} must be one of: {', '.join(allowed)}")
    return value


def integer(call: Call, *names: str) -> int | None:
    """Return the value of a whole-numbered parameter, or ``None`` when it was not sent."""
    value = single(call, *names)
    if value is None:
        return None
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 20):
        raise Refused(400, f"parsing field {names[0]!r}: invalid integer")
    return int(value)


def limit(call: Call, default: int, most: int) -> int:
    """Return the page size that a list was asked for."""
    value = integer(call, "limit")
    if value is not None and not 1 <= value <= most:
        raise Refused(400, f"limit must be between 1 and {most}")
    return default if value is None else value


def flag(call: Call, name: str) -> bool:
    """Return the value of a boolean parameter; ``False`` when it was not sent."""
    values = call.values(name)
    if any(value not in ("true", "false", "1", "0") for value in values):
        raise Refused(400, f'parsing field "{name}": invalid bool')
    return values[-1:] in (["true"], ["1"])
