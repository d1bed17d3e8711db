"""Where the receiver leaves what a webhook tells: in Airflow's database, or behind its REST API.

Everything here blocks, and is called in a thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Lock
from typing import Protocol

from remote_tasks_provider.bases import bell, claims
from remote_tasks_provider.core.push.bell import BellNotStored
from remote_tasks_provider.core.push.events import VerifiedEvent
from remote_tasks_provider.core.push.rest_bell import RestBell
from remote_tasks_provider.core.push.rest_claims import RestClaims

__all__ = ["AirflowStore", "RestStore", "Store"]

log = logging.getLogger(__name__)


class _Bell(Protocol):
    def ring(self, service: str, conn_id: str) -> None: ...

    def publish(
        self, service: str, conn_id: str, *, event_id: str, remote_ids: Sequence[str], state: str | None
    ) -> bool: ...


class _Claims(Protocol):
    def claim(self, service: str, conn_id: str, event_id: str) -> bool: ...

    def release(self, service: str, conn_id: str, event_id: str) -> None: ...


class _Together:
    """Rings once for all webhooks of a connection that come while another bell is being rung.

    Every ring writes the same rows. In a burst of webhooks each would wait for all that came before it, and
    most would not be stored in time.
    """

    def __init__(self, ring: Callable[[str, str], None]) -> None:
        self._ring = ring
        self._ringing = Lock()
        self._changing = Lock()
        self._next: dict[tuple[str, str], Future[None]] = {}

    def __call__(self, service: str, conn_id: str) -> None:
        """Return when a ring that began after this call has succeeded; raise what it raised."""
        place = service, conn_id
        with self._changing:
            rung = self._next.get(place)
            if is_first := rung is None:
                rung = self._next[place] = Future()
        if is_first:
            with self._ringing:
                with self._changing:
                    del self._next[place]
                try:
                    rung.set_result(self._ring(service, conn_id))
                except BaseException as error:  # noqa: BLE001 - for each of those who wait for it
                    rung.set_exception(error)
        rung.result()


class Store:
    """Keeps each webhook once: it rings the bell, unless a task only goes on, and gives an asset an event.

    The event is for connections that ask for one.
    """

    def __init__(self, bell: _Bell, claims: _Claims) -> None:
        self._bell = bell
        self._ring = _Together(bell.ring)
        self._claims = claims

    def keep(self, service: str, conn_id: str, event: VerifiedEvent, *, starts_dags: bool) -> bool:
        """Store a webhook; return whether it is new.

        :param starts_dags: whether the connection's asset gets an event.
        :raises BellNotStored: when that is not known to have worked; it may be sent again.
        """
        is_new = self._claims.claim(service, conn_id, event.event_id)
        try:
            if is_new and event.is_a_bell:
                self._ring(service, conn_id)
            if starts_dags:
                # For a repeat, too: a receiver may have died after its claim. An event is given once anyway.
                state = None if event.state is None else event.state.value
                self._bell.publish(
                    service, conn_id, event_id=event.event_id, remote_ids=event.remote_ids, state=state
                )
        except BellNotStored:
            if is_new:
                self._claims.release(service, conn_id, event.event_id)
            raise
        return is_new


class AirflowStore(Store):
    """For Airflow's API server, where its database is at hand."""

    def __init__(self) -> None:
        super().__init__(bell, claims)


class RestStore(Store):
    """For everywhere else; see :class:`~remote_tasks_provider.core.push.rest_bell.RestBell`."""

    def __init__(self, base_url: str, username: str, password: str) -> None:
        rest = RestBell(base_url, username, password)
        super().__init__(rest, RestClaims(rest))
        self.open = rest.open
        self.close = rest.close
