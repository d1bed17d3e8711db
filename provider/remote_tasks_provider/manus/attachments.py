"""Sorts the attachments of a task: what has to be uploaded, and what Manus can fetch or has already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from remote_tasks_provider.bases.files import FileSource, open_source

__all__ = ["sort_attachments"]


def sort_attachments(given: Any) -> tuple[list[Mapping[str, str]], list[FileSource]]:
    """Return what Manus can fetch or has already, and what has to be uploaded.

    :param given: one or several of: a path or URL that ``ObjectStoragePath`` knows, an ``https://`` link, or
        ``{"file_id": …}`` or ``{"file_url": …}``.
    :raises ValueError: for what is none of these; nothing was sent.
    """
    known: list[Mapping[str, str]] = []
    sources: list[FileSource] = []
    several: Iterable[Any] = [given] if isinstance(given, (str, Mapping)) else given
    for index, one in enumerate(several):
        if isinstance(one, Mapping):
            if not one.keys() & {"file_id", "file_url"}:
                raise ValueError(f"attachments[{index}] has neither file_id nor file_url")
            if not str(one.get("file_url", "https://")).startswith("https://"):
                raise ValueError(f"attachments[{index}] is {one!r}; give an https:// link")
            known.append(dict(one))
        elif isinstance(one, str) and one.startswith("https://"):
            known.append({"file_url": one, "filename": PurePosixPath(urlsplit(one).path).name or "file"})
        elif not one or str(one).startswith("http://"):
            raise ValueError(f"attachments[{index}] is {one!r}; give a path, an https:// link or a file_id")
        else:
            sources.append(open_source(one))
    return known, sources
