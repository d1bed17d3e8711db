"""Strict in what is sent: an argument that cannot be right never becomes a request."""

from __future__ import annotations

import weakref
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import InvalidArgumentError


class TestObjectId:
    @pytest.mark.parametrize(
        "value",
        ["2bWswULe9aopi4Y26TwHju", "tsk_123", "a/b", "ü", "%2e", "/", "...", "🙂", "a b", "x" * 512, "none1"],
    )
    def test_valid_id_is_returned_unchanged(self, value: str) -> None:
        assert validation.object_id(value, "remote_task_id") == value

    @pytest.mark.parametrize(
        "value",
        [
            "",
            " ",
            "\t\n",
            "None",
            "none",
            " null ",
            "undefined",
            "nan",
            ".",
            "..",
            "a\nb",
            "a\x00b",
            "a\u200db",
            "\ud800",
            " a",
            "a ",
            "x" * 513,
            "x" * 10_000,
            None,
            7,
            b"id",
            ["id"],
        ],
        ids=lambda value: repr(value)[:20],
    )
    def test_invalid_id_is_refused_by_name(self, value: Any) -> None:
        with pytest.raises(ValueError, match="remote_task_id") as caught:
            validation.object_id(value, "remote_task_id")

        assert len(str(caught.value)) < 300

    @pytest.mark.parametrize("value", ["", "None", None])
    def test_empty_template_is_named_as_the_likely_cause(self, value: str) -> None:
        with pytest.raises(ValueError, match="did a template or an XCom come out empty"):
            validation.object_id(value, "remote_task_id")

    @pytest.mark.parametrize("name", ["id", "message_id", "task_id"])
    def test_record_instead_of_an_id_is_told_where_its_id_is(self, name: str) -> None:
        with pytest.raises(InvalidArgumentError, match=rf'remote_task_id must be .*its \["{name}"\]'):
            validation.object_id({"state": "running", name: "t1"}, "remote_task_id")

    def test_dict_without_an_id_gets_no_such_hint(self) -> None:
        with pytest.raises(InvalidArgumentError, match=r"got dict: pass the id of the remote object$"):
            validation.object_id({"state": "running"}, "remote_task_id")


class TestObjectIds:
    def test_single_id_is_a_list_of_one(self) -> None:
        assert validation.object_ids("a", "ids") == ["a"]

    @pytest.mark.parametrize("value", [["b", "a", "b"], ("b", "a", "b"), iter(["b", "a", "b"])])
    def test_order_and_repeats_are_kept(self, value: Any) -> None:
        assert validation.object_ids(value, "ids") == ["b", "a", "b"]

    def test_invalid_id_is_named_by_its_place(self) -> None:
        with pytest.raises(ValueError, match=r"ids\[1\]"):
            validation.object_ids(["a", ""], "ids")

    def test_list_of_none_is_taken_for_an_empty_template(self) -> None:
        with pytest.raises(InvalidArgumentError, match="ids is None, which is no id: did a template"):
            validation.object_ids(None, "ids")

    @pytest.mark.parametrize("value", [5, b"ab", {"a": 1}])
    def test_value_that_is_no_list_of_ids_is_refused(self, value: Any) -> None:
        with pytest.raises(ValueError, match="ids must be a string"):
            validation.object_ids(value, "ids")


class TestChoice:
    def test_allowed_word_passes(self) -> None:
        assert validation.choice("asc", "order", ("asc", "desc")) == "asc"

    @pytest.mark.parametrize("value", ["ASC", "", None, 5, ["asc"]])
    def test_unlisted_word_is_refused_with_the_allowed_words(self, value: Any) -> None:
        with pytest.raises(ValueError, match=r"order is .*must be one of asc, desc"):
            validation.choice(value, "order", ("asc", "desc"))

    @pytest.mark.parametrize(
        ("value", "words"),
        [(None, []), ("a", ["a"]), (["b", "a"], ["b", "a"]), ((), []), (iter("ab"), ["a", "b"])],
    )
    def test_choices_are_read_from_one_word_or_many(self, value: Any, words: list[str]) -> None:
        assert validation.choices(value, "status", ("a", "b")) == words

    @pytest.mark.parametrize("value", ["c", ["a", "c"], [None], 5, ""])
    def test_choices_with_another_word_are_refused(self, value: Any) -> None:
        with pytest.raises(ValueError, match=r"status is .*one of a, b"):
            validation.choices(value, "status", ("a", "b"))


class TestWholeNumber:
    @pytest.mark.parametrize(("value", "number"), [(1, 1), (1000, 1000), ("25", 25), (" 25 ", 25)])
    def test_numbers_and_rendered_numbers_within_bounds_pass(self, value: Any, number: int) -> None:
        assert validation.whole_number(value, "page_size", least=1, most=1000) == number

    @pytest.mark.parametrize("value", [0, -1, 1001, "0", "", "x", "2.5", 2.5, 2.0, None, True, [1]])
    def test_invalid_values_are_refused_with_the_bounds(self, value: Any) -> None:
        with pytest.raises(ValueError, match=r"page_size is .*whole number from 1 to 1000"):
            validation.whole_number(value, "page_size", least=1, most=1000)

    def test_lower_bound_alone_is_named(self) -> None:
        assert validation.whole_number(10**9, "limit", least=1) == 10**9
        with pytest.raises(ValueError, match="limit is 0; it must be a whole number of at least 1"):
            validation.whole_number(0, "limit", least=1)


class TestSeconds:
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            (5, 5.0),
            (0.25, 0.25),
            ("90", 90.0),
            (" 2.5 ", 2.5),
            ("1e3", 1000.0),
            (timedelta(minutes=2), 120.0),
            (timedelta(days=36500), 36500 * 86400.0),
        ],
    )
    @pytest.mark.parametrize("zero", [False, True])
    def test_numbers_numeric_strings_and_timedeltas_are_read(
        self, value: Any, seconds: float, zero: bool
    ) -> None:
        assert validation.seconds(value, "poll_interval", zero=zero) == seconds

    @pytest.mark.parametrize(
        "value",
        [
            -1,
            "-1",
            timedelta(seconds=-1),
            float("nan"),
            "nan",
            float("inf"),
            "inf",
            float("-inf"),
            3.2e9,
            10**400,
            timedelta(days=36501),
            True,
            None,
            "",
            "abc",
            "1m",
            "None",
            b"5",
            [5],
            {},
        ],
        ids=lambda value: repr(value)[:20],
    )
    @pytest.mark.parametrize("zero", [False, True])
    def test_value_that_is_no_duration_is_refused_by_name(self, value: Any, zero: bool) -> None:
        with pytest.raises(ValueError, match=r"poll_interval is .*number of seconds.*timedelta"):
            validation.seconds(value, "poll_interval", zero=zero)

    @pytest.mark.parametrize("value", [0, 0.0, "0", timedelta(0)])
    def test_zero_is_refused_unless_it_is_allowed(self, value: Any) -> None:
        assert validation.seconds(value, "poll_interval", zero=True) == 0
        with pytest.raises(ValueError, match=r"poll_interval is .*more than 0"):
            validation.seconds(value, "poll_interval")


class TestFlag:
    @pytest.mark.parametrize(
        ("value", "flag"), [(True, True), (False, False), ("True", True), (" false ", False)]
    )
    def test_flags_and_rendered_flags_are_read(self, value: Any, flag: bool) -> None:
        assert validation.flag(value, "overwrite") is flag

    @pytest.mark.parametrize("value", [None, 0, 1, "", "yes", "abc", [True], float("nan"), timedelta(1)])
    def test_invalid_values_are_refused(self, value: Any) -> None:
        with pytest.raises(ValueError, match=r"overwrite is .*must be True or False"):
            validation.flag(value, "overwrite")


class TestText:
    def test_text_passes(self) -> None:
        assert validation.text(" a ", "title") == " a "

    @pytest.mark.parametrize("value", [None, "", " ", 5, b"a", ["a"]])
    def test_invalid_values_are_refused(self, value: Any) -> None:
        with pytest.raises(ValueError, match=r"title is .*must be a text"):
            validation.text(value, "title")


class TestMapping:
    @pytest.mark.parametrize("value", [{}, {"a": 1}])
    def test_mapping_passes(self, value: Any) -> None:
        assert validation.mapping(value, "input") is value

    @pytest.mark.parametrize("value", [None, "", "abc", 5, ["a"], {1: 2}])
    def test_invalid_values_are_refused(self, value: Any) -> None:
        with pytest.raises(ValueError, match=r"input is .*must be a dict"):
            validation.mapping(value, "input")

    def test_value_that_may_hold_a_secret_is_not_shown(self) -> None:
        with pytest.raises(ValueError, match="input is a str; it must be a dict") as caught:
            validation.mapping('{"Authorization": "hush"}', "input")
        assert "hush" not in str(caught.value)


class TestOptional:
    def test_check_as_given_leaves_the_value_as_it_is(self) -> None:
        check = validation.as_given(validation.unix_seconds)

        assert check("2026-01-01T00:00:00Z", "since") == "2026-01-01T00:00:00Z"
        with pytest.raises(InvalidArgumentError, match="since is 'soon'"):
            check("soon", "since")

    def test_optional_value_may_be_none_and_is_checked_otherwise(self) -> None:
        check = validation.optional(validation.seconds)

        assert (check(None, "timeout"), check("5", "timeout")) == (None, 5.0)
        with pytest.raises(ValueError, match="timeout"):
            check("abc", "timeout")


class TestUnixSeconds:
    @pytest.mark.parametrize(
        "value",
        [
            1763501439,
            1763501439.9,
            "1763501439",
            datetime(2025, 11, 18, 21, 30, 39, tzinfo=UTC),
            datetime(2025, 11, 18, 22, 30, 39, tzinfo=timezone(timedelta(hours=1))),
            "2025-11-18T21:30:39Z",
            "2025-11-18T22:30:39+01:00",
        ],
    )
    def test_forms_of_a_moment_give_the_same_second(self, value: Any) -> None:
        assert validation.unix_seconds(value, "created_after") == 1763501439

    def test_absent_moment_is_none(self) -> None:
        assert validation.unix_seconds(None, "created_after") is None

    @pytest.mark.parametrize(
        "value",
        [
            datetime(2025, 11, 18, 21, 30),  # noqa: DTZ001 - a naive time is what is refused
            "2025-11-18T21:30:39",
            "yesterday",
            "",
            -1,
            "nan",
            "inf",
            1e300,
            True,
            [1],
        ],
    )
    def test_unclear_moment_is_refused(self, value: Any) -> None:
        with pytest.raises(ValueError, match=r"created_after is .*aware datetime"):
            validation.unix_seconds(value, "created_after")


class TestRereadable:
    @pytest.mark.parametrize(
        "value", [(x for x in "ab"), map(str, "ab"), {"a": 1, "b": 2}.keys(), iter("ab")]
    )
    def test_generator_becomes_a_list(self, value: Any) -> None:
        assert validation.rereadable(value) == ["a", "b"]

    @pytest.mark.parametrize("value", ["ab", b"ab", None, 3, ["a"], ("a",), {"a": 1}, {"a"}])
    def test_value_that_can_be_read_again_is_kept(self, value: Any) -> None:
        assert validation.rereadable(value) is value

    def test_weak_reference_stays_one(self) -> None:
        class Group:
            pass

        group = Group()
        reference = weakref.proxy(group)

        assert validation.rereadable(reference) is reference


class TestWord:
    @pytest.mark.parametrize(("value", "word"), [("a", "a"), (5, "5"), (1.5, "1.5")])
    def test_number_becomes_a_text(self, value: Any, word: str) -> None:
        assert validation.word(value, "title") == word

    @pytest.mark.parametrize("value", ["", "None", "nan", float("nan")])
    def test_empty_template_is_named_as_the_likely_cause(self, value: Any) -> None:
        with pytest.raises(InvalidArgumentError, match=r"title has .*: did a template or an XCom come out"):
            validation.word(value, "title")

    @pytest.mark.parametrize("value", [True, [], {}, None, b"a"])
    def test_value_of_another_kind_is_refused(self, value: Any) -> None:
        with pytest.raises(InvalidArgumentError, match=r"title is .*; it must be a text"):
            validation.word(value, "title")
