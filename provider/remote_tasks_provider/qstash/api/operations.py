"""Two shapes that the operations of many QStash endpoints have: a page of a list, an acknowledgement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from remote_tasks_provider.core.http.operation import Idempotency, Operation, Page, Request, Response
from remote_tasks_provider.qstash.models import cursor_of

__all__ = ["acknowledged", "paged"]

T = TypeVar("T")


def paged(
    name: str,
    request: Request,
    expects: str,
    read: Callable[[Response], tuple[Sequence[T], Any]],
    *,
    cursor: str | None = None,
    idempotency: Idempotency = Idempotency.IDEMPOTENT,
    is_private: bool = False,
) -> Operation[Page[T]]:
    """Return the operation for one page, which leads to the operation for the next one.

    :param request: without a cursor.
    :param read: returns the page's items, and its cursor as QStash sends it.
    :param cursor: where the page begins; ``None`` for the first page.
    """

    def page(response: Response) -> Page[T]:
        items, found = read(response)
        following = cursor_of(found)
        return Page(items, following, at(following) if following else None)

    def at(cursor: str | None) -> Operation[Page[T]]:
        query = (*request.query, *((("cursor", cursor),) if cursor else ()))
        return Operation(name, replace(request, query=query), expects, page, idempotency, is_private)

    return at(cursor)


def acknowledged(name: str, request: Request) -> Operation[None]:
    """Return an operation whose answer says nothing: it is ``OK``, a count, an object, or empty."""
    return Operation(name, request, "an acknowledgement", lambda _response: None)
