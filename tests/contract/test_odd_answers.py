"""One odd value in an answer spoils nothing but itself, in any field and for any JSON, good or bad.

A value that does not fit is read as nothing, or makes its own item odd; the other items are what they are
without it. Whatever is read can be stored: as JSON in PostgreSQL and MySQL, in logs, in Airflow's messages.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from remote_tasks_provider.core.errors import InvalidResponseError, RemoteTaskError
from tests.contract.good_answers import ANSWERS, GoodAnswer

BOUNDED = settings(
    derandomize=True,
    max_examples=60,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
PLACEHOLDER = "@odd@"

#: NUL in JSON, but not a backslash before the letters.
NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")

#: Bytes in the place of a JSON value. Most are JSON; readers refuse some, and databases others.
ODD: list[bytes] = [
    *(
        b"null",
        b"true",
        b"false",
        b"0",
        b"-1",
        b"1.5",
        b"-0.0",
        b"1e15",
        b"[]",
        b"{}",
        b'""',
        b'" "',
        b'"true"',
    ),
    *(b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"1e-999", b'"NaN"', b'"Infinity"'),
    *(b"9223372036854775808", b'"9223372036854775808"', b"-9223372036854775809", b"9" * 400, b"9" * 5000),
    *(b"253402300799", b"253402300800000", b"-62135596800", b"99999999999999999999"),
    *(b'"9999-12-31T23:59:59-05:00"', b'"0001-01-01T00:00:00+05:00"', b'"0000-00-00T00:00:00Z"'),
    *(b'"2025-11-18"', b'"2025-11-18T21:30:39"', b'"2025-02-30T00:00:00Z"', b'"12:00"'),
    *(
        rb'"a\u0000b"',
        rb'"\ud800"',
        rb'"\udfff\ud83d"',
        rb'"\\u0000"',
        b'"\xff"',
        b'"\xed\xa0\xbd"',
        b'"\x00\n"',
    ),
    *(rb'{"\u0000": "\ud83d"}', rb'["\u0000", NaN, {"\udc00": [1e999]}]', b'{"a": 1, "a": NaN, "a": [null]}'),
    *(b"[null]", b"[{}]", b"[[]]", b"[1, 2]", b'["x", null]', b'[{"id": 5}, {"type": {}}]', b'{"id": {}}'),
    *(
        b'{"content": [{}], "attachments": [null, {"url": "https://f"}]}',
        b'{"properties": {"a": {"enum": 5}}}',
    ),
    *(b"[" * 150 + b"]" * 150, b"[" * 5000 + b"]" * 5000, b'{"a":' * 300 + b"1" + b"}" * 300),
    b'"' + b"x" * 10_000 + b'"',
]

_TEXTS = st.text(max_size=8) | st.text(st.characters(categories=["Cs", "Cc", "Lu"]), max_size=4)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode())
_BYTES = _JSON | st.sampled_from(ODD)


def _with(item: Any, place: tuple[str | int, ...], value: Any) -> Any:
    """Return ``item`` with ``value`` at ``place``."""
    if not place:
        return value
    first, *rest = place
    if isinstance(item, list):
        return [_with(one, tuple(rest), value) if at == first else one for at, one in enumerate(item)]
    return {**item, first: _with(item.get(first), tuple(rest), value)}


def _bytes(body: Any, odd: bytes) -> bytes:
    return json.dumps(body).encode().replace(f'"{PLACEHOLDER}"'.encode(), odd)


def _levels(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else None
    return 0 if inner is None else 1 + max(map(_levels, inner), default=0)


def _assert_stored(outputs: list[Any]) -> None:
    text = json.dumps(outputs, allow_nan=False, ensure_ascii=False)
    assert json.loads(text, parse_int=_of_64_bits) is not None
    assert text.encode()  # fails for half a character
    assert not NUL.search(text)
    assert _levels(outputs) <= 45


def _of_64_bits(digits: str) -> int:
    assert -(2**63) <= int(digits) < 2**64
    return int(digits)


def _check_outputs(answer: GoodAnswer, value: Any) -> None:
    _assert_stored(answer.outputs(value))


def changed(answer: GoodAnswer, place: tuple[str | int, ...], odd: bytes) -> bytes:
    """Return a body with ``odd`` in a place of the answer: of the second of three items, if it has items."""
    item = _with(answer.item, place, PLACEHOLDER)
    body = item if answer.body is None else answer.body([answer.item, item, answer.item])
    return _bytes(body, odd)


@cache
def _good_item(name: str) -> Any:
    answer = ANSWERS[name]
    assert answer.body is not None
    return answer.read(json.dumps(answer.body([answer.item] * 3)).encode())[0]


def _check(name: str, place: tuple[str | int, ...], odd: bytes) -> None:
    answer = ANSWERS[name]
    if answer.body is not None:
        return _check_list(name, place, odd)
    try:
        value = answer.read(changed(answer, place, odd))
    except RemoteTaskError as error:
        # An API that says that it refuses does not answer in another shape.
        is_refused = not {"ok", "error", "code"}.isdisjoint(place)
        assert isinstance(error, InvalidResponseError) or is_refused  # noqa: PT017 - not every answer is
        _assert_stored([error.to_json(), str(error)])
        return None
    return _check_outputs(answer, value)


def _check_list(name: str, place: tuple[str | int, ...], odd: bytes) -> None:
    answer = ANSWERS[name]
    first, *others, last = answer.read(changed(answer, place, odd))

    assert first == last == _good_item(name)
    assert len(others) == 1 if answer.keeps_places else len(others) <= 1
    for other in others:
        _check_outputs(answer, other)


@pytest.mark.parametrize("name", ANSWERS)
def test_good_answer_is_read(name: str) -> None:
    answer = ANSWERS[name]
    body = answer.item if answer.body is None else answer.body([answer.item] * 3)
    value = answer.read(json.dumps(body).encode())

    for one in [value] if answer.body is None else value:
        _check_outputs(answer, one)


@pytest.mark.parametrize("name", ANSWERS)
def test_odd_value_spoils_only_itself(name: str) -> None:
    for place, odd in itertools.product(ANSWERS[name].places(), ODD):
        try:
            _check(name, place, odd)
        except Exception as error:
            error.add_note(f"{odd[:80]!r} at {place}")
            raise


@pytest.mark.parametrize("name", ANSWERS)
def test_made_up_value_spoils_only_itself(name: str) -> None:
    answer = ANSWERS[name]

    @BOUNDED
    @given(st.sampled_from(list(answer.places())), _BYTES)
    def check(place: tuple[str | int, ...], odd: bytes) -> None:
        _check(name, place, odd)

    check()


def _around(answer: GoodAnswer) -> Iterator[str]:
    body = answer.body and answer.body([])
    yield from body if isinstance(body, dict) else ()


@pytest.mark.parametrize(
    ("name", "field"), [(name, field) for name, answer in ANSWERS.items() for field in _around(answer)]
)
def test_odd_value_around_a_list_is_nothing_or_another_shape(name: str, field: str) -> None:
    answer = ANSWERS[name]
    assert answer.body is not None
    body = answer.body([answer.item]) | {field: PLACEHOLDER}

    for odd in ODD:
        try:
            found = answer.read(_bytes(body, odd))
        except RemoteTaskError as error:
            assert isinstance(error, InvalidResponseError) or field == "ok"  # noqa: PT017 - not every one is
            _assert_stored([error.to_json(), str(error)])
        else:
            for one in found:
                _check_outputs(answer, one)


@pytest.mark.parametrize("status", [200, 400, 404, 429, 500])
@pytest.mark.parametrize("name", ANSWERS)
def test_odd_body_is_an_error_that_can_be_stored(name: str, status: int) -> None:
    answer = ANSWERS[name]
    for odd in [*ODD, b"", b"\xff\xfe\x00", b"<html>\x00", b'{"message": ', b"]"]:
        for body in (odd, b'{"message": %s, "code": %s, "request_id": %s}' % (odd, odd, odd)):
            try:
                answer.read(body, status)
            except RemoteTaskError as error:
                _assert_stored([error.to_json(), str(error)])


@pytest.mark.parametrize("name", [name for name, answer in ANSWERS.items() if answer.models])
def test_good_answer_has_every_field(name: str) -> None:
    answer = ANSWERS[name]

    assert [missing for model in answer.models for missing in _missing(model, answer.item)] == []


def _missing(model: type[BaseModel], item: Any) -> Iterator[str]:
    for field_name, field in model.model_fields.items():
        alias = field.validation_alias or field.alias or field_name
        key = alias if isinstance(alias, str) else str(alias.choices[0])  # type: ignore[union-attr]
        if not isinstance(item, dict) or key not in item:
            yield f"{model.__name__}.{key}"
            continue
        for inner in _models_in(field.annotation):
            yield from _missing(inner, item[key][0] if isinstance(item[key], list) else item[key])


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for one in get_args(annotation):
        yield from _models_in(one)
