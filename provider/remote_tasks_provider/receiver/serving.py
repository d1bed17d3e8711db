"""Puts the receiver together: in Airflow's API server, or on its own."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.routing import Mount

from remote_tasks_provider.bases.webhooks import WebhookSettings
from remote_tasks_provider.core.errors import InvalidArgumentError
from remote_tasks_provider.receiver.app import Receiver, make_app
from remote_tasks_provider.receiver.known import KnownConnection, hook_class, read_known
from remote_tasks_provider.receiver.stores import AirflowStore, Store

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["receiver_alone", "receiver_in_airflow"]

log = logging.getLogger(__name__)


def receiver_in_airflow(settings: WebhookSettings) -> ASGIApp:
    """Return the app for the API server, which serves it at the plugin's prefix.

    A connection that cannot be used takes no webhooks, and the log says so; the others do.
    """
    connections: dict[tuple[str, str], KnownConnection] = {}
    for service, conn_id in settings.connections:
        try:
            connections[service, conn_id] = KnownConnection(hook_class(service), conn_id)
        except InvalidArgumentError as error:
            log.error("There is no receiver for %s/%s: %s", service, conn_id, error)  # noqa: TRY400
    return make_app(Receiver(settings, connections, AirflowStore()))


def receiver_alone(settings: WebhookSettings, store: Store) -> ASGIApp:
    """Return the app for a server of its own, at the path of the public address.

    :raises InvalidArgumentError: when it is not configured, or naming each connection that has no keys.
    """
    if not settings.is_on:
        raise InvalidArgumentError(
            "the receiver is off: set [remote_tasks] webhook_url to its public address, and "
            "webhook_connections to the connections that it takes webhooks for"
        )
    connections: dict[tuple[str, str], KnownConnection] = {}
    faults: list[str] = []
    for service, conn_id in settings.connections:
        hook = hook_class(service)
        try:
            read_known(hook, conn_id)
        except Exception as error:  # noqa: BLE001 - whatever a connection, or a service, does
            faults.append(f"{service}/{conn_id}: {error}")
        connections[service, conn_id] = KnownConnection(hook, conn_id)
    if faults:
        raise InvalidArgumentError("there are no keys to check webhooks with: " + "; ".join(faults))
    app = make_app(Receiver(settings, connections, store))
    return Starlette(routes=[Mount(urlsplit(settings.url).path or "/", app)])
