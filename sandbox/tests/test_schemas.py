from __future__ import annotations

import pytest

from remote_tasks_sandbox.manus.schemas import (
    fitting_value,
    input_problem,
    schema_problem,
    zero_value,
)


def thing(**properties):
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def nested(levels):
    schema = {"type": "string"}
    for _ in range(levels):
        schema = thing(part=schema)
    return schema


RICH = thing(
    name={"type": "string", "description": "Its name"},
    price={"type": ["number", "null"]},
    count={"type": "integer"},
    sold={"type": "boolean"},
    size={"type": "string", "enum": ["small", "large"]},
    tags={"type": "array", "items": {"type": "string"}},
    maker={"anyOf": [{"$ref": "#/$defs/Maker"}, {"type": "null"}]},
    nothing={"type": "null"},
) | {"$defs": {"Maker": thing(city={"type": "string"})}}


class TestSchemaOfAnOutput:
    def test_documented_schemas_are_accepted(self):
        assert schema_problem(RICH) is None

    @pytest.mark.parametrize(
        ("schema", "problem"),
        [
            ({"type": "array", "items": {"type": "string"}}, 'the root must have type "object"'),
            ({"type": "object", "properties": {}}, "additionalProperties must be false"),
            (
                {**thing(a={"type": "string"}), "required": []},
                'required must list all properties, "a" is missing',
            ),
            ({**thing(), "required": "a"}, "required must be an array"),
            ({**thing(), "properties": []}, "properties must be an object"),
            ({**thing(), "$defs": []}, "$defs must be an object"),
            (thing(price={"type": "number", "minimum": 0}), '.price: unsupported keyword "minimum"'),
            (thing(a=thing(b={"type": "date"})), '.a.b: unsupported type "date"'),
            (thing(a={"description": "?"}), ".a: a type is missing"),
            (thing(a=5), ".a: a schema must be an object"),
            (thing(a={"type": "array"}), ".a: items is missing"),
            (thing(a={"type": "array", "items": {"type": "string", "format": "date"}}), None),
            (thing(a={"type": "string", "enum": []}), ".a: enum must be an array that is not empty"),
            (thing(a={"anyOf": [{"type": "string", "pattern": "x"}]}), '.a: unsupported keyword "pattern"'),
            (thing(a={"anyOf": {}}), ".a: anyOf must be an array"),
            (thing(a={"$ref": "#/$defs/Nobody"}), '.a: unresolved $ref "#/$defs/Nobody"'),
            (thing(a={"$defs": {}, "type": "string"}), '.a: unsupported keyword "$defs"'),
        ],
        ids=str,
    )
    def test_unsupported_schemas_are_refused_with_the_place(self, schema, problem):
        assert schema_problem(schema) == (problem or '.a[]: unsupported keyword "format"')

    def test_schema_has_five_levels_at_most(self):
        assert schema_problem(nested(5)) is None
        assert "deeper than 5" in (schema_problem(nested(6)) or "")

    def test_recursive_schema_is_too_deep(self):
        for part in ({"$ref": "#/$defs/Node"}, {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}):
            schema = thing(node={"$ref": "#/$defs/Node"}) | {"$defs": {"Node": thing(node=part)}}
            assert "deeper than 5" in (schema_problem(schema) or "")
        schema = thing(a={"$ref": "#/$defs/A"}) | {"$defs": {"A": {"$ref": "#/$defs/A"}}}
        assert "deeper than 5" in (schema_problem(schema) or "")

    def test_value_that_fits_can_be_made(self):
        assert fitting_value(RICH) == {
            "name": "sandbox name",
            "price": 1.5,
            "count": 1,
            "sold": True,
            "size": "small",
            "tags": ["sandbox tags"],
            "maker": {"city": "sandbox city"},
            "nothing": None,
        }

    def test_stand_in_that_fits_can_be_made(self):
        assert zero_value(RICH) == {
            "name": "",
            "price": 0,
            "count": 0,
            "sold": False,
            "size": "small",
            "tags": [],
            "maker": {"city": ""},
            "nothing": None,
        }


class TestSchemaOfAnInput:
    @pytest.mark.parametrize(
        ("value", "schema", "fits"),
        [
            ({"a": 1}, {}, True),
            ("text", {"type": "object"}, False),
            ({"a": True}, {"type": "object", "properties": {"a": {"type": "boolean"}}}, True),
            ({"a": 1}, {"type": "object", "properties": {"a": {"type": "boolean"}}}, False),
            ({"a": True}, {"type": "object", "properties": {"a": {"type": "integer"}}}, False),
            ({"b": 1}, {"type": "object", "properties": {"a": {"type": "integer"}}}, False),
            (
                {"b": 1},
                {"type": "object", "properties": {"a": {}}, "additionalProperties": True},
                True,
            ),
            ({}, {"type": "object", "properties": {"a": {}}, "required": ["a"]}, False),
            (["x", 1], {"type": "array", "items": {"type": "string"}}, False),
            ("x", {"enum": ["y"]}, False),
            (None, {"anyOf": [{"type": "string"}, {"type": "null"}]}, True),
            (1, {"anyOf": [{"type": "string"}, {"type": "null"}]}, False),
            (1, {"type": ["string", "integer"]}, True),
        ],
        ids=str,
    )
    def test_input_schema_says_whether_a_value_fits(self, value, schema, fits):
        assert (input_problem(value, schema) is None) is fits

    def test_input_problem_names_the_place(self):
        schema = {"type": "object", "properties": {"list": {"type": "array", "items": {"type": "string"}}}}
        assert input_problem({"list": ["a", 1]}, schema) == "input.list[1] must be of type string"
