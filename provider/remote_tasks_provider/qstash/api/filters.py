"""The filters of QStash's logs, dead letter queue and bulk cancellation, in this provider's words. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import InvalidArgumentError

__all__ = [
    "DLQ_FILTERS",
    "LOG_FILTERS",
    "MESSAGE_FILTERS",
    "RUN_CANCEL_FILTERS",
    "RUN_DLQ_FILTERS",
    "RUN_FILTERS",
    "Filters",
    "dlq_queries",
    "filters_of",
    "narrowing",
]

Filters = Sequence[tuple[str, str]]
"""As QStash names them; a name may repeat."""

# September 2001. A small number is a duration, or an error: as a moment it would match everything.
_FIRST_MESSAGE = 1e9


def dlq_queries(filters: Filters) -> list[Filters]:
    """Return the filters of one request or several: each may name one message, by QStash's own types."""
    name = DLQ_FILTERS["message_ids"]
    others = [one for one in filters if one[0] != name]
    wanted = list(dict.fromkeys(one for one in filters if one[0] == name))
    return [(one, *others) for one in wanted] if len(wanted) > 1 else [tuple(filters)]


def narrowing(filters: Filters) -> Filters:
    """Return filters that narrow something down.

    :raises ValueError: for filters that do not.
    """
    if not any(value for name, value in filters if name not in ("cursor", "count")):
        raise InvalidArgumentError(
            "no filter is given, which would mean everything the account has: give at least one"
        )
    return tuple(filters)


_SHARED: Mapping[str, str] = {
    "url": "url",
    "url_group": "topicName",
    "schedule_id": "scheduleId",
    "queue": "queueName",
    "labels": "label",
    "caller_ip": "callerIp",
    "flow_control_key": "flowControlKey",
    "from_date": "fromDate",
    "to_date": "toDate",
}
_PLACE: Mapping[str, str] = {"host": "host", "path": "path"}
LOG_FILTERS: Mapping[str, str] = {"message_ids": "messageIds", "state": "state", **_SHARED, **_PLACE}
"""This provider's names of the filters of the logs → QStash's. QStash ignores a filter that an endpoint does
not have, and would then act on everything, so each endpoint has its own list."""
DLQ_FILTERS: Mapping[str, str] = {
    "dlq_ids": "dlqIds",
    "message_ids": "messageId",
    **_SHARED,
    "response_status": "responseStatus",
}
"""Filters of the dead letter queue."""
MESSAGE_FILTERS: Mapping[str, str] = {
    "message_ids": "messageIds",
    **_SHARED,
    **_PLACE,
}
"""Filters of the messages in flight."""
_OF_RUNS: Mapping[str, str] = {
    "workflow_url": "workflowUrl",
    "labels": "label",
    "caller_ip": "callerIp",
    "flow_control_key": "flowControlKey",
    "from_date": "fromDate",
    "to_date": "toDate",
}
RUN_FILTERS: Mapping[str, str] = {"workflow_run_ids": "workflowRunId", "state": "state", **_OF_RUNS}
"""Filters of the logs of workflow runs."""
RUN_CANCEL_FILTERS: Mapping[str, str] = {"workflow_run_ids": "workflowRunIds", **_OF_RUNS}
"""Filters of the workflow runs to cancel."""
RUN_DLQ_FILTERS: Mapping[str, str] = {"workflow_run_ids": "workflowRunId", **_OF_RUNS}
"""Filters of the workflow runs in the dead letter queue."""

# What the vendor spells in two ways, and the way that a filter takes.
_SPELLED = {"CANCELED": "CANCELLED", "RUN_CANCELLED": "RUN_CANCELED"}
RUN_STATES = ("RUN_STARTED", "RUN_SUCCESS", "RUN_FAILED", "RUN_CANCELED")
STATES = (
    "CREATED",
    "ACTIVE",
    "RETRY",
    "ERROR",
    "IN_PROGRESS",
    "DELIVERED",
    "FAILED",
    "CANCEL_REQUESTED",
    "CANCELLED",
)


def filters_of(given: Mapping[str, Any], known: Mapping[str, str]) -> Filters:
    """Return the filters that ``given`` names in this provider's words, as QStash names them.

    :param known: the endpoint's filters; one whose value is ``None`` is left out.
    :raises ValueError: for an unknown filter, and for an empty value: leaving it out would match more.
    """
    found: list[tuple[str, str]] = []
    for given_name, value in given.items():
        # Airflow's operators use the name for their own, so this provider's say qstash_queue.
        name = "queue" if given_name == "qstash_queue" else given_name
        if value is None:
            continue
        if name != given_name and given.get(name) is not None:
            raise InvalidArgumentError(f"{given_name} and {name} are the same: give one of them")
        if name not in known:
            raise InvalidArgumentError(f"{name!r} is no filter here; the filters are {', '.join(known)}")
        several = isinstance(value, Iterable) and not isinstance(value, (str, bytes))
        values = list(value) if several else [value]
        if not values:
            raise InvalidArgumentError(
                f"{name} is empty, which would not narrow anything down: nothing was done"
            )
        states = RUN_STATES if known is RUN_FILTERS else STATES
        found += [(known[name], _filter_value(name, one, states)) for one in values]
    return tuple(found)


def _filter_value(name: str, value: Any, states: Sequence[str]) -> str:
    if name in ("from_date", "to_date"):
        return str((validation.unix_seconds(value, name, earliest=_FIRST_MESSAGE) or 0) * 1000)
    if name == "state":
        word = _SPELLED.get(str(value).upper(), str(value).upper())
        return validation.choice(word, name, states)
    if name == "response_status":
        return str(validation.whole_number(value, name, least=100, most=599))
    return validation.object_id(str(value), name)
