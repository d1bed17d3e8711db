"""Rings the bell, and tells DAGs of a webhook, where Airflow's database is at hand: in its API server.

Both use what Airflow has no public name for in that process, so every import is made here, when it is needed,
and whatever is missing or refuses becomes a :class:`BellNotStored`. Elsewhere use
:class:`~remote_tasks_provider.core.push.rest_bell.RestBell`, which does the same over Airflow's REST API.

:func:`ring` and :func:`publish` block, for some milliseconds: call them in a thread.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

from remote_tasks_provider.bases.compat import KEEPS_ASSET_STATE, QUEUES_EACH_EVENT
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

__all__ = ["active_asset", "publish", "ring", "storing"]

log = logging.getLogger(__name__)

# A webhook that is repeated is looked for among so many events.
_REMEMBERED = 1000


def ring(service: str, conn_id: str) -> None:
    """Let every triggerer poll the connection's tasks at once; does nothing below Airflow 3.3.

    :param service: the type of the connection: ``manus``.
    :param conn_id: the connection.
    :raises BellNotStored: when nothing was written. A repeat is harmless.
    """
    if not KEEPS_ASSET_STATE:
        return
    note = json.dumps(new_note())
    with storing() as session:
        asset = active_asset(session, WEBHOOK_ASSET[0])
        if asset is None:
            raise no_asset()
        state: Any = import_module("airflow.state")
        scope, backend = state.AssetScope(asset_id=asset.id), state.get_state_backend()
        # In this order, so that bells of several connections wait for each other, and never in a circle.
        for key in (bell_key(service, conn_id), ANY_BELL):
            backend.set(scope, key, note, session=session)


def publish(
    service: str, conn_id: str, *, event_id: str, remote_ids: Sequence[str], state: str | None
) -> bool:
    """Give the connection's asset an event, once for each ``event_id``; Airflow 3.0 and newer.

    :param service: the type of the connection: ``manus``.
    :param conn_id: the connection.
    :param event_id: the same for each delivery of the webhook, and for no other.
    :param remote_ids: the tasks it is about.
    :param state: what it says of them, a :class:`~remote_tasks_provider.core.states.TaskState`.
    :return: whether there is a new event: not for a repeated webhook, nor where no DAG names the asset.
    :raises BellNotStored: when that is not known. A repeat is harmless.
    """
    with storing() as session:
        asset = active_asset(session, events_asset_name(service, conn_id)[0])
        if asset is None:
            log.debug("No DAG names the asset of %s connection %r.", service, conn_id)
            return False
        _lock(session, asset)
        if event_id in _recent_events(session, asset):
            return False
        manager: Any = import_module("airflow.assets.manager")
        extra = event_extra(service, conn_id, event_id, remote_ids, state)
        stored = manager.asset_manager.register_asset_change(asset=asset, extra=extra, session=session)
        if not QUEUES_EACH_EVENT:
            _queue_again(session, asset)
        return stored is not None


def _queue_again(session: Any, asset: Any) -> None:
    """Let the DAGs that are queued get this event, too.

    Below Airflow 3.4 a run has what came until its DAG was queued. An event that came later, before a
    scheduler looked, would wait for the next one (apache/airflow #56050).
    """
    queue: Any = import_module("airflow.models.asset").AssetDagRunQueue
    rows = session.query(queue).filter(queue.asset_id == asset.id)
    rows.update({"created_at": datetime.now(UTC)}, synchronize_session=False)


@contextmanager
def storing() -> Iterator[Any]:
    """Return a session whose work is stored as a whole at the end."""
    try:
        database: Any = import_module("airflow.utils.session")
        with database.create_session() as session:
            yield session
    except BellNotStored:
        raise
    except Exception as error:  # whatever a database, a backend or another Airflow raises
        raise BellNotStored(f"{type(error).__name__}: {error}") from error


def active_asset(session: Any, name: str) -> Any:
    """Return the row of the asset, if a DAG names it."""
    # By its name alone, of which there is one that is active: Airflow rewrites URIs.
    model: Any = import_module("airflow.models.asset").AssetModel
    return session.query(model).filter(model.name == name, model.active.has()).one_or_none()


def _lock(session: Any, asset: Any) -> None:
    """Let no other process publish an event of the asset before this session ends, on every database."""
    model: Any = type(asset)
    row = session.query(model).filter(model.id == asset.id)
    row.update({"updated_at": model.updated_at}, synchronize_session=False)


def _recent_events(session: Any, asset: Any) -> set[Any]:
    model: Any = import_module("airflow.models.asset").AssetEvent
    rows = session.query(model.extra).filter(model.asset_id == asset.id)
    return {(extra or {}).get("event_id") for (extra,) in rows.order_by(model.id.desc()).limit(_REMEMBERED)}
