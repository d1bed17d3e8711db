"""Which webhooks came before: one row each in Airflow's database, so that no replica takes one twice.

A row is inserted and never updated, so of several receivers exactly one succeeds. Rows are deleted when the
checks would refuse the webhook for its age anyway. As :mod:`~remote_tasks_provider.bases.bell`, this works in
Airflow's API server only, and blocks.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

from remote_tasks_provider.bases.bell import active_asset, storing
from remote_tasks_provider.bases.compat import KEEPS_ASSET_STATE
from remote_tasks_provider.core.push.bell import (
    CLAIMED_FOR,
    CLAIMS,
    WEBHOOK_ASSET,
    claim_key,
    new_note,
    no_asset,
)

__all__ = ["claim", "release"]

_PRUNE_EVERY = 600.0
_pruned: list[float] = []


def claim(service: str, conn_id: str, event_id: str) -> bool:
    """Return whether a webhook is new, and remember it; always true below Airflow 3.3, which cannot.

    :param service: the type of the connection: ``manus``.
    :param conn_id: the connection.
    :param event_id: the same for each delivery of the webhook, and for no other.
    :raises BellNotStored: when that is not known.
    """
    if not KEEPS_ASSET_STATE:
        return True
    sqlalchemy: Any = import_module("sqlalchemy.exc")
    model: Any = import_module("airflow.models.asset_state_store").AssetStateStoreModel
    with storing() as session:
        asset_id = _asset_id(session)
        _prune(session, model, asset_id)
        session.add(
            model(asset_id=asset_id, key=claim_key(service, conn_id, event_id), value=json.dumps(new_note()))
        )
        try:
            session.flush()
        except sqlalchemy.IntegrityError:
            session.rollback()
            return False
    return True


def release(service: str, conn_id: str, event_id: str) -> None:
    """Forget a webhook that was claimed and could not be stored, so that it is taken when it comes again.

    :raises BellNotStored: when that is not known to have worked.
    """
    if not KEEPS_ASSET_STATE:
        return
    model: Any = import_module("airflow.models.asset_state_store").AssetStateStoreModel
    with storing() as session:
        rows = session.query(model).filter(model.asset_id == _asset_id(session))
        rows.filter(model.key == claim_key(service, conn_id, event_id)).delete(synchronize_session=False)


def _asset_id(session: Any) -> int:
    asset = active_asset(session, WEBHOOK_ASSET[0])
    if asset is None:
        raise no_asset()
    return int(asset.id)


def _prune(session: Any, model: Any, asset_id: int) -> None:
    now = time.monotonic()
    if _pruned and now - _pruned[0] < _PRUNE_EVERY:
        return
    _pruned[:] = [now]
    before = datetime.now(UTC) - timedelta(seconds=CLAIMED_FOR)
    rows = session.query(model).filter(model.asset_id == asset_id, model.updated_at < before)
    rows.filter(model.key.startswith(CLAIMS)).delete(synchronize_session=False)
