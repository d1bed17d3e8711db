"""Which JSON schemas Manus takes for structured output, checked before a task is paid for.

The documented subset (https://open.manus.ai/docs/v2/structured-output): the root is an object; every object
names all its properties as required and allows no others; objects and arrays are nested no more than five
deep; and only the keywords below are known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from remote_tasks_provider.core.errors import InvalidArgumentError

__all__ = ["check_schema"]

_TYPES = frozenset({"string", "number", "integer", "boolean", "null", "object", "array"})
_KEYWORDS = frozenset(
    {
        "type", "properties", "required", "additionalProperties", "items", "enum", "description", "anyOf",
        "$ref", "$defs",
    }
)  # fmt: skip
_MAX_LEVELS = 5
_DEFINITIONS = "#/$defs/"


def check_schema(schema: Any, name: str) -> dict[str, Any]:
    """Return ``schema`` as Manus takes it.

    :param schema: a JSON schema, a pydantic model, or what its ``model_json_schema()`` returns. In the last
        two, a field that need not be given becomes one that may be ``null``.
    :raises InvalidArgumentError: naming the place that Manus does not take.
    """
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        schema = schema.model_json_schema()
    if not isinstance(schema, Mapping):
        raise InvalidArgumentError(
            f"{name} is a {type(schema).__name__}; it must be a JSON schema as a dict, or a pydantic model"
        )
    if isinstance(schema.get("title"), str):
        schema = _of_pydantic(schema)
    if schema.get("type") != "object":
        raise InvalidArgumentError(
            f"{name}: the root must have type 'object', so that the result is a JSON object"
        )
    untitled: dict[str, Any] = _untitled(schema)
    for place, fault in _faults(untitled, "", 1, frozenset(_named(untitled, "$defs"))):
        raise InvalidArgumentError(f"{name}: {place or 'the root'}: {fault}")
    return untitled


def _of_pydantic(node: Any) -> Any:
    """Return what pydantic writes in the vendor's words, where there are such."""
    if isinstance(node, list):
        return [_of_pydantic(one) for one in node]
    if not isinstance(node, Mapping):
        return node
    found = {key: value for key, value in node.items() if key not in ("title", "default", "const")}
    if "const" in node:
        found["enum"] = [node["const"]]
    for key in ("properties", "$defs"):
        if isinstance(found.get(key), Mapping):
            found[key] = {name: _of_pydantic(inner) for name, inner in found[key].items()}
    for key in ("items", "anyOf"):
        if key in found:
            found[key] = _of_pydantic(found[key])
    if isinstance(found.get("properties"), Mapping):
        needed = found.get("required") or ()
        found["properties"] = {
            name: inner if name in needed else _nullable(inner) for name, inner in found["properties"].items()
        }
        found["required"] = list(found["properties"])
        found.setdefault("additionalProperties", False)
    return found


def _nullable(node: Any) -> Any:
    if not isinstance(node, Mapping) or "null" in _types(node):
        return node
    null = {"type": "null"}
    if "anyOf" in node:
        return node if null in node["anyOf"] else {**node, "anyOf": [*node["anyOf"], null]}
    about = {key: node[key] for key in ("description",) if key in node}
    rest = {key: value for key, value in node.items() if key not in about}
    return {**about, "anyOf": [rest, null]}


def _untitled(node: Any) -> Any:
    """Return the schema ``node`` without titles; a property that is called so stays."""
    if not isinstance(node, Mapping):
        return node
    found: dict[str, Any] = {}
    for keyword, value in node.items():
        if keyword in ("properties", "$defs") and isinstance(value, Mapping):
            found[keyword] = {name: _untitled(inner) for name, inner in value.items()}
        elif keyword == "anyOf" and isinstance(value, list):
            found[keyword] = [_untitled(inner) for inner in value]
        elif keyword != "title":
            found[keyword] = _untitled(value) if keyword == "items" else value
    return found


def _named(node: Mapping[str, Any], keyword: str) -> Mapping[str, Any]:
    """Return the schemas under ``keyword`` by name; none if it holds something else."""
    found = node.get(keyword, {})
    return found if isinstance(found, Mapping) else {}


def _faults(node: Any, place: str, level: int, known: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Yield the faults of ``node``, as place and text; depth first."""
    if not isinstance(node, Mapping):
        yield place, "must be a schema, that is a JSON object"
        return
    if level > _MAX_LEVELS:
        yield place, f"is nested more than {_MAX_LEVELS} deep"
        return
    for keyword in node:
        if keyword not in _KEYWORDS:
            yield place, f"unsupported keyword {keyword!r}; Manus knows {', '.join(sorted(_KEYWORDS))}"
    yield from _own_faults(node, place, known)
    for inner_place, inner, deeper in _inner(node, place):
        yield from _faults(inner, inner_place, level + deeper, known)


def _own_faults(node: Mapping[str, Any], place: str, known: frozenset[str]) -> Iterator[tuple[str, str]]:
    reference = node.get("$ref")
    if reference is not None and reference not in [f"{_DEFINITIONS}{name}" for name in known]:
        yield place, f"$ref {reference!r} leads to nothing under $defs"
    for keyword in ("anyOf", "enum"):
        if keyword in node and not (isinstance(node[keyword], list) and node[keyword]):
            yield place, f"{keyword} must be a list that is not empty"
    if not isinstance(node.get("$defs", {}), Mapping):
        yield place, "$defs must be a JSON object"
    types = _types(node)
    for word in types:
        if not isinstance(word, str) or word not in _TYPES:
            yield place, f"unknown type {word!r}"
    if not types and not node.keys() & {"$ref", "anyOf", "enum"}:
        yield place, "has neither type nor anyOf, enum or $ref"
    if "object" in types or "properties" in node:
        yield from _object_faults(node, place)
    if "array" in types and "items" not in node:
        yield place, "an array needs items"


def _object_faults(node: Mapping[str, Any], place: str) -> Iterator[tuple[str, str]]:
    properties = node.get("properties", {})
    if not isinstance(properties, Mapping):
        yield place, "properties must be a JSON object"
        return
    if node.get("additionalProperties") is not False:
        yield place, "an object needs additionalProperties: false"
    required = node.get("required", [])
    if not isinstance(required, list) or set(map(str, required)) != set(properties):
        fix = "for an optional one allow null: type ['string', 'null']"
        yield place, f"required must name every property; {fix}"


def _inner(node: Mapping[str, Any], place: str) -> Iterator[tuple[str, Any, int]]:
    """Yield the schemas inside ``node`` with their places and by how much deeper they are."""
    for name, schema in _named(node, "properties").items():
        yield f"{place}.{name}", schema, _holds_more(schema)
    for name, schema in _named(node, "$defs").items():
        yield f"{place}.$defs.{name}", schema, 0
    if "items" in node:
        yield f"{place}[]", node["items"], _holds_more(node["items"])
    choices = node.get("anyOf")
    for index, schema in enumerate(choices if isinstance(choices, list) else ()):
        yield f"{place}.anyOf[{index}]", schema, 0


def _holds_more(node: Any) -> int:
    """Return how much deeper ``node`` is than what it is in: nothing, if it is a text or a number."""
    if not isinstance(node, Mapping):
        return 1
    types = _types(node)
    return int("object" in types or "array" in types or bool(node.keys() & {"anyOf", "$ref"}))


def _types(node: Mapping[str, Any]) -> list[Any]:
    types = node.get("type", [])
    return types if isinstance(types, list) else [types]
