"""What a vendor supplies, as one value. Everything else in this package works from it.

See ``docs/add-a-service.md`` for the checklist of a new vendor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from remote_tasks_provider.core.http.connection import (
    ConnectionConfig,
    ConnectionExtras,
    ConnectionFields,
    connect,
)
from remote_tasks_provider.core.http.operation import Operation
from remote_tasks_provider.core.http.rate_limit import RateLimit
from remote_tasks_provider.core.http.response import Explain
from remote_tasks_provider.core.polling.strategy import PollStrategy

__all__ = ["Service"]


@dataclass(frozen=True)
class Service:
    """A vendor.

    :param name: for messages and logs.
    :param default_base_url: where the service lives when the connection's host is empty; made of the extras
        where it has regions.
    :param auth: makes the one header that carries the key.
    :param extras: the allow-list of the connection's extras. ``auth``, ``probe``, ``watch`` and ``stop`` are
        given them, as a vendor may speak several versions of its API.
    :param probe: a cheap read-only call that proves host and key.
    :param explain: what an error answer means beyond its status.
    :param watch: makes the plan by which many tasks are looked at with few calls;
        :meth:`~.strategy.OneByOne` where there is nothing better.
    :param stop: the call that ends a remote task for good, ``None`` where the vendor has none.
    :param limits: the vendor's rate limits, by endpoint.
    :param kind: what is waited for, where one vendor has several kinds of things.
    """

    name: str
    default_base_url: str | Callable[[Any], str]
    auth: Callable[[str, Any], tuple[str, str]]
    extras: type[ConnectionExtras]
    probe: Callable[[Any], Operation[Any]]
    explain: Explain
    strategy: Callable[[Any], PollStrategy]
    stop: Callable[[Any, str], Operation[Any] | None] = lambda _extras, _task_id: None
    limits: Mapping[str, RateLimit] = field(default_factory=dict)
    kind: str = "tasks"

    def config(self, fields: ConnectionFields) -> ConnectionConfig:
        """Return where and how to call this service over the connection that ``fields`` describe.

        :raises ConnectionConfigError: naming the field and the fix.
        """
        return connect(
            fields,
            service=self.name,
            default_base_url=self.default_base_url,
            auth=self.auth,
            extras=self.extras,
        )
