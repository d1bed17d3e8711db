"""Bytes that readers of JSON refuse are repaired where they are odd, and nowhere else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from remote_tasks_provider.core.http.json_body import (
    with_readable_text,
    with_readable_values,
    without_nul,
)
from tests.core.build import BOUNDED

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def _repaired(body: bytes) -> bytes:
    return with_readable_values(with_readable_text(body))


class TestEscapes:
    @pytest.mark.parametrize(
        ("body", "text"),
        [
            (rb'"a\u0000b"', "a\ufffdb"),
            (rb'"\u0000\u0000"', "\ufffd\ufffd"),
            # A backslash and letters, as in a program that an agent wrote.
            (rb'"\\u0000 \u0000"', "\\u0000 \ufffd"),
            (rb'"\\\u0000"', "\\\ufffd"),
            (rb'"\\\\u0000\u0000"', "\\\\u0000\ufffd"),
            (rb'"\u0000 \ud83d\ude00 \uD83D"', "\ufffd 😀 \ufffd"),
        ],
    )
    def test_escaped_nul_is_replaced(self, body: bytes, text: str) -> None:
        assert from_json(without_nul(body)) == text

    @pytest.mark.parametrize("body", [b'"plain"', rb'"\u0001\ud83d"', b""])
    def test_body_without_nul_is_the_same_object(self, body: bytes) -> None:
        assert without_nul(body) is body

    @pytest.mark.parametrize(
        ("body", "text"),
        [
            (rb'"\ud83d"', "\ufffd"),
            (rb'"\ude00"', "\ufffd"),
            (rb'"\uDE00\uD83D"', "\ufffd\ufffd"),
            (rb'"\ud83d\ud83d\ude00\ude00"', "\ufffd😀\ufffd"),
            (rb'"\ud83dx"', "\ufffdx"),
            (rb'"\\ud83d"', "\\ud83d"),
            (rb'"\\\ud83d"', "\\\ufffd"),
            (rb'"\ud83d\\ude00"', "\ufffd\\ude00"),
            (rb'"\ud83d\n\ude00"', "\ufffd\n\ufffd"),
            (rb'"\ud7ff\ue000"', "\ud7ff\ue000"),
        ],
    )
    def test_lone_surrogate_is_replaced_and_a_pair_is_kept(self, body: bytes, text: str) -> None:
        assert from_json(with_readable_text(body)) == text

    @pytest.mark.parametrize(
        ("body", "text"),
        [
            (b'"\xff"', "\ufffd"),
            (b'"\xc3"', "\ufffd"),
            (b'"\xed\xa0\xbd"', "\ufffd\ufffd\ufffd"),
            (b'\xef\xbb\xbf"\xc3\xa9"', "é"),
        ],
    )
    def test_bytes_that_are_no_utf_8_are_replaced(self, body: bytes, text: str) -> None:
        assert from_json(with_readable_text(body)) == text


class TestValues:
    def test_control_characters_within_quotes_are_escaped(self) -> None:
        assert from_json(_repaired(b'{"a\x00":\n\t"\x01\r\n\\"\t"}')) == {"a\ufffd": '\x01\r\n"\t'}

    @pytest.mark.parametrize("number", ["9" * 5000, "-" + "9" * 5000, "9" * 5000 + ".5e-10", "9" * 400])
    def test_number_of_very_many_digits_is_null(self, number: str) -> None:
        body = f'{{"a": [1, {number},2], "{number}": "{number}", "b": {number}}}'.encode()

        assert from_json(_repaired(body)) == {"a": [1, None, 2], number: number, "b": None}

    @pytest.mark.parametrize("levels", [150, 250, 2000, 100_000])
    @pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"a":[1,', ',"]}"]}')])
    def test_value_that_is_nested_very_deep_is_null(self, levels: int, start: str, end: str) -> None:
        deep = f"{start * levels}0{end * levels}"
        found = from_json(_repaired(f'[{{"a": {deep}, "b": 1}}, {deep}, 5]'.encode()))

        assert found[0]["b"] == 1
        assert found[2] == 5
        text = json.dumps(found)
        assert text.count("null") == 2
        assert text.count("[") + text.count("{") < 210

    @pytest.mark.parametrize("body", [b"", b'"', b'{"a', b"]]]]", b"[[[[", b"<html>", b'{"a": \\"b"}'])
    def test_hopeless_bodies_are_kept(self, body: bytes) -> None:
        assert _repaired(body) == body


@BOUNDED
@given(_VALUES, st.booleans(), st.sampled_from([None, 2]))
def test_good_bodies_are_kept(value: Any, ascii_only: bool, indent: int | None) -> None:
    try:
        body = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    except UnicodeEncodeError:
        return
    found = from_json(_repaired(without_nul(body)))

    assert json.dumps(found).replace("\\u0000", "\\ufffd") == json.dumps(value).replace("\\u0000", "\\ufffd")
