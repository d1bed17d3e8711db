"""Tolerant in what is read: one odd field never costs an answer, an answer of another kind always does."""

from __future__ import annotations

import gc
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError

from remote_tasks_provider.core.http.parsing import (
    LenientInt,
    LenientStr,
    Moment,
    OrEmpty,
    Reader,
    RemoteModel,
    one_line,
)
from tests.core.build import SECRET, a_response


class Thing(RemoteModel):
    id: str = Field(min_length=1)
    at: Moment = None
    count: LenientInt = None
    note: LenientStr = None
    word: Annotated[str, OrEmpty(str)] = ""
    tags: Annotated[list[str], OrEmpty(list)] = Field(default_factory=list)
    facts: Annotated[dict[str, Any], OrEmpty(dict)] = Field(default_factory=dict)


read = Reader(Thing)


def _thing(**fields: Any) -> Thing:
    return read(a_response(body={"id": "x"} | fields))


class TestMoment:
    @pytest.mark.parametrize(
        "value",
        [
            1763501439,
            "1763501439",
            1763501439000,
            "1763501439000",
            "2025-11-18T21:30:39Z",
            "2025-11-18T22:30:39+01:00",
        ],
    )
    def test_seconds_milliseconds_and_iso_8601_are_read(self, value: Any) -> None:
        assert _thing(at=value).at == datetime(2025, 11, 18, 21, 30, 39, tzinfo=UTC)

    @pytest.mark.parametrize(
        "value", [None, "", "soon", 10**18, -(10**18), "9" * 40, "2025-11-18T21:30:39", [], {}, 1e300]
    )
    def test_invalid_time_is_none(self, value: Any) -> None:
        assert _thing(at=value).at is None


class TestLenientFields:
    @pytest.mark.parametrize(("value", "number"), [(5, 5), ("5", 5), ("9007199254740993", 9007199254740993)])
    def test_integers_are_read_from_strings_too(self, value: Any, number: int) -> None:
        assert _thing(count=value).count == number

    @pytest.mark.parametrize("value", [None, "", "many", 1.5, [], {}])
    def test_invalid_integer_is_none(self, value: Any) -> None:
        assert _thing(count=value).count is None

    @pytest.mark.parametrize("value", [None, 5, [], {"a": 1}])
    def test_invalid_text_is_none_or_empty(self, value: Any) -> None:
        thing = _thing(note=value, word=value)

        assert thing.note is None
        assert thing.word == ""

    @pytest.mark.parametrize("value", [None, "x", 5, [1]])
    def test_invalid_list_or_object_is_empty(self, value: Any) -> None:
        thing = _thing(tags=value, facts=value)

        assert (thing.tags, thing.facts) == ([], {})

    def test_empty_values_are_not_shared_between_models(self) -> None:
        assert _thing(tags=None).tags is not _thing(tags=None).tags


class TestRemoteModel:
    def test_unknown_fields_are_kept(self) -> None:
        assert _thing(invented="later").model_dump()["invented"] == "later"

    def test_models_are_immutable(self) -> None:
        with pytest.raises(ValidationError, match="frozen"):
            _thing().id = "y"  # type: ignore[misc]


class TestReader:
    @pytest.mark.parametrize(
        ("body", "complaint"),
        [
            (b"", "the body is not JSON"),
            (b"<html></html>", "the body is not JSON"),
            (b'{"id": "x"', "the body is not JSON"),
            (b"\xff\xfe", "the body is not JSON"),
            (b"null", "at the top level"),
            (b"[]", "at the top level"),
            (b'"text"', "at the top level"),
            (b"{}", "field required at id"),
            (b'{"id": ""}', "at least 1 character at id"),
            (b'{"id": 5}', "valid string at id"),
        ],
    )
    def test_answer_of_another_shape_is_a_value_error_with_its_place(
        self, body: bytes, complaint: str
    ) -> None:
        with pytest.raises(ValueError, match=complaint):
            read(a_response(body=body))

    def test_error_never_shows_a_value(self) -> None:
        with pytest.raises(ValueError, match="at id") as caught:
            read(a_response(body={"id": {"token": SECRET}}))

        assert SECRET not in str(caught.value)


class TestOneLine:
    def test_line_breaks_and_runs_of_blanks_become_one_blank(self) -> None:
        assert one_line("  a\n\tb   c ") == "a b c"

    def test_long_text_is_cut_to_the_limit(self) -> None:
        assert one_line("x" * 10, 10) == "x" * 10
        assert one_line("x" * 11, 10) == "x" * 9 + "…"


class TestGarbageCollector:
    @pytest.mark.parametrize("collects", [True, False])
    @pytest.mark.parametrize("body", [b'{"name": "x"}', b"oh no"])
    def test_collector_is_left_as_it_was(self, collects: bool, body: bytes) -> None:
        before = gc.isenabled()
        (gc.enable if collects else gc.disable)()
        try:
            with suppress(ValueError):
                Reader(dict[str, str])(a_response(200, body))
            assert gc.isenabled() is collects
        finally:
            (gc.enable if before else gc.disable)()
