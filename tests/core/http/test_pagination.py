"""Walking pages: lazy, one page in memory, never in a circle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from remote_tasks_provider.core.errors import PaginationError
from remote_tasks_provider.core.http.operation import Page
from remote_tasks_provider.core.http.pagination import Pager
from tests.core.build import a_call, a_page


def _walk(pages: Sequence[Page[Any]], limit: int | None = None) -> tuple[list[Any], int]:
    """Return the items, and how many pages were asked for."""
    walk: Pager[Any] = Pager(a_call(), limit)
    items: list[Any] = []
    asked = 0
    while walk.next_operation is not None:
        items += walk.accept(pages[asked])
        asked += 1
    return items, asked


class TestEnd:
    def test_page_without_a_successor_is_the_last(self) -> None:
        assert _walk([a_page(1, 2)]) == ([1, 2], 1)
        assert _walk([a_page()]) == ([], 1)

    def test_empty_page_in_the_middle_is_not_the_end(self) -> None:
        assert _walk([a_page(1, cursor="a"), a_page(cursor="b"), a_page(2)]) == ([1, 2], 3)


class TestLimit:
    pages = (a_page(1, 2, cursor="a"), a_page(3, 4, cursor="b"), a_page(5))

    @pytest.mark.parametrize(
        ("limit", "items", "asked"),
        [
            (None, [1, 2, 3, 4, 5], 3),
            (0, [], 0),
            (1, [1], 1),
            (2, [1, 2], 1),
            (3, [1, 2, 3], 2),
            (4, [1, 2, 3, 4], 2),
            (5, [1, 2, 3, 4, 5], 3),
            (99, [1, 2, 3, 4, 5], 3),
        ],
    )
    def test_limit_counts_items_and_requests_no_page_in_vain(
        self, limit: int | None, items: list[int], asked: int
    ) -> None:
        assert _walk(self.pages, limit) == (items, asked)


class TestCircle:
    @pytest.mark.parametrize("cursors", [["a", "a"], ["a", "b", "a"], ["a", "b", "c", "b"]])
    def test_repeated_cursor_is_an_error_naming_operation_and_cursor(self, cursors: list[str]) -> None:
        pages = [a_page(cursor=cursor) for cursor in cursors]

        with pytest.raises(
            PaginationError, match=rf"GET /v1/things/\{{id\}}: .*'{cursors[-1]}'.*after {len(cursors)}"
        ):
            _walk(pages)

    def test_successor_without_a_cursor_is_an_error(self) -> None:
        with pytest.raises(PaginationError, match="cursor None"):
            _walk([Page([1], None, a_call())])

    def test_circle_beyond_the_limit_does_not_matter(self) -> None:
        pages = [a_page(1, cursor="a"), a_page(2, cursor="a")]

        assert _walk(pages, limit=2) == ([1, 2], 2)

    def test_unexpected_page_is_named_as_well_as_possible(self) -> None:
        walk: Pager[int] = Pager(a_call())
        walk.accept(Page([]))

        with pytest.raises(PaginationError, match="a list: "):
            walk.accept(Page([], None, a_call()))
