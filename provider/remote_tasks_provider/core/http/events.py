"""Server-sent events, of which only the first is ever wanted here: it says what a stream is about.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["first_event", "is_stream"]

_BLANK_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r")


def is_stream(headers: Mapping[str, str]) -> bool:
    """Whether an answer is a stream of events; an error is none, for example.

    :param headers: with lower-case names.
    """
    return headers.get("content-type", "").strip().lower().startswith("text/event-stream")


def first_event(stream: bytes) -> bytes | None:
    """Return the data of the first event, ``None`` if it has not come as a whole. A comment is no event.

    :param stream: all that has come.
    """
    *blocks, _rest = _BLANK_LINE.split(stream)
    for block in blocks:
        lines = [line for line in block.splitlines() if line.startswith(b"data:")]
        if lines:
            return b"\n".join(line.removeprefix(b"data:").removeprefix(b" ") for line in lines)
    return None
