"""What QStash's operators share that do not wait, and the filters that select messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator

from remote_tasks_provider.bases.requests import RequestOperator
from remote_tasks_provider.core.http.operation import present
from remote_tasks_provider.core.validation import Check
from remote_tasks_provider.qstash.connected import QStashConnected
from remote_tasks_provider.qstash.operators import checks as check

__all__ = ["MessageFilters", "QStashOperator", "Words"]

Moment = datetime | int | str
Words = str | Iterable[str]


class QStashOperator(QStashConnected, RequestOperator):
    """An operator that sends requests and does not wait for messages."""


class MessageFilters(BaseOperator):
    """An operator that selects messages by filters; a message must match all filters that are given.

    :param message_ids: only these messages; one id or several. Templated.
    :param url: only messages to this URL. Templated.
    :param url_group: only messages to this URL group. Templated.
    :param schedule_id: only messages of this schedule. Templated.
    :param qstash_queue: only messages of this queue. Templated.
    :param labels: only messages with one of these labels. Templated.
    :param caller_ip: only messages that were published from this address. Templated.
    :param flow_control_key: only messages with this key of flow control. Templated.
    :param from_date: only what happened from this moment on: an aware ``datetime``, an ISO 8601 string with
        an offset, or Unix seconds. Templated.
    :param to_date: only what happened up to this moment. Templated.
    """

    checks: ClassVar[Mapping[str, Check]] = check.FILTERS
    filters: Sequence[str] = (
        "message_ids",
        "url",
        "url_group",
        "schedule_id",
        "qstash_queue",
        "labels",
        "caller_ip",
        "flow_control_key",
        "from_date",
        "to_date",
    )

    def __init__(
        self,
        *,
        message_ids: Words | None = None,
        url: Words | None = None,
        url_group: Words | None = None,
        schedule_id: Words | None = None,
        qstash_queue: Words | None = None,
        labels: Words | None = None,
        caller_ip: Words | None = None,
        flow_control_key: Words | None = None,
        from_date: Moment | None = None,
        to_date: Moment | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.message_ids = message_ids
        self.url = url
        self.url_group = url_group
        self.schedule_id = schedule_id
        self.qstash_queue = qstash_queue
        self.labels = labels
        self.caller_ip = caller_ip
        self.flow_control_key = flow_control_key
        self.from_date = from_date
        self.to_date = to_date

    def given_filters(self) -> dict[str, Any]:
        """Return the filters that are given; the hook refuses an empty one."""
        return present({name: getattr(self, name) for name in self.filters})
