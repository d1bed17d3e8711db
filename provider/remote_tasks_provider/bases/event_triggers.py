"""The base of the triggers that watch a connection, so that what happens there starts DAGs.

They need no open port: they list, a few times a minute, and at once when a webhook has come. On Airflow 3.3
and newer their cursor is in the asset's state store, and no event is lost with a triggerer. Below, it is in
memory, and what happens while no triggerer runs is not told. Airflow 2 has no watchers.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Hashable
from typing import Any, ClassVar

from airflow.providers.common.compat.sdk import Asset
from airflow.triggers.base import TriggerEvent

from remote_tasks_provider.bases.bell_reader import bells
from remote_tasks_provider.bases.compat import SHARES_STREAMS, BaseEventTrigger
from remote_tasks_provider.bases.connection import read_connection_async
from remote_tasks_provider.bases.event_spacing import EventSpacing
from remote_tasks_provider.bases.triggers import connect
from remote_tasks_provider.bases.watching import listings
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.clocks import Clocks
from remote_tasks_provider.core.polling.drivers import AsyncLink
from remote_tasks_provider.core.push.watch import Cursor, Sighting
from remote_tasks_provider.core.service import TaskType

__all__ = ["RemoteEventTrigger"]

log = logging.getLogger(__name__)


class RemoteEventTrigger(BaseEventTrigger):
    """Fires for each thing that happens on a connection; for an ``AssetWatcher``.

    It begins with what happens after its first listing. Each event comes at least once: twice only when the
    triggerer dies within the second or two in which Airflow stores it.

    :param asset: the asset that it watches for, or its name. It is part of the trigger's identity: two
        assets whose watchers had the same arguments would share one trigger, and its cursor.
    :param conn_id: the Airflow connection.
    :param poll_interval: seconds between listings.
    :raises ValueError: for an argument that cannot be right.
    """

    remote_events: ClassVar[TaskType]
    clocks: ClassVar[Clocks] = Clocks()

    def __init__(self, asset: Asset | str, conn_id: str, poll_interval: float = 60.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's, without annotations
        name = asset if isinstance(asset, str) else getattr(asset, "name", None)
        self.asset = validation.text(name, "asset")
        self.conn_id = validation.object_id(conn_id, "conn_id")
        self.poll_interval = validation.seconds(poll_interval, "poll_interval")

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and every argument."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {"asset": self.asset, "conn_id": self.conn_id, "poll_interval": self.poll_interval}

    # ------------------------------------------------------------------------- Airflow 3.3 and newer

    def shared_stream_key(self) -> Hashable | None:
        """Return what makes Airflow ask for :meth:`create_shared_stream_producer`."""
        return (*self.serialize()[:1], self.asset, self.conn_id, self.poll_interval)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> Any:
        """Return the stream, which Airflow acknowledges."""
        from remote_tasks_provider.bases.watch_producer import WatchProducer

        trigger = cls(**kwargs)
        key = f"cursor:{cls.remote_events.service.conn_type}:{trigger.conn_id}"
        return WatchProducer(trigger.asset, key, trigger._listings, cls.clocks)

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each thing that has happened."""
        async for payload in shared_stream:
            yield TriggerEvent(payload)

    # --------------------------------------------------------------------------------------- below 3.3

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each thing that happens from now on."""
        if not SHARES_STREAMS:
            log.warning(
                "Asset %r: what happens while no triggerer runs is not told; only Airflow 3.3 and newer can.",
                self.asset,
            )
        cursor, spacing = Cursor(), EventSpacing(self.clocks)
        async for sightings in self._listings(cursor):
            now = self.clocks.wall()
            if not cursor.has_begun:
                cursor.begin(sightings, now)
                continue
            news, ended = cursor.news(sightings, now)
            cursor.forget(ended)
            async for one in spacing.spaced(news):
                cursor.tell(one.key, one.at, now)
                yield TriggerEvent(dict(one.payload or {}))

    # ------------------------------------------------------------------------------------------ the way

    def _listings(self, cursor: Cursor) -> AsyncIterator[list[Sighting]]:
        events = self.remote_events
        link = AsyncLink(
            lambda: read_connection_async(events.service, self.conn_id),
            lambda config: connect(events.service, config, self.clocks),
        )
        return listings(events, link, cursor, self.poll_interval, bells(), self.clocks)
