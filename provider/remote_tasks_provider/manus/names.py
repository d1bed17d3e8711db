"""Finding the ids of what has a name in the Manus app."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from remote_tasks_provider.core.errors import InvalidArgumentError

__all__ = ["ids_by_name"]


def ids_by_name(names: Sequence[str], there: Sequence[Mapping[str, Any]], noun: str) -> list[str]:
    """Return the id of each name, in their order; upper and lower case do not matter.

    :param there: what the account has, each with ``id`` and ``name``.
    :param noun: what these are, for errors: ``connector``.
    :raises InvalidArgumentError: for a name that none has, or several have; it lists the names there are.
    """
    return [_id_of(name, there, noun) for name in names]


def _id_of(name: str, there: Sequence[Mapping[str, Any]], noun: str) -> str:
    found = [one for one in there if _folded(one["name"]) == _folded(name)]
    if len(found) == 1:
        return str(found[0]["id"])
    if found:
        ids = ", ".join(str(one["id"]) for one in found)
        raise InvalidArgumentError(f"{len(found)} {noun}s are called {name!r}: give one of the ids {ids}")
    known = ", ".join(sorted(str(one["name"]) for one in there))
    next_step = f"there are {known}" if known else "there are none; add it in the Manus app"
    raise InvalidArgumentError(f"no {noun} is called {name!r}; {next_step}")


def _folded(name: Any) -> str:
    return str(name).strip().casefold()
