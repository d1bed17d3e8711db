"""Whether API v1, which Manus calls deprecated, still answers; remembered for each account in a process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Hashable

from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.http.connection import ConnectionConfig

__all__ = ["V1_GONE", "V1Gone", "is_not_there"]

log = logging.getLogger(__name__)

# Seconds after which v1 is tried again: a gateway may have been wrong for a while.
_TRY_AGAIN_AFTER = 4 * 3600.0


def is_not_there(error: object) -> bool:
    """Whether an answer of v1 means that it has nothing there: of its list, that v1 itself is gone."""
    return isinstance(error, RemoteTaskError) and getattr(error, "status_code", None) in (404, 410)


class V1Gone:
    """The accounts for which v1 was gone when it was last tried. Another host or key is another account."""

    def __init__(self) -> None:
        self._until: dict[Hashable, float] = {}
        self._lock = threading.Lock()

    def holds_for(self, config: ConnectionConfig, now: float) -> bool:
        """Whether v1 need not be tried.

        :param now: seconds of a monotonic clock.
        """
        return now < self._until.get(config.account, float("-inf"))

    def note(self, config: ConnectionConfig, error: RemoteTaskError, now: float) -> None:
        """Note that v1 is gone; say so in the log once an account."""
        with self._lock:
            is_news = config.account not in self._until
            self._until[config.account] = now + _TRY_AGAIN_AFTER
        if is_news:
            log.warning(
                "Manus: API v1 is gone for connection %r, so v2 is used for everything: %s Set api_version "
                "to v2 in its extra, then v1 is not tried again.",
                config.conn_id,
                error,
            )

    def forget(self) -> None:
        """Try v1 again for all accounts."""
        with self._lock:
            self._until.clear()


V1_GONE = V1Gone()
