"""What a vendor supplies, as one value. Everything else in this package works from it.

See ``docs/add-a-service.md`` for the checklist of a new vendor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from remote_tasks_provider.core.answers import Explain
from remote_tasks_provider.core.endpoint import ConnectionExtras, ConnectionFields, Endpoint, connect
from remote_tasks_provider.core.messages import Call
from remote_tasks_provider.core.states import TaskSnapshot

__all__ = ["Service"]

ModelT = TypeVar("ModelT")


@dataclass(frozen=True)
class Service(Generic[ModelT]):
    """A vendor.

    :param name: for messages and logs.
    :param default_base_url: where the service lives when the connection's host is empty.
    :param auth: makes the one header that carries the key.
    :param extras: the allow-list of the connection's extras.
    :param get_task: the call that reads one task; raises ``ValueError`` for an id that cannot be one.
    :param snapshot: what a task tells a wait.
    :param probe: a cheap read-only call that proves host and key.
    :param explain: what an error answer means beyond its status.
    """

    name: str
    default_base_url: str
    auth: Callable[[str], tuple[str, str]]
    extras: type[ConnectionExtras]
    get_task: Callable[[str], Call[ModelT]]
    snapshot: Callable[[ModelT], TaskSnapshot]
    probe: Callable[[], Call[Any]]
    explain: Explain

    def endpoint(self, fields: ConnectionFields) -> Endpoint:
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
