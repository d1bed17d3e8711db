"""What every place that Airflow keeps values in can store: its databases, its logs, its messages to workers.

A service may send what JSON allows and those places refuse. PostgreSQL stores no NUL in a text, and nothing
stores half of a surrogate pair. No database stores ``NaN`` and ``Infinity`` in JSON, Airflow's messages take
integers of 64 bits at most, and MySQL takes JSON of a hundred levels at most. Such a value in a trigger's
event would end the triggerer, and in an XCom it would lose a result that was paid for.

The text of every answer is cleaned where it is read, in :mod:`remote_tasks_provider.core.http.parsing`.
"""

from __future__ import annotations

import math
import re
from typing import Any

__all__ = ["cut", "storable_json", "storable_text"]

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_LEAST_INTEGER = -(2**63)
_MOST_INTEGER = 2**64 - 1
# Airflow wraps each level of an event into one of its own, and puts the value a few levels deep.
_MOST_LEVELS = 32


def storable_text(text: str) -> str:
    """Return ``text`` with NUL and lone surrogates replaced."""
    return _UNSTORABLE.sub("\ufffd", text)


def storable_json(value: Any, levels: int = _MOST_LEVELS) -> Any:
    """Return a JSON value without what cannot be stored, its texts aside.

    ``NaN``, infinite numbers and what is nested too deep become ``None``; an integer beyond 64 bits becomes a
    float, as in most readers of JSON.
    """
    value_type = type(value)
    if value_type is dict:
        return {key: storable_json(one, levels - 1) for key, one in value.items()} if levels else None
    if value_type is list:
        return [storable_json(one, levels - 1) for one in value] if levels else None
    if value_type is int and not _LEAST_INTEGER <= value <= _MOST_INTEGER:
        return _as_float(value)
    if value_type is float and not math.isfinite(value):
        return None
    return value


def _as_float(value: int) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None


def cut(text: str, limit: int) -> str:
    """Return ``text``, cut to ``limit`` characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
