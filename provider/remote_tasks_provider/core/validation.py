"""Checks on what a caller passes in, before a request is made: strict in what is sent.

Each raises :class:`~.errors.InvalidArgumentError`, which names the parameter, shows what it got and says what
would be right.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Iterator, KeysView, Mapping, ValuesView
from datetime import datetime, timedelta
from typing import Any

from remote_tasks_provider.core.errors import InvalidArgumentError

__all__ = [
    "Check",
    "as_given",
    "choice",
    "choices",
    "flag",
    "mapping",
    "object_id",
    "object_ids",
    "optional",
    "rereadable",
    "seconds",
    "text",
    "unix_seconds",
    "whole_number",
    "word",
]

Check = Callable[[Any, str], Any]
"""Takes a value and the parameter's name; returns the value as it is used from then on, or raises."""

_MAX_ID_LENGTH = 512
# A hundred years. Moments that are later than that do not fit everywhere where Airflow stores them.
_LONGEST_SECONDS = 100 * 365 * 86400
# The year 5138. The same moment in milliseconds is later, whenever after March 1973 it is.
_LATEST_SECONDS = 1e11
_FLAGS = {"true": True, "false": False}
# Where the records that operators return have their ids.
_ID_KEYS = ("id", "message_id", "task_id", "workflow_run_id")
# What an empty value looks like after Jinja has rendered it into a string.
_RENDERED_NOTHING = frozenset({"", "none", "null", "undefined", "nan"})


def object_id(value: Any, name: str) -> str:
    """Return ``value`` if it can be the id of a remote object.

    An empty id would turn a single-object path into a whole-collection path, and ``.`` or ``..`` would climb
    it.
    """
    if value is None or (isinstance(value, str) and value.strip().casefold() in _RENDERED_NOTHING):
        raise InvalidArgumentError(
            f"{name} is {value!r}, which is no id: did a template or an XCom come out empty?"
        )
    if not isinstance(value, str):
        raise InvalidArgumentError(
            f"{name} must be a string, got {type(value).__name__}: pass the id of the remote object"
            f"{_place_of_id(value)}"
        )
    if (
        value in {".", ".."}
        or not value.isprintable()
        or value != value.strip()
        or len(value) > _MAX_ID_LENGTH
    ):
        shown = value if len(value) <= 60 else f"{value[:60]}…"
        raise InvalidArgumentError(
            f"{name} is {shown!r}: an id has 1 to {_MAX_ID_LENGTH} printable characters and no spaces "
            "around it"
        )
    return value


def _place_of_id(value: Any) -> str:
    """Return where the id is in what was passed instead of it: a record that an operator has returned."""
    names = [name for name in _ID_KEYS if name in value] if isinstance(value, Mapping) else []
    return f', which is its ["{names[0]}"]' if names else ""


def object_ids(value: Any, name: str) -> list[str]:
    """Return the ids in ``value``, one id or an iterable of ids, in order."""
    if isinstance(value, str) or not isinstance(value, Iterable) or isinstance(value, (bytes, dict)):
        return [object_id(value, name)]
    return [object_id(item, f"{name}[{index}]") for index, item in enumerate(value)]


def rereadable(value: Any) -> Any:
    """Return ``value``; as a list if it is a generator or the like, which can be read only once."""
    # A weak reference looks like whatever there is.
    is_weak = isinstance(value, weakref.ProxyTypes)
    return list(value) if isinstance(value, (Iterator, KeysView, ValuesView)) and not is_weak else value


def choice(value: Any, name: str, allowed: Iterable[str]) -> str:
    """Return ``value`` if it is one of the words ``allowed``."""
    words = list(allowed)
    if value not in words:
        raise InvalidArgumentError(f"{name} is {value!r}; it must be one of {', '.join(words)}")
    return str(value)


def choices(value: Any, name: str, allowed: Iterable[str]) -> list[str]:
    """Return the words of ``value``, one or several, if each is one of ``allowed``; ``None`` gives none."""
    if value is None:
        return []
    words = [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)
    known = list(allowed)
    return [choice(word, name, known) for word in words]


def whole_number(value: Any, name: str, *, least: int, most: int | None = None) -> int:
    """Return ``value`` as an integer within bounds; numeric strings, as templates render them, are read."""
    bounds = f"from {least} to {most}" if most is not None else f"of at least {least}"
    try:
        is_number = isinstance(value, str) or (hasattr(value, "__index__") and not isinstance(value, bool))
        number = int(value) if is_number else None
    except ValueError:
        number = None
    if number is None or number < least or (most is not None and number > most):
        raise InvalidArgumentError(f"{name} is {value!r}; it must be a whole number {bounds}")
    return number


def seconds(value: Any, name: str, *, zero: bool = False) -> float:
    """Return a duration in seconds: a number, a numeric string, as templates render them, or a ``timedelta``.

    :param zero: whether there may be none.
    """
    given = value.total_seconds() if isinstance(value, timedelta) else value
    try:
        is_number = isinstance(given, (int, float, str)) and not isinstance(given, bool)
        found = float(given) if is_number else math.nan
    except (ValueError, OverflowError):
        found = math.nan
    if not (found >= 0 if zero else found > 0) or found > _LONGEST_SECONDS:
        bounds = f"{'from 0' if zero else 'more than 0'} to {_LONGEST_SECONDS}"
        raise InvalidArgumentError(
            f"{name} is {value!r}; it must be a number of seconds, {bounds}, or a timedelta of that length"
        )
    return found


def flag(value: Any, name: str) -> bool:
    """Return ``value`` if it is ``True`` or ``False``; the words, as templates render them, are read."""
    found = _FLAGS.get(value.strip().casefold()) if isinstance(value, str) else value
    if not isinstance(found, bool):
        raise InvalidArgumentError(f"{name} is {value!r}; it must be True or False")
    return found


def text(value: Any, name: str) -> str:
    """Return ``value`` if it is a text that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidArgumentError(
            f"{name} is {value!r}; it must be a text: did a template or an XCom come out empty?"
        )
    return value


def word(value: Any, name: str) -> str:
    """Return a text that is not blank; a number is read, as a template that renders to an object gives it."""
    found = str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
    if isinstance(found, str) and found.strip().casefold() in _RENDERED_NOTHING:
        raise InvalidArgumentError(f"{name} has {value!r}: did a template or an XCom come out empty?")
    return text(found, name)


def mapping(value: Any, name: str) -> Mapping[str, Any]:
    """Return ``value`` if it is a dict, or the like, with texts as keys.

    It may hold a secret, and a template may have made a text of it, so the error does not show it.
    """
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        shown = "None" if value is None else f"a {type(value).__name__}"
        raise InvalidArgumentError(f"{name} is {shown}; it must be a dict with texts as keys")
    return value


def as_given(check: Check) -> Check:
    """Return a check that leaves each value as it was given, where another form is for the request only."""

    def checked(value: Any, name: str) -> Any:
        check(value, name)
        return value

    return checked


def optional(check: Check) -> Check:
    """Return a check that also lets ``None`` pass."""
    return lambda value, name: None if value is None else check(value, name)


def unix_seconds(value: Any, name: str, *, earliest: float = 0.0) -> int | None:
    """Return a moment as whole Unix seconds.

    :param value: an aware ``datetime``, Unix seconds, or a string that holds either (ISO 8601 with offset).
    :param earliest: Unix seconds before which no moment can be meant, as the service did not exist.
    """
    if value is None:
        return None
    moment = _moment(value)
    if moment is None or not earliest <= moment < _LATEST_SECONDS:
        is_milliseconds = moment is not None and earliest < moment / 1000 < _LATEST_SECONDS
        hint = ". It looks like milliseconds" if is_milliseconds else ""
        raise InvalidArgumentError(
            f"{name} is {value!r}; it must be an aware datetime, an ISO 8601 string with an offset, "
            f"or a Unix time in seconds{hint}"
        )
    return int(moment)


def _moment(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, datetime):
        return value.timestamp() if value.tzinfo is not None else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value)
