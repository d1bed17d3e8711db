"""Whether API v1, which Manus calls deprecated, still answers; remembered for each account in a process."""

from __future__ import annotations

import logging

from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.http.account_memory import AccountMemory
from remote_tasks_provider.core.http.connection import ConnectionConfig

__all__ = ["V1_GONE", "V1Gone", "is_not_there"]

log = logging.getLogger(__name__)

# Seconds after which v1 is tried again: a gateway may have been wrong for a while.
_TRY_AGAIN_AFTER = 4 * 3600.0


def is_not_there(error: object) -> bool:
    """Whether an answer of v1 means that it has nothing there: of its list, that v1 itself is gone."""
    return isinstance(error, RemoteTaskError) and getattr(error, "status_code", None) in (404, 410)


class V1Gone:
    """The accounts for which v1 was gone when it was last tried."""

    def __init__(self) -> None:
        self._memory: AccountMemory[RemoteTaskError] = AccountMemory(_TRY_AGAIN_AFTER)
        self.forget = self._memory.forget

    def holds_for(self, config: ConnectionConfig, now: float) -> bool:
        """Whether v1 need not be tried.

        :param now: seconds of a monotonic clock.
        """
        return self._memory.get(config, now) is not None

    def note(self, config: ConnectionConfig, error: RemoteTaskError, now: float) -> None:
        """Note that v1 is gone; say so in the log once an account."""
        if self._memory.note(config, error, now):
            log.warning(
                "Manus: API v1 is gone for connection %r, so v2 is used for everything: %s Set api_version "
                "to v2 in its extra, then v1 is not tried again.",
                config.conn_id,
                error,
            )


V1_GONE = V1Gone()
