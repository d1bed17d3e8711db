"""The sandbox as one object: its clock, settings, tasks, faults and journal behind one lock.

A test in the same process changes this object; other processes use the control plane, which calls it.
"""

from __future__ import annotations

import copy
import math
import threading
from functools import cached_property
from typing import TYPE_CHECKING

from remote_tasks_sandbox.clock import Clock, WallClock
from remote_tasks_sandbox.faults import Faults
from remote_tasks_sandbox.journal import Journal, RequestRecord
from remote_tasks_sandbox.limits import RateLimiter
from remote_tasks_sandbox.manus.tasks import ManusTasks
from remote_tasks_sandbox.qstash.account import QStashAccount
from remote_tasks_sandbox.settings import Settings

if TYPE_CHECKING:
    from remote_tasks_sandbox.app import SandboxApp

__all__ = ["Sandbox"]


class Sandbox:
    """State and behaviour of the emulated services; thread safe.

    :param clock: what time it is; default the machine's clock, which can be advanced
    :param settings: the settings to start with and to return to on :meth:`reset`
    :param base_url: how clients reach the sandbox; part of the addresses it hands out
    """

    def __init__(
        self,
        clock: Clock | None = None,
        settings: Settings | None = None,
        base_url: str = "http://127.0.0.1:8099",
    ) -> None:
        self.lock = threading.RLock()
        self.clock: Clock = clock or WallClock()
        self.settings = settings or Settings()
        self._first_settings = copy.deepcopy(self.settings)
        self.base_url = base_url
        self.manus = ManusTasks(self.clock, self.lock)
        self.qstash = QStashAccount(self.clock, self.lock, self.settings)
        self.journal = Journal()
        self.faults = Faults(on_clear=self._drop_held)
        self._limiter = RateLimiter()

    @cached_property
    def app(self) -> SandboxApp:
        """Return the ASGI application; needs the extra ``[sandbox]``."""
        from remote_tasks_sandbox.app import SandboxApp

        return SandboxApp(self)

    def _drop_held(self) -> None:
        # Without an application nothing was ever served, and building one only for this needs the extra.
        if "app" in vars(self):
            self.app.release()

    @property
    def requests(self) -> list[RequestRecord]:
        """Return what was asked of the emulated APIs, oldest first."""
        return self.journal.all()

    def over_limit(self, endpoint: str) -> int | None:
        """Count one call to an endpoint; return how long to wait if it is over its limit, in seconds."""
        limit = self.settings.rate_limits.get(endpoint)
        wait = self._limiter.wait_for(endpoint, limit, self.clock.now())
        return None if wait is None else max(math.ceil(wait), 1)

    def over_burst(self) -> tuple[int, int | None]:
        """Count one call to QStash's limit per second.

        :returns: the calls left in this second, and how long to wait for another if this one is refused
        """
        limit = self.settings.qstash_burst_limit
        wait = self._limiter.wait_for("qstash burst", limit, self.clock.now(), window=1.0)
        left = (limit or 0) - self._limiter.counted("qstash burst")
        return left, None if wait is None else max(math.ceil(wait), 1)

    def reset(self) -> None:
        """Return to an empty sandbox: no tasks, faults or requests, first settings, clock not advanced."""
        with self.lock:
            self.manus.clear()
            self.qstash.clear()
            self.journal.clear()
            self._limiter.clear()
            self.clock.reset()
            vars(self.settings).update(vars(copy.deepcopy(self._first_settings)))
        self.faults.clear()
