"""What no database, log or message of Airflow can store is replaced; everything else stays as it is."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_tasks_provider.core.storable import cut, storable_json, storable_text
from tests.core.build import BOUNDED

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


def _nested(levels: int) -> Any:
    value: Any = "end"
    for _ in range(levels):
        value = [value]
    return value


class TestText:
    @pytest.mark.parametrize(
        ("text", "stored"),
        [
            ("a\x00b", "a\ufffdb"),
            ("\x00\x00", "\ufffd\ufffd"),
            ("half \ud83d", "half \ufffd"),
            ("\udfff\ud800", "\ufffd\ufffd"),
        ],
    )
    def test_nul_and_lone_surrogates_are_replaced(self, text: str, stored: str) -> None:
        assert storable_text(text) == stored

    @pytest.mark.parametrize(
        "text", ["", "line\nbreak\ttab", "😀 日本 \ufffd\uffff\U0010ffff", "\x01\x1b[0m\x7f"]
    )
    def test_harmless_text_is_kept(self, text: str) -> None:
        assert storable_text(text) is text

    @pytest.mark.parametrize(("text", "short"), [("12345", "12345"), ("123456", "1234…")])
    def test_text_is_cut_to_the_limit(self, text: str, short: str) -> None:
        assert cut(text, 5) == short


class TestJson:
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, -(10**400)])
    def test_number_that_is_none_is_null(self, value: float) -> None:
        assert storable_json({"a": [value]}) == {"a": [None]}

    @pytest.mark.parametrize("value", [2**64, -(2**63) - 1, 10**300])
    def test_integer_beyond_64_bits_is_a_float(self, value: int) -> None:
        stored = storable_json(value)

        assert type(stored) is float
        assert stored == float(value)

    @pytest.mark.parametrize(
        "value", [2**64 - 1, -(2**63), 0, 1.5, True, None, "text", [], {}, {"a": [1, {"b": 2}]}]
    )
    def test_harmless_values_are_kept(self, value: Any) -> None:
        assert storable_json(value) == value

    def test_value_that_is_nested_too_deep_is_null(self) -> None:
        assert storable_json(_nested(32)) == _nested(32)
        assert json.dumps(storable_json(_nested(33))) == json.dumps(_nested(32)).replace('"end"', "null")
        assert json.dumps(storable_json(_nested(900))).count("[") == 32
        assert storable_json({"a": {"b": 1}}, 1) == {"a": None}

    @BOUNDED
    @given(_VALUES)
    def test_stored_values_are_json(self, value: Any) -> None:
        stored = storable_json(value)

        assert json.loads(json.dumps(stored, allow_nan=False)) == stored
