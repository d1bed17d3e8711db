"""Reads a paged list: lazily, with one page in memory, and never in a circle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from remote_tasks_provider.core.errors import PaginationError
from remote_tasks_provider.core.http.operation import Operation, Page

__all__ = ["Pager"]

T = TypeVar("T")


class Pager(Generic[T]):
    """The decisions of reading one list, without its I/O.

    Send :attr:`next_operation`, hand the page to :meth:`accept`, and repeat while there is a next operation:
    a page that is empty does not end a list.

    :param first: the operation for the first page.
    :param limit: how many items to give at most; ``None`` for all.
    """

    def __init__(self, first: Operation[Page[T]], limit: int | None = None) -> None:
        self.next_operation: Operation[Page[T]] | None = first if limit is None or limit > 0 else None
        self._left = limit
        self._cursors: set[str] = set()

    def accept(self, page: Page[T]) -> Sequence[T]:
        """Return the items of ``page`` that are wanted.

        :raises PaginationError: when the page points to one that was read before.
        """
        items = page.items
        if self._left is not None:
            items = items[: self._left]
            self._left -= len(items)
        name = self.next_operation.name if self.next_operation else "a list"
        self.next_operation = None if self._left == 0 else page.next
        if self.next_operation is not None:
            if page.cursor is None or page.cursor in self._cursors:
                raise PaginationError(
                    f"{name}: the service says there is more, but its cursor {page.cursor!r} leads to a page "
                    f"already read (after {len(self._cursors) + 1} pages). Stopped, as the list would never "
                    "end; report it to the service."
                )
            self._cursors.add(page.cursor)
        return items
