"""The bell: what a webhook leaves in Airflow, so that every triggerer polls at once.

A webhook is never the truth. It only changes a *note* in the state store of one asset; the triggerers read
that note all the time, and poll when it has changed. Lost, it costs a poll interval. Forged or
repeated, it costs a poll.

Pure: names and values. ``bases/bell.py`` writes and reads them. Imports no Airflow.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import quote

__all__ = [
    "ANY_BELL",
    "CLAIMED_FOR",
    "CLAIMS",
    "WEBHOOK_ASSET",
    "BellNotStored",
    "Bells",
    "bell_key",
    "claim_key",
    "event_extra",
    "events_asset_name",
    "has_rung",
    "new_note",
    "no_asset",
]

WEBHOOK_ASSET = ("remote-tasks-webhooks", "remote-tasks://webhooks")
"""Name and URI of the asset in whose state store the notes are."""
ANY_BELL = "bell"
"""The key of the note that changes with every bell. It is the only one that is read all the time."""

CLAIMS = "seen:"
"""How the keys of the notes begin that tell which webhooks came before."""
CLAIMED_FOR = 2 * 60 * 60.0
"""Seconds for which such a note is kept: longer than any service's webhook is taken after it was sent."""


class BellNotStored(Exception):
    """The note could not be written; the same webhook may be sent again.

    :param reason: for our log.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def bell_key(service: str, conn_id: str) -> str:
    """Return the key of the note of one connection.

    :param service: the type of the connection: ``manus``.
    """
    return f"{ANY_BELL}:{service}:{conn_id}"


def claim_key(service: str, conn_id: str, event_id: str) -> str:
    """Return the key of the note that a webhook has come."""
    return f"{CLAIMS}{service}:{conn_id}:{event_id}"


def no_asset() -> BellNotStored:
    """Return the error where Airflow keeps no notes, since no DAG names their asset."""
    return BellNotStored(
        f"no DAG names the asset {WEBHOOK_ASSET[0]!r}: put webhook_asset() into the schedule or the inlets "
        "of one"
    )


def new_note() -> dict[str, str]:
    """Return a note unlike any other; ``at`` is for people, since machines' clocks differ."""
    return {"id": secrets.token_hex(8), "at": datetime.now(UTC).isoformat(timespec="milliseconds")}


def has_rung(before: Any, now: Any) -> bool:
    """Whether the bell has rung between two reads of a note; ``None`` where there was none."""
    return now is not None and now != before


def events_asset_name(service: str, conn_id: str) -> tuple[str, str]:
    """Return name and URI of the asset whose events tell of a connection's tasks."""
    return f"remote-tasks-{service}-{conn_id}", f"remote-tasks://{service}/{quote(conn_id, safe='')}"


def event_extra(
    service: str, conn_id: str, event_id: str, remote_ids: Sequence[str], state: str | None
) -> dict[str, Any]:
    """Return the ``extra`` of such an event: ids and a state, and nothing else of a webhook."""
    return {
        "service": service,
        "conn_id": conn_id,
        "event_id": event_id,
        "remote_ids": list(remote_ids),
        "state": None if state is None else str(state),
    }


class Bells(Protocol):
    """What tells pollers that a bell has rung; see :mod:`remote_tasks_provider.bases.bell_reader`."""

    @property
    def poll_interval(self) -> float:
        """The seconds between regular polls while bells come; 0 while none can be heard."""

    def listen(self, service: str, conn_id: str, hear: Callable[[bool], None]) -> Callable[[], None]:
        """Call ``hear`` when a connection's bell rings, until the returned function is called.

        :param hear: takes whether the bell has rung. It has not where the note was read for the first time:
            then it may have rung unheard, and one poll tells.
        """
