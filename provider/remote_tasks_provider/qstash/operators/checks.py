"""What the parameters of QStash's operators must be: the checks of the API's options, one parameter each.

Limits that depend on the account's plan are those of the largest one here. The connection, which names the
plan, is read when the task is executed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from airflow.providers.common.compat.sdk import mask_secret

from remote_tasks_provider.bases.arguments import is_template
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import InvalidArgumentError
from remote_tasks_provider.core.validation import Check
from remote_tasks_provider.qstash.api import settings, workflows
from remote_tasks_provider.qstash.api.filters import (
    DLQ_FILTERS,
    LOG_FILTERS,
    MESSAGE_FILTERS,
    RUN_CANCEL_FILTERS,
    RUN_FILTERS,
    filters_of,
)
from remote_tasks_provider.qstash.api.headers import secrets_of
from remote_tasks_provider.qstash.api.options import PublishOptions, check_name
from remote_tasks_provider.qstash.api.workflow_options import WorkflowOptions, resume_headers

__all__ = [
    "BATCH",
    "CANCEL",
    "CANCEL_RUNS",
    "FILTERS",
    "FLOW_CONTROL",
    "LIST_RUNS",
    "MESSAGE_ID",
    "NOTIFY",
    "PUBLISH",
    "QUEUE",
    "RESUME",
    "SCHEDULE",
    "URL_GROUP",
    "WORKFLOW",
    "one_destination",
]

_URL = "https://example.com"
# The options that may hold credentials.
_WITH_SECRETS = ("headers", "extra_headers", "callback_options", "failure_callback_options")


def one_destination(destination: Any, url_group: Any) -> None:
    """Refuse a message that would go nowhere, or to two places."""
    if (destination is None) == (url_group is None):
        raise InvalidArgumentError("give one of destination (a URL) and url_group (a name)")


_destination = validation.as_given(lambda value, name: PublishOptions(**{name: value}, plan="fixed"))


def _filter(value: Any, name: str) -> Any:
    try:
        filters_of({name: value}, {**LOG_FILTERS, **DLQ_FILTERS})
    except ValueError as error:
        raise InvalidArgumentError(str(error) if name in str(error) else f"{name}: {error}") from None
    return value


_run_filter = validation.as_given(lambda value, name: filters_of({name: value}, RUN_FILTERS))
# The error names it itself.
_event_id = validation.as_given(lambda value, _name: workflows.list_waiters(value))
_event_data = validation.as_given(lambda value, _name: workflows.notify("a", value))
_flow_control = validation.as_given(lambda value, _name: resume_headers(None, (), flow_control=value))


def _message_ids(value: Any, name: str) -> Any:
    if not validation.object_ids(value, name):
        raise InvalidArgumentError(f"{name} is an empty list: there is nothing to cancel")
    return value


def _filters(value: Any, name: str, known: Mapping[str, str] = MESSAGE_FILTERS) -> Any:
    try:
        given = {key: one for key, one in validation.mapping(value, name).items() if not is_template(one)}
        filters_of(given, known)
    except ValueError as error:
        raise InvalidArgumentError(f"{name}: {error}") from None
    return value


def _messages(value: Any, name: str) -> Any:
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        raise InvalidArgumentError(f"{name} is a {type(value).__name__}; it must be a list of dicts")
    for index, one in enumerate(value):
        _options(one, f"{name}[{index}]", {"destination": None})
    return value


def _options(value: Any, name: str, others: Mapping[str, Any]) -> Any:
    try:
        given = PublishOptions.by_field(validation.mapping(value, name))
        PublishOptions(**{**others, **given, "plan": "fixed"})
    except (TypeError, ValueError) as error:
        text = str(error)
        raise InvalidArgumentError(text if text.startswith(name) else f"{name}: {text}") from None
    return value


def _cron(value: Any, name: str) -> Any:  # noqa: ARG001 - the error names it
    settings.create_schedule(PublishOptions(_URL), value)
    return value


def _endpoints(value: Any, name: str) -> Any:
    several = [value] if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable) else value
    for index, one in enumerate(several):
        if not isinstance(one, (str, Mapping)):
            raise InvalidArgumentError(f"{name}[{index}] is {one!r}; it must be a URL or a dict")
    if several:
        settings.change_endpoints("POST", "a", list(several))
    return value


def _masking(check: Check) -> Check:
    """Return a check of message options that has Airflow hide their secrets, in logs and in rendered fields.

    Airflow itself hides only what stands under some names, and not in a long field.
    """

    def checked(value: Any, name: str) -> Any:
        found = check(value, name)
        messages = found if name == "messages" else [found if name == "options" else {name: found}]
        for secret in {secret for one in messages for secret in secrets_of(one)}:
            mask_secret(secret)
        return found

    return checked


def _masking_secrets(own: Mapping[str, Check]) -> dict[str, Check]:
    """Return the checks of the options of a message, or of a run, which mask what may hold secrets."""
    return {name: _masking(one) if name in _WITH_SECRETS else one for name, one in own.items()}


_name = validation.optional(check_name)

MESSAGE_ID: Mapping[str, Check] = {"message_id": validation.object_id}
PUBLISH: Mapping[str, Check] = {
    **_masking_secrets(
        PublishOptions.checks(destination=_URL, plan="fixed", callback=_URL, failure_callback=_URL)
    ),
    "delivery_retries": validation.optional(partial(validation.whole_number, least=0)),
    "destination": validation.optional(_destination),
    "notify_airflow": validation.flag,
    "url_group": validation.optional(_destination),
}
BATCH: Mapping[str, Check] = {"messages": _masking(_messages)}
FILTERS: Mapping[str, Check] = dict.fromkeys(
    (name if name != "queue" else "qstash_queue" for name in {**LOG_FILTERS, **DLQ_FILTERS}),
    validation.optional(_filter),
)
CANCEL: Mapping[str, Check] = {
    "message_id": validation.optional(_message_ids),
    "filters": validation.optional(_filters),
}
SCHEDULE: Mapping[str, Check] = {
    "action": partial(validation.choice, allowed=("create", "get", "list", "pause", "resume", "delete")),
    "schedule_id": _name,
    "cron": validation.optional(_cron),
    "destination": validation.optional(_destination),
    "body": PUBLISH["body"],
    "options": _masking(
        validation.optional(partial(_options, others={"destination": _URL, "is_scheduled": True}))
    ),
}
QUEUE: Mapping[str, Check] = {
    "action": partial(validation.choice, allowed=("upsert", "get", "list", "pause", "resume", "delete")),
    "qstash_queue": _name,
    "parallelism": partial(validation.whole_number, least=1),
    "paused": validation.optional(validation.flag),
}
URL_GROUP: Mapping[str, Check] = {
    "action": partial(validation.choice, allowed=("add", "remove", "get", "list", "delete")),
    "url_group": _name,
    "endpoints": validation.optional(_endpoints),
}
_limit = validation.optional(partial(validation.whole_number, least=1))
FLOW_CONTROL: Mapping[str, Check] = {
    "action": partial(validation.choice, allowed=("get", "list", "pause", "resume", "pin", "unpin", "reset")),
    "flow_control_key": validation.optional(validation.object_id),
    "parallelism": _limit,
    "rate": _limit,
    "period": _limit,
}
WORKFLOW: Mapping[str, Check] = {
    **_masking_secrets(WorkflowOptions.checks(workflow_url=_URL, plan="fixed")),
    "delivery_retries": PUBLISH["delivery_retries"],
}
RESUME: Mapping[str, Check] = {
    "dlq_id": validation.object_id,
    "restart": validation.flag,
    "delivery_retries": PUBLISH["delivery_retries"],
    "flow_control": validation.optional(_flow_control),
}
LIST_RUNS: Mapping[str, Check] = dict.fromkeys(RUN_FILTERS, validation.optional(_run_filter))
CANCEL_RUNS: Mapping[str, Check] = {
    "workflow_run_id": validation.optional(_message_ids),
    "filters": validation.optional(partial(_filters, known=RUN_CANCEL_FILTERS)),
}
NOTIFY: Mapping[str, Check] = {
    "event_id": _event_id,
    "event_data": _event_data,
    "workflow_run_id": validation.optional(validation.object_id),
    "require_waiter": validation.flag,
}
