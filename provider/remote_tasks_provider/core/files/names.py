"""Turns the names that a remote service has for its files into names that are safe to write anywhere.

The names are untrusted, as an agent may have read them on the web: they may leave their folder, hide a file,
pretend to be another kind of file, or be no names at all.
"""

from __future__ import annotations

import mimetypes
import re
import unicodedata
from collections.abc import Iterable
from functools import cache

__all__ = ["local_names"]

# File systems allow 255 bytes; 55 are left for the temporary name of a file that is still being written.
_MAX_BYTES = 200
# Longer text after the last dot is part of a sentence, not an extension.
_MAX_EXTENSION_BYTES = 24

# Windows refuses these; "#" and "?" end the path where a path is written as a URL, "*" and "?" are patterns.
_FORBIDDEN = re.compile(r'[<>:"|?*#]')
# Hides a file, or is read as an option or as a home directory.
_BAD_START = re.compile(r"^[.~-]+")
# Windows reads each as a device, whatever its extension.
_DEVICE = re.compile(r"^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\.|$)", re.IGNORECASE)


def local_names(files: Iterable[tuple[str | None, str | None]]) -> list[str]:
    """Return a safe local name for each file, in order; always the same for the same list.

    A name is one path component of at most 200 bytes in UTF-8, its extension kept. No two are equal, not
    even on a file system that folds case or Unicode normal forms: the second ``a.txt`` becomes
    ``a (2).txt``. A file's name depends only on those before it, so files that a service adds at the end of
    its list change nothing.

    :param files: name and content type of each, both as the service has them.
    """
    taken: set[str] = set()
    found = []
    for position, (remote, content_type) in enumerate(files, start=1):
        name = _cleaned(remote or "") or f"file-{position}{_extension_of(content_type)}"
        found.append(_distinct(name, taken))
        taken.add(_folded(found[-1]))
    return found


def _cleaned(remote: str) -> str:
    """Return the last component of ``remote`` as a plain name; empty when nothing is left of it."""
    parts = [part for part in re.split(r"[/\\]", remote) if part.strip()]
    # Line breaks and the like become spaces; invisible characters go, such as NUL or a reversed direction.
    spaced = " ".join(parts[-1].split()) if parts else ""
    visible = "".join(char for char in spaced if unicodedata.category(char)[0] != "C")
    name = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", visible)).strip().rstrip(". ")
    if not name.strip("._~- "):
        return ""
    name = _BAD_START.sub("_", name)
    if _DEVICE.match(name):
        name = f"_{name}"
    return _joined(*_split(name))


def _distinct(name: str, taken: set[str]) -> str:
    stem, extension = _split(name)
    number = 1
    while _folded(name) in taken:
        number += 1
        name = _joined(stem, extension, f" ({number})")
    return name


def _split(name: str) -> tuple[str, str]:
    """Return stem and extension; ``.tar.gz`` and its like are one."""
    stem, dot, last = name.rpartition(".")
    if not stem or not last or len(last.encode()) >= _MAX_EXTENSION_BYTES:
        return name, ""
    if stem.lower().endswith(".tar") and len(stem) > len(".tar"):
        return stem[:-4], f"{stem[-4:]}.{last}"
    return stem, f"{dot}{last}"


def _joined(stem: str, extension: str, suffix: str = "") -> str:
    """Return the whole name, ``stem`` cut so that it fits."""
    room = _MAX_BYTES - len(f"{suffix}{extension}".encode())
    cut = stem.encode()[:room].decode("utf-8", "ignore")
    return f"{cut.rstrip('. ') or '_'}{suffix}{extension}"


def _folded(name: str) -> str:
    """Return a key that is equal for names that some file system treats as equal."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _extension_of(content_type: str | None) -> str:
    media_type = (content_type or "").partition(";")[0].strip().lower()
    return _types().guess_extension(media_type) or ".bin"


@cache
def _types() -> mimetypes.MimeTypes:
    # Python's own table, without the files of the machine: all workers must get the same names.
    return mimetypes.MimeTypes()
