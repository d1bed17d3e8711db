"""Remote files to and from Airflow's object storage: whole or not at all, and resumed by a retry.

A file is written under a temporary name beside its own and moved when it is whole, so that no reader of the
folder meets half a file.

What earlier attempts finished is known by a small record in the folder, one per owner: whose a file is and,
by a hash, where it came from. Sizes alone would not do: yesterday's ``report.csv`` may be as long as today's.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector
from airflow.providers.common.compat.sdk import ObjectStoragePath
from fsspec import AbstractFileSystem  # type: ignore[import-untyped] # it ships no annotations

from remote_tasks_provider.core.errors import (
    InvalidArgumentError,
    LinkExpiredError,
    RemoteTaskError,
    TransferError,
    TransferIncompleteError,
)
from remote_tasks_provider.core.files.content import Content
from remote_tasks_provider.core.files.names import local_names
from remote_tasks_provider.core.files.transfer import Transferred, upload
from remote_tasks_provider.core.http.parsing import one_line
from remote_tasks_provider.core.log import Log, in_bytes
from remote_tasks_provider.core.progress_log import ProgressLog

__all__ = [
    "FileSource",
    "RemoteFile",
    "open_source",
    "path_of",
    "replacing",
    "save_files",
    "temporary_file",
]

_MOST_UPLOAD_BYTES = 512 * 1024 * 1024
_MOST_FAILURES_SHOWN = 5
_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as a service lists it.

    :param name: what the service calls it; nothing is assumed about it.
    :param content: where its bytes are.
    :param size: bytes, where the service gives it; nothing relies on it.
    :param facts: what else is said of it where it is listed; plain JSON values.
    """

    name: str
    content: Content
    content_type: str | None = None
    size: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def save_files(
    files: Sequence[RemoteFile],
    target: str | ObjectStoragePath,
    *,
    owner: str,
    max_bytes_per_file: int,
    log: Log,
    overwrite: bool = False,
    from_loopback: bool = False,
    refresh: Callable[[], Iterable[RemoteFile]] | None = None,
) -> list[dict[str, Any]]:
    """Save ``files`` into a folder; return name, path, size, content type, SHA-256, facts of each, in order.

    Every file is tried. When some fail, the others stay, and a repetition for the same owner fetches only
    what is missing or has changed at the service.

    :param target: a folder, any URL that ``ObjectStoragePath`` knows. It is made if it does not exist.
    :param owner: what the files belong to, such as vendor and id of the remote task. Files that were saved
        for another owner are never taken for this one's.
    :param overwrite: replace files that were not saved for this owner, or were changed since.
    :param from_loopback: whether the service that gave the links is on this machine; its files may be too.
    :param refresh: returns the same files with fresh links; called when a link has expired.
    :raises TransferError: files could not be saved and a retry cannot help; names them and says why.
    :raises TransferIncompleteError: likewise, but a retry can help for some of them.
    :raises OSError: the folder cannot be written to at all.
    """
    if not str(target).strip():
        raise InvalidArgumentError(f"the folder for the files is {target!r}: did a template come out empty?")
    if not files:
        return []
    folder = path_of(target)
    if folder.is_file():
        raise TransferError(f"{folder} is a file. Give a folder for the files.")
    folder.mkdir(parents=True, exist_ok=True)
    saving = _Saving(
        folder=folder,
        record=_Record(folder, owner, log),
        links=_Links(files, refresh),
        max_bytes=max_bytes_per_file,
        overwrite=overwrite,
        from_loopback=from_loopback,
        progress=ProgressLog(log, f"Saving to {folder}", noun="file", of=len(files)),
        log=log,
    )
    return saving.save_all(files)


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file to be sent to a service.

    :param path: where it lies.
    :param size: bytes.
    """

    path: ObjectStoragePath
    name: str
    size: int
    content_type: str

    def read(self) -> bytes:
        """Return all of it, for a service that takes files within a request."""
        with self.path.fs.open(self.path.path, "rb") as file:
            return bytes(file.read())

    def upload_to(self, url: str, *, log: Log, from_loopback: bool = False) -> None:
        """Send it to a signed link, as :func:`~remote_tasks_provider.core.files.transfer.upload` does."""
        opens = partial(self.path.open, "rb")
        told = ProgressLog(log, f"Uploading {self.path} ({in_bytes(self.size)})").add_bytes
        upload(url, opens, self.size, self.content_type, from_loopback=from_loopback, on_bytes=told)


def open_source(path: str | ObjectStoragePath) -> FileSource:
    """Return the file at ``path``, checked before anything is sent.

    :param path: any URL that ``ObjectStoragePath`` knows.
    :raises FileNotFoundError: there is no such file; a retry helps if another task makes it.
    :raises ValueError: it is a folder, empty or too large.
    """
    found = path_of(path)
    if not str(path).strip() or found.is_dir():
        raise InvalidArgumentError(f"{str(path)!r} is a folder or nothing at all; name a single file")
    if not found.exists():
        raise FileNotFoundError(f"{path} does not exist")
    with found.fs.open(found.path, "rb") as file:
        file.read(1)
    name, size = str(found.name), int(found.size())
    if not size:
        raise ValueError(f"{path} is empty; was it written to the end?")
    if size > _MOST_UPLOAD_BYTES:
        raise InvalidArgumentError(f"{path} has {size} bytes; the service takes at most {_MOST_UPLOAD_BYTES}")
    return FileSource(found, name, size, _content_type(name))


def path_of(given: str | ObjectStoragePath) -> Any:
    """Return a path; not a new one of what is a path already, which would lose its storage options."""
    return given if isinstance(given, ObjectStoragePath) else ObjectStoragePath(given)


def _content_type(name: str) -> str:
    content_type, encoding = mimetypes.guess_type(name)
    if encoding:
        return _COMPRESSED.get(encoding, "application/octet-stream")
    return content_type or "application/octet-stream"


@dataclass(frozen=True, slots=True)
class _Saving:
    """One call of :func:`save_files`."""

    folder: Any
    record: _Record
    links: _Links
    max_bytes: int
    overwrite: bool
    from_loopback: bool
    progress: ProgressLog
    log: Log

    def save_all(self, files: Sequence[RemoteFile]) -> list[dict[str, Any]]:
        saved: list[dict[str, Any]] = []
        failures: list[tuple[str, Exception]] = []
        for index, local in enumerate(local_names((file.name, file.content_type) for file in files)):
            try:
                saved.append(self._save(index, files[index], local))
                self.progress.add(1)
            except RemoteTaskError as error:
                failures.append((local, error))
                self.log.warning("%s was not saved: %s", local, error)
            except Exception as error:  # storages have errors of their own
                failures.append((local, error))
                self.log.warning("%s was not saved.", local, exc_info=error)
        if failures:
            raise _summary(failures, len(files), self.folder)
        return saved

    def _save(self, index: int, file: RemoteFile, local: str) -> dict[str, Any]:
        final = self.folder / local
        known = self._ours(final, local)
        if known is not None and known["of"] == _of(file):
            self.log.info("%s is in place from an earlier attempt.", final)
            return _manifest(final, known, file)
        with temporary_file(self.folder, self.log) as part:
            file, done = self._fetch(index, part)
            entry = {
                "name": file.name,
                "size": done.size,
                "content_type": file.content_type or done.content_type,
                "sha256": done.sha256,
                "of": _of(file),
            }
            # Another task may have put a file there meanwhile.
            self._ours(final, local)
            if final.exists():
                _remove(final)
            # Before the move: a file that is in place without a record would be in the next attempt's way.
            self.record.note(local, entry)
            _move(part, final)
        if final.size() != done.size:
            raise TransferIncompleteError(f"{final} has {final.size()} bytes of {done.size} after the move")
        get_hook_lineage_collector().add_output_asset(context=final, uri=str(final))
        self.log.info("Saved %s (%s).", final, in_bytes(done.size))
        return _manifest(final, entry, file)

    def _ours(self, final: Any, local: str) -> dict[str, Any] | None:
        """Return the record of the file at ``final``; ``None`` if there is none or it may be overwritten.

        :raises TransferError: it must not be touched.
        """
        if not final.exists():
            return None
        known = self.record.get(local)
        if known is not None and final.is_file() and final.size() == known["size"]:
            return known
        if self.overwrite and final.is_file():
            return None
        raise TransferError(
            f"{final} exists and was not saved for this remote task, or was changed since. Set "
            "overwrite=True to replace such files, or give another folder"
        )

    def _fetch(self, index: int, part: Any) -> tuple[RemoteFile, Transferred]:
        """Write the file to ``part``, once more if its link has expired and a fresh one is to be had."""
        file = self.links.get(index)
        try:
            return file, self._download(file, part)
        except LinkExpiredError:
            self.log.info("The link to %r has expired.", file.name)
            fresh = self.links.renew(index)
            if fresh is None:
                raise
        try:
            return fresh, self._download(fresh, part)
        except LinkExpiredError:
            self.links.give_up()
            raise

    def _download(self, file: RemoteFile, part: Any) -> Transferred:
        done = file.content.save(
            # Not `part.open`, which would tell Airflow's lineage of the temporary name.
            lambda: part.fs.open(part.path, "wb"),
            max_bytes=self.max_bytes,
            from_loopback=self.from_loopback,
            on_bytes=self.progress.add_bytes,
        )
        if file.size is not None and file.size != done.size:
            self.log.warning("%r has %d bytes; %d were announced.", file.name, done.size, file.size)
        return done


class _Links:
    """The links in use, and how to get fresh ones.

    A file is found again among the fresh ones by its name, and by its number among those of that name.
    """

    def __init__(
        self, files: Sequence[RemoteFile], refresh: Callable[[], Iterable[RemoteFile]] | None
    ) -> None:
        self._keys = [key for key, _ in _numbered(files)]
        self._files = dict(_numbered(files))
        self._refresh = refresh

    def get(self, index: int) -> RemoteFile:
        return self._files[self._keys[index]]

    def renew(self, index: int) -> RemoteFile | None:
        """Ask for fresh links to all files; return this one's, ``None`` if there is none."""
        if self._refresh is None:
            return None
        old, refresh = self.get(index), self._refresh
        self.give_up()  # should it fail
        fresh = dict(_numbered(refresh()))
        self._refresh = refresh
        self._files.update({key: file for key, file in fresh.items() if key in self._files})
        return None if self.get(index).content == old.content else self.get(index)

    def give_up(self) -> None:
        """Ask no more, as there are none or the host refuses even a fresh one."""
        self._refresh = None


def _numbered(files: Iterable[RemoteFile]) -> list[tuple[tuple[str, int], RemoteFile]]:
    seen: dict[str, int] = {}
    numbered = []
    for file in files:
        seen[file.name] = seen.get(file.name, 0) + 1
        numbered.append(((file.name, seen[file.name]), file))
    return numbered


class _Record:
    """What was saved into a folder for one owner, kept in a hidden file there."""

    def __init__(self, folder: Any, owner: str, log: Log) -> None:
        self._folder = folder
        self._log = log
        self._path = folder / f".remote-tasks-{hashlib.sha256(owner.encode()).hexdigest()[:16]}.json"
        self._owner = owner
        self._files: dict[str, dict[str, Any]] = {}
        if self._path.exists():
            try:
                read = json.loads(self._path.read_text(encoding="utf-8"))
                self._files = {name: entry for name, entry in read["files"].items() if _is_whole(entry)}
            except (ValueError, TypeError, KeyError, AttributeError):
                log.warning("%s cannot be read; a new record replaces it.", self._path)

    def get(self, local: str) -> dict[str, Any] | None:
        return self._files.get(local)

    def note(self, local: str, entry: dict[str, Any]) -> None:
        self._files[local] = entry
        text = json.dumps({"owner": self._owner, "files": self._files}, indent=1)
        with replacing(self._path, self._log) as part, part.fs.open(part.path, "wb") as file:
            file.write(text.encode())


def _is_whole(entry: Any) -> bool:
    return isinstance(entry, dict) and entry.keys() >= {"name", "size", "content_type", "sha256", "of"}


def _of(file: RemoteFile) -> str:
    """Return what changes when the service has another file of that name, but not with the link's key."""
    facts = [file.name, file.size, file.content.identity]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _manifest(final: Any, entry: dict[str, Any], file: RemoteFile) -> dict[str, Any]:
    rest = {name: entry[name] for name in ("size", "content_type", "sha256")}
    return {"name": entry["name"], "path": str(final), **rest, **file.facts}


@contextmanager
def temporary_file(folder: Any, log: Log) -> Iterator[Any]:
    """Give the path for a file that is still being written; what is left there in the end is removed.

    It is a new one each time: an attempt that Airflow gave up may still be writing its own.
    """
    part = folder / f".{uuid.uuid4().hex}.part"
    try:
        yield part
    finally:
        try:
            if part.exists():
                _remove(part)
        except Exception:  # what matters is whether the file itself arrived
            log.warning("%s could not be removed.", part, exc_info=True)


@contextmanager
def replacing(final: Any, log: Log) -> Iterator[Any]:
    """Give a path to write to, which takes the place of ``final`` if all goes well; else nothing changes."""
    with temporary_file(final.parent, log) as part:
        yield part
        _move(part, final)


# `unlink` and, on most stores, `move` read a path as a pattern: "[ab].txt" would remove a.txt. These do not.


def _remove(path: Any) -> None:
    path.fs.rm_file(path.path)


def _move(part: Any, final: Any) -> None:
    """Put ``part`` in the place of ``final``: in one step where files can be renamed, else as a copy."""
    storage = part.fs
    if type(storage).mv is AbstractFileSystem.mv:
        storage.cp_file(part.path, final.path)
        return
    try:
        storage.mv(part.path, final.path)
    except OSError:  # some file systems rename to no name that exists
        if not (part.exists() and final.is_file()):
            raise
        _remove(final)
        storage.mv(part.path, final.path)


def _summary(failures: Sequence[tuple[str, Exception]], count: int, folder: Any) -> TransferError:
    texts = [f"{local} ({_text(error)})" for local, error in failures[:_MOST_FAILURES_SHOWN]]
    if len(failures) > len(texts):
        texts.append(f"and {len(failures) - len(texts)} more, see the log")
    helps = any(error.retry_helps if isinstance(error, RemoteTaskError) else True for _, error in failures)
    rest = f" The other {count - len(failures)} are in place." if count > len(failures) else ""
    return (TransferIncompleteError if helps else TransferError)(
        f"{len(failures)} of {count} files were not saved to {folder}: {'; '.join(texts)}.{rest}"
    )


def _text(error: Exception) -> str:
    if isinstance(error, RemoteTaskError):
        return str(error).rstrip(".")
    return f"{type(error).__name__}: {one_line(str(error))}".rstrip(".")
