"""What a process has learnt of an account, and believes for a while: what it lacks, or where it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from remote_tasks_provider.core.http.connection import ConnectionConfig

__all__ = ["AccountMemory"]

T = TypeVar("T")


class AccountMemory(Generic[T]):
    """One thing about each account, for all threads. Another host or key is another account.

    :param seconds: how long it is believed.
    :param account: what else tells accounts apart, if anything does, of the connection.
    """

    def __init__(
        self, seconds: float, account: Callable[[ConnectionConfig], Hashable] = lambda config: config.account
    ) -> None:
        self.seconds = seconds
        self._account = account
        self._known: dict[Hashable, tuple[T, float]] = {}
        self._lock = threading.Lock()

    def get(self, config: ConnectionConfig, now: float | None = None) -> T | None:
        """Return what is known of the account of a connection.

        :param now: seconds of the monotonic clock.
        """
        found, until = self._known.get(self._account(config), (None, float("-inf")))
        return found if (time.monotonic() if now is None else now) < until else None

    def note(self, config: ConnectionConfig, found: T, now: float | None = None) -> bool:
        """Remember something; return whether nothing was known of the account before, however old."""
        account = self._account(config)
        with self._lock:
            is_news = account not in self._known
            self._known[account] = found, (time.monotonic() if now is None else now) + self.seconds
        return is_news

    def forget(self, config: ConnectionConfig | None = None) -> None:
        """Forget what is known of an account; of all of them without a connection."""
        with self._lock:
            if config is None:
                self._known.clear()
            else:
                self._known.pop(self._account(config), None)
