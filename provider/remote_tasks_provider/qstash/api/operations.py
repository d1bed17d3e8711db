"""Two shapes that the operations of many QStash endpoints have: a page of a list, an acknowledgement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from remote_tasks_provider.core.http.operation import Idempotency, Operation, Page, Request, Response
from remote_tasks_provider.core.http.parsing import Reader, RemoteModel
from remote_tasks_provider.qstash.models import cursor_of

__all__ = ["CursorPage", "acknowledged", "paged"]


class CursorPage(RemoteModel):
    """Base of the pages that QStash returns."""

    cursor: Any = None

    def entries(self) -> Sequence[Any]:
        """Return the page's items; raise ``ValueError`` when they are missing."""
        raise NotImplementedError


def paged(
    name: str,
    request: Request,
    expects: str,
    read: Reader,
    *,
    cursor: str | None = None,
    idempotency: Idempotency = Idempotency.IDEMPOTENT,
    is_private: bool = False,
) -> Operation[Page[Any]]:
    """Return the operation for one :class:`CursorPage`, which leads to the operation for the next one."""

    def parse(response: Response) -> Page[Any]:
        page: CursorPage = read(response)
        following = cursor_of(page.cursor)
        return Page(page.entries(), following, at(following) if following else None)

    def at(cursor: str | None) -> Operation[Page[Any]]:
        query = (*request.query, *((("cursor", cursor),) if cursor else ()))
        return Operation(name, replace(request, query=query), expects, parse, idempotency, is_private)

    return at(cursor)


def acknowledged(name: str, request: Request) -> Operation[None]:
    """Return an operation whose answer says nothing: it is ``OK``, a count, an object, or empty."""
    return Operation(name, request, "an acknowledgement", lambda _response: None)
