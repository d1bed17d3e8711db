"""What a service supplies: itself (:class:`Service`), and each type of remote task (:class:`TaskType`).

Hooks name a service; operators, sensors and triggers name a task type. See
``docs/contribute/add-a-service.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from remote_tasks_provider.core.http.connection import ConnectionConfig, ConnectionExtras, ConnectionFields
from remote_tasks_provider.core.http.operation import Operation
from remote_tasks_provider.core.http.rate_limit import RateLimit
from remote_tasks_provider.core.http.response import Explain
from remote_tasks_provider.core.polling.strategy import PollStrategy
from remote_tasks_provider.core.push.events import Webhooks

__all__ = ["Service", "TaskType"]


@dataclass(frozen=True)
class Service:
    """Where a service lives, and how it is spoken to.

    Functions that take the connection's extras do so because a service may speak several versions of its API.

    :param name: for messages and logs.
    :param conn_type: the type of its Airflow connections; one of another type is refused.
    :param default_base_url: where the service lives when the connection's host is empty; made of the extras
        where it has regions. ``None`` where anybody may run one: then the host must be given, with any path.
    :param auth: makes the one header that carries the key, of the key and the extras. An operation may name
        another header: :attr:`~.http.operation.Request.key_header`.
    :param extras: the allow-list of the connection's extras.
    :param probe: a cheap operation that only reads and that proves host and key.
    :param explain: what an error answer means beyond its status.
    :param limits: the service's rate limits, by operation.
    :param key_is_optional: whether the connection may have no key.
    :param webhooks: how its webhooks are checked; ``None`` where it has none.
    """

    name: str
    conn_type: str
    default_base_url: str | Callable[[Any], str] | None
    auth: Callable[[str, Any], tuple[str, str]]
    extras: type[ConnectionExtras]
    probe: Callable[[Any], Operation[Any]]
    explain: Explain
    limits: Mapping[str, RateLimit] = field(default_factory=dict)
    key_is_optional: bool = False
    webhooks: Webhooks | None = None

    def config(self, fields: ConnectionFields) -> ConnectionConfig:
        """Return where and how to call this service over the connection that ``fields`` describe.

        :raises ConnectionConfigError: naming the field and the fix.
        """
        fields.check_type(self.conn_type, self.name)
        secret = fields.secret(is_optional=self.key_is_optional)
        extras = fields.extras(self.extras)
        default = self.default_base_url
        return ConnectionConfig(
            service=self.name,
            conn_id=fields.conn_id,
            base_url=fields.base_url(default(extras) if callable(default) else default),
            auth=self.auth(secret, extras) if secret else None,
            secret=secret,
            extras=extras,
        )


@dataclass(frozen=True)
class TaskType:
    """One kind of remote task of a service: how it is called, polled and cancelled.

    :param label: names one task in messages and logs: ``Manus task``.
    :param poll_strategy: makes the strategy by which many tasks are polled with few operations, of the
        connection; :class:`~.polling.strategy.OneByOne` where there is nothing better.
    :param cancel: the operation that cancels tasks, of the extras and the tasks' ids; ``None`` where the
        service has none. That of several tasks returns how many it has cancelled: others were finished, or
        unknown. Where it asks the service afterwards, it returns what became of the task, a
        :class:`~.cancellation.Cancelled`.
    :param cancel_batch_size: how many tasks one such operation cancels at most.
    :param id_param: what sensors and operators call the parameter that holds one task's id.
    :param has_bell: whether the service's webhooks tell of such tasks.
    :param has_page: whether a record's ``url`` is the task's page, to which an extra link leads.
    """

    service: Service
    label: str
    poll_strategy: Callable[[ConnectionConfig], PollStrategy]
    cancel: Callable[[Any, Sequence[str]], Operation[Any] | None] = lambda _extras, _task_ids: None
    cancel_batch_size: int = 1
    id_param: str = "remote_task_id"
    has_page: bool = True
    has_bell: bool = False

    @property
    def ids_param(self) -> str:
        """What triggers call the parameter that holds the ids of several tasks."""
        return f"{self.id_param}s"
