"""Repairs the bytes of a JSON body, so that one odd value spoils nothing but itself.

Readers of JSON refuse a whole body for half of a surrogate pair in one text, a byte that is not UTF-8, a line
break within quotes, a number of five thousand digits, or a value nested two hundred deep. One task of an
account that has such a value must not hide all others.

All works on bytes and passes over them at most once, as a page can have many megabytes.
"""

from __future__ import annotations

import re

from pydantic_core import SchemaValidator, core_schema

__all__ = ["with_readable_text", "with_readable_values", "without_nul"]

# Every page is searched for it. Pydantic's regular expressions do so in a third of the time of Python's `in`.
# A body that is not UTF-8 counts as one without: it is repaired later, as no reader takes it.
_with_escaped_nul = SchemaValidator(core_schema.str_schema(pattern=r"\\u0000"))
_ESCAPED_REPLACEMENT = rb"\ufffd"
# An escaped backslash and a whole surrogate pair stay as they are; NUL and half of a pair do not.
_ODD_ESCAPE = re.compile(
    rb"\\(?:(\\|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|u(?:0000|[dD][89a-fA-F][0-9a-fA-F]{2}))"
)

_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[{]|[\]}]|[^"\[\]{}]++', re.DOTALL)
_CONTROL = re.compile(rb"[\x00-\x1f]")
# Python converts numbers of up to 4,300 digits, and no double has more than 309 before its point.
_LONG_NUMBER = re.compile(rb"-?[0-9]{400,}(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
# Readers take 200.
_MOST_LEVELS = 100


def without_nul(body: bytes) -> bytes:
    """Return ``body`` without escaped NULs, which readers of JSON accept; the same object if it has none."""
    return _ODD_ESCAPE.sub(_readable, body) if _with_escaped_nul.isinstance_python(body) else body


def with_readable_text(body: bytes) -> bytes:
    """Return ``body`` in UTF-8, without a byte order mark, NULs and lone surrogates."""
    return _ODD_ESCAPE.sub(_readable, body.decode("utf-8-sig", "replace").encode())


def with_readable_values(body: bytes) -> bytes:
    """Return ``body`` with escaped control characters, and ``null`` for what is too long or nested too deep.

    :param body: from :func:`with_readable_text`.
    """
    return _TOKEN.sub(_Values(), body)


def _readable(escape: re.Match[bytes]) -> bytes:
    return _ESCAPED_REPLACEMENT if escape[1] is None else escape[0]


def _escaped(control: re.Match[bytes]) -> bytes:
    return _ESCAPED_REPLACEMENT if control[0] == b"\0" else b"\\u%04x" % ord(control[0])


class _Values:
    """Returns what stands for each token of a body; knows how deep the token is nested."""

    def __init__(self) -> None:
        self._level = 0

    def __call__(self, match: re.Match[bytes]) -> bytes:
        token = match[0]
        if token in (b"[", b"{"):
            self._level += 1
            return token if self._level <= _MOST_LEVELS else b"null" * (self._level == _MOST_LEVELS + 1)
        if token in (b"]", b"}"):
            self._level -= 1
            return token if self._level < _MOST_LEVELS else b""
        if self._level > _MOST_LEVELS:
            return b""
        if token[:1] == b'"':
            return _CONTROL.sub(_escaped, token)
        return _LONG_NUMBER.sub(b"null", token)
