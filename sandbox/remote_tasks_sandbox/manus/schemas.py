"""The two kinds of JSON schema in Manus v2: the client's for a structured output, the agent's for an input.

Of JSON schema only what the vendor supports; https://open.manus.ai/docs/v2/structured-output lists it.
Imports nothing of the sandbox.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["fitting_value", "input_problem", "schema_problem", "zero_value"]

_MOST_LEVELS = 5
_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "null": type(None),
    "object": dict,
    "array": list,
}
_KEYWORDS = frozenset(
    {
        *("type", "properties", "required", "additionalProperties", "items", "enum"),
        *("description", "anyOf", "$ref", "$defs"),
    }
)
_DEFINITIONS = "#/$defs/"


def schema_problem(schema: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the schema of a structured output, or ``None``.

    The text begins with the path of the refused part, as in ``.price: unsupported keyword "minimum"``.
    """
    if schema.get("type") != "object":
        return 'the root must have type "object"'
    definitions = schema.get("$defs", {})
    if not isinstance(definitions, Mapping):
        return "$defs must be an object"
    return _problem(schema, definitions, "", 1)


def _problem(schema: Any, definitions: Mapping[str, Any], path: str, level: int) -> str | None:
    here = f"{path}: " if path else ""
    if not isinstance(schema, Mapping):
        return f"{here}a schema must be an object"
    for keyword in schema:
        if keyword not in _KEYWORDS or (keyword == "$defs" and path):
            return f'{here}unsupported keyword "{keyword}"'
    if level > _MOST_LEVELS:
        return f"{here}nested deeper than {_MOST_LEVELS} levels"
    if "$ref" in schema:
        target = _resolve(schema, definitions)
        return (
            f'{here}unresolved $ref "{schema["$ref"]}"'
            if target is None
            else _problem(target, definitions, path or ".", level + 1)
        )
    return (
        _type_problem(schema, here)
        or _object_problem(schema, definitions, path, level)
        or _parts_problem(schema, definitions, path, level)
    )


def _type_problem(schema: Mapping[str, Any], here: str) -> str | None:
    if "type" not in schema:
        return None if "anyOf" in schema or "enum" in schema else f"{here}a type is missing"
    for name in _type_names(schema):
        if not isinstance(name, str) or name not in _TYPES:
            return f'{here}unsupported type "{name}"'
    if "enum" in schema and not (isinstance(schema["enum"], list) and schema["enum"]):
        return f"{here}enum must be an array that is not empty"
    return None


def _object_problem(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], path: str, level: int
) -> str | None:
    if "object" not in _type_names(schema):
        return None
    here = f"{path}: " if path else ""
    properties = schema.get("properties", {})
    if not isinstance(properties, Mapping):
        return f"{here}properties must be an object"
    if schema.get("additionalProperties") is not False:
        return f"{here}additionalProperties must be false"
    required = schema.get("required", [])
    if not isinstance(required, list):
        return f"{here}required must be an array"
    missing = sorted(set(properties) - set(required))
    if missing:
        return f'{here}required must list all properties, "{missing[0]}" is missing'
    for name, part in properties.items():
        problem = _problem(part, definitions, f"{path}.{name}", level + _deeper(part))
        if problem:
            return problem
    return None


def _parts_problem(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], path: str, level: int
) -> str | None:
    here = f"{path}: " if path else ""
    if "array" in _type_names(schema):
        if "items" not in schema:
            return f"{here}items is missing"
        return _problem(schema["items"], definitions, f"{path}[]", level + _deeper(schema["items"]))
    choices = schema.get("anyOf", [])
    if not isinstance(choices, list):
        return f"{here}anyOf must be an array"
    return next((found for one in choices if (found := _problem(one, definitions, path, level))), None)


def _deeper(part: Any) -> int:
    """Return how many levels a part adds: one for what can hold others; a reference adds its own."""
    if not isinstance(part, Mapping):
        return 0
    return int("anyOf" in part or any(name in ("object", "array") for name in _type_names(part)))


def _type_names(schema: Mapping[str, Any]) -> list[Any]:
    names = schema.get("type", [])
    return names if isinstance(names, list) else [names]


def _resolve(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:
    name = schema["$ref"]
    return definitions.get(name.removeprefix(_DEFINITIONS)) if str(name).startswith(_DEFINITIONS) else None


def fitting_value(schema: Mapping[str, Any]) -> Any:
    """Return a value that fits a schema, with something in every field."""
    return _value(schema, schema.get("$defs", {}), empty=False)


def zero_value(schema: Mapping[str, Any]) -> Any:
    """Return the stand-in that comes with a failed extraction: it fits the schema and says nothing."""
    return _value(schema, schema.get("$defs", {}), empty=True)


def _value(schema: Mapping[str, Any], definitions: Mapping[str, Any], *, empty: bool, name: str = "") -> Any:
    if "$ref" in schema:
        return _value(_resolve(schema, definitions), definitions, empty=empty, name=name)
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _value(schema["anyOf"][0], definitions, empty=empty, name=name)
    kind = _type_names(schema)[0]
    if kind == "object":
        return {
            key: _value(part, definitions, empty=empty, name=key)
            for key, part in schema.get("properties", {}).items()
        }
    if kind == "array":
        return [] if empty else [_value(schema["items"], definitions, empty=empty, name=name)]
    if empty:
        return {"string": "", "number": 0, "integer": 0, "boolean": False}.get(kind)
    return {"string": f"sandbox {name}".strip(), "number": 1.5, "integer": 1, "boolean": True}.get(kind)


def input_problem(value: Any, schema: Mapping[str, Any], path: str = "input") -> str | None:
    """Return why a value does not fit the schema that the agent gave for an input, or ``None``.

    Properties that the schema does not name are refused unless it allows them.
    """
    names = _type_names(schema)
    if names and not any(_is_a(value, name) for name in names):
        return f"{path} must be of type {' or '.join(map(str, names))}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{path} must be one of {schema['enum']}"
    if "anyOf" in schema and all(input_problem(value, one, path) for one in schema["anyOf"]):
        return f"{path} fits none of the allowed forms"
    if isinstance(value, dict):
        return _members_problem(value, schema, path)
    if isinstance(value, list) and "items" in schema:
        problems = (input_problem(item, schema["items"], f"{path}[{at}]") for at, item in enumerate(value))
        return next((problem for problem in problems if problem), None)
    return None


def _members_problem(value: Mapping[str, Any], schema: Mapping[str, Any], path: str) -> str | None:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            return f"{path}.{name} is required"
    for name, item in value.items():
        if name in properties:
            problem = input_problem(item, properties[name], f"{path}.{name}")
            if problem:
                return problem
        elif not schema.get("additionalProperties", not properties):
            return f"{path}.{name} is not in confirm_input_schema"
    return None


def _is_a(value: Any, name: str) -> bool:
    # ``True`` is a number to Python, not to JSON.
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, _TYPES.get(name, ()))
