"""Which schemas for a structured value are sent, and which are refused before a task is paid for."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from remote_tasks_provider.manus.api.schemas import check_schema
from remote_tasks_provider.manus.operators import ManusSendMessageOperator, ManusTaskOperator
from remote_tasks_sandbox.manus.schemas import schema_problem

TEXT = {"type": "string"}


def thing(**properties: Any) -> dict[str, Any]:
    """An object as Manus wants one."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def nested(levels: int) -> dict[str, Any]:
    found = thing(leaf=TEXT)
    for _ in range(levels - 1):
        found = thing(inner=found)
    return found


GOOD: list[dict[str, Any]] = [
    thing(),
    thing(city=TEXT, people={"type": "integer"}, area={"type": "number"}, big={"type": "boolean"}),
    thing(city={"type": ["string", "null"], "description": "where"}),
    thing(kind={"type": "string", "enum": ["a", "b"]}, other={"enum": [1, None]}),
    thing(rows={"type": "array", "items": thing(name=TEXT)}),
    thing(either={"anyOf": [TEXT, thing(name=TEXT)]}),
    thing(row={"$ref": "#/$defs/Row"}) | {"$defs": {"Row": thing(name=TEXT)}},
    thing(nothing={"type": "null"}),
    thing(title=TEXT, items=TEXT, required=TEXT),
    nested(5),
]


@pytest.mark.parametrize("schema", GOOD, ids=str)
def test_valid_schema_is_sent_unchanged(schema: dict[str, Any]) -> None:
    before = deepcopy(schema)

    assert check_schema(schema, "schema") == before
    assert schema == before


@pytest.mark.parametrize("schema", GOOD, ids=str)
def test_valid_schema_is_accepted_by_the_sandbox(schema: dict[str, Any]) -> None:
    assert schema_problem(check_schema(schema, "schema")) is None


@pytest.mark.parametrize(
    "keyword",
    [
        *("pattern", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "allOf", "oneOf", "not", "if"),
        *("then", "else", "default", "const", "examples", "$schema", "$id", "prefixItems"),
    ],
)
def test_unsupported_keyword_is_refused_with_its_place(keyword: str) -> None:
    wrong = thing(price={"type": "number", keyword: 1})

    with pytest.raises(ValueError, match=rf"my_schema: \.price: .*'{keyword.replace('$', '.')}'"):
        check_schema(wrong, "my_schema")
    assert schema_problem(wrong)


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        (None, "NoneType"),
        ("{}", "it must be a JSON schema as a dict"),
        ({}, "the root must have type 'object'"),
        (TEXT, "the root must have type 'object'"),
        ({"type": ["object", "null"]}, "the root must have type 'object'"),
        ({"type": "object", "properties": {}}, "the root: an object needs additionalProperties: false"),
        (thing(city=TEXT) | {"additionalProperties": True}, "additionalProperties: false"),
        (thing(city=TEXT) | {"additionalProperties": TEXT}, "additionalProperties: false"),
        (thing(city=TEXT) | {"required": []}, "required must name every property"),
        (thing(city=TEXT) | {"required": ["city", "land"]}, "required must name every property"),
        (thing(city=TEXT) | {"required": "city"}, "required must name every property"),
        (thing(city=TEXT) | {"properties": [TEXT]}, "properties must be a JSON object"),
        (thing(inner={"type": "object"}), r"\.inner: an object needs"),
        (thing(inner={"properties": {"a": TEXT}}), r"\.inner: "),
        (thing(city={"type": "text"}), r"\.city: unknown type 'text'"),
        (thing(city={"type": ["string", "nil"]}), r"\.city: unknown type 'nil'"),
        (thing(city={"type": ["string", ["null"]]}), r"\.city: unknown type"),
        (thing(city={"type": {"a": 1}}), r"\.city: unknown type"),
        (thing(city={}), r"\.city: has neither type"),
        (thing(city={"type": []}), r"\.city: has neither type"),
        (thing(city="string"), r"\.city: must be a schema"),
        (thing(rows={"type": "array"}), r"\.rows: an array needs items"),
        (thing(rows={"type": "array", "items": [TEXT]}), r"\.rows\[\]: must be a schema"),
        (thing(rows={"type": "array", "items": {"type": "object"}}), r"\.rows\[\]: an object needs"),
        (thing(either={"anyOf": [TEXT, {"type": "x"}]}), r"\.either\.anyOf\[1\]: unknown type"),
        (thing(either={"anyOf": TEXT}), r"\.either: anyOf must be a list"),
        (thing(either={"anyOf": []}), r"\.either: anyOf must be a list"),
        (thing(kind={"enum": []}), r"\.kind: enum must be a list"),
        (thing(kind={"type": "string", "enum": "a"}), r"\.kind: enum must be a list"),
        (thing(row={"$ref": "#/$defs/Row"}), r"\.row: \$ref '#/\$defs/Row' leads to nothing"),
        (thing(row={"$ref": "Row"}) | {"$defs": {"Row": thing()}}, r"\.row: \$ref 'Row' leads to nothing"),
        (thing(row={"$ref": "#/definitions/Row"}) | {"$defs": {"Row": thing()}}, "leads to nothing"),
        (thing(row={"$ref": ["#/$defs/Row"]}) | {"$defs": {"Row": thing()}}, "leads to nothing"),
        (thing() | {"$defs": {"Row": {"type": "x"}}}, r"\.\$defs\.Row: unknown type"),
        (thing() | {"$defs": ["Row"]}, r"\$defs must be"),
        (nested(6), r"inner\.inner\.inner\.inner\.inner: is nested more than 5 deep"),
        (thing(a=thing(b=thing(c=thing(d={"type": "array", "items": thing()})))), "nested more than 5 deep"),
    ],
    ids=str,
)
def test_rules_are_all_checked(schema: Any, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        check_schema(schema, "my_schema")


def test_pydantic_titles_are_removed_and_properties_kept() -> None:
    titled = thing(
        title={"type": "string", "title": "Title"},
        rows={"type": "array", "title": "Rows", "items": {"type": "string", "title": "Row"}},
        either={"anyOf": [{"type": "string", "title": "A"}, {"$ref": "#/$defs/title"}], "title": "Either"},
    ) | {"title": "Thing", "$defs": {"title": thing() | {"title": "Inner"}}}

    assert check_schema(titled, "schema") == thing(
        title=TEXT,
        rows={"type": "array", "items": TEXT},
        either={"anyOf": [TEXT, {"$ref": "#/$defs/title"}]},
    ) | {"$defs": {"title": thing()}}


class City(BaseModel):
    """Where it is."""

    name: str
    zone: Literal["Europe/Zurich"] = "Europe/Zurich"


class Trip(BaseModel):
    city: City
    days: int = Field(default=3, description="How long")
    notes: list[str] | None = None
    kind: Literal["work", "fun"] = "fun"
    others: list[City] = []


class Bounded(BaseModel):
    city: str
    days: int = Field(ge=1)


class TestPydantic:
    @pytest.mark.parametrize("schema", [Trip, Trip.model_json_schema()], ids=["model", "its schema"])
    def test_model_is_written_in_the_words_of_manus(self, schema: Any) -> None:
        found = check_schema(schema, "schema")

        assert schema_problem(found) is None
        assert found["required"] == ["city", "days", "notes", "kind", "others"]
        assert found["properties"]["days"] == {
            "description": "How long",
            "anyOf": [{"type": "integer"}, {"type": "null"}],
        }
        assert found["properties"]["city"] == {"$ref": "#/$defs/City"}
        assert found["$defs"]["City"]["additionalProperties"] is False

    def test_place_that_does_not_fit_is_named(self) -> None:
        with pytest.raises(ValueError, match=r"schema: \.days: unsupported keyword 'minimum'"):
            check_schema(Bounded, "schema")

    def test_schema_of_the_user_is_taken_as_it_is(self) -> None:
        given = thing(city=TEXT)

        assert check_schema(given, "schema") == given
        with pytest.raises(ValueError, match="required must name every property"):
            check_schema({**given, "required": []}, "schema")

    @pytest.mark.parametrize(
        ("kind", "arguments"),
        [
            (ManusTaskOperator, {"prompt": "p"}),
            (ManusSendMessageOperator, {"remote_task_id": "t1", "content": "p"}),
        ],
    )
    def test_operator_keeps_the_schema_and_not_the_class(self, kind: Any, arguments: dict[str, str]) -> None:
        """Airflow calls what is callable in a templated argument."""
        operator = kind(task_id="t", structured_output_schema=Trip, **arguments)

        assert operator.structured_output_schema == check_schema(Trip, "schema")
