"""Makes up answers that a published schema allows, with hypothesis.

Only what those schemas use: the types, ``enum``, ``const``, formats of times, and fields that nobody named.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

__all__ = ["allowed_by", "bent"]

Strategy = st.SearchStrategy[Any]

# Moments in seconds and milliseconds, and some beyond what a date can hold.
_INTEGERS = st.one_of(
    st.sampled_from([0, 1, -1, 22, 1_764_187_286, 1_764_187_286_000, 253_402_300_800, 2**31, 2**63 - 1]),
    st.integers(-(2**63), 2**63 - 1),
)
_TEXTS = st.one_of(
    st.sampled_from(["", " ", "null", "t1", "https://example.com/a?b=c"]), st.text(max_size=12)
)
_MOMENTS = st.sampled_from(["2025-11-18T21:30:39Z", "2025-11-18T21:30:39.5+01:00", "9999-12-31T23:59:59Z"])
_ANYTHING = st.recursive(
    st.none() | st.booleans() | _INTEGERS | _TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_TEXTS, inner, max_size=2),
    max_leaves=4,
)


def allowed_by(schema: Mapping[str, Any]) -> Strategy:
    """Return values that ``schema``, which holds no references, allows."""
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    types = schema.get("type")
    if isinstance(types, list):
        return st.one_of(*(allowed_by({**schema, "type": one}) for one in types))
    if types == "object":
        return _objects(schema)
    if types == "array":
        return st.lists(allowed_by(schema.get("items", {})), max_size=3)
    if types == "string":
        texts = _MOMENTS if schema.get("format") == "date-time" else _TEXTS
        return texts.filter(bool) if schema.get("minLength") else texts
    simple: dict[Any, Strategy] = {"integer": _INTEGERS, "boolean": st.booleans(), "null": st.none()}
    return simple.get(types, _ANYTHING)


def _objects(schema: Mapping[str, Any]) -> Strategy:
    properties = schema.get("properties", {})
    required = set(schema.get("required", ()))
    known = st.fixed_dictionaries(
        {name: allowed_by(one) for name, one in properties.items() if name in required},
        optional={name: allowed_by(one) for name, one in properties.items() if name not in required},
    )
    extra = schema.get("additionalProperties", True)
    if extra is False:
        return known
    values = allowed_by(extra) if isinstance(extra, Mapping) else _ANYTHING
    others = st.dictionaries(_TEXTS.filter(lambda name: name not in properties), values, max_size=2)
    return st.tuples(known, others).map(lambda both: both[1] | both[0])


@st.composite
def bent(draw: st.DrawFn, schema: Mapping[str, Any], kept: frozenset[str]) -> Any:
    """Return a value as services bend what they publish.

    Integers come as strings, ``null`` stands for what is not there, and there are fields that nobody knows.

    :param kept: names of fields that are left as they are
    """
    return _bend(draw(allowed_by(schema)), draw(st.randoms(use_true_random=False)), kept)


def _bend(node: Any, chance: Any, kept: frozenset[str]) -> Any:
    if isinstance(node, int) and not isinstance(node, bool):
        return str(node) if chance.random() < 0.5 else node
    if isinstance(node, list):
        return [_bend(one, chance, kept) for one in node]
    if not isinstance(node, dict):
        return node
    found = {
        name: None if name not in kept and chance.random() < 0.3 else _bend(value, chance, kept)
        for name, value in node.items()
    }
    return found | {"new_field": {"deep": [1, None]}, "new_number": 0}
