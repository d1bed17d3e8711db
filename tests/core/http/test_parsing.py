"""Tolerant in what is read: one odd field never costs an answer, an answer of another kind always does."""

from __future__ import annotations

import gc
import json
import math
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError

from remote_tasks_provider.core.http import json_body
from remote_tasks_provider.core.http.parsing import (
    Items,
    Json,
    JsonObject,
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
    tags: Annotated[Items[str], OrEmpty(list)] = Field(default_factory=list)
    facts: Annotated[JsonObject, OrEmpty(dict)] = Field(default_factory=dict)
    value: Json = None


read = Reader(Thing)
read_all = Reader(Items[Thing])


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
        "value",
        [
            *(None, "", "soon", 10**18, -(10**18), "9" * 40, "2025-11-18T21:30:39", [], {}, 1e300),
            *(math.nan, math.inf, -math.inf, -1, "-1", True, 10**400, "NaN", "0000-01-01T00:00:00Z"),
            # In range, but not in UTC, or not any more when hours are added or taken.
            *("9999-12-31T23:59:59-05:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+05:00"),
            "0001-01-01T00:00:00Z",
        ],
        ids=repr,
    )
    def test_invalid_time_is_none(self, value: Any) -> None:
        assert _thing(at=value).at is None

    @pytest.mark.parametrize("value", [0, "0", "9998-12-31T23:59:59+23:00", 253_370_764_799], ids=repr)
    def test_times_that_are_read_can_be_moved_and_shown(self, value: Any) -> None:
        at = _thing(at=value).at

        assert at is not None
        assert (at.astimezone(UTC) + timedelta(days=1) - at).total_seconds() == 86400


class TestLenientFields:
    @pytest.mark.parametrize(("value", "number"), [(5, 5), ("5", 5), ("9007199254740993", 9007199254740993)])
    def test_integers_are_read_from_strings_too(self, value: Any, number: int) -> None:
        assert _thing(count=value).count == number

    @pytest.mark.parametrize(
        "value",
        [None, "", "many", 1.5, [], {}, 2**63, "9223372036854775808", -(10**30), 10**400, math.nan, math.inf],
        ids=repr,
    )
    def test_invalid_integer_is_none(self, value: Any) -> None:
        assert _thing(count=value).count is None

    @pytest.mark.parametrize("value", [None, 5, [], {"a": 1}])
    def test_invalid_text_is_none_or_empty(self, value: Any) -> None:
        thing = _thing(note=value, word=value)

        assert thing.note is None
        assert thing.word == ""

    @pytest.mark.parametrize("value", [None, "x", 5, [1], [1, 2]])
    def test_invalid_list_or_object_is_empty(self, value: Any) -> None:
        thing = _thing(tags=value, facts=value)

        assert (thing.tags, thing.facts) == ([], {})

    def test_empty_values_are_not_shared_between_models(self) -> None:
        assert _thing(tags=None).tags is not _thing(tags=None).tags

    def test_values_of_any_kind_can_be_stored(self) -> None:
        thing = _thing(value=[math.nan, 2**70, "x"], facts={"a": {"b": math.inf}})

        assert thing.value == [None, float(2**70), "x"]
        assert thing.facts == {"a": {"b": None}}


class TestItems:
    @pytest.mark.parametrize("odd", [{}, {"id": ""}, {"id": 5}, {"id": None}, None, "x", 7, []], ids=repr)
    def test_odd_item_is_left_out_and_counted(self, odd: Any) -> None:
        response = a_response(body=[{"id": "a"}, odd, {"id": "b", "tags": ["x", odd]}])

        found = read_all(response)

        assert [one.id for one in found] == ["a", "b"]
        assert sum(response.odd_items) == (1 if odd == "x" else 2)

    def test_good_items_are_not_counted(self) -> None:
        response = a_response(body=[{"id": "a", "tags": ["x"]}, {"id": "a"}])

        assert len(read_all(response)) == 2
        assert response.odd_items == []

    def test_list_of_one_odd_item_is_empty(self) -> None:
        assert read_all(a_response(body=[{"id": 5}])) == []

    def test_several_items_of_which_none_is_readable_are_another_answer(self) -> None:
        with pytest.raises(ValueError, match="none of the 2 items is readable at the top level"):
            read_all(a_response(body=[{"identifier": "a"}, {"identifier": "b"}]))

    def test_odd_items_are_left_out_without_a_reader_too(self) -> None:
        assert Thing.model_validate({"id": "a", "tags": ["x", 5]}).tags == ["x"]


class TestRemoteModel:
    def test_json_can_be_stored(self) -> None:
        thing = _thing(invented=[math.nan], at=0)

        assert json.dumps(thing.to_json(), allow_nan=False)
        assert thing.to_json()["invented"] == [None]
        assert thing.to_json()["at"] == "1970-01-01T00:00:00Z"

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
            (b'{"id": "x", "note": "}', "the body is not JSON"),
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

    @pytest.mark.parametrize(
        "note",
        [
            rb'"a\u0000b"',
            rb'"a\ud83db"',
            b'"a\xffb"',
            b'"a\x00b"',
        ],
    )
    def test_text_that_cannot_be_stored_is_replaced_alone(self, note: bytes) -> None:
        body = b'[{"id":"a","note":"\\ud83d\\ude00"},{"id":"b","note":%s,"facts":{%s:[%s]}}]' % (
            note,
            note,
            note,
        )

        first, second = read_all(a_response(body=body))

        assert first.note == "😀"
        assert second.note == "a\ufffdb"
        assert second.facts == {"a\ufffdb": ["a\ufffdb"]}

    @pytest.mark.parametrize("odd", [b"[" * 300 + b"]" * 300, b"9" * 5000, b"1e999", b"NaN", b"-Infinity"])
    @pytest.mark.parametrize("field", [b"note", b"count", b"tags", b"facts", b"value", b"at", b"invented"])
    def test_value_that_no_reader_takes_is_empty_alone(self, field: bytes, odd: bytes) -> None:
        body = b'[{"id":"a","note":"n"},{"id":"b","word":"w","%s":%s}]' % (field, odd)

        first, second = read_all(a_response(body=body))

        assert first.note == "n"
        assert (second.id, second.word) == ("b", "w")
        assert json.dumps(second.to_json(), allow_nan=False)

    def test_clean_answer_is_parsed_as_it_came(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(json_body, "_ODD_ESCAPE", None)
        monkeypatch.setattr(json_body, "with_readable_text", None)

        assert _thing(note='\\ " é 😀').note == '\\ " é 😀'

    def test_long_names_in_an_error_are_cut(self) -> None:
        with pytest.raises(ValueError, match="at x") as caught:
            Reader(dict[str, int])(a_response(body={"x" * 5000: []}))

        assert len(str(caught.value)) < 300

    def test_error_never_shows_a_value(self) -> None:
        with pytest.raises(ValueError, match="at id") as caught:
            read(a_response(body={"id": {"token": SECRET}}))

        assert SECRET not in str(caught.value)


class TestOneLine:
    def test_text_that_cannot_be_stored_is_replaced(self) -> None:
        assert one_line("a\x00 \n\ud83d") == "a\ufffd \ufffd"

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
