"""Which webhooks came before, for a receiver outside Airflow: ``bases/claims.py`` over the REST API.

That API has no insert, so two receivers that get one webhook in the same few milliseconds may both take it:
one poll more. Those in Airflow's API server cannot.

Blocks, as :class:`~remote_tasks_provider.core.push.rest_bell.RestBell` does. Imports no Airflow.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from remote_tasks_provider.core.errors import NotFoundError
from remote_tasks_provider.core.http.client import Client
from remote_tasks_provider.core.http.operation import Operation, Request, Response, path
from remote_tasks_provider.core.push.bell import (
    CLAIMED_FOR,
    CLAIMS,
    WEBHOOK_ASSET,
    claim_key,
    new_note,
    no_asset,
)
from remote_tasks_provider.core.push.rest_bell import RestBell, list_of, put_note

__all__ = ["RestClaims"]

_PRUNE_EVERY = 60.0
_PAGE = 100


class RestClaims:
    """Remembers webhooks in the notes of Airflow's asset.

    :param bell: whose login is used.
    """

    def __init__(self, bell: RestBell) -> None:
        self._bell = bell
        self._pruned_at: float | None = None
        self._offset = 0

    def claim(self, service: str, conn_id: str, event_id: str) -> bool:
        """Return whether a webhook is new, and remember it.

        :raises BellNotStored: when that is not known.
        """
        key, is_new = claim_key(service, conn_id, event_id), False

        def write(client: Client, asset_id: int) -> None:
            nonlocal is_new
            self._prune(client, asset_id)
            try:
                client.send(_get(asset_id, key))
            except NotFoundError:
                # Of the note or of the asset, and then this is not found either.
                client.send(put_note(asset_id, key, new_note()))
                is_new = True

        if not self._bell.with_asset(WEBHOOK_ASSET[0], write):
            raise no_asset()
        return is_new

    def release(self, service: str, conn_id: str, event_id: str) -> None:
        """Forget a webhook that was claimed and could not be stored.

        :raises BellNotStored: when that is not known to have worked.
        """
        key = claim_key(service, conn_id, event_id)
        self._bell.with_asset(WEBHOOK_ASSET[0], lambda client, asset_id: client.send(_delete(asset_id, key)))

    def _prune(self, client: Client, asset_id: int) -> None:
        """Delete old notes of one page, now and then; the next time those of the next page."""
        now = time.monotonic()
        if self._pruned_at is not None and now - self._pruned_at < _PRUNE_EVERY:
            return
        self._pruned_at = now
        before = (datetime.now(UTC) - timedelta(seconds=CLAIMED_FOR)).isoformat()
        notes = client.send(_notes(asset_id, self._offset))
        old = [key for key, at in notes if key.startswith(CLAIMS) and at < before]
        for key in old:
            client.send(_delete(asset_id, key))
        self._offset = self._offset + len(notes) - len(old) if len(notes) == _PAGE else 0


def _place(asset_id: int, key: str) -> str:
    return path("/api/v2/assets/{asset_id}/state-store/{key}", asset_id=str(asset_id), key=key)


def _get(asset_id: int, key: str) -> Operation[None]:
    name = "GET /api/v2/assets/{asset_id}/state-store/{key}"
    return Operation(name, Request("GET", _place(asset_id, key)), "a note", lambda _: None)


def _notes(asset_id: int, offset: int) -> Operation[list[tuple[str, str]]]:
    """Return the keys of some notes and when each was written; the keys ascend."""

    def read(response: Response) -> list[tuple[str, str]]:
        found = list_of(response, "asset_state_store")
        return [(str(one.get("key")), str((one.get("value") or {}).get("at"))) for one in found]

    place = path("/api/v2/assets/{asset_id}/state-store", asset_id=str(asset_id))
    request = Request("GET", place, (("limit", str(_PAGE)), ("offset", str(offset))))
    return Operation("GET /api/v2/assets/{asset_id}/state-store", request, "notes", read)


def _delete(asset_id: int, key: str) -> Operation[None]:
    name = "DELETE /api/v2/assets/{asset_id}/state-store/{key}"
    return Operation(name, Request("DELETE", _place(asset_id, key)), "an acknowledgement", lambda _: None)
