"""Sorts the attachments of a task: what has to be uploaded, and what Manus can fetch or has already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from remote_tasks_provider.bases.files import FileSource, open_source
from remote_tasks_provider.bases.paths import location
from remote_tasks_provider.core.errors import InvalidArgumentError

__all__ = ["attached_places", "check_attachments", "sort_attachments"]


def sort_attachments(given: Any) -> tuple[list[Mapping[str, str]], list[FileSource]]:
    """Return what Manus can fetch or has already, and what has to be uploaded.

    :param given: one or several of: a path or URL that ``ObjectStoragePath`` knows, an ``https://`` link, or
        ``{"file_id": …}`` or ``{"file_url": …}``.
    :raises ValueError: for what is none of these, or cannot be read; nothing was sent.
    :raises FileNotFoundError: there is no such file; a retry helps if another task makes it.
    """
    known: list[Mapping[str, str]] = []
    sources: list[FileSource] = []
    for index, one in enumerate(_several(given)):
        _check(one, where := f"attachments[{index}]")
        if isinstance(one, Mapping):
            known.append(dict(one))
        elif _is_link(one):
            known.append({"file_url": one, "filename": PurePosixPath(urlsplit(one).path).name or "file"})
        else:
            sources.append(_open(one, where))
    return known, sources


def attached_places(given: Any) -> list[str]:
    """Return where the attachments lie that are not at Manus already."""
    places = (one.get("file_url") if isinstance(one, Mapping) else one for one in _several(given))
    return [str(place) for place in places if place]


def check_attachments(value: Any, name: str) -> Any:
    """Check what can be judged without a look at the files."""
    for index, one in enumerate(_several(value)):
        _check(one, f"{name}[{index}]")
    return value


def _several(given: Any) -> Iterable[Any]:
    if given is None:
        return ()
    # A path may be iterable, too.
    is_one = isinstance(given, (str, bytes, Mapping)) or hasattr(given, "joinpath")
    return [given] if is_one or not isinstance(given, Iterable) else given


def _check(one: Any, where: str) -> None:
    if isinstance(one, Mapping):
        if not one.keys() & {"file_id", "file_url"}:
            raise InvalidArgumentError(f"{where} has neither file_id nor file_url")
        if not _is_link(one.get("file_url", "https://example.com")):
            raise InvalidArgumentError(f"{where} is {one!r}; give an https:// link")
    elif not one or (str(one).startswith(("http:", "https:")) and not _is_link(one)):
        raise InvalidArgumentError(f"{where} is {one!r}; give a path, an https:// link or a file_id")
    else:
        location(one, where)


def _is_link(one: Any) -> bool:
    try:
        parts = urlsplit(one) if isinstance(one, str) else None
    except ValueError:
        return False
    return parts is not None and parts.scheme == "https" and bool(parts.hostname) and one.isprintable()


def _open(one: Any, where: str) -> FileSource:
    try:
        return open_source(one)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{where}: {error}") from error
    except Exception as error:  # file systems, and what is missing for them, have errors of their own
        raise ValueError(
            f"{where} is {str(one)!r}, which cannot be read: {error}. Nothing was sent to the service"
        ) from error
