"""What the waits of one triggerer process know, packed small enough for one note that others can read.

Pure: the Remote Tasks page reads the notes, and ``bases/reports.py`` writes them. A note has a *slot*, of
which there are a few, so that processes that are long gone leave no heap of notes behind.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

__all__ = ["REPORT_KEY", "SLOTS", "is_free", "pack_report", "unpack_report"]

REPORT_KEY = "waits"
"""A note's key is this, a colon and the number of its slot."""
SLOTS = 16
"""So many triggerer processes can report at a time."""

# Seconds without a new report after which a process is gone; other machines' clocks differ a little.
_GONE = 300.0
# Airflow keeps 64 KB in one value.
_MOST_CHARACTERS = 48_000


def pack_report(by: str, at: float, waits: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Return a report, of as many waits as fit.

    :param by: unlike that of any other process.
    :param at: now, Unix seconds.
    :param waits: by trigger, what :attr:`~.tracker.PollTracker.seen` says of each.
    """
    ids = list(waits)
    packed = _pack({one: waits[one] for one in ids})
    while len(packed) > _MOST_CHARACTERS:
        ids = ids[: int(len(ids) * 0.9 * _MOST_CHARACTERS / len(packed))]
        packed = _pack({one: waits[one] for one in ids})
    return {"by": by, "at": at, "waits": packed}


def _pack(waits: Mapping[int, Mapping[str, Any]]) -> str:
    rows = [[one, seen["state"], seen["credits"], round(seen["at"], 1)] for one, seen in waits.items()]
    return base64.b64encode(zlib.compress(json.dumps(rows).encode())).decode()


def unpack_report(report: Any) -> dict[int, dict[str, Any]]:
    """Return what :func:`pack_report` was given; nothing where the value is not a report."""
    try:
        rows = json.loads(zlib.decompress(base64.b64decode(report["waits"])))
        return {int(one): {"state": state, "credits": credits, "at": at} for one, state, credits, at in rows}
    except (KeyError, TypeError, ValueError, zlib.error):
        return {}


def is_free(report: Any, by: str, now: float) -> bool:
    """Whether a process may write its report where this one is."""
    if not isinstance(report, Mapping):
        return True
    at = report.get("at")
    return report.get("by") == by or not isinstance(at, int | float) or abs(now - at) > _GONE
