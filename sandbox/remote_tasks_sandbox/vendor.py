"""What a vendor of the sandbox supplies, and what it is given.

A vendor is one folder of this package. Its module ``vendor`` has a subclass of :class:`Vendor` under the name
``VENDOR``; ``registry`` finds it there. Its file ``demo.json`` has the demo tasks.
Imports neither the application nor any vendor.
"""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from remote_tasks_sandbox.calls import Answer, Call, Later, Refused
from remote_tasks_sandbox.clock import Clock
from remote_tasks_sandbox.faults import Faults, Plan
from remote_tasks_sandbox.settings import Settings

__all__ = ["Context", "ControlCall", "Handler", "RateLimiter", "Vendor"]


class RateLimiter:
    """Counts calls by endpoint; the caller holds the lock."""

    def __init__(self) -> None:
        self._calls: dict[str, deque[float]] = {}

    def wait_for(self, endpoint: str, limit: int | None, now: float, window: float = 60.0) -> float | None:
        """Count one call, or return the seconds until the next one may come; a refused call is not counted.

        :param limit: calls in a window; ``None`` for no limit
        :param now: sandbox time, unix seconds
        :param window: seconds
        """
        if limit is None:
            return None
        calls = self._calls.setdefault(endpoint, deque())
        while calls and calls[0] <= now - window:
            calls.popleft()
        if len(calls) < limit:
            calls.append(now)
            return None
        return calls[0] + window - now if calls else window

    def counted(self, endpoint: str) -> int:
        """Return how many calls of the present window were let through."""
        return len(self._calls.get(endpoint, ()))

    def clear(self) -> None:
        """Forget all counted calls."""
        self._calls.clear()


class Context:
    """What all vendors of one sandbox share.

    :param clock: what time it is
    :param settings: the settings of all vendors in one object
    :param base_url: how clients reach the sandbox; part of the addresses it hands out
    """

    def __init__(self, clock: Clock, settings: Any, base_url: str) -> None:
        self.lock = threading.RLock()
        self.clock = clock
        self.settings = settings
        self.base_url = base_url
        self.limiter = RateLimiter()
        self.faults = Faults()

    def over_limit(self, endpoint: str) -> int | None:
        """Count one call to an endpoint; return how long to wait if it is over its limit, in seconds."""
        wait = self.limiter.wait_for(endpoint, self.settings.rate_limits.get(endpoint), self.clock.now())
        return None if wait is None else max(math.ceil(wait), 1)

    def check_limit(self, endpoint: str, message: str) -> None:
        """Count one call to an endpoint, and refuse it if it is over its limit."""
        wait = self.over_limit(endpoint)
        if wait is not None:
            headers = {"Retry-After": str(wait)} if self.settings.rate_limit_retry_after else {}
            raise Refused(429, message, headers)


@dataclass(frozen=True)
class ControlCall:
    """A call to the control plane.

    :param id: what follows the name in the path; it may hold slashes
    :param body: the JSON body; an empty one is ``{}``
    """

    id: str
    body: Any

    def object(self) -> dict[str, Any]:
        """Return the body as one object."""
        if not isinstance(self.body, dict):
            raise ValueError("the body must be a JSON object")  # noqa: TRY004 - a wrong value in JSON, answered with 400
        return self.body

    def objects(self) -> list[dict[str, Any]]:
        """Return the body as a list of objects; one alone is a list of one."""
        items = self.body if isinstance(self.body, list) else [self.body]
        if not all(isinstance(item, dict) for item in items):
            raise ValueError("the body must be a JSON object or a list of them")
        return items


#: Returns the JSON of the answer, or a status and the JSON. A ``KeyError`` becomes a 404, a ``ValueError`` or
#: ``TypeError`` a 400. The route ``"POST tasks"`` is for the path ``tasks``, ``"GET tasks/"`` for
#: ``tasks/<id>``; a ``PATCH`` is a ``POST``.
Handler = Callable[[ControlCall], Any]


class Vendor(ABC):
    """One emulated service in one sandbox.

    :cvar name: the folder, the first part of its paths and the connection type in Airflow
    :cvar settings: its settings
    :cvar key_setting: which of them is the key of a connection
    :cvar key_headers: the headers in which clients send a key, in lower case
    :ivar account: its state, which a test reaches as an attribute of the sandbox with the vendor's name; its
        ``control()`` returns the routes under ``/_sandbox/<name>/``, and ``clear()`` empties it
    """

    name: ClassVar[str]
    settings: ClassVar[type[Settings]]
    key_setting: ClassVar[str]
    key_headers: ClassVar[tuple[str, ...]]
    account: Any

    @abstractmethod
    def __init__(self, context: Context) -> None: ...

    @abstractmethod
    def answer(self, call: Call, plan: Plan) -> Answer | Later:
        """Answer one call to the emulated API; the caller holds the lock."""

    @abstractmethod
    def error(self, call: Call, status: int, message: str, headers: Mapping[str, str]) -> Answer:
        """Return an error in the form of the API that was called."""

    @abstractmethod
    def target(self, call: Call) -> str | None:
        """Return the id that a call is for, which a fault may name."""

    @abstractmethod
    def is_list(self, call: Call) -> bool:
        """Whether a call asks for a list that a fault may leave a task out of."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return the lists that ``/_sandbox/state`` and the page show, the newest first."""

    def page(self, task_id: str) -> dict[str, Any] | None:
        """Return the page ``/<name>/app/<id>`` of one task, or ``None`` when there is no such task."""
        return None
