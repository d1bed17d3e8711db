"""Paths that a user gives: what they must be, and whether they can be written to.

A path that cannot be written to is found out before anything is paid for, not when the result is there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from airflow.providers.common.compat.sdk import ObjectStoragePath

from remote_tasks_provider.bases.files import path_of, temporary_file
from remote_tasks_provider.core.http.parsing import one_line
from remote_tasks_provider.core.log import Log

__all__ = ["location", "locations", "try_file", "try_folder"]


def location(value: Any, name: str) -> Any:
    """Return ``value`` if it can name a file or a folder; whether it is there is not asked."""
    is_path = isinstance(value, (str, ObjectStoragePath, os.PathLike))
    if not is_path or not str(value).strip() or "\x00" in str(value):
        raise ValueError(
            f"{name} is {value!r}; it must be a path or a URL that ObjectStoragePath knows: did a template "
            "or an XCom come out empty?"
        )
    return value


def locations(value: Any, name: str) -> Any:
    """Check one or several paths; see :func:`location`."""
    is_one = isinstance(value, (str, ObjectStoragePath, os.PathLike)) or not isinstance(value, Iterable)
    for index, one in enumerate([value] if is_one else value):
        location(one, f"{name}[{index}]")
    return value


def try_file(path: Any, name: str, log: Log) -> None:
    """Find out whether a file can be written, by writing another one beside it, which is removed.

    What is at ``path`` stays as it is. A folder that is missing is made, and stays.

    :param name: the parameter that names it.
    :raises ValueError: if it cannot.
    """
    with _tried(path, name) as target:
        if target.is_dir():
            raise ValueError("it is a folder; name a file")
        _try(target.parent, log)


def try_folder(path: Any, name: str, log: Log) -> None:
    """Find out whether files can be written into a folder; see :func:`try_file`."""
    with _tried(path, name) as target:
        if target.is_file():
            raise ValueError("it is a file; name a folder")
        _try(target, log)


@contextmanager
def _tried(path: Any, name: str) -> Iterator[Any]:
    try:
        yield path_of(location(path, name))
    except Exception as error:  # file systems, and what is missing for them, have errors of their own
        why = f"{type(error).__name__}: {one_line(str(error))}".rstrip(".")
        raise ValueError(
            f"{name} is {str(path)!r}, which cannot be written to: {why}. Nothing was sent to the "
            "service. Check the path, its permissions, the connection that it names, and that the package "
            "for its file system (such as s3fs or gcsfs) is installed on this worker"
        ) from error


def _try(folder: Any, log: Log) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with temporary_file(folder, log) as part, part.fs.open(part.path, "wb") as file:
        file.write(b"remote-tasks")
