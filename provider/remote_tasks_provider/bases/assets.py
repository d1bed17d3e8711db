"""The assets through which webhooks reach triggerers and DAGs."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import Asset

from remote_tasks_provider.bases.compat import airflow_is_at_least
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.push.bell import WEBHOOK_ASSET, events_asset_name

__all__ = ["events_asset", "webhook_asset"]


def webhook_asset() -> Asset:
    """Return the asset that carries the bells of all connections.

    Airflow keeps what belongs to an asset only while a DAG names it. Name it once in your deployment, in
    a ``schedule``, an inlet or an outlet of any DAG. It never gets an event, so nothing is started by it.
    """
    return _asset(*WEBHOOK_ASSET)


def events_asset(service: str, conn_id: str) -> Asset:
    """Return the asset that gets an event for each verified webhook of a connection with ``push_events``.

    Schedule a DAG on it. The event's ``extra`` has ``service``, ``conn_id``, ``event_id``, ``remote_ids``
    and ``state``: what the webhook said, not what the service says when it is asked.

    :param service: the type of the connection: ``manus``, ``qstash`` or ``a2a``.
    :param conn_id: the connection.
    :raises ValueError: when one of them is empty.
    """
    return _asset(
        *events_asset_name(validation.object_id(service, "service"), validation.object_id(conn_id, "conn_id"))
    )


def _asset(name: str, uri: str) -> Asset:
    # Airflow 2 calls it a dataset, which has no name. Such a DAG is never started there.
    return Asset(name=name, uri=uri) if airflow_is_at_least("3") else Asset(uri)
