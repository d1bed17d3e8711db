"""Rings the bell over Airflow's REST API, for a receiver outside Airflow.

The user of the API needs the right to edit assets: in Airflow's simple auth manager the role ``op``. It needs
no other right, and none to read connections.

Blocks, for some ten milliseconds: call it in a thread. Safe for several threads. Imports no Airflow.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from remote_tasks_provider.core.errors import AuthenticationError, NotFoundError, RemoteTaskError
from remote_tasks_provider.core.http.client import Client
from remote_tasks_provider.core.http.connection import ConnectionConfig, ConnectionExtras, ConnectionFields
from remote_tasks_provider.core.http.operation import Idempotency, Operation, Request, Response, path
from remote_tasks_provider.core.http.transport import RequestsTransport
from remote_tasks_provider.core.push.bell import (
    ANY_BELL,
    WEBHOOK_ASSET,
    BellNotStored,
    bell_key,
    event_extra,
    events_asset_name,
    new_note,
    no_asset,
)

__all__ = ["RestBell", "list_of", "put_note"]

T = TypeVar("T")

log = logging.getLogger(__name__)

# Services wait for an answer for seconds only.
_TIMEOUTS = ConnectionExtras(connect_timeout=3, read_timeout=5, total_timeout=8, max_attempts=2)
# A webhook that is repeated is looked for among so many events.
_REMEMBERED = 100


class RestBell:
    """Does what :func:`~remote_tasks_provider.bases.bell.ring` and ``publish`` do, from anywhere.

    Making one does no I/O. It logs in with :meth:`open` or the first call, and again when Airflow wants it.

    :param base_url: Airflow's address, as ``[api] base_url`` has it.
    :param username: of the user of the API.
    :param password: its password.
    :raises ConnectionConfigError: when ``base_url`` or ``password`` cannot be used.
    """

    def __init__(self, base_url: str, username: str, password: str) -> None:
        fields = ConnectionFields("airflow", host=base_url, password=password)
        self._base_url = fields.base_url(None)
        self._login = {"username": username, "password": password}
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._assets: dict[str, int] = {}

    def open(self) -> None:
        """Log in and find the asset of the notes, so that the first webhook need not wait for that.

        :raises BellNotStored: when Airflow is not there, refuses the user, or keeps no notes.
        """
        if not self.with_asset(WEBHOOK_ASSET[0], lambda _client, _asset_id: None):
            raise no_asset()

    def ring(self, service: str, conn_id: str) -> None:
        """Let every triggerer poll the connection's tasks at once; Airflow 3.3 and newer.

        :param service: the type of the connection: ``manus``.
        :param conn_id: the connection.
        :raises BellNotStored: when that is not known to have worked. A repeat is harmless.
        """
        note = new_note()

        def write(client: Client, asset_id: int) -> None:
            # The one that is watched comes last: who sees it change finds the other one.
            for key in (bell_key(service, conn_id), ANY_BELL):
                client.send(put_note(asset_id, key, note))

        if not self.with_asset(WEBHOOK_ASSET[0], write):
            raise no_asset()

    def publish(
        self, service: str, conn_id: str, *, event_id: str, remote_ids: Sequence[str], state: str | None
    ) -> bool:
        """Give the connection's asset an event, unless its last ones have the same ``event_id``.

        :param service: the type of the connection: ``manus``.
        :param conn_id: the connection.
        :param event_id: the same for each delivery of the webhook, and for no other.
        :param remote_ids: the tasks it is about.
        :param state: what it says of them.
        :return: whether there is a new event: not for a repeated webhook, nor where no DAG names the asset.
        :raises BellNotStored: when that is not known. Two receivers that get one webhook at the same moment
            may both publish it; those in Airflow's API server cannot.
        """
        extra = event_extra(service, conn_id, event_id, remote_ids, state)
        published = False

        def write(client: Client, asset_id: int) -> None:
            nonlocal published
            if event_id not in client.send(_recent_events(asset_id)):
                client.send(_add_event(asset_id, extra))
                published = True

        self.with_asset(events_asset_name(service, conn_id)[0], write)
        return published

    def close(self) -> None:
        """Close the pooled connections; the next call opens new ones."""
        with self._lock:
            self._forget()

    def with_asset(self, asset: str, write: Callable[[Client, int], None]) -> bool:
        """Call ``write`` with the asset's id, twice at most; return whether there is one that a DAG names.

        :raises BellNotStored: when ``write`` or what comes before it fails.
        """
        with self._lock:
            try:
                return self._fresh(lambda: self._write(asset, write))
            except RemoteTaskError as error:
                self._forget()
                raise BellNotStored(str(error)) from error

    def _fresh(self, work: Callable[[], T]) -> T:
        """Do ``work``; log in and do it again where the token has run out."""
        is_new = self._client is None
        try:
            return work()
        except AuthenticationError:
            if is_new:
                raise
            self._forget()
            return work()

    def _write(self, asset: str, write: Callable[[Client, int], None]) -> bool:
        client = self._client or self._log_in()
        known = self._assets.get(asset)
        if known is not None:
            try:
                write(client, known)
            except NotFoundError:
                # An asset that no DAG has named for a while comes back with another id.
                del self._assets[asset]
            else:
                return True
        found = client.send(_find_asset(asset))
        if found is None:
            return False
        self._assets[asset] = found
        write(client, found)
        return True

    def _log_in(self) -> Client:
        # Knows the password only in order to keep it out of messages.
        anonymous = self._open(None, self._login["password"])
        try:
            token = anonymous.send(_log_in(self._login))
        finally:
            anonymous.close()
        self._client = self._open(("Authorization", f"Bearer {token}"), token)
        return self._client

    def _open(self, auth: tuple[str, str] | None, secret: str) -> Client:
        config = ConnectionConfig("Airflow", "airflow", self._base_url, auth, secret, _TIMEOUTS)
        return Client(config, RequestsTransport(config), lambda *_: None)

    def _forget(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()


def _log_in(login: Mapping[str, str]) -> Operation[str]:
    request = Request("POST", "/auth/token", json=dict(login))
    return Operation("POST /auth/token", request, "a token", _token, is_private=True)


def _token(response: Response) -> str:
    token = _object(response).get("access_token")
    if not isinstance(token, str) or not token:
        raise ValueError("access_token is missing")
    return token


def _find_asset(name: str) -> Operation[int | None]:
    """By its name alone, of which there is one that is active: Airflow rewrites URIs."""

    def parse(response: Response) -> int | None:
        same = [one for one in list_of(response, "assets") if one.get("name") == name]
        return int(same[0]["id"]) if same else None

    # A pattern: it may match other assets, too.
    query = (("name_pattern", name), ("limit", "100"))
    return Operation("GET /api/v2/assets", Request("GET", "/api/v2/assets", query), "assets", parse)


def put_note(asset_id: int, key: str, note: Mapping[str, str]) -> Operation[None]:
    """Return the operation that writes a note of an asset."""
    place = path("/api/v2/assets/{asset_id}/state-store/{key}", asset_id=str(asset_id), key=key)
    request = Request("PUT", place, json={"value": dict(note)})
    return Operation(
        "PUT /api/v2/assets/{asset_id}/state-store/{key}", request, "an acknowledgement", lambda _: None
    )


def _recent_events(asset_id: int) -> Operation[set[Any]]:
    query = (("asset_id", str(asset_id)), ("order_by", "-timestamp"), ("limit", str(_REMEMBERED)))
    return Operation(
        "GET /api/v2/assets/events",
        Request("GET", "/api/v2/assets/events", query),
        "asset events",
        lambda response: {
            (one.get("extra") or {}).get("event_id") for one in list_of(response, "asset_events")
        },
    )


def _add_event(asset_id: int, extra: Mapping[str, Any]) -> Operation[None]:
    request = Request("POST", "/api/v2/assets/events", json={"asset_id": asset_id, "extra": dict(extra)})
    return Operation(
        "POST /api/v2/assets/events",
        request,
        "an asset event",
        lambda _: None,
        Idempotency.NOT_IDEMPOTENT,
    )


def _object(response: Response) -> Mapping[str, Any]:
    found = json.loads(response.body)
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - what a parser raises
    return found


def list_of(response: Response, name: str) -> list[Mapping[str, Any]]:
    """Return the list that an answer of Airflow's has under ``name``."""
    found = _object(response).get(name)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError(f"{name} is no list of objects")
    return found
